"""Generators that are told a class, and critics that ask whether a sample is of it: `cgan` and `projection-gan`."""

from __future__ import annotations

from collections.abc import Mapping

from zoo import Variant, hookimpl, read_variants


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
