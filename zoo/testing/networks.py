"""What networks are tried with: kinds of data, inputs, a small backbone; and how their outputs are compared."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.backbones import Backbone, Stage
from zoo.components import is_conditional
from zoo.devices import seeded
from zoo.draws import Draws
from zoo.errors import ZooError
from zoo.procedures import About
from zoo.samples import Scores
from zoo.settings import context_of
from zoo.testing.checks import Skipped, Subject, require

GREY, COLOURED = (1, 32, 32), (3, 32, 32)
SHAPES = ((2,), (1,), (1, 8, 8), GREY, COLOURED)
"""The shapes of samples that networks are tried with."""
IMAGES = tuple(shape for shape in SHAPES if len(shape) == 3)
TRANSLATED = ((1, 8, 8), (3, 16, 16))
"""The shapes of samples and their sources that networks are tried with which look at sources."""
CLASSES = 3
NETWORKS = ("generator", "critic", "backbone", "network")


class SmallBackbone(Backbone):
    """Two convolutions of stride 2, smooth, for critics that stand on a backbone."""

    stages = (Stage("first", 4, 2), Stage("second", 8, 4))

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Conv2d(shape[0], 4, 3, 2, 1)
        self.second = nn.Conv2d(4, 8, 3, 2, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """One feature map a stage."""
        first = self.first(images).tanh()
        return [first, self.second(first).tanh()]


@dataclass(frozen=True)
class Trial:
    """A network that is built for one kind of data.

    Attributes:
        subject: The component.
        about: The kind of data.
        network: What was built, with its own initial weights.
    """

    subject: Subject
    about: About
    network: Any

    def again(self, seed: int = 0) -> Trial:
        """The same component built once more, under a seed."""
        return Trial(self.subject, self.about, build(self.subject, self.about, seed))

    def inputs(self, n: int, seed: int = 1) -> tuple[Tensor, ...]:
        """`n` latent points for a generator, `n` samples for others; and labels or sources if it is conditional."""
        draws = Draws(seed)
        if self.subject.hook == "generator":
            points = self.network.latent(n, draws)
        else:
            points = torch.tanh(draws.randn(n, *self.about.shape))
        return (points, self.condition(n, draws)) if is_conditional(self.network) else (points,)

    def condition(self, n: int, draws: Draws) -> Tensor:
        """`n` labels; or sources, where the data have these."""
        source = self.about.source
        return draws.randint(CLASSES, n) if source is None else torch.tanh(draws.randn(n, *source))

    def outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Every tensor that it returns for inputs."""
        return tensors_in(self.network(*inputs))

    def evaluated(self, *inputs: Tensor) -> list[Tensor]:
        """Its outputs in evaluation mode, without a graph."""
        self.network.eval()
        with torch.no_grad():
            return self.outputs(*inputs)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are to be trained, by name; without those of the kit's own backbone."""
        lent = {id(p) for m in self.network.modules() if isinstance(m, SmallBackbone) for p in m.parameters()}
        return {n: p for n, p in self.network.named_parameters() if p.requires_grad and id(p) not in lent}

    def __str__(self) -> str:
        labels = f" with {self.about.classes} classes" if "classes" in context_of(self.subject.factory) else ""
        sources = f" with sources {self.about.source}" if self.about.source is not None else ""
        return f"samples {self.about.shape}{sources or labels}"


def build(subject: Subject, about: About, seed: int = 0) -> Any:
    """The component, built for one kind of data with its default settings."""
    context: dict[str, Any] = {"shape": about.shape}
    if subject.hook != "backbone":
        context |= vars(about)
    if "backbone" in context_of(subject.factory) and subject.hook != "backbone":
        with seeded(seed, "backbone"):
            context["backbone"] = SmallBackbone(about.shape)
    return subject.make(seed, **context)


def kinds_of_data(subject: Subject) -> list[About]:
    """The kinds of data that a component is tried with: vectors only for what stands on no backbone and is none."""
    wanted = context_of(subject.factory)
    shapes = IMAGES if subject.hook == "backbone" or "backbone" in wanted else SHAPES
    labels = (None, CLASSES) if "classes" in wanted else (CLASSES,)
    found = [About(shape, classes) for shape in shapes for classes in labels]
    return found + [About(shape, None, shape, True) for shape in TRANSLATED if "source" in wanted]


@functools.lru_cache(maxsize=64)
def attempts(subject: Subject) -> Mapping[About, Exception | None]:
    """What came of building a component for each kind of data: None, or the error."""
    found: dict[About, Exception | None] = {}
    for about in kinds_of_data(subject):
        try:
            network = _prototype(subject, about)
        except Exception as error:
            found[about] = error
        else:
            missing = is_conditional(network) and about.classes is None and about.source is None
            found[about] = ZooError("it is conditional, and these data have no labels.") if missing else None
    return found


def taken(subject: Subject) -> list[About]:
    """The kinds of data that a component takes; large grey images only where it takes no coloured ones.

    Backbones, which are large, are tried with one kind.
    """
    usable = [about for about, error in attempts(subject).items() if error is None]
    if not usable:
        raise Skipped("it builds for none of the kit's kinds of data; see the check 'builds'.")
    if subject.hook == "backbone":
        return usable[-1:]
    coloured = any(about.shape == COLOURED for about in usable)
    return [about for about in usable if not (coloured and about.shape == GREY)]


def trials(subject: Subject) -> Iterator[Trial]:
    """The component, built for each kind of data that it takes."""
    return (Trial(subject, about, _copy(subject, about)) for about in taken(subject))


@functools.lru_cache(maxsize=8)
def _prototype(subject: Subject, about: About) -> Any:
    return build(subject, about)


def _copy(subject: Subject, about: About) -> Any:
    """A copy of what was built before, as that is quicker; built anew where it cannot be copied."""
    try:
        return copy.deepcopy(_prototype(subject, about))
    except Exception:
        return build(subject, about)


def tensors_in(result: Any) -> list[Tensor]:
    """Every tensor of a network's result: alone, in Scores, or in lists, tuples and dicts."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Scores):
        return tensors_in(result.values) + tensors_in(result.features)
    if isinstance(result, Mapping):
        return tensors_in(list(result.values()))
    return [t for each in result for t in tensors_in(each)] if isinstance(result, (tuple, list)) else []


def weighted_sum(outputs: Sequence[Tensor]) -> Tensor:
    """A scalar whose gradient by every number of the outputs is random; a plain sum of normalised values has none."""
    draws = Draws(5)
    terms = [(t * draws.randn(*t.shape).to(t.dtype)).sum() for t in outputs if t.is_floating_point()]
    return torch.stack(terms).sum()


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference of two lists of tensors, relative to the largest value; infinite if their forms differ."""
    if [t.shape for t in ours] != [t.shape for t in theirs]:
        return float("inf")
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        one, other = one.detach().double(), other.detach().double()
        if one.numel():
            gap = (one - other).abs().max() / other.abs().max().clamp(min=1e-12)
            worst = max(worst, float(gap.nan_to_num(float("inf"))))
    return worst


def require_finite(values: Sequence[Tensor], what: str) -> None:
    """Raises Failed unless every value is finite."""
    for value in values:
        bad = int((~value.isfinite()).sum())
        require(not bad, f"{what}: {bad} of {value.numel()} values are NaN or infinite.")


def states_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state."""
    return {name: value.clone() for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def changed(before: Mapping[str, Tensor], module: nn.Module) -> list[str]:
    """The names of what is no longer as it was."""
    after = states_of(module)
    names = [name for name in before if name in after and not torch.equal(before[name], after[name])]
    return names + sorted(set(before) ^ set(after))


@contextlib.contextmanager
def other_random_numbers(seed: int) -> Iterator[None]:
    """Python's and NumPy's global random numbers seeded, and put back as they were."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


@contextlib.contextmanager
def drawn_globally(seed: int = 0) -> Iterator[set[str]]:
    """Global random numbers seeded; at the end of the block, the set holds which of them were drawn from."""
    names: set[str] = set()
    with torch.random.fork_rng(devices=[]), other_random_numbers(seed):
        before = _random_states()
        yield names
        after = _random_states()
    names |= {name for name in before if before[name] != after[name]}


def _random_states() -> dict[str, bytes]:
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "torch": bytes(torch.get_rng_state().tolist()),
        "NumPy": repr((numpy["state"]["pos"], numpy["state"]["key"].tobytes())).encode(),
        "Python": repr(random.getstate()).encode(),
    }
