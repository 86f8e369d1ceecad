"""Digits stacked as channels: a thousand modes without a download."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from zoo import ArrayDataset, Draws, Setting
from zoo_datasets.bundled import digits

CHANNELS = 3


class Stacked(ArrayDataset):
    """Images whose channels are pictures of their own, each with a class.

    Args:
        samples: `(N, channels, height, width)`.
        channel_labels: The class of every channel, `(N, channels)`.
        channel_classes: How many classes a channel may have.
    """

    def __init__(self, samples: Tensor, channel_labels: Tensor, channel_classes: int) -> None:
        channels = channel_labels.shape[1]
        places = channel_classes ** torch.arange(channels - 1, -1, -1)
        super().__init__(samples, (channel_labels * places).sum(1))
        self.classes = channel_classes**channels
        self.channel_classes = channel_classes


def stacked_digits(
    *,
    side: Annotated[int, Setting("height and width in pixels; 8 is the original", ge=8, le=256)] = 8,
    size: Annotated[int, Setting("how many stacks are drawn", ge=1)] = 25_600,
    seed: Annotated[int, Setting("which ones", ge=0)] = 0,
) -> ArrayDataset:
    """Three digits drawn independently as the channels of an image, (3, side, side) in [-1, 1]: 1,000 classes.

    The digits are those of `digits`; the label of a stack of a, b and c is 100 a + 10 b + c. Made like
    Stacked-MNIST (Metz et al., 2016), with the smaller digits that scikit-learn holds. Classes differ a little in
    how likely they are, because there are 174 to 183 images of each digit.
    """
    single = digits(side=side)
    assert single.labels is not None
    assert single.classes is not None
    chosen = Draws(seed).randint(len(single.samples), size, CHANNELS)
    return Stacked(single.samples[chosen, 0], single.labels[chosen], single.classes)
