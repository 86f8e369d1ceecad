"""Finds where code waits for the device: on a GPU each such place stops the training loop until all work is done."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = frozenset(
    {
        "_local_scalar_dense",
        "_unique",
        "_unique2",
        "allclose",
        "bincount",
        "equal",
        "is_nonzero",
        "masked_select",
        "nonzero",
        "unique_consecutive",
        "unique_dim",
    }
)
"""Operations whose result, or its size, must be known to Python before it goes on."""

COPYING = frozenset({"__array__", "cpu", "numpy", "tolist"})
"""Methods of tensors that copy to the host; on the CPU they are no operations, and are seen by their names."""

LINE = 100
"""How much of a line of code is shown."""

_TORCH = str(Path(torch.__file__).parent)


class Watch(TorchDispatchMode):
    """Records every operation in its block that would wait for a GPU, on whatever device it runs.

    >>> with Watch() as watch:
    ...     half = torch.ones(2).sum().item() / 2
    >>> watch.seen[0].split(" at ")[0]
    'item()'

    Attributes:
        seen: What was found, in order: the operation, and the innermost line of code that is not torch's.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        self._methods = _Methods(self.note)

    def __enter__(self) -> Watch:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._methods.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._methods.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING or _indexes_by_mask(name, args) or func is torch.ops.aten.repeat_interleave.Tensor:
            self.note("item()" if name == "_local_scalar_dense" else f"{name}()")
        return func(*args, **(kwargs or {}))

    def note(self, operation: str) -> None:
        """Adds an operation with the line that is being run."""
        self.seen.append(f"{operation} at {_line()}")


class _Methods(TorchFunctionMode):
    """Sees the methods that copy a tensor to the host."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in COPYING or (name == "to" and "cpu" in args[1:2]):
            self._note(f"{name}()")
        return func(*args, **(kwargs or {}))


def _indexes_by_mask(name: str, args: Sequence[Any]) -> bool:
    """Whether an index is a mask: how many elements it chooses must be counted. Setting them to a scalar need not."""
    if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return False
    masked = any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return masked and (name == "index" or args[2].numel() > 1)


def _line() -> str:
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith((_TORCH, __file__, "<"))]
    last = frames[-1]
    return f"{last.filename}:{last.lineno} ({(last.line or '')[:LINE]})"
