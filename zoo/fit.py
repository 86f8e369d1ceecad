"""Trains a run from its folder: logs, pictures, checkpoints, and an orderly end whatever happens."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from zoo.components import is_conditional
from zoo.devices import derived, seeded
from zoo.draws import Draws
from zoo.errors import Diverged, OutOfMemory, SaveFailed
from zoo.folder import Folder
from zoo.pictures import drawable, save_picture
from zoo.processes import Stop
from zoo.trainer import Trainer

Row = Mapping[str, Any]
Result = TypeVar("Result")
PICTURED = {"image": 64, "vector": 2500}
"""How many samples a picture shows."""


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
    """

    state: str
    step: int
    seconds: float
    rate: float
    estimate: float | None
    estimates: str
    picture: str | None


class Fit:
    """Trains until the last step of the recipe.

    Args:
        trainer: What is trained.
        folder: Where the run is kept.
        on_log: Called with each line of metrics.
        progress: Whether a progress bar is drawn on stderr.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Folder,
        on_log: Callable[[Row], None] | None = None,
        progress: bool = False,
    ) -> None:
        self.trainer = trainer
        self.folder = folder
        self._train = trainer.train
        self._hearers = [folder.log, *([on_log] if on_log and folder.writes else [])]
        self._progress = progress and folder.writes
        self._group = trainer.group
        self._stop = False
        self._saved: int | None = None
        self._row: dict[str, Any] = {}
        self._picture: str | None = None
        self._seconds, self._since = 0.0, 0.0

    def run(self, resume: Mapping[str, Any] | None = None) -> Outcome:
        """Trains, from a checkpoint's state if one is given.

        Raises:
            Diverged: A loss became NaN or infinite; the last good checkpoint is named.
            BadCheckpoint: The state does not fit.
            SaveFailed: The disk refused; the last checkpoint is intact.
        """
        label = "training" if self._group.first else f"training/{self._group.rank}"
        with seeded(self._train.seed, label), _board(self.folder) as board, self._signals():
            self._hearers += [board] if board else []
            if resume is not None:
                self.trainer.load_state_dict(resume)
                self._saved = self.trainer.iteration
                self._seconds = resume.get("seconds", 0.0)
                self.folder.forget_after(self.trainer.iteration)
                self.folder.write_recipe(self.trainer.composition.recipe)
            self.trainer.refuse_difference(data=True)
            self.folder.write_state("running", self.trainer.iteration)
            try:
                return self._loop()
            except BaseException as error:
                with contextlib.suppress(SaveFailed):
                    self.folder.write_state("failed", self.trainer.iteration)
                if isinstance(error, torch.OutOfMemoryError):
                    raise OutOfMemory(
                        "the device has too little memory for this recipe; use a smaller --batch-size, or "
                        f"--set train.micro_batches=2 or more to split it. ({str(error).splitlines()[0]})"
                    ) from error
                raise
            finally:
                self.trainer.release()

    def _loop(self) -> Outcome:
        first, start = self.trainer.iteration, time.monotonic()
        stop = Stop(self._group, first)
        with self._bar(first) as bar:
            self._clock, self._clocked = start, first
            self._since = start
            while self.trainer.iteration < self._train.steps and not stop.agreed(self._stop, self.trainer.iteration):
                step = self.trainer.iteration + 1
                last = step == self._train.steps
                due_log = last or step % self._train.log_every == 0
                self.trainer.iterate(estimate=due_log)
                bar.update()
                if due_log:
                    self._log(bar)
                if last or _due(step, self._train.sample_every):
                    with self._aside():
                        self._draw()
                if last or _due(step, self._train.checkpoint_every):
                    self._save()
        return self._end(first, time.monotonic() - start)

    def _end(self, first: int, seconds: float) -> Outcome:
        step = self.trainer.iteration
        state = "finished" if step >= self._train.steps else "interrupted"
        if self._saved != step:
            self._save()
        self.folder.write_state(state, step)
        self._group.wait()
        distance = self.trainer.composition.parts.distance
        return Outcome(
            state,
            step,
            seconds,
            (step - first) / max(seconds, 1e-9),
            self._row.get("estimate"),
            distance.estimates if distance is not None else "",
            self._picture,
        )

    def _log(self, bar: Any) -> None:
        means = self._finite(self.trainer.flush)
        now, step = time.monotonic(), self.trainer.iteration
        rate = (step - self._clocked) / max(now - self._clock, 1e-9)
        self._clock, self._clocked = now, step
        self._row = {"step": step, **means}
        if self.trainer.estimate is not None:
            self._row["estimate"] = float(self.trainer.estimate)
        self._row |= {"iterations_per_second": round(rate, 3), "time": round(time.time(), 3)}
        for hear in self._hearers:
            hear(self._row)
        bar.set_postfix({k: f"{v:.3g}" for k, v in means.items() if "loss" in k}, refresh=False)

    def _finite(self, look: Callable[[], Result]) -> Result:
        try:
            return look()
        except Diverged as error:
            steps = self.folder.steps()
            last = f"the last good checkpoint is step {steps[-1]}" if steps else "there is no checkpoint yet"
            raise Diverged(
                f"{error} The run {self.folder.path} has stopped; {last}. Try a lower learning rate "
                "(--set train.optimizer.lr=...), a stronger constraint or another seed."
            ) from error

    def _save(self) -> None:
        self._finite(self.trainer.refuse_divergence)
        self.trainer.refuse_difference()
        with self._aside():
            state = {**self.trainer.state_dict(), "seconds": self._seconds}
            self.folder.save(self.trainer.iteration, state, self._train.keep)
        self._saved = self.trainer.iteration

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Something that is not training, and is left out of its seconds."""
        self._seconds += time.monotonic() - self._since
        try:
            yield
        finally:
            self._since = time.monotonic()

    def _draw(self) -> None:
        composition = self.trainer.composition
        if not self.folder.writes or "generator" not in composition.networks or not drawable(composition.dataset):
            return
        path = self.folder.samples / f"step-{self.trainer.iteration:08d}.png"
        save_picture(path, self._samples(PICTURED[composition.dataset.kind]), composition.dataset)
        self._picture = str(path)

    @torch.no_grad()
    def _samples(self, n: int) -> torch.Tensor:
        """The same latent points in every picture, drawn apart from the training's own random numbers."""
        generator: Any = self.trainer.generator
        draws = Draws(derived(self._train.seed, "pictures"), self.trainer.composition.device)
        z = generator.latent(n, draws)
        training = generator.training
        generator.eval()
        classes = self.trainer.composition.dataset.classes
        rows = torch.arange(n, device=draws.device) * (classes or 1) // n
        samples: torch.Tensor = generator(z, rows) if is_conditional(generator) else generator(z)
        generator.train(training)
        return samples

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

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C, or request to terminate, ends the run after its iteration; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def stop(number: int, frame: Any) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


@contextlib.contextmanager
def _board(folder: Folder) -> Iterator[Callable[[Row], None] | None]:
    """Writes metrics for TensorBoard as well, where that is installed."""
    if not folder.writes:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield None
        return
    with SummaryWriter(str(folder.path / "tensorboard")) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name not in ("step", "time"):
                    writer.add_scalar(name, value, row["step"])

        yield write
