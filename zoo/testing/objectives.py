"""What objectives are tried with: kinds of data, a small generator and critic, and games between them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.batch import Batch, mean_records
from zoo.components import ArrayDataset, Critic, Generator, Objective, Translations, overrides
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.procedures import About
from zoo.processes import ALONE, Group
from zoo.samples import Scores
from zoo.testing.checks import Failed, Skipped, Subject, require
from zoo.testing.networks import CLASSES
from zoo.testing.parts import SIZE, small_data

CPU = torch.device("cpu")
VECTOR, IMAGE = (6,), (1, 8, 8)
ABOUTS = (
    About(VECTOR, CLASSES),
    About(VECTOR, None),
    About(IMAGE, CLASSES),
    About(IMAGE, None),
    About(IMAGE, None, source=IMAGE, paired=True),
)
"""Samples with labels, without, and such as are made from others."""
PHASES = ("critic", "generator")
RATE = 0.05


class PlayingGenerator(Generator):
    """One hidden layer. It is told what to make where there are labels or sources, and has codes among its latents."""

    latent_dim, categories, continuous = 8, 3, 1

    def __init__(self, about: About) -> None:
        super().__init__()
        self.conditional = about.classes is not None or about.source is not None
        given = torch.Size(about.source).numel() if about.source else about.classes or 0
        self.register_buffer("rows", torch.eye(about.classes or 1), persistent=False)
        size = torch.Size(about.shape).numel()
        self.layers = nn.Sequential(nn.Linear(8 + given, 8), nn.Tanh(), nn.Linear(8, size), nn.Tanh())
        self.shape = about.shape

    def latent(self, n: int, draws: Draws) -> Tensor:
        """A category, a number in [-1, 1), and four normal ones."""
        category = torch.eye(self.categories)[draws.randint(self.categories, n)]
        return torch.cat([category, 2 * draws.rand(n, self.continuous) - 1, draws.randn(n, 4)], dim=1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples."""
        if condition is not None:
            rows: Tensor = condition.flatten(1) if condition.is_floating_point() else self.rows[condition]  # type: ignore[index]
            z = torch.cat([z, rows.to(z.dtype)], dim=1)
        samples: Tensor = self.layers(z)
        return samples.view(-1, *self.shape)


class PlayingCritic(Critic):
    """One hidden layer, which it returns as features."""

    feature_size = 12

    def __init__(self, about: About) -> None:
        super().__init__()
        self.hidden = nn.Linear(torch.Size(about.shape).numel(), 12)
        self.score = nn.Linear(12, 1)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """`(N,)`, with features `(N, 12)`."""
        hidden = torch.tanh(self.hidden(samples.flatten(1)))
        return Scores(self.score(hidden).squeeze(1), hidden)


@dataclass(frozen=True)
class Play:
    """An objective with the networks that it plays with.

    Attributes:
        about: The kind of data.
        generator: Makes the fakes.
        critic: Scores them, and returns features.
        objective: What is tried.
    """

    about: About
    generator: PlayingGenerator
    critic: PlayingCritic
    objective: Objective

    def game(self, phase: str, seed: int = 0, n: int = 16, group: Group = ALONE) -> Batch:
        """A micro-batch of a phase; `group` asks for the rows of one of several processes, of the same batch."""
        real, z, given = (None if t is None else group.rows(t.to(self._dtype)) for t in self._drawn(seed, n))
        condition = given if given is None or self.about.source else given.long()

        def fake() -> Tensor:
            with torch.set_grad_enabled(phase == "generator"):
                samples: Tensor = self.generator(z, condition) if self.generator.conditional else self.generator(z)
            return samples

        return Batch(
            critic=self.critic,
            real=real,
            fake=fake,
            z=z,
            real_condition=condition,
            fake_condition=condition,
            draws=Draws(seed, CPU, group),
            track=phase == "critic",
        )

    def terms(self) -> dict[str, Callable[[Batch], Tensor | None]]:
        """The losses that the objective defines, by phase."""
        losses = {phase: getattr(self.objective, f"{phase}_loss") for phase in PHASES}
        return {phase: loss for phase, loss in losses.items() if overrides(self.objective, f"{phase}_loss")}

    def evaluated(self, seed: int = 0) -> dict[str, Tensor]:
        """Each loss on a batch of its own, without graph."""
        found = {phase: loss(self.game(phase, seed)) for phase, loss in self.terms().items()}
        return {f"{phase}_loss": value.detach() for phase, value in found.items() if value is not None}

    def trained(self, steps: int) -> None:
        """Some steps as the trainer does them: its own parameters in its phases, and `after_step` with the means."""
        own = [p for p in self.objective.parameters() if p.requires_grad]
        for seed in range(steps):
            for phase, loss in self.terms().items():
                batch = self.game(phase, seed)
                value = loss(batch)
                if own and value is not None and value.requires_grad and phase in self.objective.trained_with:
                    gradients = torch.autograd.grad(value, own, allow_unused=True, materialize_grads=True)
                    with torch.no_grad():
                        for parameter, gradient in zip(own, gradients, strict=True):
                            parameter.sub_(RATE * gradient)
                with torch.no_grad():
                    self.objective.after_step(mean_records(batch.records))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.critic.parameters()).dtype

    def _drawn(self, seed: int, n: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Real samples, whose second half is of another kind than the first; latent points; labels or sources."""
        draws = Draws(seed + 50)
        apart = torch.linspace(-0.6, 0.6, n).view(-1, *[1] * len(self.about.shape))
        real = torch.tanh(0.5 * draws.randn(n, *self.about.shape) + apart)
        z = self.generator.latent(n, draws)
        if self.about.source:
            return real, z, torch.tanh(draws.randn(n, *self.about.source) - apart)
        return real, z, None if self.about.classes is None else draws.randint(self.about.classes, n).float()

    def __str__(self) -> str:
        given = f"sources {self.about.source}" if self.about.source else f"classes {self.about.classes}"
        return f"samples {self.about.shape} with {given}"


def play(subject: Subject, about: About, seed: int = 0, features: bool = True) -> Play:
    """The objective, newly built with its default settings, and new networks for one kind of data."""
    with seeded(seed, "generator"):
        generator = PlayingGenerator(about)
    with seeded(seed, "critic"):
        critic = PlayingCritic(about)
    size = critic.feature_size if features else None
    context = {"shape": about.shape, "classes": about.classes, "source": about.source, "paired": about.paired}
    made = subject.make(seed, **context, generator=generator, features=size)
    require(isinstance(made, Objective), f"it makes a {type(made).__name__}, and not a zoo.Objective.")
    return Play(about, generator, critic, made)


@functools.lru_cache(maxsize=64)
def refusals(subject: Subject) -> Mapping[About, Exception | None]:
    """What came of building and asking it once for each kind of data: None, or the error."""
    found: dict[About, Exception | None] = {}
    for about in ABOUTS:
        try:
            play(subject, about).evaluated()
        except Exception as error:
            found[about] = error
        else:
            found[about] = None
    return found


def plays(subject: Subject) -> Iterator[Play]:
    """The objective, newly built for each kind of data that it takes. Raises Skipped if there is none."""
    taken = [about for about, error in refusals(subject).items() if not isinstance(error, IncompatibleParts)]
    if not taken:
        raise Skipped("it refuses every kind of data of the kit; see the check 'builds'.")
    return (play(subject, about) for about in taken)


def playing_data(about: About) -> ArrayDataset:
    """A small data set of a kind."""
    if about.source:
        draws = Draws(3)
        samples, sources = (torch.tanh(draws.randn(SIZE, *shape)) for shape in (about.shape, about.source))
        return Translations(samples, sources)
    labelled = small_data(about.shape)
    return labelled if about.classes else ArrayDataset(labelled.samples)


def value_of(phase: str, value: Tensor | None, at: str) -> Tensor:
    """A loss that is a finite scalar. Raises Failed."""
    if not isinstance(value, Tensor):
        raise Failed(f"{phase}_loss is {value!r} on {at}; return a scalar tensor, or do not define it.")
    require(value.ndim == 0, f"{phase}_loss has shape {tuple(value.shape)} on {at}; it must be a scalar.")
    require(value.isfinite(), f"{phase}_loss is {value.item():g} on {at}.")
    return value
