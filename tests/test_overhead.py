"""The generic trainer runs the same tensor operations as a hand-written loop, and computes the same numbers."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from overhead import composition, handwritten


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


@pytest.mark.parametrize("case", ["mlp", "dcgan-32"])
def test_an_iteration_is_the_hand_written_sequence_of_operations(case):
    ours = recorded(Trainer(composition(case, batch_size=4)).iterate)
    theirs = recorded(handwritten(case, batch_size=4).iterate)
    assert len(ours) > 500
    assert ours == theirs


@pytest.mark.parametrize("case", ["mlp", "dcgan-32"])
def test_iterations_give_the_hand_written_weights(case):
    trainer, loop = Trainer(composition(case, batch_size=4)), handwritten(case, batch_size=4)
    for _ in range(2):
        trainer.iterate()
        loop.iterate()
    for name in ("generator", "critic"):
        ours = trainer.composition.networks[name].parameters()
        for mine, its in zip(ours, getattr(loop, name).parameters(), strict=True):
            assert torch.equal(mine, its)
