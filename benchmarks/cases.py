"""What the speed benchmarks train: networks, sizes and settings, with our trainer, by hand, and as is common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from handwritten import HANDWRITTEN, Handwritten
from naive import NAIVE, Naive

from zoo import ArrayDataset
from zoo.api import compose_table
from zoo.compose import Composition
from zoo.data import Batches
from zoo.devices import derived
from zoo.draws import Draws
from zoo.trainer import Trainer


@dataclass(frozen=True)
class Case:
    """One pair of networks on data of one size, trained by one method.

    Attributes:
        network: The architecture of both networks.
        shape: Of one sample.
        batch_size: Samples per optimiser step.
        critic_steps: Critic steps per iteration.
        method: `wgan-gp` or `r1`.
        width: Of both networks; 0 for the architecture's own, 512 units or 64 channels.
    """

    network: str
    shape: tuple[int, ...]
    batch_size: int
    critic_steps: int
    method: str = "wgan-gp"
    width: int = 0

    @property
    def images_an_iteration(self) -> int:
        """Real samples that the critic sees in an iteration."""
        return self.batch_size * self.critic_steps


CASES = {
    "mlp": Case("mlp", (2,), 256, 5),
    "dcgan-32": Case("dcgan", (3, 32, 32), 64, 2),
    "resnet-32": Case("resnet", (3, 32, 32), 64, 1),
    "dcgan-64": Case("dcgan", (3, 64, 64), 64, 2),
    "resnet-64": Case("resnet", (3, 64, 64), 64, 1),
}
METHODS: dict[str, dict[str, Any]] = {
    "wgan-gp": {
        "distance": {"name": "wasserstein"},
        "lipschitz_constraint": [{"name": "gradient-penalty", "weight": 10.0}],
    },
    "r1": {"distance": {"name": "non-saturating"}, "lipschitz_constraint": [{"name": "r1", "weight": 10.0}]},
}
LR, BETAS = 1e-4, (0.0, 0.9)
SAMPLES = 2048


def data(shape: tuple[int, ...]) -> ArrayDataset:
    """Random samples in [-1, 1]: what they show does not matter for speed."""
    return ArrayDataset(Draws(0).rand(SAMPLES, *shape) * 2 - 1)


def composition(case: Case, device: str = "cpu", given: Mapping[str, Any] | None = None, **train: Any) -> Composition:
    """The case for our trainer, without an averaged generator, which the other loops do not have either.

    Args:
        case: What is trained.
        device: Where.
        given: Parts instead of the case's own, by axis.
        train: Further training settings, such as `precision="bf16"`.
    """
    optimizer = {"name": "Adam", "lr": LR, "betas": list(BETAS)}
    sizes = {"batch_size": case.batch_size, "critic_steps": case.critic_steps}
    table = {**METHODS[case.method], "train": {"average": 0.0, "optimizer": optimizer, **sizes, **train}}
    network = {"name": case.network, **({"width": case.width} if case.width else {})}
    own = {"generator": network, "critic": {**network, "norm": "none"}}
    table |= {axis: choice for axis, choice in own.items() if axis not in (given or {})}
    return compose_table(table, device=device, given={"dataset": data(case.shape), **(given or {})})


def ours(case: Case, device: str = "cpu", say: Callable[[str], None] | None = None, **train: Any) -> Trainer:
    """Our trainer on the case; `say` is told what it cannot do as asked."""
    return Trainer(composition(case, device, **train), say)


def handwritten(case: Case, device: str = "cpu", **train: Any) -> Handwritten:
    """The hand-written loop with the same networks, seeds and settings as `ours(case, device, **train)`."""
    same = composition(case, device, **train)
    settings = same.training.train
    (constraint,) = same.parts.constraints.values()
    return HANDWRITTEN[case.method](
        same.parts.networks["generator"],
        same.parts.networks["critic"],
        Batches(same.dataset, same.device, derived(settings.seed, "data")),
        Draws(derived(settings.seed, "noise"), same.device),
        batch_size=case.batch_size,
        critic_steps=case.critic_steps,
        weight=constraint.weight,
        lr=LR,
        betas=BETAS,
        channels_last=settings.channels_last,
    )


def naive(case: Case, device: str = "cpu", **train: Any) -> Naive:
    """The common public style with the same networks and settings as `ours(case, device, **train)`."""
    same = composition(case, device, **train)
    (constraint,) = same.parts.constraints.values()
    return NAIVE[case.method](
        same.parts.networks["generator"],
        same.parts.networks["critic"],
        same.dataset.samples,
        same.device,
        batch_size=case.batch_size,
        critic_steps=case.critic_steps,
        weight=constraint.weight,
        lr=LR,
        betas=BETAS,
    )
