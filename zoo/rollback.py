"""What a run does when it diverges: it stops, or goes back to its last checkpoint with lower learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import Diverged
from zoo.folder import Folder
from zoo.trainer import Trainer

KEY = "rollbacks"
"""The key of a checkpoint, and of the note on a run's state, that holds the rollbacks until then."""


class Rollback:
    """Takes a run that diverged back to its last checkpoint, so many times at most.

    Random numbers are those of the checkpoint, so that a run that is resumed from it does the same again.

    Args:
        trainer: What is trained.
        folder: Where the run is kept.
    """

    def __init__(self, trainer: Trainer, folder: Folder) -> None:
        self._trainer, self._folder = trainer, folder
        self.wanted = trainer.train.on_divergence == "rollback"
        self.done: list[dict[str, Any]] = []
        """Each rollback: `at` and `to` which iteration, `rate_factor` from then on, the `cause`."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Knows of the rollbacks before a checkpoint."""
        self.done = list(state.get(KEY, []))

    def go_back(self, error: Diverged) -> None:
        """Puts the trainer back to the last checkpoint, lowers its rates, and drops the lines of metrics since.

        Raises:
            Diverged: The run is to stop then, or has gone back as often as it may.
            BadCheckpoint: The last checkpoint is damaged.
        """
        train, at = self._trainer.train, self._trainer.iteration
        if not self.wanted or len(self.done) >= train.rollbacks:
            raise Diverged(self._last_words(error)) from error
        self._trainer.load_state_dict(self._folder.load())
        # The checkpoint may be from before earlier rollbacks.
        self._trainer.optimizers.rate_factor = train.rollback_factor ** (len(self.done) + 1)
        to = self._trainer.iteration
        self.done.append({"at": at, "to": to, "rate_factor": self._trainer.optimizers.rate_factor, "cause": str(error)})
        self._folder.forget_after(to)

    def told(self) -> str:
        """The last rollback in a sentence."""
        last = self.done[-1]
        return f"{last['cause']} Back to step {last['to']}, learning rates times {last['rate_factor']:g} from there."

    def _last_words(self, error: Diverged) -> str:
        steps = self._folder.steps()
        saved = f"the last good checkpoint is step {steps[-1]}" if steps else "there is no checkpoint yet"
        often = f" after {len(self.done)} rollbacks" if self.wanted else ""
        return (
            f"{error} The run {self._folder.path} has stopped{often}; {saved}. Try a lower learning rate "
            "(--set train.optimizer.lr=...), a stronger constraint or another seed"
            + ("." if self.wanted else ", or let it go back by itself: --on-divergence rollback.")
        )
