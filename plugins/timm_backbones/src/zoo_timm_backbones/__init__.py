"""Backbones from timm for the GAN zoo, and a critic that stands on any backbone."""

from __future__ import annotations

from zoo import Backbone, Critic, hookimpl
from zoo_timm_backbones.heads import BackboneHeads
from zoo_timm_backbones.timm_backbone import TimmBackbone

__all__ = ["BackboneHeads", "TimmBackbone", "backbone", "critic"]


@hookimpl
def backbone() -> dict[str, type[Backbone]]:
    """Offers timm's models by name: `timm:resnet18`."""
    return {"timm": TimmBackbone}


@hookimpl
def critic() -> dict[str, type[Critic]]:
    """Offers heads on the stages of whichever backbone the recipe names."""
    return {"backbone-heads": BackboneHeads}
