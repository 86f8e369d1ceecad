"""Checks of procedures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoo.backbones import Backbone
from zoo.batch import Batch
from zoo.compose import Composition
from zoo.draws import Draws
from zoo.errors import IncompatibleParts
from zoo.hookspecs import HOOKS
from zoo.procedures import About, Phase, Procedure, Want
from zoo.testing.checks import Subject, check, require
from zoo.testing.networks import CLASSES, require_finite
from zoo.testing.parts import SmallGenerator, small_composition, small_networks
from zoo.testing.training import STEPS, require_training

SHAPES = ((2,), (1, 8, 8))
ABOUTS = tuple(About(shape, classes) for shape in SHAPES for classes in (None, CLASSES))
TRANSLATIONS = tuple(About(shape, None, shape, paired) for shape in SHAPES for paired in (True, False))


def _procedure(subject: Subject) -> Procedure:
    made = subject.make()
    require(isinstance(made, Procedure), f"it makes a {type(made).__name__}, and not a zoo.Procedure.")
    procedure: Procedure = made
    return procedure


@check("procedure")
def wants(subject: Subject) -> None:
    """It wants parts of hooks that exist, for images and vectors, with and without classes or sources."""
    for about in _taken(subject, (*ABOUTS, *TRANSLATIONS)):
        wanted = _procedure(subject).wants(about)
        legal = isinstance(wanted, Mapping) and all(isinstance(want, Want) for want in wanted.values())
        require(legal and wanted, f"wants() returns {wanted!r} for {about}; it must be some zoo.Want by name.")
        for name, want in wanted.items():
            require(want.hook in HOOKS, f"it wants '{name}' of the hook '{want.hook}', which there is not.")


def _taken(subject: Subject, abouts: Sequence[About]) -> list[About]:
    """The kinds of data that it does not refuse, which must be some."""
    taken, refusals = [], []
    for about in abouts:
        try:
            _procedure(subject).wants(about)
        except IncompatibleParts as error:
            refusals.append(str(error))
        else:
            taken.append(about)
    require(taken, f"it refuses every kind of data that was tried: {' '.join(dict.fromkeys(refusals))}")
    return taken


@check("procedure")
def phases(subject: Subject) -> None:
    """Its phases have names of their own, train wanted parts, and take one step or more."""
    for about, composition in _compositions(subject):
        listed = composition.phases
        require(isinstance(listed, list) and listed, f"phases() returns {listed!r}; it must be a list of some phases.")
        names = [phase.name for phase in listed]
        require(len(set(names)) == len(names), f"two phases have the same name: {', '.join(names)}.")
        for phase in listed:
            _require_legal(phase, set(composition.networks), about)


def _require_legal(phase: Phase, parts: set[str], about: About) -> None:
    unknown = set(phase.trains) - parts
    require(
        phase.trains and not unknown,
        f"the {phase.name} phase trains {', '.join(map(str, phase.trains)) or 'nothing'}, and the parts that it wants "
        f"for {about} are {', '.join(sorted(parts))}.",
    )
    counts = (phase.steps, phase.every, *phase.lazy.values())
    legal = all(type(count) is int and count >= 1 for count in counts)
    require(legal, f"the {phase.name} phase has steps, every and lazy {counts}; they must be whole numbers from 1.")


def _compositions(subject: Subject) -> list[tuple[About, Composition]]:
    """With labels, where it takes such data, or with sources."""
    found = []
    taken = _taken(subject, (*(About(shape, CLASSES) for shape in SHAPES), *TRANSLATIONS))
    labelled = [about for about in taken if about.classes]
    for about in labelled or taken:
        procedure = _procedure(subject)
        networks = small_networks(procedure, about)
        found.append((about, small_composition(procedure, networks, about, STEPS)))
    return found


@check("procedure")
def trains_every_part(subject: Subject) -> None:
    """Every part that has trainable parameters is trained in some phase."""
    for _, composition in _compositions(subject):
        trained = {name for phase in composition.phases for name in phase.trains}
        parts = [name for name, network in composition.networks.items() if not isinstance(network, Backbone)]
        idle = [name for name in parts if name not in trained]
        require(not idle, f"no phase trains {', '.join(idle)}; name it in `trains`, or do not want it.")


@check("procedure")
def losses(subject: Subject) -> None:
    """The losses of a phase are finite scalars by name, with gradients for every part that it trains."""
    for _, composition in _compositions(subject):
        for phase in composition.phases:
            terms = phase.loss(phase.played(_batch(composition, phase)))
            legal = isinstance(terms, Mapping) and len(terms) > 0
            require(legal, f"the {phase.name} phase returns {terms!r}, not losses by name.")
            for name, term in terms.items():
                legal = isinstance(term, Tensor) and term.ndim == 0 and bool(term.isfinite())
                require(legal, f"the {phase.name} phase's {name} is {term!r}, and not a finite scalar.")
            _require_gradients(composition, phase, torch.stack(list(terms.values())).sum())


def _require_gradients(composition: Composition, phase: Phase, total: Tensor) -> None:
    for part in set(phase.trains) & set(composition.networks):
        parameters = list(composition.networks[part].parameters())
        advice = f"the {phase.name} phase trains '{part}', but its losses have no gradient by it."
        require(total.requires_grad, advice)
        gradients = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
        found = [each for each in gradients if each is not None]
        require(found, advice)
        require_finite(found, f"the gradients of the {phase.name} phase by '{part}'")


def _batch(composition: Composition, phase: Phase) -> Batch:
    """A micro-batch as the trainer makes it."""
    draws, shape, source = Draws(2), composition.dataset.shape, composition.dataset.source
    given = draws.randint(CLASSES, 6) if source is None else torch.tanh(draws.randn(6, *source))
    generator = composition.networks.get("generator")
    trained = "generator" in phase.trains

    def fake() -> Tensor:
        with torch.set_grad_enabled(trained):
            samples: Tensor = torch.tanh(draws.randn(6, *shape)) if generator is None else generator(batch.z, given)
        return samples

    batch = composition.batch(
        real=torch.tanh(draws.randn(6, *shape)),
        fake=fake,
        z=draws.randn(6, SmallGenerator.latent_dim),
        real_condition=given,
        fake_condition=given,
        draws=draws,
        track=not trained,
    )
    return batch


@check("procedure")
def trains_and_resumes(subject: Subject) -> None:
    """Small parts train to finite losses, and a resumed run is the same, bit for bit, as one that did not stop."""
    for about, composition in _compositions(subject):
        networks = dict(composition.networks)

        def compose(networks: Mapping[str, torch.nn.Module] = networks, about: About = about) -> Composition:
            return small_composition(_procedure(subject), networks, about, STEPS)

        require_training(compose, f"small parts on samples {about.shape}")
