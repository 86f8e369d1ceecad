"""Trains a run from its folder: logs, pictures, checkpoints, and an orderly end whatever happens."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from zoo.board import board
from zoo.checkpoints import VALIDATION
from zoo.devices import seeded, too_large
from zoo.errors import Diverged, OutOfMemory, SaveFailed
from zoo.fingerprints import CONTENT, fingerprint, refuse_other_data
from zoo.folder import Folder
from zoo.precision import warnings
from zoo.previews import preview
from zoo.processes import Agreement
from zoo.profiling import TRACE, Iterate, Profile, profiled
from zoo.rollback import KEY as ROLLBACKS
from zoo.rollback import Rollback
from zoo.spikes import Spikes
from zoo.stopping import Stop
from zoo.trainer import Trainer
from zoo.training import told_of_extension
from zoo.validating import Validation

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        state: `finished`, or `interrupted` by Ctrl-C or a request to terminate.
        step: The iteration that was reached.
        seconds: The time that it took, this time.
        rate: Iterations per second, this time.
        estimate: The last estimate of the distance, or None.
        estimates: What that is an estimate of, such as `W1`.
        picture: The last picture of samples, or None.
        rollbacks: Where the run diverged and went back: `at` and `to` which iteration, the `rate_factor` of the
            learning rates from then on, and the `cause`.
        profile: What was found by profiling, see `zoo.profiling.Profile`; None if nothing was profiled.
    """

    state: str
    step: int
    seconds: float
    rate: float
    estimate: float | None
    estimates: str
    picture: str | None
    rollbacks: tuple[Mapping[str, Any], ...] = ()
    profile: Mapping[str, Any] | None = None


class Fit:
    """Trains until the last step of the recipe.

    Args:
        trainer: What is trained.
        folder: Where the run is kept.
        on_log: Called with each line of metrics.
        progress: Whether a progress bar is drawn on stderr.
        profile: Whether some iterations are profiled.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Folder,
        on_log: Callable[[Row], None] | None = None,
        progress: bool = False,
        profile: bool = False,
    ) -> None:
        self.trainer = trainer
        self.folder = folder
        self._train = trainer.train
        self._group = trainer.group
        self._hearers = [folder.log, *([on_log] if on_log and folder.writes else [])]
        self._rollback = Rollback(trainer, folder)
        self._validation = Validation(trainer)
        self._content = fingerprint(trainer.composition.dataset, trainer.composition.recipe.axes["dataset"])
        self._progress = progress and folder.writes
        self._profile = Profile(folder.path / TRACE, trainer.composition.device) if profile and folder.writes else None
        self._stop = Stop()
        self._saved: int | None = None
        self._row: dict[str, Any] = {}
        self._picture: str | None = None
        self._seconds, self._since, self._trained = 0.0, 0.0, 0

    def run(self, resume: Mapping[str, Any] | None = None) -> Outcome:
        """Trains, from a checkpoint's state if one is given. Nobody else may train this run meanwhile.

        Raises:
            Diverged: A loss became NaN or infinite; the last good checkpoint is named.
            BadRun: Somebody else trains this run.
            BadData: The state was trained on other data.
            BadCheckpoint: The state does not fit.
            SaveFailed: The disk refused; the last checkpoint is intact.
        """
        label = "training" if self._group.first else f"training/{self._group.rank}"
        with self.folder.alone(), seeded(self._train.seed, label), self._stop.listening():
            if resume is not None:
                self._restore(resume)
            self.trainer.refuse_difference(data=True)
            try:
                with self._board() as draw:
                    self._hearers += [draw] if draw else []
                    self._note("running")
                    return self._loop()
            except BaseException as error:
                with contextlib.suppress(SaveFailed):
                    self._note("failed")
                if too_large(error):
                    raise OutOfMemory(
                        "the device has too little memory for this recipe; use a smaller --batch-size, or "
                        f"--set train.micro_batches=2 or more to split it. ({str(error).splitlines()[0]})"
                    ) from error
                raise
            finally:
                self.trainer.release()

    def _board(self) -> contextlib.AbstractContextManager[Callable[[Row], None] | None]:
        return board(self.folder.path / "tensorboard") if self.folder.writes else contextlib.nullcontext()

    def _restore(self, state: Mapping[str, Any]) -> None:
        refuse_other_data(state["data"], self._content, self.folder.path)
        self.trainer.load_state_dict(state)
        self._rollback.restore(state)
        if VALIDATION in state:
            self._validation.load_state_dict(state[VALIDATION])
        self._saved = self.trainer.iteration
        self._seconds = state.get("seconds", 0.0)
        self.folder.tidy()
        self.folder.forget_after(self.trainer.iteration)
        self.folder.write_recipe(self.trainer.composition.recipe)
        if told := told_of_extension(self._train, self.trainer.schedule_steps):
            self.trainer.say(told)

    def _loop(self) -> Outcome:
        first, start = self.trainer.iteration, time.monotonic()
        self._agreement = Agreement(self._group, first)
        self._since = start
        if self._rollback.wanted and self._saved is None:
            self._save()  # So that there is something to go back to from the first.
        with self._bar(first) as bar, profiled(self.trainer.iterate, self._profile) as iterate:
            self._begin()
            while not self._reached_end(bar, iterate):
                self._begin()
        return self._end(time.monotonic() - start)

    def _begin(self) -> None:
        """Looks at the clock and at the lines there are, at the start and after a rollback."""
        self._agreement.begin(self.trainer.iteration)
        self._clock, self._clocked = time.monotonic(), self.trainer.iteration
        self._spikes = Spikes(self.folder.rows())

    def _reached_end(self, bar: Any, iterate: Iterate) -> bool:
        """Trains to the end or until it is stopped, and saves; False if it had to go back."""
        try:
            while self.trainer.iteration < self._train.steps and not self._ends():
                self._iterate(bar, iterate)
            self._save()
        except Diverged as error:
            self._rollback.go_back(error)
            self._note("running")
            bar.n = self.trainer.iteration
            if self._progress:
                tqdm.write(self._rollback.told(), file=sys.stderr)
            return False
        return True

    def _ends(self) -> bool:
        asked = self._stop.wanted or self._stop.orphaned()
        return self._validation.ended or self._agreement.agreed(asked, self.trainer.iteration)

    def _iterate(self, bar: Any, iterate: Iterate) -> None:
        step = self.trainer.iteration + 1
        last = step == self._train.steps
        due_log = last or step % self._train.log_every == 0
        iterate(estimate=due_log)
        self._trained += 1
        bar.update()
        if due_log:
            self._log(bar)
        if self._validation.due(step):
            self._validate()
        if last or _due(step, self._train.sample_every):
            with self._aside():
                self._picture = preview(self.trainer, self.folder) or self._picture
        if last or _due(step, self._train.checkpoint_every):
            self._save()

    def _end(self, seconds: float) -> Outcome:
        step = self.trainer.iteration
        state = "finished" if step >= self._train.steps or self._validation.ended else "interrupted"
        self._note(state)
        self._group.wait()
        distance = self.trainer.composition.parts.distance
        return Outcome(
            state,
            step,
            seconds,
            self._trained / max(seconds, 1e-9),
            self._row.get("estimate"),
            distance.estimates if distance is not None else "",
            self._picture,
            tuple(self._rollback.done),
            self._profile.summary if self._profile else None,
        )

    def _note(self, state: str) -> None:
        """Notes how far the run is, and where it went back."""
        done = self._rollback.done
        self.folder.write_state(state, self.trainer.iteration, **({ROLLBACKS: done} if done else {}))

    def _log(self, bar: Any) -> None:
        means = self.trainer.flush()
        now, step = time.monotonic(), self.trainer.iteration
        rate = (step - self._clocked) / max(now - self._clock, 1e-9)
        self._clock, self._clocked = now, step
        self._row = {"step": step, **means}
        if self.trainer.estimate is not None:
            self._row["estimate"] = float(self.trainer.estimate)
        if spikes := self._spikes.of(self._row):
            self._row["spike"] = spikes
        if self._rollback.done:
            self._row[ROLLBACKS] = len(self._rollback.done)
        self._row |= {"iterations_per_second": round(rate, 3), "time": round(time.time(), 3)}
        for hear in self._hearers:
            hear(self._row)
        for text in warnings(self._row, self._train.precision):
            self.trainer.say(text)
        bar.set_postfix({k: f"{v:.3g}" for k, v in means.items() if "loss" in k}, refresh=False)

    def _validate(self) -> None:
        with self._aside():
            figures = self._validation.measure()
        if figures:
            row = {"step": self.trainer.iteration, **figures, "time": round(time.time(), 3)}
            for hear in self._hearers:
                hear(row)
            if self._validation.improved:
                self._save()

    def _save(self) -> None:
        if self._saved == self.trainer.iteration:
            return
        self.trainer.refuse_divergence()
        self.trainer.refuse_difference()
        with self._aside():
            state = self.trainer.state_dict()
            state["data"][CONTENT] = self._content
            state |= {"seconds": self._seconds, ROLLBACKS: list(self._rollback.done)}
            state[VALIDATION] = self._validation.state_dict()
            self.folder.save(self.trainer.iteration, state, self._train.keep, self._validation.best_step)
        self._saved = self.trainer.iteration

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Something that is not training, and is left out of its seconds."""
        self._seconds += time.monotonic() - self._since
        try:
            yield
        finally:
            self._since = time.monotonic()

    def _bar(self, first: int) -> Any:
        return tqdm(
            total=self._train.steps,
            initial=first,
            disable=not self._progress,
            unit="it",
            dynamic_ncols=True,
            file=sys.stderr,
            desc=self.folder.path.name,
        )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
