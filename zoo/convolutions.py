"""What torch's convolutions get wrong, and how they get it right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = frozenset(
    {
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        torch.convolution,
    }
)
"""What layers and `torch.nn.functional` call."""
LOW = frozenset({torch.bfloat16, torch.float16})


class RoundedConvolutions(TorchFunctionMode):
    """Inside, convolutions of low precision on the CPU have operands and results of it, but compute in float32.

    torch's own (2.15.0, oneDNN 3.13.3) are wrong on CPUs with AMX, with errors as large as the result, or NaN:

    - by kernels of width k over 2 to 14 channels, an even number, if channels times k is a multiple of 32 from 64 on,
      they are not dilated, and there are more than 4 pixels of output; at strides above 1 not always. The weights'
      gradient of a slope is such a one: its channels are the samples, its kernels as large as what the layer makes. So
      it is wrong for 8 samples at widths of 8, 12 and 16, for 12 at 8 and 16, and for 4 at 16;
    - often in outputs one pixel wide and 5 or more high, if the stride across is above 1;
    - in the weights' gradient where images are narrower than the stride.

    In float32 each is right. That holds for all derivatives too, since they are those of what was computed. Switching
    oneDNN off in the forward pass would not reach them; they choose their kernels anew.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls a function of torch, in float32 on rounded operands if it is a convolution of low precision."""
        kwargs = kwargs or {}
        low = _precision((*args, *kwargs.values())) if func in CONVOLUTIONS else None
        if low is None:
            return func(*args, **kwargs)
        named = {name: _rounded(each, low) for name, each in kwargs.items()}
        with torch.autocast("cpu", enabled=False):
            return func(*(_rounded(each, low) for each in args), **named).to(low)


def _precision(operands: Sequence[Any]) -> torch.dtype | None:
    """The low precision that torch would compute in; None where it would not."""
    kinds = {each.dtype for each in operands if isinstance(each, Tensor)}
    if torch.is_autocast_enabled("cpu") and kinds <= {torch.float32, *LOW}:
        return torch.get_autocast_dtype("cpu")
    return kinds.pop() if len(kinds) == 1 and kinds <= LOW else None


def _rounded(operand: Any, low: torch.dtype) -> Any:
    return operand.to(low).float() if isinstance(operand, Tensor) else operand
