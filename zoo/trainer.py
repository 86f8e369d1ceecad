"""The generic trainer: runs phases, and knows no method's name."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from zoo.averaging import Average
from zoo.batch import Batch, mean_records
from zoo.captured import Evaluated, Moves, set_gradients
from zoo.checkpoints import FORMAT
from zoo.components import ArrayDataset, Distance, LipschitzConstraint, Objective, Translations, overrides
from zoo.compose import Composition
from zoo.data import Batches
from zoo.devices import derived, global_states, set_global_states
from zoo.draws import Draws
from zoo.errors import BadCheckpoint, Diverged
from zoo.gradients import GradientSource
from zoo.history import NORM, History
from zoo.losses import Due
from zoo.normalising import normalise_together
from zoo.optimizers import Optimizers
from zoo.precision import COSINE, ERROR
from zoo.procedures import Phase
from zoo.sets import Gathered
from zoo.sharing import Sharing
from zoo.trainable import Trainable


class Trainer:
    """Trains a composition, an iteration at a time. Nothing in an iteration waits for the device.

    Args:
        composition: What is trained.
        say: Is told what a user should know, such as what cannot be compiled; prints to stderr if not given.

    Raises:
        BadRecipe: A phase has nothing to train, or `train.optimizers` names no phase.
    """

    def __init__(self, composition: Composition, say: Callable[[str], None] | None = None) -> None:
        self.composition = composition
        self.group = composition.group
        self.say = (say or _say) if self.group.first else _say_nothing
        self.train = composition.training.train
        self.iteration = 0
        self.estimate: Tensor | None = None
        """The distance's estimate in the last critic step of the last iteration that was asked for one."""
        seed, device = self.train.seed, composition.device
        self.draws = Draws(derived(seed, "noise"), device, self.group)
        self.batches = Batches(composition.drawn, device, derived(seed, "data"), self.train.flip, self.group)
        self.schedule_steps = self.train.schedule_steps or self.train.steps
        self._source = GradientSource(composition, self.draws, self.batches, self.say)
        self.trainable = Trainable(composition.networks, composition.phases, self.schedule_steps)
        self.optimizers = Optimizers(composition.training, self.trainable.layers, self._source.records_steps)
        self._counts = {phase.name: 0 for phase in composition.phases}
        self._listeners = [c for c in composition.parts.stateful if _listens(c)]
        self._history = History(device)
        generator, decay = composition.networks.get("generator"), self.train.average
        self.average = Average(generator, decay) if generator is not None and decay else None
        self._sharing = Sharing(self.group, self.train.micro_batches)
        self._together = normalise_together(composition.networks.values(), self.group) if self.group.size > 1 else []
        for network in composition.networks.values():
            network.train()

    @property
    def generator(self) -> nn.Module:
        """The generator that samples are drawn from: the averaged one if there is one."""
        return self.composition.networks["generator"] if self.average is None else self.average.network

    def iterate(self, estimate: bool = False) -> None:
        """One pass over the phases. `estimate` asks for the distance's estimate and the norms of gradients as well."""
        self.optimizers.set_rates(self.iteration, self.schedule_steps)
        self._source.fade_noise(self.iteration, max(1, round(self.train.noise_until * self.schedule_steps)))
        for phase in self.composition.phases:
            if self.iteration % phase.every == 0:
                if self._compares_precision():
                    self._note_agreement(phase)
                for step in range(phase.steps):
                    self._step(phase, estimate and step == phase.steps - 1)
        if self.average is not None:
            self.average.move(self.iteration)
        self.iteration += 1

    def flush(self) -> dict[str, float]:
        """The mean of each loss term and record since the last call; the only place that waits for the device.

        Raises:
            Diverged: One of them is NaN or infinite; the message names the first iteration, the phase and the term.
            ProcessesDiffer: Some processes have other terms or records than others.
        """
        self._sharing.refuse_uneven()
        means = self._history.means()
        self._history.clear()
        return means

    def refuse_divergence(self) -> None:
        """Raises Diverged if a loss since the last flush, or a weight, is NaN or infinite; as `flush`."""
        self._sharing.refuse_uneven()
        self._history.means()
        for name, network in self.composition.networks.items():
            if not all(bool(p.isfinite().all()) for p in network.parameters()):
                raise Diverged(f"a weight of the {name} became NaN or infinite before iteration {self.iteration}.")

    def release(self) -> None:
        """Gives the parts back as they came: what was trainable is trainable again."""
        self.trainable.release()
        for handle in self._together:
            handle.remove()

    def refuse_difference(self, data: bool = False) -> None:
        """Raises ProcessesDiffer if the recipe or anything trained, or the data too, differs between processes."""
        if self.group.size == 1:
            return
        dataset, state = self.composition.dataset, self.state_dict()
        things = {"recipe": self.composition.recipe.table(), **state}
        del things["random"]  # Dropout has numbers of its own in each.
        if data and isinstance(dataset, ArrayDataset):
            things["data set"] = {"samples": dataset.samples, "labels": dataset.labels}
        if data and isinstance(dataset, Translations):
            things["sources"] = dataset.sources
        self.group.refuse_difference(dict(flattened(things, "")))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact continuation needs, as plain tensors and numbers."""
        parts, dataset = self.composition.parts, self.composition.dataset
        return {
            "format": FORMAT,
            "data": {
                "shape": list(dataset.shape),
                "classes": dataset.classes,
                "class_names": dataset.class_names,
                "source": None if dataset.source is None else list(dataset.source),
                "paired": dataset.paired,
            },
            "iteration": self.iteration,
            "counts": dict(self._counts),
            "schedule_steps": self.schedule_steps,
            "networks": {name: network.state_dict() for name, network in self.composition.networks.items()},
            "average": None if self.average is None else self.average.network.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "distance": None if parts.distance is None else parts.distance.state_dict(),
            "constraints": {name: c.state_dict() for name, c in parts.constraints.items()},
            "objectives": {name: each.state_dict() for name, each in parts.objectives.items()},
            "draws": self.draws.state_dict(),
            "batches": self.batches.state_dict(),
            "random": global_states(self.composition.device),
            "history": self._history.state_dict(),
            "rate_factor": self.optimizers.rate_factor,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken. Raises BadCheckpoint if it was taken of another composition."""
        try:
            self._load(state)
        except (LookupError, AttributeError, RuntimeError, ValueError, TypeError) as error:
            raise BadCheckpoint(f"the checkpoint does not fit the recipe: {str(error).strip()[:500]}") from error

    def _load(self, state: Mapping[str, Any]) -> None:
        parts = self.composition.parts
        for name, network in self.composition.networks.items():
            network.load_state_dict(state["networks"][name])
        self.optimizers.load_state_dict(state["optimizers"])
        for name, constraint in parts.constraints.items():
            constraint.load_state_dict(state["constraints"][name])
        for name, objective in parts.objectives.items():
            objective.load_state_dict(state["objectives"][name])
        if parts.distance is not None:
            parts.distance.load_state_dict(state["distance"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.iteration, self.schedule_steps = state["iteration"], state["schedule_steps"]
        self.optimizers.rate_factor = state.get("rate_factor", 1.0)
        self._counts = dict(state["counts"])
        self.draws.load_state_dict(state["draws"])
        self.batches.load_state_dict(state["batches"])
        set_global_states(state["random"], self.composition.device, self.group.rank)
        self._history.load_state_dict(state["history"])
        self._source.forget()

    def _inputs(self, phase: Phase) -> list[nn.Parameter]:
        return self.trainable.of(phase, self.iteration)

    def _step(self, phase: Phase, estimate: bool) -> None:
        self.trainable.only(phase, self.iteration)
        due = self._due(phase)
        # What is compiled or recorded is so for the parameters that were trained at first.
        eager = estimate or self.trainable.thaws(phase)
        found = None if eager else self._source.replay(phase, due, lambda: self._moves(phase))
        if found is None:
            self.optimizers[phase.name].zero_grad(set_to_none=True)
            found, batch = self._source.evaluate(phase, due, self._inputs(phase), self.iteration, eager=eager)
            if self.group.size > 1:
                found = self._shared(phase, found)
            if estimate:
                self._note_norm(phase)
            self._move(phase, found)
            if estimate and phase.estimates and batch is not None:
                self._estimate(batch)
        self._counts[phase.name] += 1
        for each in found:
            self._note(phase, each)

    def _shared(self, phase: Phase, found: Sequence[Evaluated]) -> list[Evaluated]:
        """Gradients, terms and records as means over the processes, which have one message for all of them."""
        names = [name for each in found for name in each.names()]
        scalars = [scalar for each in found for scalar in each.scalars()]
        means = iter(self._sharing.means(phase.name, self._inputs(phase), names, scalars))
        return [each.with_scalars(means) for each in found]

    @torch.no_grad()
    def _move(self, phase: Phase, found: Sequence[Evaluated]) -> None:
        """What comes after the gradients: the optimiser's step, the phase's `after`, and what components are told."""
        self.optimizers[phase.name].step()
        if phase.after is not None:
            phase.after()
        if self._listeners:
            records: dict[str, list[Tensor]] = defaultdict(list)
            for each in found:
                for name, values in each.records.items():
                    records[name] += values
            means = mean_records(records)
            for component in self._listeners:
                component.after_step(means)

    def _moves(self, phase: Phase) -> Moves:
        """A phase's step but for its loss, for a recording of it."""
        inputs, optimizer = self._inputs(phase), self.optimizers[phase.name]

        def finish(found: Sequence[Evaluated]) -> None:
            optimizer.zero_grad(set_to_none=True)
            for each in found:
                set_gradients(inputs, each.gradients)
            self._move(phase, found)

        def changes() -> list[Tensor]:
            state = [value for each in optimizer.state.values() for value in each.values()]
            return [*self._source.tensors(phase), *(value for value in state if isinstance(value, Tensor))]

        return Moves(finish, inputs, changes)

    def _compares_precision(self) -> bool:
        every = self.train.precision_every
        return self.train.precision != "32" and every > 0 and self.iteration % every == 0

    def _note(self, phase: Phase, found: Evaluated) -> None:
        for name, term in found.terms.items():
            self._history.add(phase.name, name, self.iteration, term)
        for name, values in found.records.items():
            for value in values:
                self._history.add(phase.name, name, self.iteration, value)

    def _due(self, phase: Phase) -> Due:
        if all(every == 1 for every in phase.lazy.values()):
            return None
        count = self._counts[phase.name]
        return frozenset(term for term, every in phase.lazy.items() if count % every == 0)

    @torch.no_grad()
    def _estimate(self, batch: Batch) -> None:
        distance = self.composition.parts.distance
        heads = batch.heads() if self.group.size == 1 else (Gathered(head, self.group) for head in batch.heads())
        values = [] if distance is None else [distance.estimate(head) for head in heads]
        known = [value for value in values if value is not None]
        self.estimate = torch.stack(known).mean() if known else None

    def _note_agreement(self, phase: Phase) -> None:
        self.trainable.only(phase, self.iteration)
        found = self._source.agreement(phase, self._due(phase), self._inputs(phase), self.iteration)
        for name, value in zip((COSINE, ERROR), found, strict=True):
            self._history.add(phase.name, name, self.iteration, value)

    def _note_norm(self, phase: Phase) -> None:
        gradients = [parameter.grad for parameter in self._inputs(phase) if parameter.grad is not None]
        self._history.add(phase.name, phase.name + NORM, self.iteration, get_total_norm(gradients))


def _say(text: str) -> None:
    print(f"zoo: {text}", file=sys.stderr)


def _say_nothing(text: str) -> None:
    """What all processes find, the first one says."""


def _listens(component: Distance | LipschitzConstraint | Objective) -> bool:
    if isinstance(component, Distance):
        return type(component).after_step is not Distance.after_step
    return overrides(component, "after_step")


def flattened(value: Any, name: str) -> Iterator[tuple[str, Tensor | str]]:
    """The tensors and other values of a nested state, each with its path."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield name, value if isinstance(value, Tensor) else repr(value)
    for key, each in items:
        yield from flattened(each, f"{name}.{key}" if name else str(key))


def parameter_count(networks: Iterable[nn.Module], trained: bool = False) -> int:
    """The number of parameters of several networks; with `trained` without those that are frozen."""
    return sum(p.numel() for network in networks for p in network.parameters() if p.requires_grad or not trained)
