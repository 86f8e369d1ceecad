"""DeLiGAN (Gurumurthy, Sarvadevabhatla and Babu, 2017, arXiv 1706.02071): a composition of parts of other plugins."""

from __future__ import annotations

from collections.abc import Mapping

from zoo import Variant, hookimpl, read_variants


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
