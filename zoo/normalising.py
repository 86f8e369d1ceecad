"""Batch normalisation over the batch of all processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from zoo.processes import Group
from zoo.samples import full


def normalise_together(networks: Iterable[nn.Module], group: Group) -> list[RemovableHandle]:
    """Makes every batch normalisation, of any class, take the statistics of all processes in training mode.

    Returns:
        Handles; `remove()` makes the networks what they were.
    """
    norms = [m for network in networks for m in network.modules() if isinstance(m, _BatchNorm)]
    handles = []
    for norm in norms:
        mode = _Together(group)
        handles += [
            norm.register_forward_pre_hook(_Enter(mode)),
            norm.register_forward_hook(_Exit(mode), always_call=True),
        ]
    return handles


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Meanwhile this process normalises by itself: the others are not asked, since they do something else.

    In evaluation mode too, batches are normalised by their own statistics where a network keeps no running ones.
    """
    _Together.apart = True
    try:
        yield
    finally:
        _Together.apart = False


class _Together(TorchFunctionMode):
    """Replaces `batch_norm` inside a module's forward, so that subclasses with more in it, as timm's, keep that."""

    apart = False

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (self._batch_norm if func is batch_norm else func)(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training or self.apart:
            return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        mean, variance = _statistics(full(input), self.group)
        if running_mean is not None and running_var is not None:
            count = self.group.size * input.numel() // input.shape[1]
            _follow(running_mean, mean, momentum)
            _follow(running_var, variance * (count / max(count - 1, 1)), momentum)
        scale = torch.rsqrt(variance + eps)
        scale = scale if weight is None else scale * weight
        shape = (1, -1, *[1] * (input.ndim - 2))
        result = (full(input) - mean.view(shape)) * scale.view(shape)
        return (result if bias is None else result + bias.view(shape)).to(input.dtype)


def _statistics(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over all processes. Torch's SyncBatchNorm is for CUDA, once differentiable."""
    variance, mean = torch.var_mean(values, [0, *range(2, values.ndim)], correction=0)
    means, variances = group.gather(torch.stack([mean, variance])[None]).unbind(1)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


@torch.no_grad()
def _follow(running: Tensor, now: Tensor, momentum: float) -> None:
    running.lerp_(now.detach().to(running.dtype), momentum)


class _Enter:
    def __init__(self, mode: _Together) -> None:
        self._mode = mode

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        self._mode.__enter__()  # type: ignore[no-untyped-call]


class _Exit:
    def __init__(self, mode: _Together) -> None:
        self._mode = mode

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
