"""One game between a critic and a generator on one batch: what losses and penalties are written in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.samples import Samples, Scores, flat_features, full, mean_over_patches, tensors, tracked

if TYPE_CHECKING:
    from zoo.components import Critic

Where: TypeAlias = Literal["real", "fake", "segment"] | Samples


@dataclass
class _Ledger:
    """What games on one draw share."""

    records: dict[str, list[Tensor]] = field(default_factory=dict)
    differentiated: bool = False


class Batch:
    """One game on one micro-batch. Everything is computed when first asked for, and once.

    Order is always real, fake. Scores are high for real.

    Args:
        critic: Scores samples, or None where the distance needs no critic.
        real: Real samples `(N, *shape)`, or a function that draws them when they are first asked for.
        fake: Generated samples, likewise.
        z: The latent points of the fakes, `(N, latent_dim)`, or a function that draws them.
        real_condition: Class indices `(N,)` or any tensor `(N, ...)`, for conditional critics; or a function.
        fake_condition: The condition that the fakes were made for; or a function.
        witness: `(scores, batch, features) -> (N,)`, what slopes differentiate; the scores unless a distance says
            otherwise. See `Distance.witness`.
        draws: Where `rand` and `randn` come from.
        augment: What the critic is given in the place of points; slopes are by the points themselves.
        track: Whether scored points are tracked, so that slopes reuse the forward that made the scores.
        step: The iteration, from 0; or a function that says it.
        due: The lazy terms that are due in this step; None means all.
        apart: A context in which slopes have a forward of their own, such as one of higher precision; None for the
            forward that made the scores.
    """

    def __init__(
        self,
        *,
        critic: nn.Module | None = None,
        real: Samples | Callable[[], Samples] | None = None,
        fake: Samples | Callable[[], Samples] | None = None,
        z: Tensor | Callable[[], Tensor] | None = None,
        real_condition: Tensor | Callable[[], Tensor | None] | None = None,
        fake_condition: Tensor | Callable[[], Tensor | None] | None = None,
        witness: Callable[[Tensor, Batch, Any], Tensor] | None = None,
        draws: Draws | None = None,
        augment: Callable[[Samples, Draws], Samples] | None = None,
        track: bool = True,
        step: int | Callable[[], int] = 0,
        due: frozenset[str] | None = None,
        apart: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._critic = critic
        self._given: dict[str, Any] = {
            "real": real,
            "fake": fake,
            "z": z,
            "real_condition": real_condition,
            "fake_condition": fake_condition,
        }
        self._witness = witness
        self._draws = draws
        self._augment = augment
        self._track = track
        self._step = step
        self._due = due
        self._apart = apart
        self._points: dict[Hashable, Samples] = {}
        self._shown: dict[Hashable, Samples] = {}
        self._asked: list[Where] = []
        self._scored: dict[Hashable, Scores] = {}
        self._gradients: dict[Hashable, Tensor] = {}
        self._ledger = _Ledger()

    @property
    def records(self) -> dict[str, list[Tensor]]:
        """What components recorded, by name; scalars without graph."""
        return self._ledger.records

    @property
    def step(self) -> int:
        """The iteration, from 0."""
        return self._step() if callable(self._step) else self._step

    @property
    def differentiated(self) -> bool:
        """Whether anybody has asked for slopes or gradients, as a penalty does that works a sample at a time."""
        return self._ledger.differentiated

    @property
    def critic(self) -> Critic:
        """The critic. Raises IncompatibleParts if this game has none."""
        if self._critic is None:
            raise IncompatibleParts(
                "this distance needs a critic; name one with --critic, or a distance of samples themselves."
            )
        return cast("Critic", self._critic)

    @property
    def real(self) -> Samples:
        """Real samples, `(N, *shape)`."""
        return cast(Samples, self._get("real"))

    @property
    def fake(self) -> Samples:
        """Generated samples, `(N, *shape)`."""
        return cast(Samples, self._get("fake"))

    @property
    def z(self) -> Tensor:
        """The latent points of the fakes, `(N, latent_dim)`."""
        return cast(Tensor, self._get("z"))

    @property
    def real_condition(self) -> Tensor | None:
        """What the real samples are conditioned on, `(N,)` or `(N, ...)`."""
        return cast("Tensor | None", self._get("real_condition"))

    @property
    def fake_condition(self) -> Tensor | None:
        """What the fakes were made for, `(N,)` or `(N, ...)`."""
        return cast("Tensor | None", self._get("fake_condition"))

    @property
    def real_scores(self) -> Tensor:
        """The critic's scores of the real samples, `(N,)` or `(N, H, W)`."""
        return self._values(self._score("real"))

    @property
    def fake_scores(self) -> Tensor:
        """The critic's scores of the fakes, `(N,)` or `(N, H, W)`."""
        return self._values(self._score("fake"))

    @property
    def real_features(self) -> Any:
        """What the critic returned as features of the real samples, or None."""
        return self._score("real").features

    @property
    def fake_features(self) -> Any:
        """What the critic returned as features of the fakes, or None."""
        return self._score("fake").features

    @property
    def real_vectors(self) -> Tensor:
        """The real samples as what a distance over sets compares. See `vectors`."""
        return self.vectors("real")

    @property
    def fake_vectors(self) -> Tensor:
        """The fakes as what a distance over sets compares. See `vectors`."""
        return self.vectors("fake")

    def vectors(self, where: Where) -> Tensor:
        """The critic's features of samples, flat, `(N, D)`, at least float32; without a critic, the samples themselves.

        Raises:
            IncompatibleParts: The critic returns no features.
        """
        if self._critic is None:
            flat = [full(each).flatten(1) for each in tensors(self._place(where))]
            return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)
        return flat_features(self._score(where).features)

    def scores(self, points: Samples) -> Tensor:
        """The critic's scores of any points, under the condition of the real samples."""
        return self._values(self._score(points))

    def gradients(self, where: Where) -> Tensor:
        """The gradient of each sample's score by that sample, `(N, D)`, differentiable.

        Args:
            where: `"real"`, `"fake"`, `"segment"` (one uniformly random point on the straight line between each
                real sample and its fake; Gulrajani et al., 2017) or samples of your own.
        """
        self._ledger.differentiated = True
        key = self._key(where)
        if key not in self._gradients:
            self._gradients[key] = self._differentiate(where)
        return self._gradients[key]

    def slopes(self, where: Where) -> Tensor:
        """The norm of each sample's gradient over all its dimensions, `(N,)`, differentiable. See `gradients`."""
        norms: Tensor = torch.linalg.vector_norm(self.gradients(where), dim=1)
        return norms

    def like_scores(self, per_sample: Tensor) -> Tensor:
        """A tensor `(N,)` in the shape of the scores: `(N,)`, or `(N, H, W)` for patches."""
        scores = self.fake_scores
        return per_sample.view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)

    def rand(self, *shape: int) -> Tensor:
        """Uniform draws on [0, 1) from the run's seeded generator."""
        return self._drawer().rand(*shape)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal draws from the run's seeded generator."""
        return self._drawer().randn(*shape)

    def record(self, **scalars: Tensor) -> None:
        """Logs scalars under their names, and hands their means to `after_step`."""
        for name, value in scalars.items():
            self.records.setdefault(name, []).append(value.detach())

    def due(self, term: str) -> bool:
        """Whether a lazy term is to be computed in this step."""
        return self._due is None or term in self._due

    def versus(
        self,
        critic: nn.Module,
        real: Samples | Callable[[], Samples],
        fake: Samples | Callable[[], Samples],
        **conditions: Tensor | None,
    ) -> Batch:
        """Another game on the same draw: other samples or another critic, the same records and random numbers.

        Args:
            critic: Of the other game.
            real: What is real in it, or a function that makes it when it is first asked for.
            fake: Its fakes, likewise.
            conditions: `real_condition` and `fake_condition`, where the critic wants them.
        """
        game = Batch(
            critic=critic,
            real=real,
            fake=fake,
            witness=self._witness,
            draws=self._drawer(),
            augment=self._augment,
            track=self._track,
            step=self._step,
            due=self._due,
            apart=self._apart,
            **conditions,
        )
        game._ledger = self._ledger
        return game

    def heads(self) -> Iterator[Batch]:
        """One game a head of the critic; this game itself if the critic has one head."""
        values = None if self._critic is None else self._score("fake").values
        if not isinstance(values, tuple):
            yield self
            return
        for index in range(len(values)):
            yield _Head(self, index)

    def _get(self, name: str) -> Any:
        value = self._given[name]
        if callable(value):
            value = self._given[name] = value()
        return value

    def _drawer(self) -> Draws:
        if self._draws is None:
            self._draws = Draws(0, tensors(self.fake)[0].device)
        return self._draws

    @staticmethod
    def _key(where: Where) -> Hashable:
        return where if isinstance(where, str) else id(where)

    def _point(self, where: Where) -> Samples:
        """The samples at `where`, tracked if slopes may be asked for; kept, so that `id` stays theirs."""
        key = self._key(where)
        if key not in self._points:
            samples = self._place(where)
            self._points[key] = tracked(samples) if self._track else samples
            self._asked.append(where)
        return self._points[key]

    def _seen(self, where: Where) -> Samples:
        """What the critic is given in the place of points: the same for scores and for slopes."""
        if self._augment is None:
            return self._point(where)
        key = self._key(where)
        if key not in self._shown:
            self._shown[key] = self._augment(self._point(where), self._drawer())
        return self._shown[key]

    def _place(self, where: Where) -> Samples:
        if where == "real":
            return self.real
        if where == "fake":
            return self.fake
        if isinstance(where, str) and where != "segment":
            raise ValueError(f"no samples are called '{where}'; say 'real', 'fake' or 'segment', or give samples.")
        return self._between() if isinstance(where, str) else where

    def _between(self) -> Samples:
        real, fake = tensors(self.real), tensors(self.fake)
        if len(real[0]) != len(fake[0]):
            raise IncompatibleParts(
                f"the segment between real and fake needs as many of each, not {len(real[0])} and {len(fake[0])}."
            )
        share = self.rand(len(real[0]))
        between = tuple(
            torch.lerp(f, r, share.to(r.dtype).view(-1, *[1] * (r.ndim - 1))) for r, f in zip(real, fake, strict=True)
        )
        return between if isinstance(self.real, tuple) else between[0]

    def _score(self, where: Where, apart: bool = False) -> Scores:
        """The scores at `where`; `apart` from those that losses are made of, where slopes are to be so."""
        key = (self._key(where), apart and self._apart is not None)
        if key not in self._scored:
            with self._apart() if apart and self._apart else nullcontext():
                self._scored[key] = self._forward(where)
        return self._scored[key]

    def _forward(self, where: Where) -> Scores:
        points = self._seen(where)
        critic = self.critic
        condition = self._condition(where) if getattr(critic, "conditional", False) else None
        result = critic(points) if condition is None else critic(points, condition)
        return result if isinstance(result, Scores) else Scores(result)

    def _condition(self, where: Where) -> Tensor | None:
        if where == "fake":
            return self.fake_condition
        if where == "segment" and self.real_condition is not self.fake_condition:
            raise IncompatibleParts(
                "a slope on the segment between real and fake needs both to have the same condition; "
                "use sample = 'real' or 'fake' for the penalty."
            )
        return self.real_condition

    def _values(self, scores: Scores) -> Tensor:
        if isinstance(scores.values, tuple):
            raise IncompatibleParts("this critic has several heads; play one game a head with batch.heads().")
        return scores.values

    def _differentiate(self, where: Where) -> Tensor:
        points = self._point(where)
        if not all(tensor.requires_grad for tensor in tensors(points)):
            raise IncompatibleParts("slopes are available in the critic's phase only: the points are not tracked.")
        scored = self._score(where, apart=True)
        values = full(self._values(scored))
        witness = mean_over_patches(values) if self._witness is None else self._witness(values, self, scored.features)
        gradients = torch.autograd.grad(witness.sum(), tensors(points), create_graph=True)
        rows = [full(gradient).flatten(1) for gradient in gradients]
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


class _Head(Batch):
    """One head's view of a game: the forward passes and points are the whole game's."""

    def __init__(self, whole: Batch, index: int) -> None:
        vars(self).update(vars(whole))
        self._whole, self._index = whole, index
        self._gradients = {}

    def _score(self, where: Where, apart: bool = False) -> Scores:
        scores = self._whole._score(where, apart)
        return Scores(scores.values[self._index], scores.features)


def mean_records(records: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """The mean of what was recorded under each name, as scalars on the device."""
    return {name: torch.stack([_at_least_single(v) for v in values]).mean() for name, values in records.items()}


def _at_least_single(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()
