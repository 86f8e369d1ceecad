"""BiGAN (Donahue et al., 2016, arXiv 1605.09782), which is ALI (Dumoulin et al., 2016, 1606.00704): a game of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from zoo import About, Batch, Critic, Parts, Phase, Procedure, Scores, Setting, Want, critic_phase, generator_loss
from zoo_encoders.encoding import ALONE, encoded, latent_shape, wants_encoder

_Pairs: TypeAlias = Literal["flat", "channels"]


class Bidirectional(Procedure):
    """A critic, for any distance, tells pairs (x, E(x)) of a sample and its code from pairs (G(z), z).

    Where it cannot, the encoder E inverts the generator G (their theorem 2). Both learn in one step: G to make its
    pairs look real, E to make the others look fake, which is the same game with scores and roles reversed (section
    3.4's swapped labels): reflected in the `neutral_score` of the distance, 0 for most.

    Args:
        pairs: How the critic sees a pair: flat, one vector after the other, or images with the latent point's entries
            as further channels, each the same at all pixels, for critics that are convolutions.
    """

    def __init__(
        self, *, pairs: Annotated[_Pairs, Setting("the critic sees vectors, or images with further channels")] = "flat"
    ) -> None:
        self.pairs = pairs

    def wants(self, about: About) -> Mapping[str, Want]:
        """A generator, an encoder, and a critic of pairs."""

        def shape(networks: Mapping[str, nn.Module]) -> tuple[int, ...]:
            (size,) = latent_shape(networks)
            if self._beside(about.shape):
                return (about.shape[0] + size, *about.shape[1:])
            return (torch.Size(about.shape).numel() + size,)

        return {**wants_encoder(about), "critic": Want("critic", {**ALONE, "shape": shape})}

    def phases(self, parts: Parts) -> list[Phase]:
        """`critic_steps` steps of the critic, one of generator and encoder."""
        middle = 0.0 if parts.distance is None else parts.distance.neutral_score
        reversed_critic = Reversed(parts["critic"], middle)

        def loss(game: Batch) -> Mapping[str, Tensor]:
            swapped = game.versus(reversed_critic, game.fake, game.real)
            return {"generator_loss": generator_loss(parts, game), "encoder_loss": generator_loss(parts, swapped)}

        return [
            critic_phase(parts, game=lambda batch: self._joined(parts, batch, trained=False)),
            Phase(
                "generator",
                ("generator", "encoder"),
                loss,
                game=lambda batch: self._joined(parts, batch, trained=True),
            ),
        ]

    def encode(self, parts: Parts, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """The codes, `(N, D)`."""
        return encoded(parts, samples)

    def _joined(self, parts: Parts, batch: Batch, trained: bool) -> Batch:
        def real() -> Tensor:
            samples = cast(Tensor, batch.real)
            with torch.set_grad_enabled(trained):
                return self._pair(samples, encoded(parts, samples, batch))

        return batch.versus(parts["critic"], real, lambda: self._pair(cast(Tensor, batch.fake), batch.z))

    def _pair(self, samples: Tensor, points: Tensor) -> Tensor:
        if self._beside(samples.shape[1:]):
            points = points.view(*points.shape, *[1] * (samples.ndim - 2)).expand(-1, -1, *samples.shape[2:])
            return torch.cat([samples, points], dim=1)
        return torch.cat([samples.flatten(1), points], dim=1)

    def _beside(self, shape: tuple[int, ...]) -> bool:
        return self.pairs == "channels" and len(shape) == 3


class Reversed(Critic):
    """A critic to which real is fake: its scores reflected in the middle of the distance, and the same features."""

    def __init__(self, critic: nn.Module, middle: float = 0.0) -> None:
        super().__init__()
        self.critic, self.middle = critic, middle

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Scores:
        """Scores of the same shapes."""
        scores = self.critic(samples)
        scores = scores if isinstance(scores, Scores) else Scores(scores)
        heads, twice = scores.values, 2 * self.middle
        return Scores(tuple(twice - h for h in heads) if isinstance(heads, tuple) else twice - heads, scores.features)
