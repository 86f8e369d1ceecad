"""What an iteration computes and moves, counted operation by operation, and what this machine can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Counter(TorchDispatchMode):
    """Counts floating-point operations of matrix products and convolutions, and bytes that operations read and write.

    torch's own FlopCounterMode raises inside `torch.autograd.grad`; its formulas are used here. The bytes are those of
    every tensor that an operation takes or gives, once each: what unfused operations move when no cache helps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        if not function.is_view:
            touched = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in touched.values())
        return result


def counted(iterate: Callable[[], None]) -> Counter:
    """What one iteration computes and moves."""
    with Counter() as counter:
        iterate()
    return counter


def matmul_peak(dtype: torch.dtype, device: str = "cpu", side: int = 2048, tries: int = 5) -> float:
    """Floating-point operations per second of the best of some square matrix products."""
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best(lambda: one @ other, device, tries)


def copy_peak(device: str, size: int = 2**30, tries: int = 5) -> float:
    """Bytes read and written per second by the best of some copies of `size` bytes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _best(lambda: target.copy_(source), device, tries)


def _best(work: Callable[[], Any], device: str, tries: int) -> float:
    work()
    times = []
    for _ in range(tries):
        if device != "cpu":
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        else:
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
    return min(times)
