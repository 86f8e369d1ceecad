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

from zoo import Critic, Draws, Generator, Scores, Setting
from zoo_networks.fourier import FourierFeatures
from zoo_networks.layers import DROPOUT, Maxout, he, through, with_dropout, xavier
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


class MLPGenerator(Generator):
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
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 128,
        components: Annotated[int, Setting("Gaussians in latent space; learnt, if there are several", ge=1)] = 1,
        component_width: Annotated[float, Setting("standard deviation that each starts with", gt=0)] = 0.2,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.mixture = MixtureLatent(components, latent_dim, component_width) if components > 1 else None
        self.layers = _perceptron([latent_dim, *[width] * depth, math.prod(shape)], activation, norm)
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
        samples: Tensor = self.layers(z)
        return samples


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
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0, le=1000)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
        waves: Annotated[int, Setting("random Fourier features beside the samples", ge=0)] = 0,
        dropout: Annotated[float, DROPOUT] = 0.0,
    ) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.features = FourierFeatures(inputs, waves) if waves else None
        self.feature_size = width if depth else inputs + 2 * waves
        self.layers = _perceptron([inputs + 2 * waves, *[width] * depth, 1], activation, norm, dropout)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores `(N,)` of samples `(N, *shape)`, and the last hidden layer `(N, feature_size)`."""
        points = samples.flatten(1)
        *hidden, score = self.layers
        features = through(hidden, points if self.features is None else self.features(points))
        return Scores(score(features).squeeze(1), features)


def _perceptron(sizes: list[int], activation: Activation, norm: VectorNorm, dropout: float = 0.0) -> nn.Sequential:
    layers = nn.Sequential()
    pieces = Maxout.pieces if activation == "maxout" else 1
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(he(nn.Linear(inputs, outputs * pieces, bias=norm == "none")))
        layers.extend([_vector_norm(norm, outputs * pieces), with_dropout(_ACTIVATIONS[activation](), dropout)])
    return layers.append(xavier(nn.Linear(sizes[-2], sizes[-1])))


def _vector_norm(norm: VectorNorm, features: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm1d(features)
    return nn.LayerNorm(features) if norm == "layer" else nn.Identity()
