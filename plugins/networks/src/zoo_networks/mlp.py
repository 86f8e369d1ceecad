"""Multilayer perceptrons, for vectors and images of any size.

The defaults are the networks of Gulrajani et al. 2017 on two-dimensional data: three hidden layers of 512
ReLUs, He's initialisation in the hidden layers and Glorot's in the last. Only the latent points are larger:
theirs have two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from torch import Tensor, nn

from zoo import BadSetting, Critic, Draws, Scores, Setting
from zoo_networks.codes import CATEGORIES, CONTINUOUS, CodedGenerator
from zoo_networks.conditions import (
    CRITIC_CONDITION,
    EMBEDDING,
    GENERATOR_CONDITION,
    ConditionalNorm,
    CriticCondition,
    GeneratorCondition,
    label_code,
    norm_classes,
    projection,
    scored,
    through,
)
from zoo_networks.fourier import FourierFeatures
from zoo_networks.layers import DROPOUT, Maxout, he, with_dropout, xavier
from zoo_networks.mixture import MixtureLatent

Activation: TypeAlias = Literal["relu", "leaky_relu", "tanh", "elu", "silu", "maxout"]
VectorNorm: TypeAlias = Literal["none", "batch", "layer"]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "maxout": Maxout,
}


class MLPGenerator(CodedGenerator):
    """Fully connected layers from `(N, latent_dim)` to `(N, *shape)`: linear for vectors, tanh for images.

    Args:
        shape: The samples' shape without N; three sizes mean an image, in [-1, 1].
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        activation: Nonlinearity of the hidden layers; leaky_relu has the slope 0.2, maxout is over five linear units.
        norm: Normalisation between each hidden layer and its activation.
        latent_dim: Size of the latent points.
        components: Number of Gaussians that latent points come from; 1 is N(0, I), more are DeLiGAN's, with learnt
            means and widths.
        component_width: The standard deviation that each of several starts with.
        condition: How it is told the class: `concat` puts it one-hot beside the latent points, `embed` a learnt vector,
            `norm` gives every normalisation scales and shifts of the class's own; `none` is for no class.
        embedding: Size of the learnt vector.
        categories: The first entries of latent points, of which one is 1 and the others 0: a code to be learnt.
        continuous: How many entries after these are uniform on [-1, 1). `latent_dim` counts all.

    Raises:
        IncompatibleParts: It is to be told classes that the data do not have.
        BadSetting: `norm` is to be told the class, and there is none; or there are more codes than latent entries.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 128,
        components: Annotated[int, Setting("Gaussians in latent space; learnt, if there are several", ge=1)] = 1,
        component_width: Annotated[float, Setting("standard deviation that each starts with", gt=0)] = 0.2,
        condition: Annotated[GeneratorCondition, GENERATOR_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
        categories: Annotated[int, CATEGORIES] = 0,
        continuous: Annotated[int, CONTINUOUS] = 0,
    ) -> None:
        super().__init__()
        self.set_latent(latent_dim, categories, continuous)
        if components > 1 and categories + continuous:
            raise BadSetting("latent points are a mixture's or begin with codes, not both; leave one of them out.")
        self.mixture = MixtureLatent(components, latent_dim, component_width) if components > 1 else None
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        inputs = latent_dim + (0 if self.code is None else self.code.size)
        normed = norm_classes(condition, norm, classes)
        self.layers = perceptron([inputs, *[width] * depth, math.prod(shape)], activation, norm, classes=normed)
        self.layers.append(nn.Unflatten(1, shape))
        if len(shape) == 3:
            self.layers.append(nn.Tanh())

    def latent(self, n: int, draws: Draws) -> Tensor:
        """`n` latent points, `(n, latent_dim)`; those of a mixture are differentiable by its means and widths."""
        if self.mixture is None:
            return super().latent(n, draws)
        points: Tensor = self.mixture(n, draws)
        return points

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples `(N, *shape)` from latent points `(N, latent_dim)`."""
        return through(self.layers, z if self.code is None else self.code.beside(z, condition), condition)


class MLPCritic(Critic):
    """Fully connected layers from flattened samples `(N, *shape)` to linear scores `(N,)` of the last hidden layer.

    `norm = "batch"` makes a score depend on the other samples of the batch, and per-sample gradient penalties
    cannot take that.

    Args:
        shape: The samples' shape without N.
        width: Units of each hidden layer.
        depth: Number of hidden layers; 0 makes the critic a linear function.
        activation: Nonlinearity of the hidden layers; leaky_relu has the slope 0.2, maxout is over five linear units.
        norm: Normalisation between each hidden layer and its activation.
        waves: Number of random Fourier features beside the samples, for structure much finer than the data's extent.
        dropout: Share of the units of each hidden layer that are left out in training.
        condition: How it is told the class: `concat` puts it one-hot beside the samples (as further channels, each the
            same at all pixels), `embed` a learnt vector, `projection` adds to the score how well features fit the
            class; `none` is for no class.
        embedding: Size of the learnt vector.

    Raises:
        IncompatibleParts: It is to be told classes that the data do not have.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int | None = None,
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
        waves: Annotated[int, Setting("random Fourier features beside the samples", ge=0)] = 0,
        dropout: Annotated[float, DROPOUT] = 0.0,
        condition: Annotated[CriticCondition, CRITIC_CONDITION] = "none",
        embedding: Annotated[int, EMBEDDING] = 32,
    ) -> None:
        super().__init__()
        self.conditional = condition != "none"
        self.code = label_code(condition, classes, embedding)
        coordinates = math.prod(shape)
        self.features = FourierFeatures(coordinates, waves) if waves else None
        inputs = coordinates + 2 * waves + (0 if self.code is None else self.code.size)
        self.feature_size = width if depth else inputs
        self.layers = perceptron([inputs, *[width] * depth, 1], activation, norm, dropout)
        self.projection = projection(condition, classes, self.feature_size)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)` of samples `(N, *shape)`, and the last hidden layer `(N, feature_size)`."""
        points = samples.flatten(1)
        points = points if self.features is None else self.features(points)
        *hidden, score = self.layers
        features = through(hidden, points if self.code is None else self.code.beside(points, condition))
        return scored(score, features, self.projection, condition)


def perceptron(
    sizes: list[int], activation: Activation, norm: VectorNorm, dropout: float = 0.0, classes: int | None = None
) -> nn.Sequential:
    """Linear layers of these sizes, with a normalisation and an activation between them."""
    layers = nn.Sequential()
    pieces = Maxout.pieces if activation == "maxout" else 1
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(he(nn.Linear(inputs, outputs * pieces, bias=norm == "none")))
        layers.extend(
            [_vector_norm(norm, outputs * pieces, classes), with_dropout(_ACTIVATIONS[activation](), dropout)]
        )
    return layers.append(xavier(nn.Linear(sizes[-2], sizes[-1])))


def _vector_norm(norm: VectorNorm, size: int, classes: int | None) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    common = classes is None
    layer = nn.BatchNorm1d(size, affine=common) if norm == "batch" else nn.LayerNorm(size, elementwise_affine=common)
    return layer if classes is None else ConditionalNorm(layer, size, classes)
