"""The residual translator of CycleGAN (Zhu et al., 2017, appendix 7.2), after Johnson et al. (2016)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from zoo import Generator, IncompatibleParts, Setting
from zoo_translation.layers import Init, Norm, initialise, norm_layer, translation


class ResNetTranslator(Generator):
    """A 7x7 convolution, halvings, residual blocks, doublings, a 7x7 convolution, tanh; edges are reflected.

    It has no noise: `latent_dim` is 0, and a source has one result.

    Args:
        shape: The images' (channels, height, width); sides from 8.
        source: The sources' shape, of the same height and width.
        width: Channels after the first convolution; they double with each halving. The paper's is 64.
        halvings: The paper's is 2; fewer keep more of small images.
        blocks: Residual blocks; the paper has 6 for 128 pixels a side and 9 for 256.
        norm: Normalisation of all but the last convolution; the paper's is instance.
        init: The paper's initial weights, N(0, 0.02), or torch's, which learn faster in narrow networks.

    Raises:
        IncompatibleParts: There are no sources, they are no images of the samples' size, or too small to be halved.
    """

    latent_dim = 0
    conditional = True

    def __init__(
        self,
        shape: tuple[int, ...],
        source: tuple[int, ...] | None,
        *,
        width: Annotated[int, Setting("channels after the first convolution", ge=1)] = 64,
        halvings: Annotated[int, Setting("how often the resolution is halved", ge=0, le=4)] = 2,
        blocks: Annotated[int, Setting("residual blocks", ge=1)] = 6,
        norm: Annotated[Norm, Setting("normalisation of feature maps")] = "instance",
        init: Annotated[Init, Setting("initial weights")] = "paper",
    ) -> None:
        super().__init__()
        self.sides = translation(shape, source, "resnet-translator")
        assert source is not None
        if min(self.sides) < 2 ** (halvings + 1):
            raise IncompatibleParts(
                f"resnet-translator reflects the edges of maps of 2 pixels a side or more, and {self.sides} halved "
                f"{halvings} times is less; use fewer generator.halvings."
            )
        widths = [width << level for level in range(halvings + 1)]
        layers: list[nn.Module] = [_reflected(source[0], width, 7), norm_layer(norm, width), nn.ReLU()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), norm_layer(norm, outputs), nn.ReLU()]
        layers += [Residual(widths[-1], norm) for _ in range(blocks)]
        for inputs, outputs in pairwise(widths[::-1]):
            layers += [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1), norm_layer(norm, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _reflected(width, shape[0], 7), nn.Tanh())
        initialise(self, init)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] of sources `(N, *source)`; `z` is `(N, 0)`."""
        assert condition is not None
        height, width = self.sides
        images: Tensor = self.layers(condition)
        return images[..., :height, :width]


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity, `(N, channels, H, W)`."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _reflected(channels, channels, 3),
            norm_layer(norm, channels),
            nn.ReLU(),
            _reflected(channels, channels, 3),
            norm_layer(norm, channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The sum of both."""
        result: Tensor = maps + self.branch(maps)
        return result


def _reflected(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")
