"""WGAN-GP as an expert writes it by hand for one pair of networks: what the generic trainer is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.data import Batches
from zoo.draws import Draws


class HandwrittenWGANGP:
    """Algorithm 1 of Gulrajani et al. (2017) with every exact measure against waste: no graph through the generator
    in the critic's step, no critic gradients in the generator's, data on the device, fused Adam, one backward for
    loss and penalty, nothing that waits for the device.

    Args:
        generator, critic: The networks.
        batches: Where real samples come from.
        draws: Where random numbers come from.
        batch_size: Samples per step.
        critic_steps: Critic steps per iteration.
        weight: Of the penalty.
        lr, betas: Of Adam.
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
    ) -> None:
        self.generator, self.critic = generator.train(), critic.train()
        self.batches, self.draws = batches, draws
        self.batch_size, self.critic_steps, self.weight = batch_size, critic_steps, weight
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
        loss = -self.critic(self.generator(z)).mean()
        loss.backward(inputs=self.generator_parameters)
        self.generator_optimizer.step()

    def critic_loss(self) -> Tensor:
        """E f(y) - E f(x) + weight * E (|grad f| - 1)^2 on points between x and y."""
        z = self.generator.latent(self.batch_size, self.draws)
        with torch.no_grad():
            fake = self.generator(z)
        fake_mean = self.critic(fake).mean()
        real, _ = self.batches.draw(self.batch_size)
        loss = fake_mean - self.critic(real).mean()
        share = self.draws.rand(len(real)).view(-1, *[1] * (real.ndim - 1))
        between = torch.lerp(fake, real, share).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        excess = torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1.0
        return loss + self.weight * excess.square().mean()
