"""Feature matching (Salimans et al., 2016, arXiv 1606.03498, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from torch import Tensor

from zoo import Batch, IncompatibleParts, Objective, Setting, hookimpl

NO_FEATURES = (
    "feature-matching compares features of the critic, and this critic returns none; "
    "take another one, such as --critic mlp or dcgan."
)

expected_failures = {
    "feature-matching:mean-over-samples": "A squared distance of two means belongs to the set and is no mean over it."
}


class FeatureMatching(Objective):
    """|E f(x) - E f(y)|^2 in the generator's step, for the features f that the critic ends in.

    It is zero if and only if the mean features agree; noise of the batch alone is worth (var f(x) + var f(y)) / n on
    average. As a loss of the set it does not add up over parts of a batch, so that the zoo refuses it with
    `train.micro_batches` and with several processes.

    Args:
        features: How many features the critic returns.
        weight: What it is multiplied by.

    Raises:
        IncompatibleParts: The critic returns no features.
    """

    trained_with = ()

    def __init__(
        self,
        features: int | None,
        *,
        weight: Annotated[float, Setting("what the squared distance is multiplied by", ge=0)] = 1.0,
    ) -> None:
        super().__init__()
        if features is None:
            raise IncompatibleParts(NO_FEATURES)
        self.weight = weight

    def generator_loss(self, batch: Batch) -> Tensor:
        """The weighted squared distance, over all features of the batch's means."""
        real, fake = (each.flatten(1).mean(0) for each in (batch.real_features, batch.fake_features))
        distance = (real.detach() - fake).square().sum()
        batch.record(feature_distance=distance)
        return self.weight * distance


@hookimpl
def objective() -> Mapping[str, Callable[..., Objective]]:
    """Feature matching."""
    return {"feature-matching": FeatureMatching}
