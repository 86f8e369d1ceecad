"""Labelled samples split in those that are trained on, those that validate and those that test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset
from zoo.devices import derived
from zoo.draws import Draws
from zoo.errors import BadData, BadSetting, IncompatibleParts


@dataclass(frozen=True)
class Splitting:
    """How a data set is split. Each class is split alike, in an order that follows from the seeds alone.

    Attributes:
        validation: The share of each class that validates; 0 for none.
        test: The share of each class that tests.
        seed: What decides which samples validate and test.
        shots: How many samples of each class are trained on; 0 for all that are left.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    shots: int = 0

    def of(self, dataset: Dataset, seed: int = 0) -> Split:
        """The split of a data set.

        Args:
            dataset: What is split.
            seed: What decides which samples the shots are.

        Raises:
            IncompatibleParts: The data set has no labels.
            BadSetting: Nothing is left to train on.
            BadData: A class has too few samples for a part, or for the shots.
        """
        if not isinstance(dataset, ArrayDataset) or dataset.labels is None:
            raise IncompatibleParts(
                "these samples have no labels, which fine-tuning needs; in a folder of images each class has "
                "a sub-folder of its own, and there are two at least."
            )
        if self.validation + self.test >= 1:
            raise BadSetting(
                f"procedure.validation and procedure.test are {self.validation:g} and {self.test:g} of the samples; "
                "together they must be less than 1, or nothing is left to train on."
            )
        draws = Draws(derived(self.seed, "split"), torch.device("cpu"))
        classes = [self._split_class(dataset.labels, label, draws) for label in range(dataset.classes or 0)]
        held = [torch.cat([each[part] for each in classes]).sort().values for part in range(2)]
        return Split(dataset, self._trained([each[2] for each in classes], seed), held[0], held[1])

    def _split_class(self, labels: Tensor, label: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """The numbers of a class's samples that validate, that test, and that are left."""
        members = (labels == label).nonzero().squeeze(1)
        members = members[draws.randperm(len(members))]
        sizes = [_share(self.validation, len(members)), _share(self.test, len(members))]
        if len(members) <= sum(sizes):
            raise BadData(
                f"class {label} has {len(members)} samples: {sizes[0]} to validate, {sizes[1]} to test and one to "
                "train on are not to be had. Label more, or lower procedure.validation or procedure.test."
            )
        validation, test, left = torch.split(members, [*sizes, len(members) - sum(sizes)])
        return validation, test, left

    def _trained(self, left: list[Tensor], seed: int) -> Tensor:
        if self.shots:
            draws = Draws(derived(seed, "shots"), torch.device("cpu"))
            left = [self._shots(label, members, draws) for label, members in enumerate(left)]
        return torch.cat(left).sort().values

    def _shots(self, label: int, members: Tensor, draws: Draws) -> Tensor:
        if len(members) < self.shots:
            raise BadData(
                f"{self.shots} samples of each class are to be trained on, and class {label} has {len(members)} "
                "that neither validate nor test; take fewer shots, or 0 for all there are."
            )
        return members[draws.randperm(len(members))[: self.shots]]


@dataclass(frozen=True)
class Split:
    """A split data set.

    Attributes:
        dataset: All of it.
        trained: The numbers of the samples that are trained on, ascending.
        validation: Of those that validate.
        test: Of those that test.
    """

    dataset: ArrayDataset
    trained: Tensor
    validation: Tensor
    test: Tensor

    def labels(self, numbers: Tensor) -> Tensor:
        """The labels of some samples, `(n,)`."""
        assert self.dataset.labels is not None
        return self.dataset.labels[numbers]

    def subset(self, numbers: Tensor) -> ArrayDataset:
        """Some samples with their labels."""
        return ArrayDataset(self.dataset.samples[numbers], self.labels(numbers))


def _share(share: float, size: int) -> int:
    """So many of `size` samples, one at least of a share above 0."""
    return max(1, round(share * size)) if share else 0
