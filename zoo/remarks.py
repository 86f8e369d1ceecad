"""What a user should know of a composition before it is trained, though it can be."""

from __future__ import annotations

from zoo.components import PROPORTIONAL, is_conditional
from zoo.compose import Composition


def remarks(composition: Composition) -> list[str]:
    """A sentence or two on each, of its networks and of what they are put to."""
    found = [str(getattr(network, "remark", "")) for network in composition.networks.values()]
    return [remark for remark in (*found, _one_sided(composition), _unbounded(composition)) if remark]


def _one_sided(composition: Composition) -> str:
    """What to say where one of generator and critic alone is told classes, and no objective speaks of them."""
    networks, parts = composition.networks, composition.parts
    told = [name for name in ("generator", "critic") if name in networks and is_conditional(networks[name])]
    others = {"generator", "critic"} - set(told)
    alone = composition.dataset.source is None and composition.scores_samples and others <= networks.keys()
    if len(told) != 1 or not alone or parts.objectives:
        return ""
    (other,) = others
    return (
        f"the {told[0]} is given classes and the {other} is not, so that nothing makes samples agree with their class: "
        f"--set {other}.condition=concat tells it, for networks that have this setting."
    )


def _unbounded(composition: Composition) -> str:
    """What to say of an estimate of W1 by a critic whose slope nothing bounds."""
    distance = composition.parts.distance
    if distance is None or distance.estimates.partition(",")[0] != PROPORTIONAL or composition.parts.constraints:
        return ""
    return (
        "nothing bounds the critic's slope, so that this loss has no least value and its estimate is no W1: name a "
        "constraint with --lipschitz-constraint."
    )
