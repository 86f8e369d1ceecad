"""An encoder beside the generator: variational and adversarial autoencoders, and BiGAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Procedure, Variant, hookimpl, read_variants
from zoo_encoders.bidirectional import Bidirectional
from zoo_encoders.codes import AdversarialCodes
from zoo_encoders.variational import Variational


@hookimpl
def procedure() -> Mapping[str, Callable[..., Procedure]]:
    """What is trained, by name."""
    return {"variational": Variational, "adversarial-codes": AdversarialCodes, "bidirectional": Bidirectional}


@hookimpl
def variant() -> Mapping[str, Variant]:
    """The compositions of `variants.toml`."""
    return read_variants(__file__)
