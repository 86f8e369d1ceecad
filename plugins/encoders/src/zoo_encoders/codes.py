"""The adversarial autoencoder (Makhzani et al., 2015, arXiv 1511.05644): a critic of codes in the place of the KL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from torch import Tensor

from zoo import About, Batch, Parts, Phase, Procedure, Setting, Want, critic_phase, generator_loss
from zoo_encoders.encoding import ALONE, decoded, encoded, latent_shape, wants_encoder


class AdversarialCodes(Procedure):
    """Encoder and generator rebuild samples; a critic, for any distance, makes codes be like latent points.

    To the critic latent points of the generator are real, and codes of samples are fakes; the encoder is what makes
    them. An encoder with latent points of its own is noisy (section 2.1: a universal approximator). A conditional
    generator is given the class, so that codes need not tell it (section 4). Any prior will do that the generator
    draws from. `rebuilding_error` is logged.

    Args:
        reconstruction: The weight of the squared error, summed over a sample's values, that is rebuilt.
    """

    def __init__(
        self, *, reconstruction: Annotated[float, Setting("weight of the squared error of a sample", gt=0)] = 1.0
    ) -> None:
        self.reconstruction = reconstruction

    def wants(self, about: About) -> Mapping[str, Want]:
        """A generator, an encoder, and a critic of latent points."""
        return {**wants_encoder(about), "critic": Want("critic", {**ALONE, "shape": latent_shape})}

    def phases(self, parts: Parts) -> list[Phase]:
        """A step of both that rebuild, one of the critic, one of the encoder that it judges."""
        return [
            Phase("autoencoder", ("generator", "encoder"), lambda batch: self._rebuilt(parts, batch)),
            critic_phase(parts, game=lambda batch: _codes(parts, batch, trained=False)),
            Phase(
                "encoder",
                ("encoder",),
                lambda game: {"encoder_loss": generator_loss(parts, game)},
                game=lambda batch: _codes(parts, batch, trained=True),
            ),
        ]

    def encode(self, parts: Parts, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """The codes, `(N, D)`."""
        return encoded(parts, samples)

    def _rebuilt(self, parts: Parts, batch: Batch) -> Mapping[str, Tensor]:
        real = cast(Tensor, batch.real)
        made = decoded(parts, encoded(parts, real, batch), batch.real_condition)
        error = (made - real).flatten(1).square().sum(1).mean()
        batch.record(rebuilding_error=error)
        return {"reconstruction": self.reconstruction * error}


def _codes(parts: Parts, batch: Batch, trained: bool) -> Batch:
    def fake() -> Tensor:
        with torch.set_grad_enabled(trained):
            return encoded(parts, cast(Tensor, batch.real), batch)

    return batch.versus(parts["critic"], lambda: batch.z, fake)
