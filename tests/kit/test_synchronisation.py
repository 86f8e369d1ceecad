"""What makes the host wait for a GPU is seen on the CPU."""

import numpy as np
import pytest
import torch

from zoo import (
    Draws,
)
from zoo.testing.synchronisation import Watch


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("item()", lambda x: x.sum().item()),
        ("item()", lambda x: 1 if x.sum() > 0 else 2),
        ("item()", lambda x: float(x.sum())),
        ("tolist()", lambda x: x.tolist()),
        ("numpy()", lambda x: x.numpy()),
        ("cpu()", lambda x: x.cpu()),
        ("to()", lambda x: x.to("cpu")),
        ("__array__()", np.asarray),
        ("index()", lambda x: x[x > 0]),
        ("nonzero()", lambda x: torch.where(x > 0)),
        ("masked_select()", lambda x: x.masked_select(x > 0)),
        ("_unique2()", lambda x: x.unique()),
        ("equal()", lambda x: torch.equal(x, x)),
        ("allclose()", lambda x: torch.allclose(x, x)),
    ],
)
def test_watch_sees_what_waits(name, run):
    with Watch() as watch:
        run(torch.ones(3))
    assert watch.seen[0].startswith(f"{name} at {__file__}:")


def test_watch_is_silent_where_nothing_waits():
    with Watch() as watch:
        x = Draws(1).randn(4, 3).requires_grad_()
        y = torch.where(x > 0, x, -x)
        y = y.clone().masked_fill(y > 1, 0.0)[torch.tensor([0, 1])]
        y[y > 0.5] = 0.0
        y.repeat_interleave(2).sum().backward()
    assert watch.seen == []
