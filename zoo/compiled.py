"""A phase's gradients compiled as one graph, second derivatives included.

`torch.compile` itself refuses a backward through a backward. So the whole computation, from samples to the gradients of
the parameters, is first traced operation by operation (make_fx, below autograd): what comes out is one graph without
any derivative left to take, and that is compiled. Losses and penalties are written as for eager runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from zoo.captured import Evaluated, Gradients, Needs, needs_of, reason
from zoo.draws import Draws
from zoo.errors import Uncapturable
from zoo.losses import Due, PhaseLoss, Real

BACKEND = "inductor"
"""Of `torch.compile`."""
EXACT: dict[str, Any] = {"emulate_precision_casts": True}
"""Options on the CPU: without them the compiler leaves out roundings to bfloat16 whose result nothing stores, as those
of convolutions there; then it differs from eager runs by all that bfloat16 does."""
TOLERANCE = 0.02
"""How far a compiled gradient may be from the eager one, relative to it; in bfloat16 it rounds at other places."""


class CompiledGradients:
    """A phase's gradients, compiled at the first call.

    Args:
        loss, due, needs, trained: See `Gradients`.
    """

    def __init__(self, loss: PhaseLoss, due: Due, needs: Needs, trained: Sequence[nn.Parameter]) -> None:
        self._gradients = Gradients(loss, due, needs, trained)
        self._run: Callable[..., Any] | None = None

    def __call__(self, given: list[Tensor]) -> Evaluated:
        """The gradients, terms and records for these inputs.

        Raises:
            Exception: Anything that tracing or compiling meets, at the first call; nothing has changed then.
        """
        values = self._gradients.values
        if self._run is None:
            graph = _traced(self._gradients, given)
            options = EXACT if values[0].device.type == "cpu" else None
            self._run = torch.compile(graph, fullgraph=True, dynamic=False, backend=BACKEND, options=options)
        with torch.no_grad():
            return self._gradients.named(*self._run(values, given))

    def eager(self, given: list[Tensor]) -> Evaluated:
        """The same without what was compiled."""
        return self._gradients.named(*self._gradients.flat(self._gradients.values, given))


def _traced(gradients: Gradients, given: list[Tensor]) -> torch.fx.GraphModule:
    """The graph of one evaluation. Tracing evaluates it once; what that changes in buffers is put back."""
    kept = [(value, value.clone()) for value in gradients.values if not isinstance(value, nn.Parameter)]
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            # A lambda, since make_fx counts a method's self as an argument.
            return make_fx(lambda values, given: gradients.flat(values, given))(gradients.values, given)
    finally:
        with torch.no_grad():
            for value, before in kept:
                value.copy_(before)


class Compiler:
    """Compiled gradients by phase and due terms; what cannot be compiled is said once, and left to eager runs.

    Args:
        draw_real: Draws the real samples of a micro-batch.
        draws: The run's random numbers.
        undisturbed: A context in which losses can be tried without a trace.
        tell: Is told what cannot be compiled, and why.
    """

    def __init__(
        self,
        draw_real: Callable[[], Real],
        draws: Draws,
        undisturbed: Callable[[], AbstractContextManager[None]],
        tell: Callable[[str], None],
    ) -> None:
        self._draw_real, self._draws = draw_real, draws
        self._undisturbed, self._tell = undisturbed, tell
        self._compiled: dict[tuple[str, Due], tuple[Needs, CompiledGradients] | None] = {}

    def evaluate(self, loss: PhaseLoss, due: Due, trained: Sequence[nn.Parameter]) -> Evaluated | None:
        """The gradients of the next micro-batch; None if they are to be had eagerly only."""
        key = (loss.phase.name, due)
        if key not in self._compiled:
            self._compiled[key] = self._try(loss, due, trained)
        found = self._compiled[key]
        if found is None:
            return None
        needs, gradients = found
        return gradients(needs.given(self._draw_real, self._draws))

    def _try(
        self, loss: PhaseLoss, due: Due, trained: Sequence[nn.Parameter]
    ) -> tuple[Needs, CompiledGradients] | None:
        try:
            with self._undisturbed():
                needs = needs_of(loss, due, self._draw_real, self._draws)
                gradients = CompiledGradients(loss, due, needs, trained)
                gradients(needs.given(self._draw_real, self._draws))
                self._refuse_difference(gradients, needs.given(self._draw_real, self._draws))
        except Exception as error:  # Tracing and compiling raise errors of many kinds.
            self._tell(f"the {loss.phase.name} phase is not compiled, and runs eagerly: {reason(error)}")
            return None
        return needs, gradients

    def _refuse_difference(self, gradients: CompiledGradients, given: list[Tensor]) -> None:
        """Raises Uncapturable if other inputs than the first ones give something else than they do eagerly.

        Where networks draw random numbers themselves nothing can be compared: compiled they draw others.
        """

        def evaluated(run: Callable[[list[Tensor]], Evaluated], seed: int = 0) -> Tensor:
            with self._undisturbed():
                torch.manual_seed(seed)
                found = [each for each in run(given).gradients if each is not None]
                return torch.cat([each.double().flatten() for each in found])

        expected = evaluated(gradients.eager)
        if not torch.equal(expected, evaluated(gradients.eager, seed=1)):
            return
        share = float((evaluated(gradients) - expected).norm() / expected.norm().clamp(min=1e-30))
        if not share <= TOLERANCE:
            raise Uncapturable(
                f"compiled, its gradient differs by {share:.2g} of it on other inputs than the first: something in it "
                "is computed outside of torch, or kept from the first time."
            )
