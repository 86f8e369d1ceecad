"""The auxiliary classifier GAN (Odena, Olah and Shlens, 2017, arXiv 1610.09585)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo import Batch, Generator, IncompatibleParts, Objective, Setting, Variant, hookimpl, read_variants


class AuxiliaryClassifier(Objective):
    """The critic's features tell the class, of real samples and of fakes, and the generator is to make it plain.

    E -log P(c | x) + E -log P(c | y) in the critic's step, its second term in the generator's: the paper's L_C (eq. 3),
    which critic and generator both maximise. A linear head on the features gives the logits of P; it is trained with
    the critic only. At the best head the first term is H(C | X), which is 0 where samples show their class.

    Args:
        classes: The number of classes.
        generator: What is to make samples of a class.
        features: How many features the critic returns.
        weight: What each term is multiplied by.

    Raises:
        IncompatibleParts: The data have no labels, the generator is not told them, or the critic returns no features.
    """

    trained_with = ("critic",)

    def __init__(
        self,
        classes: int | None,
        generator: Generator,
        features: int | None,
        *,
        weight: Annotated[float, Setting("what the cross-entropies are multiplied by", ge=0)] = 1.0,
    ) -> None:
        super().__init__()
        if classes is None:
            raise IncompatibleParts("auxiliary-classifier tells classes, and these data have no labels; leave it out.")
        if not getattr(generator, "conditional", False):
            raise IncompatibleParts(
                "auxiliary-classifier needs a generator that is told a class, and this one is not; "
                "set a condition for it, such as --set generator.condition=concat."
            )
        if features is None:
            raise IncompatibleParts(
                "auxiliary-classifier reads the critic's features, and this one returns none; use another, such as mlp."
            )
        self.weight = weight
        self.head = nn.Linear(features, classes)

    def critic_loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of the real samples and of the fakes, summed as in the paper."""
        real = self._entropy(batch.real_features, batch.real_condition)
        fake = self._entropy(batch.fake_features, batch.fake_condition)
        batch.record(real_entropy=real, fake_entropy=fake)
        return self.weight * (real + fake)

    def generator_loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of the fakes."""
        return self.weight * self._entropy(batch.fake_features, batch.fake_condition)

    def _entropy(self, features: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise IncompatibleParts("auxiliary-classifier tells classes, and these samples have no labels.")
        return cross_entropy(self.head(features.flatten(1)), labels)


@hookimpl
def objective() -> Mapping[str, Callable[..., Objective]]:
    """The auxiliary classifier."""
    return {"auxiliary-classifier": AuxiliaryClassifier}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
