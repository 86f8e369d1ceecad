"""The kernel distance: torch-fidelity's own, over all samples and over subsets, in blocks."""

import pytest
import torch
from zoo_metrics import rows
from zoo_metrics.kid import Kid, cubic, unbiased_mmd

from zoo import Draws, Evidence, Sample


def kid(real, fake, seed=0, **settings):
    evidence = Evidence(
        tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake), draws=Draws(seed)
    )
    return Kid(**settings).measure(evidence)["kid"]


def pair(n=150, m=150, d=20):
    return Draws(0).randn(n, d), Draws(1).randn(m, d) * 1.2 + 0.3


def test_over_all_samples_it_is_torch_fidelitys_own():
    reference = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = pair()
    found = reference.kid_features_to_metric(
        real.double(), fake.double(), kid_subsets=1, kid_subset_size=150, verbose=False
    )
    assert kid(real, fake) == pytest.approx(found[reference.KEY_METRIC_KID_MEAN], rel=1e-9)


def test_over_the_same_subsets_it_is_torch_fidelitys_own():
    reference = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = pair(200, 180)
    draws, values = Draws(7), []
    for _ in range(10):
        one, other = real[draws.randperm(200)[:50]], fake[draws.randperm(180)[:50]]
        values.append(reference.kernel_mmd(one.double().numpy(), other.double().numpy()))
    assert kid(real, fake, seed=7, subset_size=50, subsets=10) == pytest.approx(sum(values) / 10, rel=1e-9)


def test_a_subset_is_never_larger_than_what_there_is():
    real, fake = pair(40, 40)
    assert kid(real, fake, subset_size=1000, subsets=2) == pytest.approx(kid(real, fake), rel=1e-9)


def test_unequal_numbers_are_averaged_each_by_its_own():
    one, other = (x.double() for x in pair(30, 50, 4))
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    within = sum(k(a, b) for i, a in enumerate(one) for j, b in enumerate(one) if i != j) / (30 * 29)
    within += sum(k(a, b) for i, a in enumerate(other) for j, b in enumerate(other) if i != j) / (50 * 49)
    between = sum(k(a, b) for a in one for b in other) / 1500
    assert unbiased_mmd(one, other, cubic) == pytest.approx(float(within - 2 * between), rel=1e-9)


def test_blocks_do_not_change_it(monkeypatch):
    real, fake = pair(100, 70)
    whole = kid(real, fake)
    monkeypatch.setattr(rows, "BLOCK", 700)
    assert kid(real, fake) == pytest.approx(whole, rel=1e-12)


def test_of_equal_distributions_it_is_0_on_average():
    draws = Draws(3)
    values = torch.tensor([kid(draws.randn(60, 5), draws.randn(60, 5)) for _ in range(200)])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5
    assert values.min() < 0


def test_the_same_evidence_gives_the_same_figure_twice():
    real, fake = pair()
    evidence = Evidence((20,), None, 150, lambda: Sample(real), lambda: Sample(fake))
    metric = Kid(subset_size=20, subsets=3)
    assert metric.measure(evidence) == metric.measure(evidence)
    assert kid(real, fake, seed=1, subset_size=20, subsets=3) != kid(real, fake, seed=2, subset_size=20, subsets=3)


def test_constant_samples_have_a_finite_figure():
    one, other = torch.zeros(10, 3), torch.ones(10, 3)
    assert kid(one, one) == 0
    assert kid(one, other) == pytest.approx(1 + 8 - 2)
