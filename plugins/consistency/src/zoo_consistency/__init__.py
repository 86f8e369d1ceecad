"""The consistency term of CT-GAN (Wei, Gong, Liu, Lu and Wang, 2018, arXiv 1803.01541)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from zoo import (
    Batch,
    IncompatibleParts,
    LipschitzConstraint,
    Setting,
    Variant,
    hookimpl,
    mean_over_patches,
    read_variants,
)

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Consistency(LipschitzConstraint):
    """weight * E max(0, d(D(x'), D(x'')) + feature_weight * d(D_(x'), D_(x'')) - margin) over real samples.

    x' and x'' are a real sample in two passes of the critic with different dropout, D_ are the critic's features. It
    bounds slopes near the data, where a gradient penalty between real and fake seldom looks, and is used beside one.

    Args:
        weight: lambda_2 in the paper.
        margin: M' in the paper.
        feature_weight: Of the features' distance; with 0 the critic needs none.
        form: `paper` has Euclidean distances; `code`, which the authors' figures are from, has squared ones, of
            features the mean square, and its Factor_M is `weight * margin`.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Setting("lambda_2", ge=0)] = 2.0,
        margin: Annotated[float, Setting("M', a distance that is free", ge=0)] = 0.0,
        feature_weight: Annotated[float, Setting("weight of the features' distance", ge=0)] = 0.1,
        form: Annotated[Literal["code", "paper"], Setting("code: squared distances, paper: distances")] = "code",
    ) -> None:
        super().__init__()
        self.weight, self.margin, self.feature_weight, self.form = weight, margin, feature_weight, form

    def parametrize(self, critic: nn.Module) -> None:
        """Changes nothing. Raises IncompatibleParts for a critic without dropout, or without features."""
        if not any(isinstance(module, _DROPOUT) and module.p > 0 for module in critic.modules()):
            raise IncompatibleParts(
                "consistency compares two passes of the critic with different dropout, and this critic has none; "
                "say --set critic.dropout=0.5, or take a critic that has it."
            )
        if self.feature_weight and getattr(critic, "feature_size", None) is None:
            raise IncompatibleParts(
                "consistency compares the critic's features, and this critic returns none (Critic.feature_size); "
                "say --set lipschitz_constraint.consistency.feature_weight=0 to compare scores alone."
            )

    def penalty(self, batch: Batch) -> Tensor:
        """The weighted mean over samples, a scalar."""
        conditions = {"real_condition": batch.real_condition, "fake_condition": batch.fake_condition}
        again = batch.versus(batch.critic, batch.real, batch.fake, **conditions)
        gap = self._distance(mean_over_patches(batch.real_scores - again.real_scores)[:, None])
        if self.feature_weight and batch.real_features is not None:
            difference = batch.real_features - again.real_features
            gap = gap + self.feature_weight * self._distance(difference.flatten(1))
        return self.weight * (gap - self.margin).relu().mean()

    def _distance(self, difference: Tensor) -> Tensor:
        """`(N,)` from differences `(N, D)`."""
        if self.form == "code":
            return difference.square().mean(1)
        distance: Tensor = torch.linalg.vector_norm(difference, dim=1)
        return distance


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """The consistency term."""
    return {"consistency": Consistency}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
