"""Spectral normalisation (Miyato, Kataoka, Koyama and Yoshida, 2018, arXiv 1802.05957)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo import IncompatibleParts, LipschitzConstraint, Setting, Variant, hookimpl, read_variants

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Embedding, *_CONVOLUTIONS)


class SpectralNorm(LipschitzConstraint):
    """Every trained weight W of the critic is divided by its largest singular value (eq. 8).

    A convolution's W is its kernel as a matrix of (outputs, inputs * height * width), as in the paper. That is not the
    convolution's own norm, which may be larger, by at most the root of height * width for stride 1. So the slope of
    1 is kept by linear layers only, and there as far as the power iteration has come: `guaranteed` is false.

    Args:
        iterations: Power iterations in each forward pass in training mode; the singular vectors are buffers.
    """

    constant = 1.0

    def __init__(
        self, *, iterations: Annotated[int, Setting("power iterations a forward pass", ge=1, le=1000)] = 1
    ) -> None:
        super().__init__()
        self.iterations = iterations

    def parametrize(self, critic: nn.Module) -> None:
        """Normalises the layers; what is frozen or normalised already stays as it is.

        Raises:
            IncompatibleParts: There is no such layer, or a weight is 0, which no factor makes 1.
        """
        layers = dict(_trained(critic))
        zero = [name for name, layer in layers.items() if not bool(layer.get_parameter("weight").any())]
        if not layers or zero:
            why = f"its layer {zero[0]} has weights of 0" if zero else "it has no trained linear or convolutional layer"
            raise IncompatibleParts(f"spectral-norm cannot normalise this critic: {why}; use another constraint.")
        for layer in layers.values():
            spectral_norm(layer, n_power_iterations=self.iterations)
            found = cast(nn.ModuleList, layer.get_submodule("parametrizations.weight"))
            found[0] = _InFull(found[0])


class _InFull(nn.Module):
    """A parametrisation that computes in the weight's own precision, also where layers do not."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            normalised: Tensor = self.inner(weight)
        return normalised


def _trained(critic: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers whose weight is a parameter of their own, and trained; a parametrised one has it elsewhere."""
    for name, module in list(critic.named_modules()):
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if isinstance(module, _LAYERS) and weight is not None and weight.requires_grad:
            yield name, module


@hookimpl
def lipschitz_constraint() -> Mapping[str, Callable[..., LipschitzConstraint]]:
    """Spectral normalisation."""
    return {"spectral-norm": SpectralNorm}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
