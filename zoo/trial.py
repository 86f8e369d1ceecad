"""A trial of each phase on a few samples before training: its loss is made of scalars, and moves what it trains."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch
from zoo.components import Density
from zoo.compose import Composition
from zoo.dividing import random_condition
from zoo.draws import Draws
from zoo.errors import BadData, IncompatibleParts
from zoo.faults import kind_of
from zoo.losses import PhaseLoss, Real
from zoo.mistakes import broken
from zoo.procedures import Phase
from zoo.samples import tensors
from zoo.sets import OverSet


def try_phases(composition: Composition, n: int) -> None:
    """Computes the loss of every phase on `n` samples, and its gradient, as the first iteration does.

    Raises:
        BrokenPlugin: A component's loss, estimate, record or sample is not what it must be.
        BadData: A density has samples that are not finite.
    """
    for phase in composition.phases:
        draws = Draws(1, composition.device)
        real = functools.partial(_real, composition, n, draws)
        samples = PhaseLoss(composition, phase, n, 1).game(real, draws, None, 0)
        trial = Trial(composition, phase, samples, phase.played(samples))
        terms = trial.terms()
        trial.refuse_records()
        trial.refuse_estimate()
        trial.refuse_untrained(terms)


def not_scalar(value: Any) -> str:
    """What a value is that should be a scalar to minimise or to tell; empty for a scalar."""
    right = isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()
    return "" if right else f"{kind_of(value)}, and not a scalar tensor"


@dataclass(frozen=True)
class Trial:
    """One phase, tried.

    Attributes:
        composition: What is trained.
        phase: The phase.
        samples: The game on samples.
        game: What is played.
    """

    composition: Composition
    phase: Phase
    samples: Batch
    game: Batch

    def terms(self) -> Mapping[str, Tensor]:
        """The terms of the loss. Raises BrokenPlugin unless there is one, and all are scalars."""
        terms: Any = self.phase.loss(self.game)
        if not isinstance(terms, Mapping):
            text = f"the loss of the {self.phase.name} phase returns {kind_of(terms)}, and not a dict of terms by name."
            raise broken(self.composition.procedure, text, "phases")
        for name, value in terms.items() or [("", None)]:
            if wrong := not_scalar(value):
                part, method = self._maker(name, not_scalar)
                own = part is self.composition.procedure
                what = f"the loss of the {self.phase.name} phase" if own else method
                raise broken(part, f"{what} returns {wrong}: {way(value)}.", method)
        return terms

    def refuse_records(self) -> None:
        """Raises BrokenPlugin for what is recorded and no scalar."""
        for name, values in self.game.records.items():
            wrong = [value for value in values if value.ndim > 0]
            if wrong:
                text = f"batch.record({name}=...) takes scalars, and is given {kind_of(wrong[0])}."
                raise broken(self._recorder(name), text)

    @torch.no_grad()
    def refuse_estimate(self) -> None:
        """Raises BrokenPlugin if the distance's estimate is taken in this phase, and is no scalar."""
        distance = distance_of(self.composition)
        for head in self.game.heads() if self.phase.estimates and distance is not None else ():
            value = distance.estimate(head)
            if value is not None and not_scalar(value):
                raise broken(distance, f"estimate returns {not_scalar(value)}.", "estimate")

    def refuse_untrained(self, terms: Mapping[str, Tensor]) -> None:
        """Raises BrokenPlugin for a term that does not depend on what the phase trains.

        A penalty need not: there are critics that have nothing to be penalised. Of a procedure's own terms one must.
        """
        if not self._trained:
            return  # That is refused where optimisers are made; who trains otherwise may not mind.
        unmoved = [name for name, term in terms.items() if self._is_unmoved(term)]
        for name in unmoved:
            part, method = self._maker(name, self._is_unmoved)
            own = part is self.composition.procedure and len(unmoved) < len(terms)
            if not own and name not in self.composition.parts.constraints:
                self._refuse_apart()
                text = f"'{name}' of the {self.phase.name} phase has no gradient by what the phase trains"
                raise broken(part, f"{text}; is something detached, or the wrong thing looked at?", method)

    def _refuse_apart(self) -> None:
        """What is wrong with the networks is no mistake of a loss."""
        if "generator" in self.phase.trains and not any(each.requires_grad for each in tensors(self.samples.fake)):
            text = "its samples have no gradient by its parameters; is there a detach(), a no_grad() or a rounding?"
            raise broken(self.composition.networks["generator"], text, "forward")
        judged = self.phase.estimates and "critic" in self.composition.networks
        features = self.game.fake_features if judged else None
        if isinstance(features, Tensor) and self._is_unmoved(features.sum()):
            raise IncompatibleParts(
                "the critic's features do not change with its parameters, and nothing else is looked at; give it a "
                "hidden layer, or take a distance that looks at scores."
            )

    def _is_unmoved(self, value: Any) -> bool:
        if not value.requires_grad:
            return True
        found = torch.autograd.grad(value, self._trained, retain_graph=True, allow_unused=True)
        return all(gradient is None for gradient in found)

    def _maker(self, term: str, is_wrong: Callable[[Any], object]) -> tuple[Any, str]:
        """Whose method gives a term that is wrong; the procedure's, if nobody else's."""
        parts, distance = self.composition.parts, distance_of(self.composition)
        if term in parts.constraints:
            return parts.constraints[term], "penalty"
        if term in parts.objectives:
            return parts.objectives[term], self._moment
        if distance is not None and any(is_wrong(getattr(distance, self._moment)(h)) for h in self.game.heads()):
            return distance, self._moment
        return self.composition.procedure, "phases"

    @functools.cached_property
    def _trained(self) -> list[nn.Parameter]:
        networks = [self.composition.networks[name] for name in self.phase.trains]
        return [p for network in networks for p in network.parameters() if p.requires_grad]

    def _recorder(self, name: str) -> Any:
        """Whose source names a record; the procedure, if nobody's does."""
        parts = [distance_of(self.composition), *self.composition.parts.stateful]
        return next((part for part in parts if f"{name}=" in _source(part)), self.composition.procedure)

    @property
    def _moment(self) -> str:
        return "generator_loss" if "generator" in self.phase.trains else "critic_loss"


def distance_of(composition: Composition) -> Any:
    """The distance of a plugin, whatever it is wrapped in; None if there is none."""
    distance = composition.parts.distance
    return distance.distance if isinstance(distance, OverSet) else distance


def _real(composition: Composition, n: int, draws: Draws) -> Real:
    """Random samples in the form of the data; of a density its own."""
    dataset = composition.drawn
    condition = random_condition(composition, n, draws)
    if not isinstance(dataset, Density):
        return torch.tanh(draws.randn(n, *dataset.shape)), condition
    samples, right = dataset.sample(n, draws), kind_of(torch.zeros(n, *dataset.shape))
    if kind_of(samples) != right:
        raise broken(dataset, f"sample returns {kind_of(samples)}, and not {right}.", "sample")
    if samples.device.type != draws.device.type:
        text = f"sample returns a tensor on {samples.device}, and not on {draws.device}, where draws makes them."
        raise broken(dataset, text, "sample")
    if not bool(samples.isfinite().all()):
        raise BadData(f"the data set {type(dataset).__name__} has samples with values that are NaN or infinite.")
    return samples, condition


def way(value: Any) -> str:
    """What makes a scalar to minimise of a value."""
    if value is None:
        return "return the loss"
    many = isinstance(value, Tensor) and value.is_floating_point()
    return "take its mean()" if many else "what is minimised needs a gradient"


def _source(part: Any) -> str:
    try:
        return inspect.getsource(type(part))
    except (OSError, TypeError):
        return ""
