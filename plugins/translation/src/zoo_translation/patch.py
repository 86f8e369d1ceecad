"""The patch critic of image-to-image translation (Isola et al., 2017, arXiv 1611.07004, section 3.2.2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from zoo import Critic, IncompatibleParts, Setting
from zoo_translation.layers import Init, Norm, image_sides, initialise, norm_layer


class PatchCritic(Critic):
    """Scores each patch of an image on its own, `(N, H, W)`: convolutions alone, and nothing that joins them.

    Args:
        shape: The images' (channels, height, width), sides from 8.
        source: The sources' shape; None for images that are made of none.
        paired: Whether each sample belongs to its source.
        width: Channels after the first convolution; they double to 8 times as many. The paper's is 64.
        halvings: Convolutions of stride 2. The paper's 3 see patches of 70x70 pixels, 2 of 34x34, 1 of 16x16. Of small
            images fewer are made, so that 2x2 patches are left.
        norm: Normalisation of all but the first and the last convolution; the paper's is batch. Instance leaves the
            scores of a batch independent, as penalties by sample need.
        conditional: Whether it sees the source beside the sample, where there is one. Needs pairs.
        init: The paper's initial weights, N(0, 0.02), or torch's, which learn faster in narrow networks.

    Raises:
        IncompatibleParts: Samples are no images; or it is to see sources that are of another size, or no pairs.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        source: tuple[int, ...] | None,
        paired: bool | None,
        *,
        width: Annotated[int, Setting("channels after the first convolution", ge=1)] = 64,
        halvings: Annotated[int, Setting("convolutions of stride 2", ge=1, le=6)] = 3,
        norm: Annotated[Norm, Setting("normalisation of feature maps")] = "instance",
        conditional: Annotated[bool, Setting("see the source beside the sample, where there is one")] = True,
        init: Annotated[Init, Setting("initial weights")] = "paper",
    ) -> None:
        super().__init__()
        sides = image_sides(shape, "patch")
        self.conditional = conditional and source is not None
        channels = shape[0]
        if source is not None and self.conditional:
            channels += _source_channels(shape, source, paired)
        while min(sides) >> halvings < 4 and halvings > 1:
            halvings -= 1
        widths = [min(width << level, 8 * width) for level in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level, (inputs, outputs) in enumerate(pairwise(widths), 1):
            stride = 2 if level < halvings else 1
            layers += [nn.Conv2d(inputs, outputs, 4, stride, 1), norm_layer(norm, outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        initialise(self, init)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores `(N, H, W)` of images `(N, *shape)`, beside sources `(N, *source)` where it sees these."""
        if self.conditional:
            assert condition is not None
            samples = torch.cat([samples, condition], dim=1)
        scores: Tensor = self.layers(samples)
        return scores.squeeze(1)


def _source_channels(shape: tuple[int, ...], source: tuple[int, ...], paired: bool | None) -> int:
    if not paired:
        raise IncompatibleParts(
            "a critic that sees sources needs pairs, and these sources belong to no samples; "
            "use critic.conditional = false, or a variant for unpaired data."
        )
    if source[1:] != shape[1:]:
        raise IncompatibleParts(f"patch sees sources of the samples' size, and samples are {shape}, sources {source}.")
    return source[0]
