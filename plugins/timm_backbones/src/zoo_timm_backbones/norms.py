"""Batch normalisation in a backbone: found, given statistics, replaced."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

CHANNELS_A_GROUP = 16
"""Fewer would leave nothing of a map of one pixel: its own mean is all that it has."""

BRANCH_SCALE = 0.1
"""With 0, only the shortcuts are left of a random network: ResNet-18 looks at 3.5 % of the pixels of 32x32 images,
and RegNetX-002 scores all digits alike. With 1, the slope of RegNetX-002 is 45; with 0.1 it is 0.8."""


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations of a network, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


def calibrate(network: nn.Module, images: Tensor) -> None:
    """Gives every batch normalisation of a network with random weights the statistics of these images.

    One pass, in which each layer normalises by the statistics that it is given. Scales of zero, with which timm
    starts residual branches, become `BRANCH_SCALE`.

    Args:
        network: Anything that takes images; its mode is kept.
        images: `(N, channels, height, width)`.
    """
    norms = list(batch_norms(network).values())
    training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
        if norm.weight is not None and not norm.weight.any():
            nn.init.constant_(norm.weight, BRANCH_SCALE)
    if norms:
        with torch.no_grad():
            network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)


def group_norms(network: nn.Module) -> None:
    """Replaces batch normalisation where it is in training mode by group normalisation, in place."""
    for name, norm in batch_norms(network).items():
        if norm.training:
            network.set_submodule(name, _GroupNorm(norm))


class _GroupNorm(nn.GroupNorm):
    """Group normalisation with the scale and shift of a batch normalisation, and what timm folds into it."""

    def __init__(self, norm: _BatchNorm) -> None:
        channels = norm.num_features
        groups = math.gcd(channels, max(1, channels // CHANNELS_A_GROUP))
        super().__init__(groups, channels, eps=norm.eps, affine=norm.affine)
        self.load_state_dict(dict(norm.named_parameters()))
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.act(self.drop(super().forward(inputs)))
        return outputs
