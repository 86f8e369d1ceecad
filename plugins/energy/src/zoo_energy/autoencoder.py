"""A critic that is an autoencoder: what it can rebuild, it takes for real."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from zoo import Critic, IncompatibleParts, Scores, Setting


class Autoencoder(Critic):
    """Minus the reconstruction error of each sample as its score, and its code as features.

    Perceptrons go with samples of any shape; convolutions of stride 2, with images whose sides are multiples of
    2^depth. Images are rebuilt through tanh.

    Args:
        shape: The samples' shape without N; three sizes mean an image, in [-1, 1].

    Raises:
        IncompatibleParts: Convolutions are asked for, and the samples are no such images.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        layers: Annotated[Literal["linear", "convolutional"], Setting("what it is made of")] = "linear",
        width: Annotated[int, Setting("units of a hidden layer, or channels of the first one", ge=1)] = 256,
        depth: Annotated[int, Setting("hidden layers on either side of the code", ge=1, le=8)] = 2,
        code: Annotated[int, Setting("size of the code", ge=1)] = 32,
        error: Annotated[
            Literal["squared", "absolute"], Setting("of a sample, a mean over its values; EBGAN's and BEGAN's")
        ] = "squared",
        scale: Annotated[float, Setting("what the error is multiplied by", gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.feature_size = code
        self.error, self.scale = error, scale
        if layers == "linear":
            self.encoder, self.decoder = _perceptrons(shape, [width] * depth, code)
        else:
            self.encoder, self.decoder = _convolutions(shape, [width << level for level in range(depth)], code)
        if len(shape) == 3:
            self.decoder.append(nn.Tanh())

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)`, at most 0, and codes `(N, code)`, of samples `(N, *shape)`."""
        codes: Tensor = self.encoder(samples)
        gaps = (self.decoder(codes) - samples).flatten(1)
        errors = gaps.square() if self.error == "squared" else gaps.abs()
        return Scores(-self.scale * errors.mean(1), codes)


def _perceptrons(shape: tuple[int, ...], widths: list[int], code: int) -> tuple[nn.Sequential, nn.Sequential]:
    sizes = [math.prod(shape), *widths, code]
    encoder = nn.Sequential(nn.Flatten(), *_stack(sizes))
    return encoder, nn.Sequential(*_stack(sizes[::-1]), nn.Unflatten(1, shape))


def _stack(sizes: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ELU()]
    return layers[:-1]


def _convolutions(shape: tuple[int, ...], widths: list[int], code: int) -> tuple[nn.Sequential, nn.Sequential]:
    step = 2 ** len(widths)
    if len(shape) != 3 or any(side % step for side in shape[1:]):
        raise IncompatibleParts(
            f"the autoencoder's {len(widths)} convolutions are for images whose sides are multiples of {step}, and "
            f"these samples have the shape {tuple(shape)}; use critic.layers = 'linear', or another critic.depth."
        )
    sizes, smallest = [shape[0], *widths], (widths[-1], shape[1] // step, shape[2] // step)
    encoder, decoder = nn.Sequential(), nn.Sequential(nn.Linear(code, math.prod(smallest)), nn.Unflatten(1, smallest))
    for inputs, outputs in pairwise(sizes):
        encoder.extend([nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ELU()])
    for inputs, outputs in pairwise(sizes[::-1]):
        decoder.extend([nn.ELU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)])
    return encoder.extend([nn.Flatten(), nn.Linear(math.prod(smallest), code)]), decoder
