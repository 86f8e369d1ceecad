"""What the procedures share: the encoder that they want, and how it and the generator are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo import About, Batch, IncompatibleParts, Parts, Want, is_conditional

ALONE = {"classes": None, "source": None, "paired": None}
"""The context of a network that sees no condition."""


def latent_shape(networks: Mapping[str, nn.Module]) -> tuple[int]:
    """The shape of a latent point of the generator. Raises IncompatibleParts if it does not say it."""
    size: Any = getattr(networks["generator"], "latent_dim", None)
    if not isinstance(size, int):
        raise IncompatibleParts("the generator has no latent_dim, which an encoder is built for; set it to a number.")
    return (size,)


def wants_encoder(about: About, **context: Any) -> dict[str, Want]:
    """A generator, and an encoder that makes its latent points of samples.

    Args:
        about: The data.
        context: What the encoder is built with in the place of that.

    Raises:
        IncompatibleParts: The data have sources, which take the place of latent points.
    """
    if about.source is not None:
        raise IncompatibleParts(
            "encoders find the latent points of samples, and these are made from sources; use pix2pix or cyclegan."
        )
    given = {**ALONE, "shape": latent_shape, "source": about.shape, **context}
    return {"generator": Want("generator"), "encoder": Want("generator", given, default="mlp-encoder")}


def encoded(parts: Parts, samples: Tensor, batch: Batch | None = None) -> Tensor:
    """What the encoder makes of samples; one with latent points of its own is noisy in a game, and has zeros else."""
    if not is_conditional(parts["encoder"]):
        raise IncompatibleParts(
            "[parts.encoder] names a generator that looks at no samples; use mlp-encoder or conv-encoder."
        )
    size = int(parts["encoder"].latent_dim)  # type: ignore[arg-type]
    noise = samples.new_zeros(len(samples), size) if batch is None else batch.randn(len(samples), size)
    points: Tensor = parts["encoder"](noise, samples)
    return points


def decoded(parts: Parts, points: Tensor, condition: Tensor | None) -> Tensor:
    """What the generator makes of latent points, under a condition if it wants one."""
    given = (condition,) if is_conditional(parts["generator"]) else ()
    samples: Tensor = parts["generator"](points, *given)
    return samples
