"""The generic trainer: runs phases, and knows no method's name."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch, mean_records
from zoo.captured import Evaluated, set_gradients
from zoo.components import Distance, LipschitzConstraint
from zoo.compose import Composition
from zoo.data import Batches
from zoo.devices import derived, global_states, set_global_states
from zoo.draws import Draws
from zoo.errors import BadCheckpoint, BadRecipe, Diverged
from zoo.folder import FORMAT
from zoo.history import History
from zoo.losses import Due, PhaseLoss, Real
from zoo.procedures import Phase
from zoo.training import factor

if TYPE_CHECKING:
    from zoo.compiled import Compiler


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
        self.say = say or _say
        self.train = composition.training.train
        self.iteration = 0
        self.estimate: Tensor | None = None
        """The distance's estimate in the last critic step of the last iteration that was asked for one."""
        seed, device = self.train.seed, composition.device
        self.draws = Draws(derived(seed, "noise"), device)
        self.batches = Batches(composition.dataset, device, derived(seed, "data"))
        self.schedule_steps = self.train.schedule_steps or self.train.steps
        self._parameters = {
            name: [p for p in network.parameters() if p.requires_grad] for name, network in composition.networks.items()
        }
        self._optimizers = self._build_optimizers()
        self._rates = {
            name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in self._optimizers.items()
        }
        self._counts = {phase.name: 0 for phase in composition.phases}
        self._listeners = [c for c in composition.parts.stateful if _listens(c)]
        self._training: tuple[str, ...] | None = None
        n = self.train.batch_size // self.train.micro_batches
        self._losses = {
            phase.name: PhaseLoss(composition, phase, n, self.train.micro_batches) for phase in composition.phases
        }
        self._compiler = self._start_compiler()
        self._history = History(device)
        self.average = self._start_average()
        for network in composition.networks.values():
            network.train()

    @property
    def generator(self) -> nn.Module:
        """The generator that samples are drawn from: the averaged one if there is one."""
        return self.composition.networks["generator"] if self.average is None else self.average

    def iterate(self, estimate: bool = False) -> None:
        """One pass over the phases. `estimate` asks the distance for its estimate as well."""
        self._set_rates()
        for phase in self.composition.phases:
            if self.iteration % phase.every == 0:
                for step in range(phase.steps):
                    self._step(phase, estimate and step == phase.steps - 1)
        if self.average is not None:
            self._move_average(self.average)
        self.iteration += 1

    def flush(self) -> dict[str, float]:
        """The mean of each loss term and record since the last call; the only place that waits for the device.

        Raises:
            Diverged: One of them is NaN or infinite; the message names the first iteration, the phase and the term.
        """
        means = self._history.means()
        self._history.clear()
        return means

    def refuse_divergence(self) -> None:
        """Raises Diverged if a loss since the last flush, or a weight, is NaN or infinite."""
        self._history.means()
        for name, network in self.composition.networks.items():
            if not all(bool(p.isfinite().all()) for p in network.parameters()):
                raise Diverged(f"a weight of the {name} became NaN or infinite before iteration {self.iteration}.")

    def release(self) -> None:
        """Gives the parts back as they came: what was trainable is trainable again."""
        for parameters in self._parameters.values():
            for parameter in parameters:
                parameter.requires_grad_(True)
        self._training = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact continuation needs, as plain tensors and numbers."""
        parts = self.composition.parts
        return {
            "format": FORMAT,
            "data": {"shape": list(self.composition.dataset.shape), "classes": self.composition.dataset.classes},
            "iteration": self.iteration,
            "counts": dict(self._counts),
            "schedule_steps": self.schedule_steps,
            "networks": {name: network.state_dict() for name, network in self.composition.networks.items()},
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "distance": None if parts.distance is None else parts.distance.state_dict(),
            "constraints": {name: c.state_dict() for name, c in parts.constraints.items()},
            "draws": self.draws.state_dict(),
            "batches": self.batches.state_dict(),
            "random": global_states(self.composition.device),
            "history": self._history.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken. Raises BadCheckpoint if it was taken of another composition."""
        try:
            self._load(state)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise BadCheckpoint(f"the checkpoint does not fit the recipe: {str(error).strip()[:500]}") from error

    def _load(self, state: Mapping[str, Any]) -> None:
        parts = self.composition.parts
        for name, network in self.composition.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, constraint in parts.constraints.items():
            constraint.load_state_dict(state["constraints"][name])
        if parts.distance is not None:
            parts.distance.load_state_dict(state["distance"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.iteration, self.schedule_steps = state["iteration"], state["schedule_steps"]
        self._counts = dict(state["counts"])
        self.draws.load_state_dict(state["draws"])
        self.batches.load_state_dict(state["batches"])
        set_global_states(state["random"], self.composition.device)
        self._history.load_state_dict(state["history"])

    def _build_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        training, phases = self.composition.training, self.composition.phases
        names = [phase.name for phase in phases]
        for name in training.optimizers:
            if name not in names:
                raise BadRecipe(f"train.optimizers.{name}: no phase has that name; the phases: {', '.join(names)}.")
        for phase in phases:
            if not self._inputs(phase):
                raise BadRecipe(f"the {phase.name} phase has nothing to train: all of its parameters are frozen.")
        return {phase.name: training.build(phase.name, self._inputs(phase)) for phase in phases}

    def _inputs(self, phase: Phase) -> list[nn.Parameter]:
        return [parameter for part in phase.trains for parameter in self._parameters[part]]

    def _step(self, phase: Phase, estimate: bool) -> None:
        self._train_only(phase.trains)
        optimizer, due = self._optimizers[phase.name], self._due(phase)
        optimizer.zero_grad(set_to_none=True)
        records: dict[str, list[Tensor]] = defaultdict(list)
        batch: Batch | None = None
        for _ in range(self.train.micro_batches):
            found = None if estimate else self._compiled_gradients(phase, due)
            if found is None:
                batch, terms = self._backward(phase, due)
                found = Evaluated((), terms, batch.records)
            self._note(phase, found, records)
        optimizer.step()
        self._counts[phase.name] += 1
        with torch.no_grad():
            if phase.after is not None:
                phase.after()
            self._tell(phase, records)
            if estimate and phase.estimates and batch is not None:
                self._estimate(batch)

    def _backward(self, phase: Phase, due: Due) -> tuple[Batch, Mapping[str, Tensor]]:
        """One micro-batch, eagerly: adds its gradients to those of the parameters."""
        loss = self._losses[phase.name]
        batch = loss.game(self._draw_real, self.draws, due, self.iteration)
        total, terms = loss(batch)
        total.backward(inputs=self._inputs(phase))
        return batch, terms

    def _compiled_gradients(self, phase: Phase, due: Due) -> Evaluated | None:
        """The same by a compiled function; None where that is not wanted or not possible."""
        if self._compiler is None:
            return None
        inputs = self._inputs(phase)
        found = self._compiler.evaluate(self._losses[phase.name], due, inputs)
        if found is not None:
            set_gradients(inputs, found.gradients)
        return found

    def _note(self, phase: Phase, found: Evaluated, records: dict[str, list[Tensor]]) -> None:
        for name, term in found.terms.items():
            self._history.add(phase.name, name, self.iteration, term.detach())
        for name, values in found.records.items():
            records[name] += values

    def _draw_real(self) -> Real:
        return self.batches.draw(self.train.batch_size // self.train.micro_batches)

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Whatever is computed inside leaves no trace in random numbers, batches and buffers."""
        sources: list[Draws | Batches] = [self.draws, self.batches]
        states = [source.state_dict() for source in sources]
        buffers = [(b, b.clone()) for loss in self._losses.values() for b in loss.buffers()]
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                yield
        finally:
            for source, state in zip(sources, states, strict=True):
                source.load_state_dict(state)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    def _due(self, phase: Phase) -> Due:
        if all(every == 1 for every in phase.lazy.values()):
            return None
        count = self._counts[phase.name]
        return frozenset(term for term, every in phase.lazy.items() if count % every == 0)

    def _train_only(self, trained: tuple[str, ...]) -> None:
        """Freezes all but the named parts; what was frozen when it was built stays so."""
        if trained == self._training:
            return
        for name, parameters in self._parameters.items():
            for parameter in parameters:
                parameter.requires_grad_(name in trained)
        self._training = trained

    def _tell(self, phase: Phase, records: Mapping[str, list[Tensor]]) -> None:
        for name, values in records.items():
            for value in values:
                self._history.add(phase.name, name, self.iteration, value)
        if self._listeners:
            means = mean_records(records)
            for component in self._listeners:
                component.after_step(means)

    def _estimate(self, batch: Batch) -> None:
        distance = self.composition.parts.distance
        values = [] if distance is None else [distance.estimate(head) for head in batch.heads()]
        known = [value for value in values if value is not None]
        self.estimate = torch.stack(known).mean() if known else None

    def _set_rates(self) -> None:
        if self.train.schedule == "constant":
            return
        share = factor(self.train.schedule, self.iteration, self.schedule_steps)
        for name, optimizer in self._optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * share

    def _start_compiler(self) -> Compiler | None:
        if not self.train.compile:
            return None
        # It takes seconds to import, and most runs do without.
        from zoo.compiled import Compiler

        return Compiler(self._draw_real, self.draws, self._undisturbed, self.say)

    def _start_average(self) -> nn.Module | None:
        generator = self.composition.networks.get("generator")
        if generator is None or self.train.average == 0:
            return None
        return copy.deepcopy(generator).requires_grad_(False).eval()

    @torch.no_grad()
    def _move_average(self, average: nn.Module) -> None:
        """Exponential moving average; it follows faster at the start, where the first weights mean nothing."""
        generator = self.composition.networks["generator"]
        decay = min(self.train.average, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - decay)
        for mine, its in zip(average.buffers(), generator.buffers(), strict=True):
            mine.copy_(its)


def _say(text: str) -> None:
    print(f"zoo: {text}", file=sys.stderr)


def _listens(component: Distance | LipschitzConstraint) -> bool:
    base = Distance if isinstance(component, Distance) else LipschitzConstraint
    return type(component).after_step is not base.after_step


def parameter_count(networks: Iterable[nn.Module]) -> int:
    """The number of parameters of several networks."""
    return sum(p.numel() for network in networks for p in network.parameters())
