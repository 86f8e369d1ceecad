"""The averaged generator, which samples are drawn from."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """An exponential moving average of a network's weights (Yazici et al., 2019, arXiv 1806.04498). Buffers are copied.

    It follows faster at the start, where the first weights mean nothing.

    Args:
        network: What is averaged.
        decay: What is kept in each iteration.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        """The average."""
        self._source, self._decay = network, decay

    @torch.no_grad()
    def move(self, iteration: int) -> None:
        """Moves it towards the network as it is after an iteration."""
        decay = min(self._decay, (1 + iteration) / (10 + iteration))
        torch._foreach_lerp_(list(self.network.parameters()), list(self._source.parameters()), 1 - decay)
        for mine, its in zip(self.network.buffers(), self._source.buffers(), strict=True):
            mine.copy_(its)
