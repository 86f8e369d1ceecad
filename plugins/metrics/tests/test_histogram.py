"""The divergence by counting: scipy's square, its range, and why more variables are refused."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm
from zoo_metrics.histogram import HistogramJs

from zoo import BadSetting, Draws, Evidence, IncompatibleParts, Sample


def evidence(real, fake):
    return Evidence(tuple(real.shape[1:]), None, len(fake), lambda: Sample(real), lambda: Sample(fake))


def js(real, fake, **settings):
    return HistogramJs(**settings).measure(evidence(real, fake))["js"]


@pytest.mark.parametrize("bins", [2, 50, 300])
def test_it_is_the_square_of_scipys(bins):
    x, y = Draws(0).randn(400, 1), Draws(1).randn(300, 1) * 2 + 1
    both = torch.cat([x, y])
    ends = both.min().item(), both.max().item()
    counts = [np.histogram(z.double().numpy(), bins, ends)[0] for z in (x, y)]
    assert js(x, y, bins=bins) == pytest.approx(jensenshannon(*counts) ** 2, rel=1e-9)


def test_a_given_range_counts_what_is_outside_in_its_outermost_bins():
    x, y = torch.tensor([[-9.0], [0.1], [0.9]]), torch.tensor([[0.2], [0.3], [9.0]])
    assert js(x, y, bins=2, range=[0.0, 1.0]) == pytest.approx(jensenshannon([2, 1], [2, 1]) ** 2, abs=1e-12)
    assert js(x, y, bins=3, range=[0.0, 1.0]) == pytest.approx(jensenshannon([2, 0, 1], [2, 0, 1]) ** 2, abs=1e-12)
    assert js(x, y, bins=4, range=[0.0, 1.0]) == pytest.approx(jensenshannon([2, 0, 0, 1], [1, 1, 0, 1]) ** 2)


def test_of_two_normals_it_is_the_integral():
    def integrand(x):
        p, q = norm.pdf(x), norm.pdf(x, 1)
        return (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2

    expected = quad(integrand, -9, 10)[0]
    x, y = Draws(0).randn(200_000, 1), Draws(1).randn(200_000, 1) + 1
    assert js(x, y, bins=100) == pytest.approx(expected, rel=0.02)


def test_it_reaches_from_0_to_log_2():
    x = Draws(0).randn(100, 1)
    assert js(x, x.flip(0)) == 0
    assert js(x, x + 100) == pytest.approx(math.log(2))
    same = torch.ones(10, 1)
    assert js(same, same) == 0
    assert js(same, same + 1) == pytest.approx(math.log(2))


def test_an_image_of_one_pixel_is_one_variable():
    x = Draws(0).randn(50, 1)
    assert js(x.view(50, 1, 1, 1), (x + 1).view(50, 1, 1, 1)) == js(x, x + 1)


def test_images_are_refused_with_the_number_of_bins_before_any_is_made():
    def never():
        raise AssertionError

    with pytest.raises(IncompatibleParts, match=r"2\^784 \(about 10\^236\).*sliced-wasserstein"):
        HistogramJs().refuse(Evidence((1, 28, 28), None, 10, never, never))
    with pytest.raises(IncompatibleParts, match=r"50\^2 = 2500 bins.*2\^2 = 4"):
        HistogramJs().refuse(Evidence((2,), None, 10, never, never))


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 1.0], [2.0, 1.0], [0.0, 1.0, 2.0]])
def test_a_range_has_two_ends(wrong):
    with pytest.raises(BadSetting, match="two numbers, the smaller one first"):
        HistogramJs(range=wrong)
