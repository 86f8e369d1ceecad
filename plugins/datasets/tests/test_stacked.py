import pytest
import scipy.stats
import torch
from zoo_datasets.bundled import digits
from zoo_datasets.stacked import Stacked, stacked_digits


@pytest.fixture(scope="module")
def data():
    return stacked_digits()


def test_a_stack_is_three_digits_with_a_label_of_three_places(data):
    single = digits()
    known = {
        tuple(image.flatten().tolist()): label
        for image, label in zip(single.samples, single.labels.tolist(), strict=True)
    }
    assert data.samples.shape == (25_600, 3, 8, 8)
    for stack, label in zip(data.samples[:200], data.labels[:200].tolist(), strict=True):
        assert [known[tuple(channel.flatten().tolist())] for channel in stack] == [int(c) for c in f"{label:03}"]


def test_all_thousand_classes_occur_and_channels_are_independent(data):
    assert (data.classes, data.channel_classes) == (1000, 10)
    assert len(data.labels.unique()) == 1000
    shares = torch.bincount(digits().labels).double() / 1797
    expected = 25_600 * torch.kron(torch.kron(shares, shares), shares)
    assert scipy.stats.chisquare(torch.bincount(data.labels), expected / expected.sum() * 25_600).pvalue > 1e-3


def test_few_stacks_have_a_thousand_classes_too():
    few = stacked_digits(size=5)
    assert (few.size, few.classes) == (5, 1000)


def test_the_seed_says_which_stacks(data):
    assert torch.equal(stacked_digits(size=100).samples, stacked_digits(size=100).samples)
    assert not torch.equal(stacked_digits(size=100, seed=1).samples, stacked_digits(size=100).samples)


def test_they_come_in_other_sizes():
    assert stacked_digits(side=16, size=10).shape == (3, 16, 16)


def test_labels_of_any_base_are_numbers_with_the_first_channel_first():
    stacks = Stacked(torch.zeros(3, 2, 4, 4), torch.tensor([[0, 3], [2, 1], [3, 0]]), 4)
    assert stacks.labels.tolist() == [3, 9, 12]
    assert (stacks.classes, stacks.channel_classes) == (16, 4)
