"""Checks of generators alone."""

from __future__ import annotations

import torch

from zoo.components import Generator
from zoo.draws import Draws
from zoo.testing.checks import Subject, check, require
from zoo.testing.networks import Trial, difference, drawn_globally, require_finite, trials

ROUNDING = 1e-6
LARGER = 5.0
"""Latent points and weights are tried so many times larger, as training may make them."""


@check("generator")
def shapes(subject: Subject) -> None:
    """Samples are finite floats `(N, *shape)`, in evaluation mode for one as well."""
    for trial in trials(subject):
        for n, training in ((1, False), (2, True), (5, True), (5, False)):
            trial.network.train(training)
            result = trial.network(*trial.inputs(n))
            require(isinstance(result, torch.Tensor), f"it returns {type(result).__name__}, and not a tensor.")
            require(
                tuple(result.shape) == (n, *trial.about.shape),
                f"for {n} latent points on {trial} it returns {tuple(result.shape)}, "
                f"and not {(n, *trial.about.shape)}.",
            )
            require(result.dtype == torch.float32, f"on {trial} it returns {result.dtype}, and not torch.float32.")
            require_finite([result], f"{n} samples on {trial}")


@check("generator")
def images_in_range(subject: Subject) -> None:
    """Images lie in [-1, 1], also with larger weights and latent points than at the start."""
    for trial in trials(subject):
        if len(trial.about.shape) == 3:
            points, *labels = trial.inputs(8)
            _require_in_range(trial, trial.evaluated(points, *labels)[0])
            with torch.no_grad():
                for parameter in trial.network.parameters():
                    parameter.mul_(LARGER)
            _require_in_range(trial, trial.evaluated(points * LARGER, *labels)[0])


def _require_in_range(trial: Trial, images: torch.Tensor) -> None:
    largest = float(images.abs().nan_to_num(0.0).max())
    require(
        largest <= 1 + ROUNDING,
        f"on {trial} values reach {largest:.3g}, and images lie in [-1, 1], as real ones do: end with tanh.",
    )


@check("generator")
def latent(subject: Subject) -> None:
    """`latent(n, draws)` is `(n, latent_dim)`, finite, and drawn from `draws` only; of no size only beside sources."""
    for trial in trials(subject):
        network = trial.network
        size = getattr(network, "latent_dim", None)
        least = 0 if trial.about.source is not None else 1
        legal = isinstance(size, int) and size >= least
        require(legal, f"latent_dim is {size!r}; set it to the size of a latent point.")
        points = network.latent(3, Draws(1))
        require(tuple(points.shape) == (3, size), f"latent(3, draws) is {tuple(points.shape)}, and not {(3, size)}.")
        require_finite([points], "latent points")
        with drawn_globally() as drawn:
            again = network.latent(3, Draws(1))
        other = network.latent(3, Draws(2))
        names = ", ".join(sorted(drawn))
        require(not drawn, f"latent() draws from the global generators of {names}; use draws.randn or draws.rand.")
        require(torch.equal(points, again), "latent() differs for the same seed of draws; take all numbers from draws.")
        varied = size == 0 or not torch.equal(points, other)
        require(varied, "latent() is the same for another seed of draws: are they constant?")
        _require_codes(network, network.latent(50, Draws(1)))


def _require_codes(network: Generator, points: torch.Tensor) -> None:
    """Codes are what `categories` and `continuous` say, and stand first."""
    sizes = network.categories, network.continuous
    category, numbers = points[:, : sizes[0]], points[:, sizes[0] : sum(sizes)]
    one_hot = ((category == 0) | (category == 1)).all() and (category.sum(1) == bool(sizes[0])).all()
    require(one_hot, f"it says that its first {sizes[0]} latent entries are a category, and they are no one-hot rows.")
    require((numbers.abs() <= 1).all(), f"it says that {sizes[1]} latent entries lie in [-1, 1), and some do not.")


@check("generator")
def sample_independence(subject: Subject) -> None:
    """In evaluation mode a sample depends on its own latent point only."""
    for trial in trials(subject):
        inputs = trial.inputs(5)
        together = trial.evaluated(*inputs)
        alone = trial.evaluated(*(each[2:3] for each in inputs))
        gap = difference(alone, [each[2:3] for each in together])
        require(
            gap < 1e-3,
            f"on {trial} in evaluation mode a sample made alone differs by {gap:.2g} of the largest value from the "
            "same one in a batch: normalise by running statistics there.",
        )


@check("generator")
def uses_latent_points(subject: Subject) -> None:
    """Different latent points, or sources, give different samples."""
    for trial in trials(subject):
        one, other = trial.evaluated(*trial.inputs(2))[0]
        require(not torch.equal(one, other), f"on {trial} two latent points give the same sample.")
