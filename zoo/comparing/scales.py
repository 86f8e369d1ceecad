"""What a figure is called, and how it stands to its floor: the same figure between real samples."""

from __future__ import annotations

from zoo.comparing.results import Scale


def number(value: float) -> str:
    """A figure as it is printed: four digits that count."""
    return f"{value:.4g}"


def title(scale: Scale) -> str:
    """A figure's name for people: `frechet`, `prdc coverage`."""
    return scale.metric if scale.name in scale.metric else f"{scale.metric} {scale.name}"


def times_floor(value: float | None, scale: Scale) -> float | None:
    """A figure over its floor; None where there is none, or where the floor is 0 as far as its spread tells."""
    if value is None or scale.floor is None or scale.floor <= 2 * (scale.spread or 0.0):
        return None
    return value / scale.floor


def at_floor(value: float, scale: Scale) -> bool:
    """Whether a figure is no worse than real samples have, within twice the floor's spread."""
    if scale.floor is None or not scale.better:
        return False
    sign = 1 if scale.better == "higher" else -1
    return sign * (value - scale.floor) >= -2 * (scale.spread or 0.0)
