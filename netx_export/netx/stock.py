"""What lava-dl 0.6.0's loader does to numbers on their way into Lava, as far as a file must care."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

BIAS_EXP = 6
"""The stock loader gives every LIF this bias exponent."""

STATE_EXP = 6
"""The stock loader gives every sigma-delta neuron and every resonator this exponent for its states."""

SPIKE_EXP = 6
"""What its argument `spike_exp` is unless the caller says otherwise."""

_WEIGHT_BITS = 8

_Weights = npt.NDArray[np.signedinteger[Any]]


def dense_as_loaded(weight: _Weights) -> npt.NDArray[np.int32] | None:
    """The weights that Lava's Dense computes with when the stock loader is given `weight`; None where it fails.

    The loader shifts the weights up to fill 8 bits (9 with sign) and names the bits that carry information; Dense then
    clips to its sign mode's range, floors the others away, and shifts the sum back down. This loses what it should
    not for some all-negative matrices: [[-2,-4]] acts as [[-2,-2]], [[0,-135]] as zeros. All-zero matrices make it fail.
    Source: lava-dl 0.6.0 `netx/utils.py`, lava-nc 0.10.0 `proc/dense/models.py`, `utils/weightutils.py` (measured).
    """
    return parts_as_loaded(weight)[0]


def parts_as_loaded(*parts: _Weights) -> tuple[npt.NDArray[np.int32] | None, ...]:
    """`dense_as_loaded` of matrices that the loader scales together, as the two of a recurrent layer (measured)."""
    together = _optimised(np.hstack([part.astype(np.int64) for part in parts]))
    if together is None:
        return (None,) * len(parts)
    shifted, bits, shift = together
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return tuple(_acting(part, bits, shift) for part in np.split(shifted, ends, axis=1))


def _optimised(wide: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int, int] | None:
    """The loader's `optimize_weight_bits`: weights shifted up, the bits it names, the shift."""
    low, high = int(wide.min()), int(wide.max())
    if low == high == 0:
        return None
    if (high > 254 and low < 0) or (low < -256 and high > 0):
        wide = np.clip(wide, -256, 254)
        low, high = int(wide.min()), int(wide.max())
    mixed = low < 0 <= high
    # The factors by which the positive and the negative weights may grow.
    above = (127 if mixed else 255) / high if high > 0 else math.inf
    below = (128 if mixed else 256) / -low if low < 0 else math.inf
    shift = math.floor(math.log2(min(above, below))) + mixed
    if shift < 0:
        return None
    common = max(n for n in range(9) if not bool((wide % (1 << n)).any()))
    return wide << shift, _WEIGHT_BITS - shift - (common - mixed), shift


def _acting(shifted: npt.NDArray[np.int64], bits: int, shift: int) -> npt.NDArray[np.int32] | None:
    """What Lava's Dense makes of weights that arrive shifted up, and of the bits named for them."""
    low, high = int(shifted.min()), int(shifted.max())
    # Dense decides on the sign mode anew, and takes a matrix without positive weights for an inhibitory one.
    inhibitory = low < 0 and high <= 0
    signed = low < 0 < high
    magnitude = -shifted if inhibitory else shifted
    clipped = np.clip(magnitude, -(1 << _WEIGHT_BITS) if signed else 0, (1 << _WEIGHT_BITS) - 1)
    dropped = _WEIGHT_BITS - bits + signed
    if dropped < 0:
        # Some matrices whose largest weight is 0: a shift by -1, of which numpy makes 0.
        return np.zeros(shifted.shape, np.int32)
    kept = (clipped >> dropped) << dropped
    # The sum is shifted back by `shift`; it is exact only where every weight still is a multiple.
    if bool((kept % (1 << shift)).any()):
        return None
    return ((-kept if inhibitory else kept) >> shift).astype(np.int32)


def rotation_as_loaded(sin: int, cos: int) -> tuple[int, int]:
    """(sin, cos) in 1/4096 that Lava's RF computes with when a file says `sinDecay`, `cosDecay`.

    The loader turns them into a period and a decay, in floating point, and RF turns these back, truncating: one of
    them may come out one unit smaller. Source: lava-dl 0.6.0 `slayer/neuron/rf.py`, lava-nc 0.10.0 `proc/rf/process.py`.
    """
    one = 1 << 12
    x, y = np.float64(sin) / one, np.float64(cos) / one
    decay = 1 - np.sqrt(x**2 + y**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        period = 1 / (np.arctan2(x, y) / 2 / np.pi)
        found = ((1 - decay) * np.sin(np.pi * 2 * 1 / period), (1 - decay) * np.cos(np.pi * 2 * 1 / period))
    return int(np.nan_to_num(found[0]) * one), int(np.nan_to_num(found[1]) * one)
