"""Latent points of a run: found for samples by its encoder, walked between, and swept over its generator's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.components import ArrayDataset, Dataset, Density, as_floats, is_conditional
from zoo.draws import Draws
from zoo.errors import BadData, UsageError
from zoo.run import CHUNK, Run

CATEGORY = "category"
DRAWN = 1000
"""So many samples of a density are encoded if nothing is said."""
PARALLEL = 1e-4
"""Below this sine of their angle two points have no great circle of their own, and the straight line is taken."""


def encoded(run: Run, samples: Tensor, labels: Sequence[int] | None = None) -> Tensor:
    """The latent points that a run's encoder finds for samples, on the CPU.

    Args:
        run: A run whose procedure trains an encoder.
        samples: `(N, *shape)`, in the range of the data: images in [-1, 1], or bytes.
        labels: The class of each, `N`, or a few in turn; for an encoder that is given it.

    Returns:
        `(N, latent_dim)`.

    Raises:
        IncompatibleParts: The run trains no encoder, or there are no labels where it needs them.
        UsageError: The samples have another shape, or there are none.
    """
    composition = run.composition
    if not len(samples):
        raise UsageError("there are no samples to encode.")
    if tuple(samples.shape[1:]) != tuple(composition.dataset.shape):
        raise UsageError(
            f"{run.folder.path} encodes samples {tuple(composition.dataset.shape)}, not {tuple(samples.shape[1:])}."
        )
    samples = as_floats(samples)
    draws = Draws(0, composition.device)
    condition = None if labels is None else run.condition(len(samples), draws, labels)
    parts, found = replace(composition.parts, networks=composition.networks), []
    with torch.no_grad():
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK].to(composition.device)
            given = None if condition is None else condition[start : start + CHUNK]
            found.append(composition.procedure.encode(parts, chunk, given).float().cpu())
    return torch.cat(found)


def generated(run: Run, points: Tensor, labels: Sequence[int] | None = None) -> Tensor:
    """What a run's generator makes of latent points `(N, latent_dim)`, on the CPU: `(N, *shape)`.

    Args:
        run: A run with a generator.
        points: The latent points.
        labels: As of `encoded`.

    Raises:
        UsageError: There is no generator, or there are no labels where they are needed.
    """
    generator, condition, made = _generator(run), _given(run, len(points), labels), []
    with torch.no_grad():
        for start in range(0, len(points), CHUNK):
            given = () if condition is None else (condition[start : start + CHUNK],)
            chunk = points[start : start + CHUNK].to(run.composition.device)
            made.append(generator(chunk, *given).float().cpu())
    return torch.cat(made).contiguous()


def real_samples(dataset: Dataset, count: int | None) -> tuple[Tensor, list[int] | None]:
    """Samples of a data set in their order, all or the first so many, with their labels; of a density so many draws.

    Raises:
        UsageError: `count` is below 1, or above what there is.
        BadData: The data are neither in memory nor a density.
    """
    if count is not None and count < 1:
        raise UsageError(f"-n must be at least 1, not {count}.")
    if isinstance(dataset, Density):
        return dataset.sample(count or DRAWN, Draws(0)).float(), None
    if not isinstance(dataset, ArrayDataset):
        raise BadData("only densities and data sets in memory can be encoded; name pictures.")
    if count is not None and count > len(dataset.samples):
        raise UsageError(f"-n {count} is more than the {len(dataset.samples)} samples that the data have.")
    labels = None if dataset.labels is None else dataset.labels[:count].tolist()
    return as_floats(dataset.samples[:count]), labels


def drawn(run: Run, n: int, seed: int = 0) -> Tensor:
    """`n` latent points of a run's generator, on the CPU. Raises UsageError if it has none."""
    with torch.no_grad():
        points: Tensor = _generator(run).latent(n, Draws(seed, run.composition.device)).cpu()
    return points


def between(starts: Tensor, ends: Tensor, columns: int, codes: int = 0) -> Tensor:
    """Latent points on the way from each start to its end, `(N, columns, D)`, both included.

    Normal entries go along the great circle through both (White, 2016, arXiv 1609.04468), so that their length is as
    likely on the way as it was at its ends, and goes evenly from one to the other; codes, and points with no angle
    between them, go straight.

    Args:
        starts: `(N, D)`.
        ends: `(N, D)`.
        columns: How many points, from 2.
        codes: So many entries, from the first, are no normal ones.

    >>> between(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3)[0, 1]
    tensor([0.7071, 0.7071])
    """
    share = torch.linspace(0, 1, columns, dtype=torch.double, device=starts.device)[None, :, None]
    straight = torch.lerp(starts[:, None], ends[:, None], share.to(starts.dtype))
    one, other = starts[:, None, codes:].double(), ends[:, None, codes:].double()
    lengths = [each.norm(dim=2, keepdim=True) for each in (one, other)]
    cosine = (one * other).sum(2, keepdim=True) / (lengths[0] * lengths[1]).clamp(min=1e-30)
    angle = cosine.clamp(-1, 1).acos()
    turns = (angle.sin() > PARALLEL) & (lengths[0] * lengths[1] > 0)
    shares = [((1 - share) * angle).sin(), (share * angle).sin()]
    units = [each / length.clamp(min=1e-30) for each, length in zip((one, other), lengths, strict=True)]
    curved = (shares[0] * units[0] + shares[1] * units[1]) / angle.sin().clamp(min=PARALLEL)
    curved = (curved * (lengths[0] + share * (lengths[1] - lengths[0]))).to(straight.dtype)
    curved = torch.where(turns, curved, straight[..., codes:])
    return torch.cat([straight[..., :codes], curved], dim=2)


def codes_of(run: Run) -> int:
    """How many entries of a latent point are codes, and not normal."""
    generator = _generator(run)
    return int(getattr(generator, "categories", 0)) + int(getattr(generator, "continuous", 0))


def swept(run: Run, code: str, rows: int, columns: int, seed: int = 0) -> Tensor:
    """Latent points that differ, along a row, in one code alone.

    Args:
        run: A run whose generator's latent points begin with codes.
        code: `category`, or the number of a continuous code, from 1.
        rows: How many points are swept; in a sweep of a continuous code each category is a row, if there are any.
        columns: So many values, from -1 to 1, of a continuous code; of a category all.
        seed: The same seed gives the same points.

    Returns:
        `(rows, columns, D)`.

    Raises:
        UsageError: The generator has no such code.
    """
    generator = _generator(run)
    categories, continuous = (int(getattr(generator, name, 0)) for name in ("categories", "continuous"))
    known = [CATEGORY] * (categories > 0) + [str(number + 1) for number in range(continuous)]
    if code not in known:
        there = f"those of {run.folder.path} are {', '.join(known)}" if known else f"{run.folder.path} has none"
        raise UsageError(f"there is no code '{code}' to sweep; {there}.")
    if code == CATEGORY:
        points = drawn(run, rows, seed)[:, None].repeat(1, categories, 1)
        points[..., :categories] = torch.eye(categories)
        return points
    points = drawn(run, 1, seed).repeat(categories, 1) if categories else drawn(run, rows, seed)
    points[:, :categories] = torch.eye(categories)[: len(points)] if categories else points[:, :0]
    points = points[:, None].repeat(1, columns, 1)
    points[..., categories + int(code) - 1] = torch.linspace(-1, 1, columns)
    return points


def _generator(run: Run) -> Any:
    generator = run.composition.networks.get("generator")
    if generator is None:
        raise UsageError(f"{run.folder.path} has no generator, and so no latent points.")
    if run.composition.dataset.source is not None:
        raise UsageError(f"the samples of {run.folder.path} are made from others, which zoo translate does.")
    return generator


def _given(run: Run, n: int, labels: Sequence[int] | None) -> Tensor | None:
    if labels is None and is_conditional(_generator(run)):
        raise UsageError(f"the generator of {run.folder.path} is given a class with each point; say which: --labels.")
    return run.condition(n, Draws(0, run.composition.device), labels)
