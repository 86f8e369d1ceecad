"""PacGAN (Lin et al., 2018, arXiv 1712.04086): a composition of what is there, and no code of its own."""

from __future__ import annotations

from collections.abc import Mapping

from zoo import Variant, hookimpl, read_variants


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The composition of `variants.toml`."""
    return read_variants(__file__)
