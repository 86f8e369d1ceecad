"""Variational autoencoders (Kingma and Welling, 2013, arXiv 1312.6114): a bound of the likelihood, and no critic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from zoo import About, Batch, IncompatibleParts, Parts, Phase, Procedure, Setting, Want, is_conditional
from zoo_encoders.encoding import decoded, encoded, latent_shape, wants_encoder


class Variational(Procedure):
    """Maximises the evidence lower bound E log p(x | z) - beta KL(q(z | x) || N(0, I)) over encoder and generator.

    q(z | x) is a Gaussian with independent entries, whose means and log-variances the encoder tells; z is drawn of it
    by the reparametrisation (their section 2.4). p(x | z) is a Gaussian around the generator's sample. A conditional
    generator has a conditional encoder, which is given the class one-hot beside the sample (Sohn et al., 2015).
    The log has the bound in nats a sample as `elbo`, without `beta`.

    Args:
        deviation: The standard deviation of p(x | z), in the unit of the data: the smaller it is, the nearer samples
            are to be rebuilt, and the less latent points are like the prior's.
        beta: The weight of the divergence (Higgins et al., 2017); 1 for the bound itself.
        noise: The standard deviation of noise on what the encoder sees (Im et al., 2017, arXiv 1511.06406); 0 for none.
    """

    distance = False

    def __init__(
        self,
        *,
        deviation: Annotated[float, Setting("standard deviation of samples around what is generated", gt=0)] = 0.3,
        beta: Annotated[float, Setting("weight of the divergence from the prior", ge=0)] = 1.0,
        noise: Annotated[float, Setting("standard deviation of noise on what is encoded", ge=0)] = 0.0,
    ) -> None:
        self.deviation, self.beta, self.noise = deviation, beta, noise

    def wants(self, about: About) -> Mapping[str, Want]:
        """A generator, and an encoder that tells two numbers for each entry of its latent points."""

        def twice(networks: Mapping[str, nn.Module]) -> tuple[int]:
            return (2 * latent_shape(networks)[0],)

        def source(networks: Mapping[str, nn.Module]) -> tuple[int, ...]:
            classes = about.classes if is_conditional(networks["generator"]) else None
            return (about.shape[0] + (classes or 0), *about.shape[1:])

        return wants_encoder(about, shape=twice, source=source)

    def phases(self, parts: Parts) -> list[Phase]:
        """One: both networks minimise minus the bound."""
        generator = parts["generator"]
        if any(getattr(generator, name, 0) for name in ("categories", "continuous", "mixture")):
            raise IncompatibleParts(
                "a variational autoencoder's latent points are N(0, I), and this generator's begin with codes or come "
                "from a mixture; leave these settings out."
            )
        return [Phase("autoencoder", ("generator", "encoder"), lambda batch: self._loss(parts, batch))]

    def encode(self, parts: Parts, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        """The means of q(z | x), `(N, D)`."""
        return self._posterior(parts, samples, condition)[0]

    def _loss(self, parts: Parts, batch: Batch) -> Mapping[str, Tensor]:
        real = cast(Tensor, batch.real)
        seen = real + self.noise * batch.randn(*real.shape) if self.noise else real
        mean, log_variance = self._posterior(parts, seen, batch.real_condition, batch)
        points = mean + torch.exp(log_variance / 2) * batch.randn(*mean.shape)
        unlikely = self._unlikelihood(decoded(parts, points, batch.real_condition), real).mean()
        divergence = kl_from_normal(mean, log_variance).mean()
        batch.record(elbo=-(unlikely + divergence))
        return {"reconstruction": unlikely, "divergence": self.beta * divergence}

    def _posterior(
        self, parts: Parts, samples: Tensor, condition: Tensor | None, batch: Batch | None = None
    ) -> tuple[Tensor, Tensor]:
        if is_conditional(parts["generator"]):
            samples = _with_class(samples, condition, parts.classes)
        mean, log_variance = encoded(parts, samples, batch).chunk(2, dim=1)
        return mean, log_variance

    def _unlikelihood(self, made: Tensor, real: Tensor) -> Tensor:
        """-log N(x; made, deviation^2) of each sample, `(N,)`, in nats."""
        squares = ((made - real) / self.deviation).flatten(1).square()
        return (squares + math.log(2 * math.pi * self.deviation**2)).sum(1) / 2


def _with_class(samples: Tensor, labels: Tensor | None, classes: int | None) -> Tensor:
    """Samples `(N, C, ...)` with their class one-hot as further channels, `(N, C + classes, ...)`."""
    if labels is None or classes is None:
        raise IncompatibleParts("this run's encoder is given the class of each sample; say which: --labels.")
    code = torch.eye(classes, dtype=samples.dtype, device=samples.device)[labels]
    spread = code.view(*code.shape, *[1] * (samples.ndim - 2)).expand(-1, -1, *samples.shape[2:])
    return torch.cat([samples, spread], dim=1)


def kl_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) of rows `(N, D)`, `(N,)`, in nats (their appendix B)."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
