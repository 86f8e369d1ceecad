"""What the networks share: norms, initial weights, and which images they take."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

from zoo import IncompatibleParts

Norm: TypeAlias = Literal["none", "batch", "instance"]
Init: TypeAlias = Literal["paper", "torch"]

SMALLEST, LARGEST = 8, 1024


def norm_layer(norm: Norm, channels: int, sides: tuple[int, int] = (2, 2)) -> nn.Module:
    """A normalisation of maps `(N, channels, *sides)`; none over an instance of one pixel, which would be nothing."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "instance" and max(sides) > 1:
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.Identity()


def translation(shape: tuple[int, ...], source: tuple[int, ...] | None, network: str) -> tuple[int, int]:
    """The sides (height, width) of images that are to be made of others of the same size.

    Raises:
        IncompatibleParts: There are no sources, they are no images, or not of the samples' size.
    """
    if source is None:
        raise IncompatibleParts(
            f"{network} makes images of images, and these data have no sources; use data that have, such as "
            "--dataset digit-translation or paired-folder:PATH."
        )
    if len(source) != 3 or len(shape) != 3 or source[1:] != shape[1:]:
        raise IncompatibleParts(
            f"{network} makes images of images of the same size, and these samples are {shape} and their sources "
            f"{source}; resize one of them."
        )
    return image_sides(shape, network)


def image_sides(shape: tuple[int, ...], network: str) -> tuple[int, int]:
    """The sides (height, width) of images. Raises IncompatibleParts if samples are none, or out of the limits."""
    if len(shape) != 3:
        raise IncompatibleParts(
            f"{network} is for images (channels, height, width), and these samples have the shape {shape}."
        )
    if min(shape[1:]) < SMALLEST or max(shape[1:]) > LARGEST:
        raise IncompatibleParts(
            f"{network} is for image sides from {SMALLEST} to {LARGEST}, and these are {shape[1]}x{shape[2]}."
        )
    return shape[1], shape[2]


def initialise(network: nn.Module, init: Init) -> None:
    """Weights N(0, 0.02), scales of norms N(1, 0.02) and no biases, as in both papers' code; or torch's own."""
    if init == "torch":
        return
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
