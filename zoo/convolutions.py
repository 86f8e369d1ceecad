"""What torch's convolutions get wrong, and how they get it right."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F


def pad_narrow_inputs(network: nn.Module) -> None:
    """Has convolutions pad an image themselves that is narrower than their stride, instead of telling the kernel to.

    In bfloat16 on the CPU (torch 2.15.0, oneDNN) the gradient by the weights is what lay in memory otherwise, NaN
    perhaps, for the taps that meet nothing but padding: `tests/test_precision.py` shows it. Padded explicitly it is
    right, and the same mathematics.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str) and _may_be_narrow(module):
            module.register_forward_pre_hook(_pad)
            module.register_forward_hook(_unpad, always_call=True)


def _may_be_narrow(convolution: nn.Conv2d) -> bool:
    padded = any(side != 0 for side in convolution.padding)
    return padded and max(convolution.stride) > 1 and convolution.padding_mode == "zeros"


def _pad(convolution: nn.Conv2d, inputs: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
    (images,) = inputs
    if images.shape[-1] >= convolution.stride[-1] and images.shape[-2] >= convolution.stride[-2]:
        return None
    rows, columns = cast("tuple[int, int]", convolution.padding)
    convolution.padding = (0, 0)
    convolution.__dict__["_zoo_padding"] = (rows, columns)
    return (F.pad(images, (columns, columns, rows, rows)),)


def _unpad(convolution: nn.Conv2d, inputs: tuple[Any, ...], outputs: Any) -> None:
    convolution.padding = convolution.__dict__.pop("_zoo_padding", convolution.padding)
