"""Generators, critics, encoders: perceptrons, DCGAN, the ResNet of WGAN-GP and SN-GAN, and R3GAN's networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Critic, Generator, hookimpl
from zoo_networks.biggan import BigGANGenerator
from zoo_networks.dcgan import DCGANCritic, DCGANGenerator
from zoo_networks.encoders import ConvEncoder, MLPEncoder
from zoo_networks.mlp import MLPCritic, MLPGenerator
from zoo_networks.r3gan import R3GANCritic, R3GANGenerator
from zoo_networks.resnet import ResNetCritic, ResNetGenerator

__all__ = [
    "BigGANGenerator",
    "ConvEncoder",
    "DCGANCritic",
    "DCGANGenerator",
    "MLPCritic",
    "MLPEncoder",
    "MLPGenerator",
    "R3GANCritic",
    "R3GANGenerator",
    "ResNetCritic",
    "ResNetGenerator",
]


@hookimpl
def generator() -> Mapping[str, Callable[..., Generator]]:
    """The generators, by name, and the encoders, which are generators whose sources are samples."""
    return {
        "mlp": MLPGenerator,
        "dcgan": DCGANGenerator,
        "resnet": ResNetGenerator,
        "r3gan": R3GANGenerator,
        "biggan": BigGANGenerator,
        "mlp-encoder": MLPEncoder,
        "conv-encoder": ConvEncoder,
    }


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The critics, by name."""
    return {"mlp": MLPCritic, "dcgan": DCGANCritic, "resnet": ResNetCritic, "r3gan": R3GANCritic}
