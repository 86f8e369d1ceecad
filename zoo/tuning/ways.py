"""Ways of tuning: which stages of a backbone are trained, since when, and how fast."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from zoo.classifiers import Classifier
from zoo.errors import BadSetting
from zoo.procedures import Layer

WAYS = "head, last-K (such as last-2), all, gradual or lp-ft"
HEAD = "head"
_LAST = re.compile(r"last-(\d+)")


def layers_of(
    classifier: Classifier, shape: tuple[int, ...], tune: str, decay: float = 1.0, probe: float = 0.5
) -> list[Layer]:
    """What of a classifier is trained.

    Stages are counted from 0; the head counts as one more. Of `depth` stages, stage i learns at the learning rate
    times decay^(depth - i), and the head at the learning rate itself (as Bao et al., 2021, arXiv 2106.08254).

    Args:
        classifier: What is tuned.
        shape: Of an image.
        tune: `head`: a linear probe. `last-K`: the last K stages as well. `all`: every stage. `gradual`: all, one more
            stage from the end in each of as many periods as there are stages and head (Howard and Ruder, 2018, arXiv
            1801.06146, section 3.3). `lp-ft`: the head first, then all (Kumar et al., 2022, arXiv 2202.10054).
        decay: The decay of learning rates from the head down.
        probe: The share of the iterations in which `lp-ft` trains the head alone.

    Raises:
        BadSetting: There is no such way, or the backbone has fewer stages.
    """
    names = [stage.name for stage in classifier.backbone.stages]
    since = starts(tune, names, probe)
    stages = classifier.backbone.parameters_by_stage(shape)
    depth = len(names)
    _refuse_frozen(tune, names, stages, since)
    tuned = [
        Layer(name, parameters, decay ** (depth - number), start)
        for number, (name, parameters, start) in enumerate(zip(names, stages, since, strict=True))
        if start is not None
    ]
    return [*tuned, Layer(HEAD, _others(classifier, stages))]


def _refuse_frozen(
    tune: str, names: Sequence[str], stages: Sequence[Sequence[nn.Parameter]], since: Sequence[float | None]
) -> None:
    for name, parameters, start in zip(names, stages, since, strict=True):
        if start is not None and parameters and not any(parameter.requires_grad for parameter in parameters):
            raise BadSetting(
                f"procedure.tune = '{tune}' trains the stage {name}, and backbone.freeze or train.freeze keeps it "
                "as it is; say one of them."
            )


def starts(tune: str, stages: Sequence[str], probe: float = 0.5) -> list[float | None]:
    """The share of the iterations after which each stage is trained; None for those that never are.

    Raises:
        BadSetting: There is no such way, or there are fewer stages.
    """
    depth = len(stages)
    if tune == HEAD:
        return [None] * depth
    if tune == "all":
        return [0.0] * depth
    if tune == "lp-ft":
        return [probe] * depth
    if tune == "gradual":
        return [(depth - number) / (depth + 1) for number in range(depth)]
    match = _LAST.fullmatch(tune)
    if match is None:
        raise BadSetting(f"procedure.tune is '{tune}'; the ways are {WAYS}.")
    last = int(match[1])
    if not 1 <= last <= depth:
        raise BadSetting(
            f"procedure.tune is '{tune}', and the backbone has {depth} stages: {', '.join(stages)}. "
            f"Take last-1 to last-{depth}, or {HEAD} for none of them."
        )
    return [None] * (depth - last) + [0.0] * last


def _others(classifier: nn.Module, stages: Sequence[Sequence[nn.Parameter]]) -> list[nn.Parameter]:
    """The parameters that belong to no stage."""
    known = {id(parameter) for stage in stages for parameter in stage}
    known |= {id(p) for p in classifier.backbone.parameters()}  # type: ignore[union-attr]
    return [parameter for parameter in classifier.parameters() if id(parameter) not in known]
