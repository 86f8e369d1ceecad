"""What a checkpoint's hash is for, and what it costs: turned bits that torch's own reader notices, and seconds.

python benchmarks/checkpoints.py
"""

from __future__ import annotations

import hashlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from zoo.checkpoints import write_checkpoint

TRIALS, ROUNDS = 200, 5
MEGABYTES = 200


def turned_bits(folder: Path) -> None:
    """Turns one bit of a checkpoint round, many times, and loads it."""
    values, chance = torch.arange(10_000.0), random.Random(0)
    file = folder / "small.pt"
    torch.save({"values": values}, file)
    whole = file.read_bytes()
    outcomes = {"refused": 0, "loaded as it was": 0, "loaded with other numbers": 0}
    for _ in range(TRIALS):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        outcomes[_outcome(file, values)] += 1
    print(f"One bit of {len(whole):,} bytes turned round, {TRIALS} times; torch.load: {outcomes}")


def _outcome(file: Path, values: torch.Tensor) -> str:
    try:
        loaded = torch.load(file, weights_only=True)
        same = torch.equal(loaded["values"], values)
    except Exception:
        return "refused"
    return "loaded as it was" if same else "loaded with other numbers"


def seconds(folder: Path) -> None:
    """Saves with and without a hash, one after the other, and prints medians."""
    state = {str(k): torch.randn(250_000) for k in range(MEGABYTES)}
    plain = [_timed(lambda: torch.save(state, folder / "plain.pt")) for _ in range(ROUNDS)]
    hashed = [_timed(lambda: write_checkpoint(folder / "step-00000001.pt", state)) for _ in range(ROUNDS)]
    content = (folder / "step-00000001.pt").read_bytes()
    digest = [_timed(lambda: hashlib.sha256(content)) for _ in range(ROUNDS)]
    print(
        f"{MEGABYTES} MB, medians of {ROUNDS}: torch.save {statistics.median(plain):.2f} s; "
        f"with hash, fsync and rename {statistics.median(hashed):.2f} s; sha256 alone {statistics.median(digest):.2f} s"
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        turned_bits(Path(folder))
        seconds(Path(folder))
