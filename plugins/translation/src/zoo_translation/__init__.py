"""Image-to-image translation: networks that make images of images, and pix2pix (Isola et al., 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Critic, Generator, Objective, Variant, hookimpl, read_variants
from zoo_translation.patch import PatchCritic
from zoo_translation.reconstruction import Reconstruction
from zoo_translation.resnet import ResNetTranslator
from zoo_translation.unet import UNet


@hookimpl
def generator() -> Mapping[str, Callable[..., Generator]]:
    """Both translators."""
    return {"resnet-translator": ResNetTranslator, "unet": UNet}


@hookimpl
def critic() -> Mapping[str, Callable[..., Critic]]:
    """The critic of patches."""
    return {"patch": PatchCritic}


@hookimpl
def objective() -> Mapping[str, Callable[..., Objective]]:
    """Likeness to the real sample of the same pair."""
    return {"reconstruction": Reconstruction}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
