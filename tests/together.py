"""What two processes compute together, for tests/test_processes.py to compare with one process.

`python tests/together.py RANK FOLDER` is one of the two. What they compute is written in FOLDER by the first.
"""

import contextlib
import functools
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

import zoo
from zoo import Distance
from zoo.api import compose_table
from zoo.devices import seeded
from zoo.errors import IncompatibleParts, ProcessesDiffer, RunExists
from zoo.layering import layered
from zoo.normalising import normalise_together
from zoo.processes import Agreement, Group
from zoo.recipe import normalized
from zoo.trainer import Trainer, flattened

sys.path.insert(0, str(Path(__file__).parent))
from telling import Telling

SIZE = 2
ITERATIONS = 3
BASE = {
    "dataset": "ring",
    "generator": {"name": "mlp", "width": 8, "depth": 2, "latent_dim": 4},
    "critic": {"name": "mlp", "width": 8, "depth": 2, "activation": "tanh"},
    "train": {"batch_size": 8, "average": 0.9, "optimizer": {"name": "Adam", "lr": 0.01}},
}


METHODS = {
    **dict.fromkeys(("cgan", "acgan", "infogan", "cvae", "bigan"), "digits"),
    **dict.fromkeys(("vae", "dvae", "aae"), "ring"),
    **dict.fromkeys(("pix2pix", "cyclegan"), "digit-translation"),
}
"""Variants with a condition, an objective or a procedure of their own, and data for them."""


class Spread(Distance):
    """No mean over samples in any respect: its losses, its witness, its estimate, what it records and draws."""

    estimates = "nothing"

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def critic_loss(self, batch):
        batch.record(seen=batch.real_scores.std())
        share = batch.rand(len(batch.real)) @ batch.fake.flatten(1).norm(dim=1)
        points = batch.real + 0.1 * batch.randn(*batch.real.shape)
        slopes = batch.slopes("real").std() + batch.scores(points).std()
        return batch.fake_scores.std() - batch.real_scores.std() + 0.1 * slopes + 0.01 * share * self.seen

    def generator_loss(self, batch):
        return -batch.fake_scores.std() * batch.real_scores.std()

    def estimate(self, batch):
        return batch.real_scores.std() / batch.fake_scores.std()

    def witness(self, scores, batch, features=None):
        return scores * batch.real_scores.std()

    def after_step(self, means):
        if "seen" in means:
            self.seen.copy_(means["seen"])


def cases():
    """Recipes by name: every distance alone and penalised, every constraint, and what else may go wrong."""
    distances = [entry.name for entry in zoo.list_components("distance")]
    pairs = [(each, c) for each in distances for c in ("none", "gradient-penalty")]
    pairs += [("wasserstein", each) for each in constraints()]
    found = {f"{d} and {c}": (recipe(d, c), {}) for d, c in pairs}
    wgan = recipe("wasserstein", "gradient-penalty")
    smooth = {"generator": {**BASE["generator"], "norm": "batch"}}
    # A critic with batch norm cannot see some of the generator's biases: Adam would make much of rounding there.
    descent = descending(wgan)
    normed = {**descent, "critic": {**BASE["critic"], "norm": "batch"}}
    return found | {
        "over a set": (wgan, {"distance": Spread}),
        "batch norm in the generator": (wgan | smooth, {}),
        "batch norm in both": (normed | smooth, {}),
        "micro-batches": (train(wgan, micro_batches=2), {}),
        "micro-batches, batch norm": (train(normed, micro_batches=2), {}),
        "critic steps": (train(wgan, critic_steps=3, schedule="cosine", steps=5), {}),
        "a lazy penalty": ({**wgan, "lipschitz_constraint": [{"name": "gradient-penalty", "every": 2}]}, {}),
        "a latent that is learnt": ({**wgan, "generator": {**BASE["generator"], "components": 3}}, {}),
        "labels, and epochs that end": (train({**wgan, "dataset": "digits"}, batch_size=998), {}),
        "an objective with a network": (recipe("wasserstein", "none"), {"objective": own_objective}),
        "packed samples": ({**wgan, "procedure": {"name": "adversarial", "packed": 2}}, {}),
        "noise": (train(wgan, noise=0.5, steps=9), {}),
        "noise over a set": (train(wgan, noise=0.5, steps=9), {"distance": Spread}),
        "augmentation and flips": (
            train(wgan | {"dataset": "digits"}, augment=["color", "translation", "cutout"], flip=True),
            {},
        ),
        **{f"the game of {name}": (method(name, dataset), {}) for name, dataset in METHODS.items()},
        "fine-tuning": (tuning("last-2"), {}),
        "fine-tuning that thaws": (tuning("gradual"), {}),
        "fine-tuning on kept features": (tuning("head"), {}),
    }


def method(name, dataset):
    """A variant without dropout, which draws other numbers in each process."""
    table = {"variant": name, "dataset": dataset, "train": {"batch_size": 8, "average": 0.9}}
    if name in ("acgan", "cgan", "pix2pix"):
        table |= {"generator" if name == "pix2pix" else "critic": {"dropout": 0.0}}
    # Losses of codes are sums over a sample, and steep.
    return train(table, optimizer={"name": "SGD", "lr": 1e-6})


def own_objective():
    """One that learns, draws nothing, and follows a mean."""
    generator = zoo.create("generator", "mlp", shape=(2,), classes=None, latent_dim=4)
    with seeded(5):
        return {"telling": Telling((2,), generator, weight=1.0)}


def tuning(tune):
    procedure = {"name": "supervised", "tune": tune, "class_weights": "balanced"}
    train = {"batch_size": 8, "steps": 5, "optimizer": {"name": "SGD", "lr": 0.05}}
    return {"procedure": procedure, "dataset": "digits", "backbone": "timm:test_resnet", "train": train}


def constraints():
    """All but those of dropout, which draws other numbers in each process."""
    names = [entry.name for entry in zoo.list_components("lipschitz_constraint")]
    return ["none", *(name for name in names if name != "consistency")]


def recipe(distance, constraint):
    table = {**BASE, "distance": distance, "lipschitz_constraint": [] if constraint == "none" else [constraint]}
    # It leaves the critic's level free: the gradient of its last bias is rounding, of which Adam would make much.
    return descending(table) if distance == "relativistic-average" else table


def descending(table):
    return train(table, optimizer={"name": "SGD", "lr": 0.05})


def train(table, **settings):
    return {**table, "train": {**table["train"], **settings}}


@contextlib.contextmanager
def doubles():
    """Everything in float64, so that only what is wrong differs."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def trainer(table, given):
    """What is trained. A distance that takes no critic gets none, and samples of one variable."""
    given = {name: make() for name, make in given.items()}
    compose = functools.partial(compose_table, device="cpu", given=given, allow_incompatible=True)
    try:
        composition = compose(normalized(table))
    except IncompatibleParts:
        alone = {"critic": "none", "lipschitz_constraint": [], "dataset": "gaussian-1d"}
        composition = compose(layered([normalized(table), normalized(alone)]))
    made = Trainer(composition)
    made.batches.draw = functools.partial(_drawn, made.batches.draw)
    return made


def _drawn(draw, n):
    samples, condition = draw(n)
    sources = condition is not None and condition.is_floating_point()
    return samples.double(), condition.double() if sources else condition


def computed(table, given):
    """The gradients of the first steps; weights, buffers, state and log of some iterations."""
    made = trainer(table, given)
    networks = made.composition.networks
    made.iterate(estimate=True)
    gradients = {
        f"{name}.{key}": parameter.grad
        for name, network in networks.items()
        for key, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    for _ in range(ITERATIONS - 1):
        made.iterate(estimate=True)
    made.refuse_difference(data=True)
    log = {**made.flush(), "estimate": -1.0 if made.estimate is None else float(made.estimate)}
    state = {"networks": {name: network.state_dict() for name, network in networks.items()}}
    distance = made.composition.parts.distance
    state["objectives"] = {name: each.state_dict() for name, each in made.composition.parts.objectives.items()}
    state["distance"] = {} if distance is None else distance.state_dict()
    return {"gradients": gradients, "state": dict(flattened(state, "")), "log": log}


def normalised(group):
    """Batch normalisation of a batch of which each process has its rows: results, and gradients of gradients."""
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    found = {}
    for name, norm, shape in (
        ("1d", nn.BatchNorm1d(3), (8, 3)),
        ("2d", nn.BatchNorm2d(3, momentum=None), (8, 3, 2, 5)),
        ("no scale", nn.BatchNorm1d(3, affine=False), (8, 3, 4)),
        ("no statistics", nn.BatchNorm2d(3, track_running_stats=False), (8, 3, 2, 2)),
        ("with an activation", BatchNormAct2d(3), (8, 3, 2, 2)),
    ):
        handles = normalise_together([norm], group) if group.size > 1 else []
        points = group.rows(100 + torch.randn(shape)).requires_grad_()
        weights = group.rows(torch.randn(shape))
        outputs = norm(norm(points).sin())
        (slopes,) = torch.autograd.grad((weights * outputs.sin()).sum(), points, create_graph=True)
        (curves,) = torch.autograd.grad((weights * slopes.square()).sum(), points)
        for handle in handles:
            handle.remove()
        assert not norm._forward_hooks
        results = {"outputs": outputs, "slopes": slopes, "curves": curves}
        results = {key: group.gather(value) for key, value in results.items()} if group.size > 1 else results
        found[name] = {**results, **norm.state_dict(), "evaluated": norm.eval()(torch.ones(shape))}
    return {name: {key: value.detach() for key, value in each.items()} for name, each in found.items()}


def went_on(state):
    """Weights two iterations after a checkpoint."""
    made = trainer(*cases()["batch norm in both"])
    if state is not None:
        made.load_state_dict(state)
    for _ in range(2):
        made.iterate()
    return made.state_dict()


def agreed(group):
    """At which iteration both stop, if the second one is asked to before the fourth."""
    stop = Agreement(group, 0)
    return next(step for step in range(100) if stop.agreed(group.rank == 1 and step > 3, step))


def refusals(group):
    """What processes say of each other: weights that differ, and an error of the first."""
    found = {}
    made = trainer(*cases()["critic steps"])
    if group.rank == 1:
        with torch.no_grad():
            next(made.composition.networks["critic"].parameters()).flatten()[0] += 1e-12
    try:
        made.refuse_difference()
    except ProcessesDiffer as error:
        found["differ"] = str(error)

    def make():
        raise RunExists("it is there")

    try:
        group.alike(make)
    except RunExists as error:
        found["exists"] = str(error)
    return found


def uneven(group):
    """What both say of what only one of them records, or has a gradient by; 40 records more take more room."""

    class Uneven(Distance):
        def __init__(self, what):
            super().__init__()
            self.what = what

        def critic_loss(self, batch):
            loss = batch.fake_scores.mean() - batch.real_scores.mean()
            if self.what == "records" and group.rank == 1:
                batch.record(wrong=loss)
            if self.what == "gradients" and group.rank == 1 and batch.step > 0:  # What never has any is refused before.
                loss = loss.detach().requires_grad_()
            if self.what == "nothing":
                batch.record(**{f"number {i}": loss for i in range(100)})
            return loss

        def generator_loss(self, batch):
            return -batch.fake_scores.mean()

    found = {}
    for what in ("records", "gradients", "nothing"):
        made = trainer(recipe("wasserstein", "none"), {"distance": lambda what=what: Uneven(what)})
        for _ in range(ITERATIONS):
            made.iterate()
        try:
            made.flush()
        except ProcessesDiffer as error:
            found[what] = str(error)
    return found


def main(rank, folder):
    """Computes as one of the two."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE)
    group = Group(rank, SIZE)
    with doubles():
        results = {"cases": {name: computed(*case) for name, case in cases().items()}}
        results["normalised"] = normalised(group)
        results["from two"] = went_on(None)
        results["from one"] = went_on(torch.load(folder / "one.pt", weights_only=True))
        results["agreed"] = agreed(group)
        results["refusals"] = refusals(group)
        results["uneven"] = uneven(group)
    torch.save(results, folder / f"{rank}.pt")
    dist.barrier()


if __name__ == "__main__":
    os.environ["RANK"] = sys.argv[1]
    main(int(sys.argv[1]), Path(sys.argv[2]))
