"""Encoders: from samples to latent points, or to whatever a procedure wants of a sample.

They are generators of vectors whose sources are samples. They draw nothing, so that their own latent points have no
entries: `encoder(z, samples)` with `z` of shape `(N, 0)`.
"""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from zoo import Generator, IncompatibleParts, Setting
from zoo_networks.dcgan import INIT, Init, convolutions, feature_size
from zoo_networks.layers import Norm, image_shape, initialise_as_dcgan
from zoo_networks.mlp import Activation, VectorNorm, perceptron


class _Encoder(Generator):
    """Layers from sources to `(N, *shape)`: linear at the end for vectors, tanh for images.

    Raises:
        IncompatibleParts: There are no sources.
    """

    latent_dim = 0
    conditional = True

    def __init__(self, shape: tuple[int, ...], source: tuple[int, ...] | None, name: str) -> None:
        super().__init__()
        self.shape, self.source, self.name = shape, self._sources(source, name), name
        self.layers = nn.Sequential()

    @staticmethod
    def _sources(source: tuple[int, ...] | None, name: str) -> tuple[int, ...]:
        if source is None:
            raise IncompatibleParts(
                f"{name} reads samples, and these data have no sources; it is for [parts.encoder] of variants that "
                "train one, such as vae, or for data with sources."
            )
        return source

    def finish(self) -> None:
        """Gives what the last layer returns the shape of the samples."""
        self.layers.append(nn.Unflatten(1, self.shape))
        if len(self.shape) == 3:
            self.layers.append(nn.Tanh())

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Points `(N, *shape)` of samples `(N, *source)`; `z` is `(N, 0)`."""
        made: Tensor = self.layers(condition)
        return made


class MLPEncoder(_Encoder):
    """Fully connected layers of flattened samples.

    Args:
        shape: What it makes, without N; linear for vectors, tanh for images.
        source: The samples' shape without N.
        width: Units of each hidden layer.
        depth: Number of hidden layers; 0 makes it linear.
        activation: Nonlinearity of the hidden layers; leaky_relu has the slope 0.2, maxout is over five linear units.
        norm: Normalisation between each hidden layer and its activation.

    Raises:
        IncompatibleParts: There are no samples that it could read.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        source: tuple[int, ...] | None,
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
    ) -> None:
        super().__init__(shape, source, "mlp-encoder")
        sizes = [math.prod(self.source), *[width] * depth, math.prod(shape)]
        self.layers = nn.Sequential(nn.Flatten(), *perceptron(sizes, activation, norm))
        self.finish()


class ConvEncoder(_Encoder):
    """The convolutions of DCGAN's critic, 4x4 of stride 2, and a linear layer on the last feature map.

    Args:
        shape: What it makes, without N; linear for vectors, tanh for images.
        source: The samples' (channels, height, width); sides from 8 to 256.
        width: Channels of the first convolution; they double per lower resolution, up to 8 times.
        norm: Normalisation of all but the first convolution; batch makes points depend on the rest of the batch.
        init: Whose initialisation.

    Raises:
        IncompatibleParts: There are no images that it could read.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        source: tuple[int, ...] | None,
        *,
        width: Annotated[int, Setting("channels of the first convolution", ge=1)] = 64,
        norm: Annotated[Norm, Setting("normalisation before each activation")] = "none",
        init: Annotated[Init, INIT] = "paper",
    ) -> None:
        super().__init__(shape, source, "conv-encoder")
        channels, sides = image_shape(self.source, "conv-encoder")
        self.layers = convolutions(channels, sides, width, norm)
        self.layers.append(nn.Linear(feature_size(sides, width), math.prod(shape)))
        if init == "paper":
            initialise_as_dcgan(self)
        self.finish()
