"""Precision, recall, density and coverage: by the definition, by torch-fidelity, with ties, degenerate."""

import pytest
import torch
from sklearn.datasets import load_digits
from zoo_metrics import rows
from zoo_metrics.prdc import Prdc

from zoo import BadData, Draws, Evidence, Sample


def prdc(real, fake, **settings):
    evidence = Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake))
    return Prdc(**settings).measure(evidence)


def by_definition(real, fake, k):
    """Naeem et al., 2020, section 2 and 3, sample by sample; balls with their edges."""
    square = lambda a, b: ((a - b) ** 2).sum().item()  # noqa: E731
    ball = lambda kind: [sorted(square(x, y) for y in kind)[k] for x in kind]  # noqa: E731
    real_ball, fake_ball = ball(real), ball(fake)
    inside = [[square(x, y) <= radius for y in fake] for x, radius in zip(real, real_ball, strict=True)]
    n, m = len(real), len(fake)
    return {
        "precision": sum(any(inside[i][j] for i in range(n)) for j in range(m)) / m,
        "recall": sum(any(square(x, y) <= r for y, r in zip(fake, fake_ball, strict=True)) for x in real) / n,
        "density": sum(map(sum, inside)) / (k * m),
        "coverage": sum(map(any, inside)) / n,
    }


@pytest.mark.parametrize(("d", "k"), [(2, 5), (2, 1), (40, 3)])
def test_it_is_the_definition(d, k):
    draws = Draws(d)
    real, fake = draws.randn(60, d), draws.randn(50, d) * 0.9 + 0.2
    found = prdc(real, fake, k=k)
    assert found == pytest.approx(by_definition(real.double(), fake.double(), k), abs=1e-12)
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize("d", [3, 40])
def test_what_lies_on_the_edge_of_a_ball_is_in_it(d):
    """Whole numbers have many equal distances, known exactly; duplicates have balls of radius 0."""
    draws = Draws(0)
    real, fake = draws.randint(3, 60, d), draws.randint(3, 50, d)
    fake[:20] = real[:20]
    real[20:28] = real[20]
    found = prdc(real.float() + 0.25, fake.float() + 0.25, k=3)
    assert found == pytest.approx(by_definition(real, fake, 3), abs=1e-12)


def test_precision_and_recall_are_torch_fidelitys():
    reference = pytest.importorskip("torch_fidelity.metric_prc")
    draws = Draws(1)
    real, fake = draws.randn(200, 16), draws.randn(150, 16) * 0.8 + 0.3
    expected = reference.prc_features_to_metric(
        fake.double(), real.double(), prc_neighborhood=4, prc_batch_size=64, save_cpu_ram=False, verbose=False
    )
    found = prdc(real, fake, k=4)
    assert 0 < found["recall"] != found["precision"] < 1
    assert found["precision"] == pytest.approx(expected["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(expected["recall"], abs=1e-6)


def test_on_digits_it_is_the_definition_in_whole_numbers():
    digits = torch.from_numpy(load_digits().data).long()
    real, fake = digits[:80], digits[80:160]
    found = prdc(real.float() / 8 - 1, fake.float() / 8 - 1)
    assert found == pytest.approx(by_definition(real, fake, 5), abs=1e-12)


def test_blocks_do_not_change_it(monkeypatch):
    draws = Draws(2)
    real, fake = draws.randn(70, 4), draws.randn(90, 4)
    whole = prdc(real, fake)
    monkeypatch.setattr(rows, "BLOCK", 500)
    assert prdc(real, fake) == whole


def test_a_collapse_is_precise_and_covers_nothing():
    real = Draws(0).randn(200, 2)
    found = prdc(real, real[:1].expand(200, 2) + 1e-3 * Draws(1).randn(200, 2))
    assert found["precision"] == 1
    assert found["coverage"] < 0.1
    assert found["recall"] < 0.05


def test_equal_samples_are_all_in_all_balls():
    same = torch.ones(20, 50)
    assert prdc(same, same, k=5) == {"coverage": 1, "density": 4, "precision": 1, "recall": 1}
    assert prdc(same, same + 1, k=5) == {"coverage": 0, "density": 0, "precision": 0, "recall": 0}


def test_too_few_samples_are_refused_with_the_reason():
    assert Prdc(k=7).least == 16
    with pytest.raises(BadData, match="no neighbour number 5 among 5 samples"):
        prdc(torch.randn(5, 2), torch.randn(20, 2))
