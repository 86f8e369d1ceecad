"""GAN training in the common public style, as eriklindernoren/PyTorch-GAN's `wgan_gp.py` has it.

What costs time in it: the graph is kept through the generator in the critic's step; the critic's weights get gradients
in the generator's step; samples come from a DataLoader that stacks them one by one; noise is drawn by numpy; the loss
is read with `.item()` in each step; Adam is not fused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset


class Naive(ABC):
    """What the two methods share.

    Args:
        generator, critic: The networks.
        samples: The real ones, on the CPU.
        device: Where the networks are.
        batch_size: Samples per step.
        critic_steps: Critic steps per iteration.
        weight: Of the penalty.
        lr, betas: Of Adam.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        samples: Tensor,
        device: torch.device,
        *,
        batch_size: int,
        critic_steps: int,
        weight: float,
        lr: float,
        betas: tuple[float, float],
    ) -> None:
        self.generator, self.critic, self.device = generator.train(), critic.train(), device
        self.batch_size, self.critic_steps, self.weight = batch_size, critic_steps, weight
        self.loader = DataLoader(TensorDataset(samples), batch_size=batch_size, shuffle=True, drop_last=True)
        self.batches: Iterator[list[Tensor]] = iter(self.loader)
        self.critic_optimizer = torch.optim.Adam(critic.parameters(), lr=lr, betas=betas)
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), lr=lr, betas=betas)
        self.losses: list[float] = []

    def iterate(self) -> None:
        """One iteration: the critic's steps, then the generator's."""
        for _ in range(self.critic_steps):
            real = self.real()
            self.critic_optimizer.zero_grad()
            z = self.noise()
            loss = self.critic_loss(real, self.generator(z))
            loss.backward()
            self.critic_optimizer.step()
            self.losses.append(loss.item())
        self.generator_optimizer.zero_grad()
        loss = self.generator_loss(self.scores(self.generator(z)))
        loss.backward()
        self.generator_optimizer.step()
        self.losses.append(loss.item())

    def scores(self, samples: Tensor) -> Tensor:
        """The critic's scores `(N,)`; its features are of no use here."""
        values: Tensor = self.critic(samples).values
        return values

    def real(self) -> Tensor:
        """The next batch of real samples."""
        try:
            (batch,) = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            (batch,) = next(self.batches)
        return batch.to(self.device)

    def noise(self) -> Tensor:
        """Latent points, drawn by numpy."""
        points = np.random.normal(0, 1, (self.batch_size, self.generator.latent_dim))
        return torch.tensor(points, dtype=torch.float32).to(self.device)

    @abstractmethod
    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss with its penalty."""

    @abstractmethod
    def generator_loss(self, scores: Tensor) -> Tensor:
        """The generator's loss from the fakes' scores."""


class NaiveWGANGP(Naive):
    """WGAN-GP."""

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """- E f(x) + E f(y) + weight * E (|grad f| - 1)^2 between x and y."""
        loss = -torch.mean(self.scores(real)) + torch.mean(self.scores(fake))
        return loss + self.weight * self.penalty(real.data, fake.data)

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """E (|grad f| - 1)^2 on points between real and fake."""
        share = np.random.random((len(real), *[1] * (real.ndim - 1)))
        alpha = torch.tensor(share, dtype=torch.float32).to(self.device)
        between = (alpha * real + ((1 - alpha) * fake)).requires_grad_(True)
        scores = self.scores(between)
        gradients = torch.autograd.grad(
            outputs=scores,
            inputs=between,
            grad_outputs=torch.ones(scores.shape).to(self.device),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )[0]
        gradients = gradients.reshape(gradients.size(0), -1)
        return ((gradients.norm(2, dim=1) - 1) ** 2).mean()

    def generator_loss(self, scores: Tensor) -> Tensor:
        """- E f(y)."""
        return -torch.mean(scores)


class NaiveR1(Naive):
    """The non-saturating game with an R1 penalty, whose scores are computed a second time."""

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """E softplus(-D(x)) + E softplus(D(y)) + weight / 2 * E |grad D(x)|^2."""
        loss = torch.mean(softplus(-self.scores(real))) + torch.mean(softplus(self.scores(fake)))
        points = real.detach().requires_grad_(True)
        gradients = torch.autograd.grad(self.scores(points).sum(), points, create_graph=True)[0]
        return loss + self.weight / 2 * (gradients.reshape(len(points), -1).norm(2, dim=1) ** 2).mean()

    def generator_loss(self, scores: Tensor) -> Tensor:
        """E softplus(-D(y))."""
        return torch.mean(softplus(-scores))


NAIVE: dict[str, type[Naive]] = {"wgan-gp": NaiveWGANGP, "r1": NaiveR1}
