"""Checks of objectives: their losses, what they train, their state, and a short training with them."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.adversarial import Adversarial
from zoo.api import compose_table
from zoo.batch import mean_records
from zoo.compose import Composition
from zoo.errors import ZooError
from zoo.processes import ALONE, Group
from zoo.recipe import normalized
from zoo.testing.checks import Failed, Subject, check, require
from zoo.testing.networks import require_finite, states_of
from zoo.testing.objectives import ABOUTS, PHASES, Play, play, playing_data, plays, refusals, value_of
from zoo.testing.parts import SmallDistance
from zoo.testing.synchronisation import Watch
from zoo.testing.terms import refuse_global_draws, same
from zoo.testing.training import STEPS, require_training

HOOK = "objective"
CLOSE, SINGLE = 1e-4, 1e-3
HALVES = (Group(0, 2), Group(1, 2))


@check(HOOK)
def builds_or_refuses(subject: Subject) -> None:
    """It is built for some kind of data, alike under one seed, and refuses others, or no features, with a reason."""
    results = refusals(subject)
    found = [(about, refusal) for about, refusal in results.items() if refusal is not None]
    for about in ABOUTS:
        try:
            play(subject, about, features=False).evaluated()
        except Exception as error:
            found.append((about, error))
    for about, refusal in found:
        if isinstance(refusal, Failed):
            raise refusal
        require(
            isinstance(refusal, ZooError) and str(refusal),
            f"for samples {about.shape}, classes {about.classes} and source {about.source} it raises "
            f"{type(refusal).__name__}: {refusal}. Raise zoo.IncompatibleParts, with what to use instead.",
        )
    taken = [about for about, refusal in results.items() if refusal is None]
    require(taken, f"it takes no kind of data that was tried; the last refusal: {found[-1:]}")
    for about in taken:
        one, other = (states_of(play(subject, about).objective) for _ in range(2))
        require(all(torch.equal(one[name], other[name]) for name in one), "the same seed gives other initial weights.")


@check(HOOK)
def acts(subject: Subject) -> None:
    """It defines critic_loss or generator_loss."""
    for each in plays(subject):
        require(each.terms(), "it defines neither critic_loss nor generator_loss, so it does nothing: a misspelt name?")


@check(HOOK)
def losses(subject: Subject) -> None:
    """Each loss is a finite scalar with finite gradients by what its phase trains: a network, or the objective."""
    for each in plays(subject):
        for phase, loss in each.terms().items():
            value = value_of(phase, loss(each.game(phase)), str(each))
            gradients = _gradients(value, _trained(each, phase))
            require(
                any(bool(g.any()) for g in gradients),
                f"{phase}_loss has no gradient on {each} by anything that the {phase}'s phase trains; is it detached?",
            )
            require_finite(gradients, f"gradients of {phase}_loss on {each}")


def _trained(each: Play, phase: str) -> list[nn.Parameter]:
    network: nn.Module = each.critic if phase == "critic" else each.generator
    own = list(each.objective.parameters()) if phase in each.objective.trained_with else []
    return [p for p in (*network.parameters(), *own) if p.requires_grad]


def _gradients(value: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    if not value.requires_grad or not parameters:
        return [torch.zeros(1)]
    return list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))


@check(HOOK)
def trains_its_parameters(subject: Subject) -> None:
    """`trained_with` names phases in which every parameter of its own gets a gradient, in one of them at least."""
    for each in plays(subject):
        phases = each.objective.trained_with
        legal = isinstance(phases, tuple) and set(phases) <= set(PHASES)
        require(legal, f"trained_with is {phases!r}; it must be a tuple of 'critic' and 'generator', or an empty one.")
        named = {name: p for name, p in each.objective.named_parameters() if p.requires_grad}
        reached: set[str] = set()
        for phase, loss in each.terms().items():
            value = value_of(phase, loss(each.game(phase)), str(each))
            if phase in phases and named and value.requires_grad:
                found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
                reached |= {name for name, gradient in zip(named, found, strict=True) if gradient is not None}
        idle = sorted(set(named) - reached)
        require(not idle, f"nothing trains {', '.join(idle[:3])} in the phases {phases}; name another in trained_with.")


@check(HOOK)
def leaves_networks_alone(subject: Subject) -> None:
    """It holds neither the generator nor a part of it as its own, which would be trained and saved twice."""
    for each in plays(subject):
        theirs = {id(t) for t in (*each.generator.parameters(), *each.generator.buffers())}
        own = {**dict(each.objective.named_parameters()), **dict(each.objective.named_buffers())}
        shared = [name for name, tensor in own.items() if id(tensor) in theirs]
        require(
            not shared,
            f"{', '.join(shared[:3])} is the generator's; take from `generator` what you need to know in __init__, "
            "and fakes from the batch.",
        )


@check(HOOK)
def mean_over_samples(subject: Subject) -> None:
    """A batch's loss is the mean of its halves' losses, so that micro-batches and processes add up to the batch."""
    for each in plays(subject):
        for network in (each.generator, each.critic, each.objective):
            network.double().eval()
        for phase, loss in each.terms().items():
            found = [loss(each.game(phase, group=group)) for group in (ALONE, *HALVES)]
            whole, *halves = (value_of(phase, value, str(each)).item() for value in found)
            mean = sum(halves) / 2
            require(
                abs(whole - mean) <= CLOSE * max(abs(whole), abs(mean)) + 1e-9,
                f"{phase}_loss of 16 samples is {whole:.6g}, and the mean of those of its halves {mean:.6g}. If it "
                "is a loss of a set, say so in expected_failures; the zoo then refuses micro-batches and processes.",
            )


@check(HOOK)
def random_numbers(subject: Subject) -> None:
    """Random numbers come from batch.rand and batch.randn alone, and the same seed gives the same losses."""
    for each in plays(subject):
        refuse_global_draws(each.evaluated)


@check(HOOK)
def waits_for_nothing(subject: Subject) -> None:
    """Neither its losses nor after_step wait for the device: no .item(), `if tensor`, boolean mask or one_hot."""
    for each in plays(subject):
        for phase, loss in each.terms().items():
            batch = each.game(phase)
            with Watch() as watch:
                value = loss(batch)
                if isinstance(value, Tensor) and value.requires_grad:
                    value.backward()  # type: ignore[no-untyped-call]
            means = mean_records(batch.records)
            with torch.no_grad(), Watch() as after:
                each.objective.after_step(means)
            seen = list(dict.fromkeys([*watch.seen, *after.seen]))
            require(not seen, f"in the {phase}'s phase it waits for the device: {'; '.join(seen[:3])}.")


@check(HOOK)
def keeps_its_state(subject: Subject) -> None:
    """After some steps its state_dict in a new instance gives the same losses, now and later; so do its copies."""
    for each in plays(subject):
        each.trained(4)
        again = play(subject, each.about)
        again.objective.load_state_dict(each.objective.state_dict())
        copied = Play(each.about, again.generator, again.critic, copy.deepcopy(each.objective))
        others = {"loaded from its state_dict": again, "copied with deepcopy": copied}
        if "<locals>" not in type(each.objective).__qualname__:
            pickled = pickle.loads(pickle.dumps(each.objective))
            others["pickled"] = Play(each.about, again.generator, again.critic, pickled)
        for steps in (0, 1):
            for one in (each, *others.values()):
                one.trained(steps)
            for how, other in others.items():
                why = f"one that is {how} goes on otherwise; state belongs in buffers (register_buffer)."
                same(each.evaluated(50), other.evaluated(50), why)


@check(HOOK)
def state_in_place(subject: Subject) -> None:
    """Steps change the values of its buffers, and neither replace them nor add new ones."""
    for each in plays(subject):
        before = {name: buffer.data_ptr() for name, buffer in each.objective.named_buffers()}
        each.trained(2)
        after = {name: buffer.data_ptr() for name, buffer in each.objective.named_buffers()}
        require(set(before) == set(after), "buffers come or go with steps; register all of them in __init__.")
        moved = [name for name in before if before[name] != after[name]]
        require(not moved, f"the buffers {moved} are replaced by new tensors; write into them, as with copy_ or lerp_.")


@check(HOOK)
def changes_nothing_else(subject: Subject) -> None:
    """Samples, latent points, the critic and the generator are as they were after each loss."""
    for each in plays(subject):
        for phase, loss in each.terms().items():
            batch = each.game(phase)
            held = {"real samples": batch.real, "fakes": batch.fake, "latent points": batch.z}
            held |= {f"critic's {name}": value for name, value in each.critic.state_dict(keep_vars=True).items()}
            held |= {f"generator's {name}": value for name, value in each.generator.state_dict(keep_vars=True).items()}
            before = {what: tensor.detach().clone() for what, tensor in held.items()}  # type: ignore[union-attr]
            loss(batch)
            changed = [what for what, tensor in held.items() if not torch.equal(tensor, before[what])]  # type: ignore[arg-type]
            require(not changed, f"{phase}_loss changes the {', '.join(changed)}; use no operations in place on them.")


@check(HOOK)
def double_precision(subject: Subject) -> None:
    """float64 in gives float64 out, with the value of float32."""
    for each in plays(subject):
        single = each.evaluated()
        for network in (each.generator, each.critic, each.objective):
            network.double()
        for name, value in each.evaluated().items():
            require(value.dtype == torch.float64, f"{name} is {value.dtype} for float64 samples, scores and features.")
            gap, size = abs(value.item() - single[name].item()), abs(value.item())
            require(gap <= SINGLE * (1 + size), f"{name} differs by {gap:.2g} between float32 and float64.")


@check(HOOK)
def trains_and_resumes(subject: Subject) -> None:
    """An adversarial game with it trains to finite losses; resumed, as one that did not stop, bit for bit."""
    for each in plays(subject):
        require_training(functools.partial(_composed, subject, each), str(each))


def _composed(subject: Subject, each: Play) -> Composition:
    """The adversarial game on small data, all of it newly built."""
    made = play(subject, each.about)
    given = {
        "dataset": playing_data(each.about),
        "generator": made.generator,
        "critic": made.critic,
        "distance": SmallDistance(),
        "procedure": Adversarial(),
        "objective": {"given objective": made.objective},
    }
    table = normalized({"train": {"steps": STEPS, "batch_size": 8, "critic_steps": 2}})
    return compose_table(table, device="cpu", given=given)
