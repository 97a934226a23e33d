"""Real numbers of a SLAYER block as the integers that SLAYER's own quantised arithmetic uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import QuantisationError
from netx_export.graph import Kernel, fixedpoint

WEIGHT_SCALE = 64
"""SLAYER's w_scale: a weight of 1.0 is 64 units of synaptic current, a threshold of 1.0 is vth_mant = 64."""

STATE_SCALE = 4096
"""SLAYER's s_scale: a current or voltage of 1.0 is 4096 units of u and v."""


def values(tensor: Any) -> npt.NDArray[np.float64]:
    """A tensor, or whatever NumPy takes, as float64."""
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor, np.float64)


def whole(real: npt.NDArray[np.float64], scale: int, what: str, remedy: str) -> npt.NDArray[np.int64]:
    """real * scale where that is whole; QuantisationError names the first value that is not."""
    scaled = real * scale
    rounded = np.rint(scaled)
    if not bool(np.all(np.isfinite(scaled) & (scaled == rounded))):
        culprit = real[~(np.isfinite(scaled) & (scaled == rounded))].flat[0]
        raise QuantisationError(f"{what} holds {float(culprit)!r}, which is no multiple of 1/{scale}; {remedy}")
    integers: npt.NDArray[np.int64] = rounded.astype(np.int64)
    return integers


def kernel_of(weights: npt.NDArray[np.int64], what: str) -> Kernel:
    """Integer weights as a Kernel with the smallest exponent that holds them exactly.

    Raises QuantisationError where eight bits and a power of two cannot.
    """
    for exponent in range(fixedpoint.WEIGHT_EXP_MAX + 1):
        mantissa = weights >> exponent
        fits = mantissa.min() >= fixedpoint.WEIGHT_MIN and mantissa.max() <= fixedpoint.WEIGHT_MAX
        if fits and bool(np.array_equal(mantissa << exponent, weights)):
            return Kernel(mantissa=mantissa.astype(np.int16), exponent=exponent)
    raise QuantisationError(
        f"{what} reaches from {weights.min()} to {weights.max()} units of 1/{WEIGHT_SCALE}, which are not eight bits times a "
        "power of two; let pre_hook_fx be the neuron's quantize_8bit."
    )
