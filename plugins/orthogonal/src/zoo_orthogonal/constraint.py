"""Weights that are orthonormal whatever an optimiser does (Anil et al., 2019, arXiv 1811.05381)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from zoo import IncompatibleParts, LipschitzConstraint, Setting

_STEEPER = (
    *(nn.SiLU, nn.GELU, nn.Mish, nn.Hardswish, nn.SELU, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
"""Layers of torch that may be steeper than 1 without having weights."""


class Orthogonal(LipschitzConstraint):
    """Every weight of a critic of linear layers is orthonormal, so that the critic's slope is at most 1.

    A weight W is made orthonormal by Bjorck's iteration W <- 3/2 W - 1/2 W W' W (of first order), whose
    singular values rise to 1 and never above it: few iterations make slopes smaller, and break nothing. Where layers
    do not widen and activations keep the norm of gradients, as GroupSort's do, slopes are 1 everywhere.

    Convolutions are refused: a kernel that is orthonormal as a matrix is no convolution of norm 1. So is whatever else
    has weights, and layers of torch that may be steeper than 1. Of a critic's own code nothing can be known: a forward
    that scales is not noticed.

    Args:
        iterations: Of Bjorck's formula, in each forward pass.
    """

    constant = 1.0
    guaranteed = True

    def __init__(
        self, *, iterations: Annotated[int, Setting("Bjorck iterations a forward pass", ge=1, le=1000)] = 10
    ) -> None:
        super().__init__()
        self.iterations = iterations

    def parametrize(self, critic: nn.Module) -> None:
        """Makes the linear layers' weights orthonormal, and keeps them so.

        Raises:
            IncompatibleParts: The critic has other layers whose slope is not known to be at most 1, or no linear one.
        """
        linear = [module for name, module in critic.named_modules() if _is_linear(name, module)]
        if not linear:
            raise IncompatibleParts("orthogonal needs a critic of linear layers, and this one has none: use groupsort.")
        for layer in linear:
            register_parametrization(layer, "weight", Bjorck(self.iterations))


def _is_linear(name: str, module: nn.Module) -> bool:
    """Whether a module is a linear layer that is trained. Raises IncompatibleParts if its slope may exceed 1."""
    own = list(module.parameters(recurse=False))
    if type(module) is nn.Linear and all(parameter.requires_grad for parameter in own):
        return True
    steep = max(getattr(module, "alpha", 0.0), getattr(module, "negative_slope", 0.0)) > 1
    steep |= isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    if own or steep or isinstance(module, _STEEPER):
        raise IncompatibleParts(
            f"orthogonal bounds the slope of a critic by making linear layers orthonormal, and {name or 'the critic'} "
            f"({type(module).__name__}) has weights of another kind, frozen ones, or may be steeper than 1; "
            "use --critic groupsort, or mlp without norm and dropout."
        )
    return False


class Bjorck(nn.Module):
    """The orthonormal matrix that is nearest to a weight `(outputs, inputs)`, by iteration: `(outputs, inputs)`."""

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with singular values of at most 1; of 1, but for those that were tiny."""
        with torch.autocast(weight.device.type, enabled=False):
            wide = weight if weight.shape[0] <= weight.shape[1] else weight.T
            wide = wide / _largest(wide.detach())
            for _ in range(self.iterations):
                wide = 1.5 * wide - 0.5 * (wide @ wide.T) @ wide
        return wide if weight.shape[0] <= weight.shape[1] else wide.T

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The nearest orthonormal matrix, exactly, so that training starts where few iterations are enough."""
        left, _, right = torch.linalg.svd(weight, full_matrices=False)
        nearest: Tensor = left @ right
        return nearest


def _largest(wide: Tensor) -> Tensor:
    """A bound of the largest singular value, a scalar: at most rows^(1/16) times too large.

    The norm of the singular values of order 16, from squares of the Gram matrix (Delattre et al., 2023, 2305.16173).
    """
    tiny = torch.finfo(wide.dtype).tiny
    size = torch.linalg.matrix_norm(wide).clamp_min(tiny)
    gram = (wide / size) @ (wide / size).T
    for _ in range(2):
        gram = gram @ gram
    bound: Tensor = size * torch.linalg.matrix_norm(gram).pow(1 / 8)
    return bound.clamp_min(tiny)
