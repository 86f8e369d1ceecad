"""The neural distance of two samples: what several critics say, each on samples of its own that were held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tqdm import tqdm

from zoo.devices import derived, resolve_device
from zoo.draws import Draws
from zoo.errors import UsageError
from zoo.measuring import Floor
from zoo.neural.critic import LOOKS, Trained, train_critic
from zoo.neural.game import Game, Plan
from zoo.neural.pair import Pair, all_equal, halves, paired, parts, standardised
from zoo.plugins import Plugins, installed
from zoo.sources import as_samples

SEEDS, FLOORS = 4, 5


@dataclass(frozen=True)
class Verdict:
    """What one critic says, of W1 in the unit of the data.

    Attributes:
        estimate: Its distance's own estimate on the samples that it was not trained on.
        slope: The slope that 99 % of these, and of points between them, do not exceed.
        steepest: The greatest slope there: the measured Lipschitz constant.
        distance: The estimate, which for W1 is divided by `slope`.
        step: The iteration after which it was best.
        stiffness: What its penalty was multiplied by.
    """

    estimate: float
    slope: float
    steepest: float
    distance: float
    step: int
    stiffness: float


@dataclass(frozen=True)
class NeuralDistance:
    """How far apart two samples are, as critics tell that were trained between them.

    Attributes:
        variant: Whose critics they are.
        estimates: What they estimate, such as `W1` or `JS`.
        distance: The mean of what the critics say.
        spread: Its standard deviation over them; 0 of one critic.
        estimate: The mean of their own estimates, before it is corrected by the slope.
        slope: The mean of their slopes.
        steepest: The greatest slope of any.
        constant: The slope that their constraint aims at; None if it aims at none.
        scale: What the data were divided by for the training.
        size: How many samples of each kind there were.
        floor: The distance between halves of the first samples; None if it was not measured.
        critics: What each said.
    """

    variant: str
    estimates: str
    distance: float
    spread: float
    estimate: float
    slope: float
    steepest: float
    constant: float | None
    scale: float
    size: int
    floor: Floor | None
    critics: tuple[Verdict, ...]


def neural_distance(
    variant: str | Path,
    one: Any,
    other: Any,
    *,
    seeds: int = SEEDS,
    floors: int = FLOORS,
    settings: Mapping[str, Any] | None = None,
    own_weight: bool = False,
    seed: int = 0,
    device: str = "auto",
    plugins: Plugins | None = None,
    progress: bool = False,
) -> NeuralDistance:
    """Trains a variant's critic between two samples, and returns the distance that it estimates.

    The data are centred and brought to unit scale. Each critic is trained on half of them; a quarter decides when it
    was best and whether to stop; the last quarter is what the estimate is of. It is therefore nearly a lower bound:
    a critic that does not find the difference says too little.

    W1 is the largest of E f(x) - E f(y) over critics of slope 1, so that estimate is divided by the slope that was
    measured. Penalties that aim at a slope are raised after a fifth of the training, so far that it is exceeded by 5 %
    only (`zoo.neural.critic`).

    Args:
        variant: The name of a variant, or the path of a recipe file.
        one: Samples `(N, *shape)`, an array or a tensor; the real ones, where a distance is not symmetric.
        other: Samples `(M, *shape)`.
        seeds: How many critics are trained. Up to four, no sample is held out twice.
        floors: How many critics are trained for the floor, each between other halves of `one`.
        settings: Single settings by path: `{"train.steps": 500, "critic.width": 128}`.
        own_weight: Leaves penalties as the variant has them.
        seed: What every random number follows from.
        device: `auto`, `cpu`, `cuda` or `mps`.
        plugins: Where names are looked up; the installed ones if None.
        progress: Draws a progress bar on stderr, if that is a terminal.

    Raises:
        UnknownName, BadRecipe, BadSetting: Of the variant or a setting.
        IncompatibleParts: The variant has no critic that can be trained alone, or its distance has no estimate.
        BadData: The samples cannot be compared: too few, of different shapes, not finite, all equal.
        Diverged: A loss became NaN or infinite.

    >>> import torch
    >>> ones = torch.ones(400)
    >>> found = neural_distance("wgan-lp", 0 * ones, 3 * ones, seeds=1, floors=0, own_weight=True, device="cpu",
    ...     settings={"train.steps": 300, "critic.width": 32})
    >>> found.estimates, found.constant, round(found.distance)
    ('W1', 1.0, 3)
    """
    if seeds < 1 or floors < 0:
        raise UsageError(
            f"a neural distance needs one seed or more, and no negative number of floors: {seeds}, {floors}."
        )
    samples = [as_samples(values, what) for values, what in ((one, "the first"), (other, "the second"))]
    pair = paired(samples[0], samples[1], Draws(derived(seed, "order")))
    splits = [halves(samples[0], Draws(derived(seed, f"floor {number}"))) for number in range(floors)]
    assignments = [(path.split("."), value) for path, value in (settings or {}).items()]
    plan = Plan(variant, assignments, resolve_device(device), plugins or installed(), not own_weight)
    with tqdm(
        total=LOOKS * (seeds + floors),
        desc=f"neural:{variant}",
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
        disable=None if progress else True,
        leave=False,
    ) as bar:
        found = _verdicts(plan, pair, seeds, derived(seed, "critics"), bar.update)
        below = [_floor(plan, split, derived(seed, f"floor {n}"), bar.update) for n, split in enumerate(splits)]
    return _result(str(variant), found, len(pair), _floor_of(below, len(samples[0]) // 2))


@dataclass(frozen=True)
class _Verdicts:
    game: Game
    scale: float
    critics: tuple[Verdict, ...]


def _verdicts(plan: Plan, pair: Pair, seeds: int, seed: int, looked: Callable[[], object]) -> _Verdicts:
    scaled, scale = standardised(pair)
    found = [
        train_critic(plan, parts(scaled, turn, seeds), derived(seed, f"turn {turn}"), looked) for turn in range(seeds)
    ]
    return _Verdicts(found[0].game, scale, tuple(_verdict(each, scale) for each in found))


def _verdict(trained: Trained, scale: float) -> Verdict:
    judgement, unit = trained.judgement, scale if trained.game.proportional else 1.0
    return Verdict(
        judgement.estimate * unit,
        judgement.slope,
        judgement.steepest,
        judgement.distance * unit,
        trained.step,
        trained.game.stiffness.factor,
    )


def _floor(plan: Plan, split: Pair, seed: int, looked: Callable[[], object]) -> float:
    if all_equal(split):
        return 0.0
    return _verdicts(plan, split, 1, seed, looked).critics[0].distance


def _floor_of(values: Sequence[float], size: int) -> Floor | None:
    return Floor(fmean(values), _spread(values), size) if values else None


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _result(variant: str, found: _Verdicts, size: int, floor: Floor | None) -> NeuralDistance:
    critics, distances = found.critics, [critic.distance for critic in found.critics]
    return NeuralDistance(
        variant=variant,
        estimates=found.game.distance.estimates,
        distance=fmean(distances),
        spread=_spread(distances),
        estimate=fmean(critic.estimate for critic in critics),
        slope=fmean(critic.slope for critic in critics),
        steepest=max(critic.steepest for critic in critics),
        constant=found.game.constant,
        scale=found.scale,
        size=size,
        floor=floor,
        critics=critics,
    )
