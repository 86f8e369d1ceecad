"""CycleGAN (Zhu et al., 2017, arXiv 1703.10593): two sets of images without pairs, and a generator each way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import torch
from torch import Tensor

from zoo import (
    About,
    Batch,
    Distance,
    IncompatibleParts,
    LipschitzConstraint,
    Parts,
    Phase,
    Procedure,
    Setting,
    Variant,
    Want,
    critic_phase,
    generator_loss,
    hookimpl,
    read_variants,
)


class Cycle(Procedure):
    """A game in each direction, for any distance; what goes there and back is to be what it was.

    With sources a and samples b, G (`generator`) makes samples of sources, F (`backward`) sources of samples. The
    paper's pool of the last 50 fakes is left out: critics see those of now.

    Args:
        cycle: The weight of E |F(G(a)) - a| + E |G(F(b)) - b| (eq. 2 and 3).
        identity: The weight of E |G(b) - b| + E |F(a) - a| (section 5.2), half of the former in the authors' code.
    """

    def __init__(
        self,
        *,
        cycle: Annotated[float, Setting("weight of what there and back changes", ge=0)] = 10.0,
        identity: Annotated[float, Setting("weight of what is changed that need not be", ge=0)] = 5.0,
    ) -> None:
        self.cycle, self.identity = cycle, identity

    def wants(self, about: About) -> Mapping[str, Want]:
        """Generators there and back, and a critic of each set, which sees no condition."""
        if about.source is None:
            raise IncompatibleParts("the procedure cycle is for data with sources, such as unpaired-folder:PATH.")
        if self.identity and about.source != about.shape:
            raise IncompatibleParts(
                f"samples {about.shape} and sources {about.source} differ, so neither generator takes both; "
                "use procedure.identity = 0."
            )
        back = {"shape": about.source, "source": about.shape}
        alone = {"source": None, "classes": None, "paired": None}
        return {
            "generator": Want("generator"),
            "backward": Want("generator", back),
            "critic": Want("critic", alone),
            "backward_critic": Want("critic", {**alone, "shape": about.source}),
        }

    def phases(self, parts: Parts) -> list[Phase]:
        """A step of each critic, one of both generators."""
        _refuse_state(parts)

        def back(batch: Batch) -> Batch:
            return _back(parts, batch, trained=False)

        return [
            critic_phase(parts),
            critic_phase(parts, "backward_critic", back),
            Phase("generators", ("generator", "backward"), lambda batch: self._generators_loss(parts, batch)),
        ]

    def _generators_loss(self, parts: Parts, batch: Batch) -> dict[str, Tensor]:
        back = _back(parts, batch, trained=True)
        a, b = _sources(batch), cast(Tensor, batch.real)
        a_again, b_again = _made(parts, "backward", batch, batch.fake), _made(parts, "generator", batch, back.fake)
        error = _difference(a_again, a) + _difference(b_again, b)
        batch.record(cycle_error=error / 2)
        terms = {"generator_loss": generator_loss(parts, batch), "backward_loss": generator_loss(parts, back)}
        terms["cycle"] = self.cycle * error
        if self.identity:
            kept = _difference(_made(parts, "generator", batch, b), b)
            kept = kept + _difference(_made(parts, "backward", batch, a), a)
            terms["identity"] = self.identity * kept
        return terms


def _refuse_state(parts: Parts) -> None:
    """What follows one game from step to step would be told the mean of two."""
    silent = (Distance.after_step, LipschitzConstraint.after_step)
    # Over several processes a distance may lie in another one.
    distance: Any = getattr(parts.distance, "distance", parts.distance)
    for component in (distance, *parts.constraints.values()):
        if component is not None and type(component).after_step not in silent:
            raise IncompatibleParts(
                f"{type(component).__name__} follows one game, and the procedure cycle plays two; use another."
            )


def _back(parts: Parts, batch: Batch, trained: bool) -> Batch:
    """The game of the other direction, on the same draw; with a graph where its fakes are to be trained."""

    def fake() -> Tensor:
        with torch.set_grad_enabled(trained):
            return _made(parts, "backward", batch, batch.real)

    return batch.versus(parts["backward_critic"], _sources(batch), fake)


def _made(parts: Parts, name: str, batch: Batch, images: Any) -> Tensor:
    network: Any = parts[name]
    made: Tensor = network(batch.randn(len(images), network.latent_dim), images)
    return made


def _sources(batch: Batch) -> Tensor:
    return cast(Tensor, batch.real_condition)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """The game there and back."""
    return {"cycle": Cycle}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
