"""Generators and critics: a multilayer perceptron, DCGAN, and the ResNet of WGAN-GP and SN-GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Critic, Generator, hookimpl
from zoo_networks.dcgan import DCGANCritic, DCGANGenerator
from zoo_networks.mlp import MLPCritic, MLPGenerator
from zoo_networks.resnet import ResNetCritic, ResNetGenerator

__all__ = ["DCGANCritic", "DCGANGenerator", "MLPCritic", "MLPGenerator", "ResNetCritic", "ResNetGenerator"]


@hookimpl
def generator() -> Mapping[str, Callable[..., Generator]]:
    """The generators, by name."""
    return {"mlp": MLPGenerator, "dcgan": DCGANGenerator, "resnet": ResNetGenerator}


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The critics, by name."""
    return {"mlp": MLPCritic, "dcgan": DCGANCritic, "resnet": ResNetCritic}
