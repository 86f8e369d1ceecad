"""DCGAN (Radford, Metz and Chintala 2015, arXiv 1511.06434), for image sides from 8 to 256.

Resolution halves until the shorter side is between 4 and 7, and at least twice. A side that is not such a base
times a power of two is made larger by the generator and cropped.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from torch import Tensor, nn

from zoo import Critic, Scores, Setting
from zoo_networks.codes import CATEGORIES, CONTINUOUS, CodedGenerator
from zoo_networks.conditions import (
    CRITIC_CONDITION,
    EMBEDDING,
    GENERATOR_CONDITION,
    CriticCondition,
    GeneratorCondition,
    label_code,
    norm_classes,
    projection,
    scored,
    through,
)
from zoo_networks.layers import (
    DROPOUT,
    CentreCrop,
    Norm,
    doubled,
    halved,
    halvings,
    image_shape,
    initialise_as_dcgan,
    norm_layer,
    with_dropout,
)

Init: TypeAlias = Literal["paper", "torch"]
INIT = Setting("paper: weights N(0, 0.02); torch: its defaults, better for narrow networks and tiny images")
_FEWEST_STAGES = 2


class DCGANGenerator(CodedGenerator):
    """Transposed 4x4 convolutions of stride 2, ReLU, and tanh: `(N, latent_dim)` to images in [-1, 1].

    As the paper has it, weights are drawn from N(0, 0.02), scales of norms from N(1, 0.02), biases are 0, and the
    last layer is not normalised.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at the largest resolution that has features; they double per lower one, up to 8 times.
        norm: Normalisation between each convolution and its activation; the paper's is batch.
        latent_dim: Size of the latent points.
        init: Whose initialisation.
        condition: How it is told the class: `concat` puts it one-hot beside the latent points, `embed` a learnt vector,
            `norm` gives every normalisation scales and shifts of the class's own; `none` is for no class.
        embedding: Size of the learnt vector.
        categories: The first entries of latent points, of which one is 1 and the others 0: a code to be learnt.
        continuous: How many entries after these are uniform on [-1, 1). `latent_dim` counts all.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
        BadSetting: `norm` is to be told the class, and there is none; or there are more codes than latent entries.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("channels at the largest resolution", ge=1)] = 64,
        norm: Annotated[Norm, Setting("normalisation before each activation")] = "batch",
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 128,
        init: Annotated[Init, INIT] = "paper",
        condition: Annotated[GeneratorCondition, GENERATOR_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
        categories: Annotated[int, CATEGORIES] = 0,
        continuous: Annotated[int, CONTINUOUS] = 0,
    ) -> None:
        super().__init__()
        self.set_latent(latent_dim, categories, continuous)
        channels, sides = image_shape(shape, "dcgan")
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = latent_dim + (0 if self.code is None else self.code.size)
        normed = norm_classes(condition, norm, classes)
        self.layers = _generator_layers(inputs, channels, sides, width, norm, normed)
        if init == "paper":
            initialise_as_dcgan(self)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images `(N, *shape)` in [-1, 1] from latent points `(N, latent_dim)`."""
        return through(self.layers, z if self.code is None else self.code.beside(z, condition), condition)


class DCGANCritic(Critic):
    """4x4 convolutions of stride 2, LeakyReLU(0.2), and a linear score `(N,)` of the last feature map.

    Initialised as the generator. The first convolution is never normalised, as in the paper. The others are
    not by default, unlike the paper's: `batch` makes a score depend on the other samples of the batch, which
    per-sample gradient penalties cannot take; `layer` and `instance` they can.

    Args:
        shape: The images' (channels, height, width); sides from 8 to 256.
        width: Channels at the largest resolution that has features; they double per lower one, up to 8 times.
        norm: Normalisation between each convolution but the first and its activation; the paper's is batch.
        init: Whose initialisation.
        dropout: Share of the values of each feature map that are left out in training.
        condition: How it is told the class: `concat` puts it one-hot beside the samples (as further channels, each the
            same at all pixels), `embed` a learnt vector, `projection` adds to the score how well features fit the
            class; `none` is for no class.
        embedding: Size of the learnt vector.

    Raises:
        IncompatibleParts: `shape` is not an image's, or a side is out of the limits, or it is to be told
            classes that the data do not have.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("channels at the largest resolution", ge=1)] = 64,
        norm: Annotated[Norm, Setting("normalisation before each activation")] = "none",
        init: Annotated[Init, INIT] = "paper",
        dropout: Annotated[float, DROPOUT] = 0.0,
        condition: Annotated[CriticCondition, CRITIC_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
    ) -> None:
        super().__init__()
        channels, sides = image_shape(shape, "dcgan")
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = channels + (0 if self.code is None else self.code.size)
        self.layers = convolutions(inputs, sides, width, norm, dropout)
        self.feature_size = feature_size(sides, width)
        self.layers.append(nn.Linear(self.feature_size, 1))
        self.projection = projection(condition, classes, self.feature_size)
        if init == "paper":
            initialise_as_dcgan(self)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)` of images `(N, *shape)`, and the last feature map, flat: `(N, feature_size)`."""
        *hidden, score = self.layers
        features = through(hidden, samples if self.code is None else self.code.beside(samples, condition))
        return scored(score, features, self.projection, condition)


def _stages(sides: tuple[int, int]) -> int:
    return max(halvings(sides), _FEWEST_STAGES)


def _widths(width: int, stages: int) -> list[int]:
    """Channels of every feature map, from the largest resolution to the lowest."""
    return [doubled(width, level) for level in range(stages)]


def _generator_layers(
    inputs: int, channels: int, sides: tuple[int, int], width: int, norm: Norm, classes: int | None
) -> nn.Sequential:
    stages = _stages(sides)
    widths = _widths(width, stages)[::-1]
    base = (widths[0], *halved(sides, stages))
    layers = nn.Sequential(nn.Linear(inputs, base[0] * base[1] * base[2]), nn.Unflatten(1, base))
    layers.extend([norm_layer(norm, widths[0], classes), nn.ReLU()])
    for wider, outputs in pairwise(widths):
        layers.append(nn.ConvTranspose2d(wider, outputs, 4, 2, 1, bias=norm == "none"))
        layers.extend([norm_layer(norm, outputs, classes), nn.ReLU()])
    layers.append(nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1))
    return layers.extend([CentreCrop(sides), nn.Tanh()])


def convolutions(channels: int, sides: tuple[int, int], width: int, norm: Norm, dropout: float = 0.0) -> nn.Sequential:
    """Images `(N, channels, *sides)` to their last feature map, flat: `(N, feature_size(sides, width))`."""
    widths = _widths(width, _stages(sides))
    layers = nn.Sequential(nn.Conv2d(channels, widths[0], 4, 2, 1), with_dropout(nn.LeakyReLU(0.2), dropout))
    for inputs, outputs in pairwise(widths):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "none"))
        layers.extend([norm_layer(norm, outputs), with_dropout(nn.LeakyReLU(0.2), dropout)])
    return layers.append(nn.Flatten())


def feature_size(sides: tuple[int, int], width: int) -> int:
    """How many features the last map of `convolutions` has."""
    # A 4x4 convolution of stride 2 rounds odd sides down.
    stages = _stages(sides)
    return _widths(width, stages)[-1] * (sides[0] >> stages) * (sides[1] >> stages)
