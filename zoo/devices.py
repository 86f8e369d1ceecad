"""Devices and precision."""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.convolutions import RoundedConvolutions
from zoo.errors import NoDevice, OutOfMemory
from zoo.processes import ALONE, Group, join, launched
from zoo.samples import Scores


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        NoDevice: It is not there, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise NoDevice(f"'{name}' is not a device; use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NoDevice(
            f"{name} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices; use --device cpu."
        )
    if device.type == "mps" and not _has_mps():
        raise NoDevice("mps was asked for, but it is not available here; use --device cpu.")
    return device


def joined(name: str = "auto") -> tuple[torch.device, Group]:
    """The device of a name for this process, and the processes that it was started with, if it was: one GPU each.

    Raises:
        NoDevice: It is not there, or there are too few of them.
        ProcessLost: Not all processes came.
    """
    device = resolve_device(name)
    if not launched():
        return device, ALONE
    if device.type == "mps":
        raise NoDevice("several processes cannot share mps; use --device cpu.")
    if device.type == "cuda":
        if device.index is not None:
            raise NoDevice(f"each process takes a GPU of its own: say --device cuda, not {name}.")
        device = _own_gpu(int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return device, join(device)


def _own_gpu(rank: int, size: int) -> torch.device:
    count = torch.cuda.device_count()
    if size > count:
        raise NoDevice(
            f"{size} processes need a GPU each, but torch sees {count}; use --device cpu or fewer processes."
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def free_memory(device: torch.device) -> int:
    """The bytes that are free on a device now; 0 where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system has sysconf, nor these names
        return 0


class LowPrecision(nn.Module):
    """A network that computes in bfloat16 and returns float32. Its parameters stay float32.

    On the CPU, convolutions compute in float32 on rounded operands; see `RoundedConvolutions`.
    Attributes that it does not have itself are the network's.
    """

    lowered: bool
    """Whether it computes in bfloat16 now; see `full_precision`."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.lowered = True
        self._device_type = device.type

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The network's own result, as float32."""
        convolutions = RoundedConvolutions() if self._device_type == "cpu" else contextlib.nullcontext()
        with torch.autocast(self._device_type, torch.bfloat16, enabled=self.lowered), convolutions:
            return _as_float32(self.network(*inputs, **named))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


@contextlib.contextmanager
def full_precision(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, networks compute in float32, those that are wrapped in `LowPrecision` too."""
    wrapped = [(network, network.lowered) for network in networks if isinstance(network, LowPrecision)]
    for network, _ in wrapped:
        network.lowered = False
    try:
        yield
    finally:
        for network, lowered in wrapped:
            network.lowered = lowered


def too_large(error: BaseException) -> bool:
    """Whether an error says that what was asked for does not fit in a memory, or in any."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = (
        "can't allocate memory",
        "not enough memory",
        "Storage size calculation overflowed",
        "Overflow when unpacking",
    )
    return isinstance(error, (RuntimeError, TypeError)) and any(each in str(error) for each in words)


def refuse_beyond_memory(n: int, shape: Sequence[int], what: str = "samples") -> None:
    """Refuses `n` tensors of a shape, in float32, that this machine's memory could not hold if it were empty.

    Raises:
        OutOfMemory: It could not: the system might let them be asked for, and kill the process while they are filled.
    """
    if not hasattr(os, "sysconf"):
        return
    there, wanted = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 4 * n * math.prod(shape)
    if wanted > there:
        raise OutOfMemory(
            f"{n:,} {what} of shape {tuple(shape)} take {wanted / 2**30:,.0f} GiB, and this machine has "
            f"{there / 2**30:,.0f} GiB of memory; ask for fewer at a time, with another --seed each."
        )


def _as_float32(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.float() if result.is_floating_point() else result
    if isinstance(result, Scores):
        return replace(result, values=_as_float32(result.values), features=_as_float32(result.features))
    if isinstance(result, (tuple, list)):
        return type(result)(_as_float32(each) for each in result)
    return result


@contextlib.contextmanager
def seeded(seed: int, label: str = "") -> Iterator[None]:
    """Torch's global generators seeded by a number and a label; their own state is put back afterwards.

    A label of its own for each part makes its start independent of what else a recipe names.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derived(seed, label))
        yield


def derived(seed: int, label: str) -> int:
    """A seed of its own for each use of one number."""
    return zlib.crc32(f"{seed}/{label}".encode()) if label else seed


def global_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's global generators, which dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_global_states(states: Mapping[str, Tensor], device: torch.device, rank: int = 0) -> None:
    """Puts back what `global_states` returned; a device that it was not taken on keeps its own.

    They were the first process's. Another one is seeded from them: as repeatable, but with numbers of its own.
    """
    if rank > 0:
        torch.manual_seed(zlib.crc32(states["cpu"].cpu().numpy().tobytes(), rank))
        return
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"].cpu())
