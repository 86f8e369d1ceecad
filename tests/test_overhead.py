"""The generic trainer runs the same tensor operations as a hand-written loop, and computes the same numbers."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from cases import CASES, handwritten, ours


class Recorder(TorchDispatchMode):
    """Names and output shapes of every operation, but for `detach`, which computes nothing."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is not torch.ops.aten.detach.default:
            shape = tuple(result.shape) if isinstance(result, torch.Tensor) else None
            self.operations.append((str(function), shape))
        return result


def recorded(iterate):
    iterate()
    with Recorder() as recorder:
        iterate()
    return recorder.operations


KINDS = {
    "mlp": ("mlp", "wgan-gp", {}),
    "dcgan-32": ("dcgan-32", "wgan-gp", {}),
    "resnet-32": ("resnet-32", "wgan-gp", {}),
    "r1": ("dcgan-32", "r1", {}),
    "bf16": ("dcgan-32", "wgan-gp", {"precision": "bf16", "channels_last": True}),
}
kinds = pytest.mark.parametrize(("name", "method", "train"), KINDS.values(), ids=KINDS)


def both(name, method, train):
    case = dataclasses.replace(CASES[name], method=method, batch_size=4)
    return ours(case, **train), handwritten(case, **train)


@kinds
def test_an_iteration_is_the_hand_written_sequence_of_operations(name, method, train):
    trainer, loop = both(name, method, train)
    operations = recorded(trainer.iterate)
    assert len(operations) > 300
    assert operations == recorded(loop.iterate)


@kinds
def test_iterations_give_the_hand_written_weights(name, method, train):
    trainer, loop = both(name, method, train)
    for _ in range(2):
        trainer.iterate()
        loop.iterate()
    for part in ("generator", "critic"):
        parameters = trainer.composition.networks[part].parameters()
        for mine, its in zip(parameters, getattr(loop, part).parameters(), strict=True):
            assert torch.equal(mine, its)
