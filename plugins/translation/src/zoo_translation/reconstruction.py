"""Fakes like the real samples of their sources (Isola et al., 2017, arXiv 1611.07004, eq. 3)."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from zoo import Batch, IncompatibleParts, Objective, Setting


class Reconstruction(Objective):
    """The distance between each fake and the real sample of the same pair, in the generator's loss.

    Args:
        paired: Whether each sample belongs to its source.
        weight: What the mean over all values is multiplied by; the paper's is 100.
        norm: `L1`, the paper's, which blurs less; or `L2`, the squared difference.

    Raises:
        IncompatibleParts: The data are no pairs.

    >>> import torch
    >>> batch = Batch(real=torch.zeros(2, 3), fake=torch.full((2, 3), 0.5))
    >>> Reconstruction(True).generator_loss(batch).item()
    50.0
    """

    def __init__(
        self,
        paired: bool | None,
        *,
        weight: Annotated[float, Setting("what the error is multiplied by", ge=0)] = 100.0,
        norm: Annotated[Literal["L1", "L2"], Setting("the absolute or the squared difference")] = "L1",
    ) -> None:
        super().__init__()
        if not paired:
            lacking = "no sources" if paired is None else "sources that belong to no samples"
            raise IncompatibleParts(
                f"reconstruction compares fakes with the real samples of their sources, and these data have {lacking}; "
                "use paired data, such as --dataset paired-folder:PATH, or a variant for unpaired data."
            )
        self.weight, self.norm = weight, norm

    def generator_loss(self, batch: Batch) -> Tensor:
        """weight * E |x - y|, or of its square; the error itself is recorded."""
        assert isinstance(batch.fake, Tensor)
        assert isinstance(batch.real, Tensor)
        difference = batch.fake - batch.real
        error = difference.abs().mean() if self.norm == "L1" else difference.square().mean()
        batch.record(reconstruction_error=error)
        return self.weight * error
