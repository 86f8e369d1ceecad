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

from zoo import Critic, Generator, Setting
from zoo_networks.layers import he, xavier

Activation: TypeAlias = Literal["relu", "leaky_relu", "tanh", "elu", "silu"]
VectorNorm: TypeAlias = Literal["none", "batch", "layer"]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


class MLPGenerator(Generator):
    """Fully connected layers from `(N, latent_dim)` to `(N, *shape)`: linear for vectors, tanh for images.

    Args:
        shape: The samples' shape without N; three sizes mean an image, in [-1, 1].
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        activation: Nonlinearity of the hidden layers; leaky_relu has the slope 0.2.
        norm: Normalisation between each hidden layer and its activation.
        latent_dim: Size of the latent points.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
        latent_dim: Annotated[int, Setting("size of the latent points", ge=1)] = 128,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = _perceptron([latent_dim, *[width] * depth, math.prod(shape)], activation, norm)
        self.layers.append(nn.Unflatten(1, shape))
        if len(shape) == 3:
            self.layers.append(nn.Tanh())

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples `(N, *shape)` from latent points `(N, latent_dim)`."""
        samples: Tensor = self.layers(z)
        return samples


class MLPCritic(Critic):
    """Fully connected layers from flattened samples `(N, *shape)` to linear scores `(N,)`.

    `norm = "batch"` makes a score depend on the other samples of the batch, and per-sample gradient penalties
    cannot take that.

    Args:
        shape: The samples' shape without N.
        width: Units of each hidden layer.
        depth: Number of hidden layers; 0 makes the critic a linear function.
        activation: Nonlinearity of the hidden layers; leaky_relu has the slope 0.2.
        norm: Normalisation between each hidden layer and its activation.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: Annotated[int, Setting("units of each hidden layer", ge=1)] = 512,
        depth: Annotated[int, Setting("hidden layers", ge=0)] = 3,
        activation: Annotated[Activation, Setting("nonlinearity of the hidden layers")] = "relu",
        norm: Annotated[VectorNorm, Setting("normalisation before each activation")] = "none",
    ) -> None:
        super().__init__()
        self.layers = _perceptron([math.prod(shape), *[width] * depth, 1], activation, norm)

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores `(N,)` of samples `(N, *shape)`."""
        scores: Tensor = self.layers(samples.flatten(1))
        return scores.squeeze(1)


def _perceptron(sizes: list[int], activation: Activation, norm: VectorNorm) -> nn.Sequential:
    layers = nn.Sequential()
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(he(nn.Linear(inputs, outputs, bias=norm == "none")))
        layers.extend([_vector_norm(norm, outputs), _ACTIVATIONS[activation]()])
    return layers.append(xavier(nn.Linear(sizes[-2], sizes[-1])))


def _vector_norm(norm: VectorNorm, features: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm1d(features)
    return nn.LayerNorm(features) if norm == "layer" else nn.Identity()
