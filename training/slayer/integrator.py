"""lava-dl's leaky integrator as a compiled loop: the same numbers as its loop over tensors, several times faster.

lava-dl has a compiled integrator for CUDA alone. Its blocks look the function up in their module when they run, so
within `compiled_integrator` they use this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.compiled_loops import exact
from training.slayer.networks import slayer_library

Array = npt.NDArray[Any]

_MODULE = "lava.lib.dl.slayer.neuron.dynamics.leaky_integrator"
_NEVER = np.float32(np.inf)


@contextmanager
def compiled_integrator() -> Iterator[None]:
    """Let lava-dl's cuba neurons integrate with compiled loops where one decay is shared by all; others stay lava-dl's."""
    slayer_library()
    module: Any = import_module(_MODULE)
    original: Callable[..., Tensor] = module.dynamics

    def dynamics(
        input: Tensor,  # noqa: A002 - lava-dl's name
        decay: Tensor,
        state: Tensor,
        w_scale: int,
        threshold: float | None = None,
        debug: bool = False,
    ) -> Tensor:
        if input.is_cuda or debug or decay.numel() != 1 or decay.requires_grad:
            return original(input, decay, state, w_scale, threshold, debug)
        if state.numel() == 1:
            state = state * torch.ones(input.shape[:-1])
        found: Tensor = _Integrator.apply(input, decay, state, threshold, w_scale)  # type: ignore[no-untyped-call]
        return found

    module.dynamics = dynamics
    try:
        yield
    finally:
        module.dynamics = original


class _Integrator(torch.autograd.Function):
    """y[t] = tz(y[t-1]*(4096-decay), 12) + tz(scale*x[t]), reset to 0 behind y >= threshold; backward as lava-dl's."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decay: Tensor, state: Tensor, threshold: float | None, scale: int) -> Tensor:
        """Values (B,...,T) and the state (B,...) before them, in real units."""
        ctx.kept = 1 - decay / (1 << 12)
        steps = values.shape[-1]
        given = values.detach().contiguous()
        found = torch.empty_like(given)
        # lava-dl compares integers with a threshold that torch rounds to 32 bits.
        limit = _NEVER if threshold is None or threshold * scale <= 0 else np.float32(threshold * scale)
        _integrate(
            given.numpy().reshape(-1, steps),
            found.numpy().reshape(-1, steps),
            state.detach().contiguous().numpy().reshape(-1),
            (1 << 12) - int(decay.detach().to(torch.int64)),
            limit,
            np.float32(scale),
        )
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """g[t] = kept * g[t+1] + given[t]: the reset passes no gradient and stops none."""
        given = gradient.contiguous()
        found = torch.empty_like(given)
        steps = given.shape[-1]
        _integrate_back(
            given.numpy().reshape(-1, steps), found.numpy().reshape(-1, steps), np.float32(ctx.kept.detach().item())
        )
        return found, None, None, None, None


@exact
def _integrate(values: Array, found: Array, state: Array, kept: int, limit: Any, scale: Any) -> None:
    for n in numba.prange(values.shape[0]):
        y = np.int64(state[n] * scale)
        for t in range(values.shape[1]):
            product = y * kept
            y = product >> 12 if product >= 0 else -((-product) >> 12)
            y += np.int64(values[n, t] * scale)
            level = np.float32(y)
            found[n, t] = level / scale
            if level >= limit:
                y = np.int64(0)


@exact
def _integrate_back(given: Array, found: Array, kept: Any) -> None:
    last = given.shape[1] - 1
    for n in numba.prange(given.shape[0]):
        carried = given[n, last]
        found[n, last] = carried
        for t in range(last - 1, -1, -1):
            carried = kept * carried + given[n, t]
            found[n, t] = carried
