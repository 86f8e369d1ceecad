"""Checks of classifiers, which are networks."""

from __future__ import annotations

from typing import Any

import torch

from zoo.classifiers import Classifier
from zoo.errors import IncompatibleParts
from zoo.procedures import About
from zoo.testing.checks import Failed, Skipped, Subject, check, require
from zoo.testing.networks import CLASSES, GREY, IMAGES, build, require_finite


def _classifier(subject: Subject, shape: tuple[int, ...]) -> Any:
    network = build(subject, About(shape, CLASSES))
    if not isinstance(network, Classifier):
        raise Skipped("it is no zoo.Classifier.")
    return network


@check("network")
def logits(subject: Subject) -> None:
    """A classifier's logits are finite floats `(N, classes)`, and those of its head for its features `(N, F)`."""
    for shape in IMAGES:
        network, images = _classifier(subject, shape), torch.tanh(torch.randn(3, *shape))
        network.eval()
        features, found = network.features(images), network(images)
        require(features.ndim == 2 and len(features) == 3, f"features of 3 images have shape {tuple(features.shape)}.")
        require(
            tuple(found.shape) == (3, CLASSES),
            f"logits of 3 images and {CLASSES} classes have shape {tuple(found.shape)}; it must be (3, {CLASSES}).",
        )
        require_finite([found], f"logits of images {shape}")
        gap = float((network.head(features) - found).detach().abs().max())
        require(
            gap < 1e-5, f"the head's logits of its features differ from its own by {gap:.2g}: leave forward as it is."
        )


@check("network")
def only_the_head_is_its_own(subject: Subject) -> None:
    """A classifier trains nothing outside its backbone and its head, so that features can be computed once."""
    network = _classifier(subject, GREY)
    known = {id(p) for part in (network.backbone, network.head) for p in part.parameters()}
    others = [name for name, parameter in network.named_parameters() if id(parameter) not in known]
    require(not others, f"{', '.join(others[:3])} is neither in `backbone` nor in `head`; put it in the head.")


@check("network")
def needs_labels(subject: Subject) -> None:
    """A classifier of samples without labels is refused with IncompatibleParts."""
    _classifier(subject, GREY)
    try:
        build(subject, About(GREY, None))
    except IncompatibleParts:
        return
    raise Failed("it builds for samples without labels; raise zoo.IncompatibleParts if classes is None.")
