"""What is measured on built parts before training: shapes, and whether the parts work together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.batch import Batch
from zoo.components import ArrayDataset, is_conditional, overrides
from zoo.compose import Composition
from zoo.dividing import PROBE, check_even, check_means, random_condition, unchanged
from zoo.draws import Draws
from zoo.errors import BadData, IncompatibleParts
from zoo.faults import kind_of
from zoo.mistakes import broken, place
from zoo.samples import mean_over_patches, tensors, tracked
from zoo.trial import distance_of, not_scalar, try_phases, way


def check(composition: Composition, allow_incompatible: bool = False) -> None:
    """Runs every check that applies to a composition; parameters, buffers and random numbers are left as they were.

    Args:
        composition: What was built.
        allow_incompatible: Skips the refusal of a critic whose scores depend on the rest of the batch.

    Raises:
        BadData: A batch is larger than the data set, or cannot be split as asked.
        IncompatibleParts: A network's output has the wrong shape, or two parts do not work together.
        BrokenPlugin: A component returns what it must not.
    """
    _check_batch_size(composition)
    _check_augmentation(composition)
    _check_packing(composition)
    n = _probe_size(composition)
    with unchanged(composition), _explained(n):
        if "generator" in composition.networks:
            _check_networks(composition, allow_incompatible)
        try_phases(composition, n)
    check_means(composition)


def _check_networks(composition: Composition, allow_incompatible: bool) -> None:
    _check_generator(composition)
    if "critic" in composition.networks:
        _check_scores(composition)
        _check_use(composition)
    penalised = _penalised_by_sample(composition)
    if penalised and not allow_incompatible:
        _check_independence(composition, penalised)


def _probe_size(composition: Composition) -> int:
    train = composition.training.train
    n, packed = train.batch_size // train.micro_batches, composition.procedure.packed
    return min(PROBE * packed, n)


@contextlib.contextmanager
def _explained(n: int) -> Iterator[None]:
    """What torch says of parts that do not fit each other, as an error of the recipe and not of the program."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise IncompatibleParts(f"the parts fail on {n} samples: {error}{place(error)}") from error


def _check_batch_size(composition: Composition) -> None:
    train, size = composition.training.train, composition.drawn.size
    if size is not None and train.batch_size > size:
        raise BadData(
            f"a batch of {train.batch_size} is larger than the data set, of which {size} samples are trained on; "
            f"use --batch-size {size} or less."
        )
    check_even(composition)


def _check_augmentation(composition: Composition) -> None:
    train, dataset = composition.training.train, composition.drawn
    for name in ("augment", "flip"):
        if getattr(train, name) and dataset.kind != "image":
            raise IncompatibleParts(
                f"train.{name} is for images (channels, height, width), and these samples have the shape "
                f"{tuple(dataset.shape)}; leave it out."
            )
    if train.flip and not isinstance(dataset, ArrayDataset):
        raise IncompatibleParts(f"train.flip mirrors the images of an array, and {type(dataset).__name__} is none.")
    for name in ("augment", "noise"):
        if getattr(train, name) and "critic" not in composition.networks:
            raise IncompatibleParts(f"train.{name} changes what a critic sees, and this recipe has none; leave it out.")
    phase = composition.critic_phase
    if train.augment and phase is not None and phase.game is not None:
        raise IncompatibleParts(
            "train.augment is for images, and this critic sees something made of them; leave it out."
        )


def _check_packing(composition: Composition) -> None:
    """What is packed has no condition of its own, and is no image that could be augmented as one."""
    packed, train = composition.procedure.packed, composition.training.train
    if packed == 1:
        return
    n = train.batch_size // (train.micro_batches * composition.group.size)
    if n % packed:
        raise BadData(f"{n} samples cannot be packed {packed} at a time; use a --batch-size that is a multiple.")
    critic = composition.networks.get("critic")
    if critic is None:
        raise IncompatibleParts("samples are packed for a critic, and this recipe has none; leave packed out.")
    if is_conditional(critic):
        raise IncompatibleParts(
            "a conditional critic cannot see packed samples, which have a condition each; use packed = 1."
        )
    if train.augment:
        raise IncompatibleParts("train.augment is for single images, and the critic sees packed ones; use packed = 1.")


def _check_generator(composition: Composition) -> None:
    n = _probe_size(composition)
    fake = generate(composition, n, Draws(0, composition.device))
    expected = (n, *composition.dataset.shape)
    if not isinstance(fake, Tensor) or not fake.is_floating_point():
        raise broken(composition.networks["generator"], f"forward returns {kind_of(fake)}, and not samples.", "forward")
    if tuple(fake.shape) != expected:
        raise IncompatibleParts(f"the generator makes samples {tuple(fake.shape)}, but the data has {expected}.")


def generate(composition: Composition, n: int, draws: Draws) -> Tensor:
    """`n` samples of the generator as it is, with random labels or sources where it is conditional."""
    generator = composition.parts["generator"]
    if not hasattr(generator, "latent"):
        raise IncompatibleParts("the generator has no latent(n, draws); subclass zoo.Generator and set latent_dim.")
    z = generator.latent(n, draws)  # type: ignore[operator]
    samples: Tensor = generator(z, _condition(composition, n, draws)) if is_conditional(generator) else generator(z)
    return samples


def _condition(composition: Composition, n: int, draws: Draws) -> Tensor:
    condition = random_condition(composition, n, draws)
    if condition is None:
        raise IncompatibleParts(
            "a part is conditional, but the data set has no labels, and no sources that samples are made from."
        )
    return condition


def _check_scores(composition: Composition) -> None:
    game = _critic_game(composition)
    n = len(tensors(game.fake)[0])
    for head in game.heads():
        scores = head.fake_scores
        if not isinstance(scores, Tensor) or not scores.requires_grad:
            kind = f"{kind_of(scores)}{' without a gradient' if isinstance(scores, Tensor) else ''}"
            raise broken(composition.networks["critic"], f"forward returns {kind}, and not scores.", "forward")
        if scores.ndim not in (1, 3) or len(scores) != n:
            raise IncompatibleParts(
                f"the critic's scores of {n} samples have shape {tuple(scores.shape)}; it must be ({n},), "
                f"or ({n}, height, width) for patches: (N, 1) minus (N,) would silently be (N, N). End it with "
                "squeeze(1), or torch.nn.Flatten(0)."
            )


def _critic_game(composition: Composition) -> Batch:
    """What the critic plays, on random samples."""
    if is_conditional(composition.parts["critic"]):
        _condition(composition, 1, Draws(0, composition.device))
    phase, samples = composition.critic_phase, _probe_batch(composition)
    return samples if phase is None else phase.played(samples)


def _check_use(composition: Composition) -> None:
    """A critic that the distance never asks would be trained for nothing, or by its penalties alone."""
    distance = composition.parts.distance
    if distance is None:
        return
    losses = [distance.critic_loss(head) for head in _critic_game(composition).heads()]
    for loss in losses:
        if wrong := not_scalar(loss):
            raise broken(distance_of(composition), f"critic_loss returns {wrong}: {way(loss)}.", "critic_loss")
    if not any(loss.requires_grad for loss in losses):
        raise IncompatibleParts(
            f"{type(distance).__name__} does not look at the critic's scores, so a critic has nothing to learn; "
            "use --critic none --lipschitz-constraint none."
        )


def _penalised_by_sample(composition: Composition) -> list[str]:
    """The constraints whose penalty asks for slopes, found by computing each once."""
    names = []
    for name, constraint in composition.parts.constraints.items():
        if overrides(constraint, "penalty"):
            game = _critic_game(composition)
            for head in game.heads():
                constraint.penalty(head)
            if game.differentiated:
                names.append(name)
    return names


def _probe_batch(composition: Composition) -> Batch:
    n, draws = _probe_size(composition), Draws(1, composition.device)
    given = random_condition(composition, n, draws)
    real, fake = (torch.tanh(draws.randn(n, *composition.dataset.shape)) for _ in range(2))
    z = composition.parts["generator"].latent(n, draws)  # type: ignore[operator]
    return composition.batch(real=real, fake=fake, z=z, real_condition=given, fake_condition=given, draws=draws)


def _check_independence(composition: Composition, penalised: list[str]) -> None:
    game = _critic_game(composition)
    points = tracked(game.real)
    if len(tensors(points)[0]) == 1:
        return
    for head in game.heads():
        score = mean_over_patches(head.scores(points))[0]
        gradients = torch.autograd.grad(score, tensors(points), retain_graph=True)
        sizes = torch.cat([each.flatten(1) for each in gradients], dim=1).norm(dim=1)
        if sizes[1:].max() > 1e-6 * sizes[0]:
            raise IncompatibleParts(
                "the critic's score of one sample depends on the other samples of its batch (batch normalisation?): "
                f"the gradient by another sample is {float(sizes[1:].max() / sizes[0]):.2g} of that by its own. "
                f"The penalty of {', '.join(penalised)} bounds each sample's slope, which such a critic does not have. "
                "Use critic.norm = 'none', 'layer' or 'instance' ('frozen' or 'group' for backbone-heads), "
                "or --allow-incompatible to go on."
            )
