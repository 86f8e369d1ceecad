"""What a classifier says of samples, some at a time, and how often it is right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.components import as_floats

CHUNK = 64
"""Samples are looked at so many at a time."""


@torch.no_grad()
def outputs(network: nn.Module, function: Callable[[Tensor], Tensor], samples: Tensor, device: torch.device) -> Tensor:
    """What a function of a network says of samples, rows one below the other, on the CPU; its mode is kept.

    Args:
        network: Is in evaluation mode meanwhile.
        function: From samples `(n, *shape)` as floats on the device.
        samples: `(N, *shape)`; uint8 images become floats in [-1, 1].
        device: Where the network lies.
    """
    training = network.training
    network.eval()
    try:
        return torch.cat([function(as_floats(part.to(device))).float().cpu() for part in torch.split(samples, CHUNK)])
    finally:
        network.train(training)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of samples whose highest logit is their label's: logits `(N, classes)`, labels `(N,)`."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """The mean cross-entropy in nats."""
    return float(F.cross_entropy(logits.double(), labels))


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """How many samples of each class (rows) were taken for each class (columns): `(classes, classes)`."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).view(classes, classes)
