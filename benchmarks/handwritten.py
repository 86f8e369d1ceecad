"""GAN training as an expert writes it by hand for one pair of networks: what the trainer is measured against."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo.data import Batches
from zoo.draws import Draws


class Handwritten(ABC):
    """A loop with every exact measure against waste: no graph through the generator in the critic's step, no critic
    gradients in the generator's, data on the device, fused Adam, one backward for loss and penalty, nothing that waits
    for the device.

    Args:
        generator, critic: The networks.
        batches: Where real samples come from.
        draws: Where random numbers come from.
        batch_size: Samples per step.
        critic_steps: Critic steps per iteration.
        weight: Of the penalty.
        lr, betas: Of Adam.
        channels_last: Whether real images are laid out so; the networks' weights then are.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        batches: Batches,
        draws: Draws,
        *,
        batch_size: int,
        critic_steps: int,
        weight: float,
        lr: float,
        betas: tuple[float, float],
        channels_last: bool = False,
    ) -> None:
        self.generator, self.critic = generator.train(), critic.train()
        self.batches, self.draws = batches, draws
        self.batch_size, self.critic_steps, self.weight = batch_size, critic_steps, weight
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.critic_parameters = list(critic.parameters())
        self.generator_parameters = list(generator.parameters())
        self.critic_optimizer = torch.optim.Adam(self.critic_parameters, lr=lr, betas=betas, fused=True)
        self.generator_optimizer = torch.optim.Adam(self.generator_parameters, lr=lr, betas=betas, fused=True)

    def iterate(self) -> None:
        """One iteration: the critic's steps, then the generator's."""
        for parameter in self.critic_parameters:
            parameter.requires_grad_(True)
        for _ in range(self.critic_steps):
            self.critic_optimizer.zero_grad(set_to_none=True)
            self.critic_loss().backward(inputs=self.critic_parameters)
            self.critic_optimizer.step()
        for parameter in self.critic_parameters:
            parameter.requires_grad_(False)
        self.generator_optimizer.zero_grad(set_to_none=True)
        z = self.generator.latent(self.batch_size, self.draws)
        self.generator_loss(self.scores(self.generator(z))).backward(inputs=self.generator_parameters)
        self.generator_optimizer.step()

    def fake(self) -> Tensor:
        """Fakes without a graph."""
        z = self.generator.latent(self.batch_size, self.draws)
        with torch.no_grad():
            samples: Tensor = self.generator(z)
        return samples

    def scores(self, samples: Tensor) -> Tensor:
        """The critic's scores `(N,)`; its features are of no use here."""
        values: Tensor = self.critic(samples).values
        return values

    def real(self) -> Tensor:
        """Real samples."""
        return self.batches.draw(self.batch_size)[0].contiguous(memory_format=self.layout)

    @abstractmethod
    def critic_loss(self) -> Tensor:
        """The critic's loss with its penalty, on a new batch."""

    @abstractmethod
    def generator_loss(self, scores: Tensor) -> Tensor:
        """The generator's loss from the fakes' scores."""


class HandwrittenWGANGP(Handwritten):
    """Algorithm 1 of Gulrajani et al. (2017)."""

    def critic_loss(self) -> Tensor:
        """E f(y) - E f(x) + weight * E (|grad f| - 1)^2 on points between x and y."""
        fake = self.fake()
        fake_mean = self.scores(fake).mean()
        real = self.real()
        loss = fake_mean - self.scores(real).mean()
        share = self.draws.rand(len(real)).view(-1, *[1] * (real.ndim - 1))
        between = torch.lerp(fake, real, share).requires_grad_()
        (gradient,) = torch.autograd.grad(self.scores(between).sum(), between, create_graph=True)
        excess = torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1.0
        return loss + self.weight * excess.square().mean()

    def generator_loss(self, scores: Tensor) -> Tensor:
        """- E f(y)."""
        return -scores.mean()


class HandwrittenR1(Handwritten):
    """The non-saturating game with R1 (Mescheder et al., 2018): the penalty reuses the scores of the real samples."""

    def critic_loss(self) -> Tensor:
        """E softplus(-D(x)) + E softplus(D(y)) + weight / 2 * E |grad D(x)|^2."""
        fake_scores = self.scores(self.fake())
        real = self.real().requires_grad_()
        real_scores = self.scores(real)
        loss = softplus(-real_scores).mean() + softplus(fake_scores).mean()
        (gradient,) = torch.autograd.grad(real_scores.sum(), real, create_graph=True)
        return loss + self.weight / 2 * gradient.flatten(1).square().sum(1).mean()

    def generator_loss(self, scores: Tensor) -> Tensor:
        """E softplus(-D(y))."""
        return softplus(-scores).mean()


HANDWRITTEN: dict[str, type[Handwritten]] = {"wgan-gp": HandwrittenWGANGP, "r1": HandwrittenR1}
