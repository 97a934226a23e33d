"""What lava-dl 0.6.0's loader does to numbers on their way into Lava, as far as a file must care."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BIAS_EXP = 6
"""The stock loader gives every LIF this bias exponent."""

_WEIGHT_BITS = 8


def dense_as_loaded(weight: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
    """The weights that Lava's Dense computes with when the stock loader is given `weight`; None where it fails.

    The loader shifts the weights up to fill 8 bits (9 with sign) and names the bits that carry information; Dense then
    clips to its sign mode's range, floors the others away, and shifts the sum back down. This loses what it should
    not for some all-negative matrices: [[-2,-4]] acts as [[-2,-2]]. All-zero matrices make it fail.
    Source: lava-dl 0.6.0 `netx/utils.py`, lava-nc 0.10.0 `proc/dense/models.py`, `utils/weightutils.py` (measured).
    """
    wide = weight.astype(np.int64)
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
    bits = _WEIGHT_BITS - shift - (common - mixed)
    shifted = wide << shift
    # Dense decides on the sign mode anew, and takes a matrix without positive weights for an inhibitory one.
    signed = low < 0 < high
    magnitude = -shifted if high <= 0 else shifted
    clipped = np.clip(magnitude, -(1 << _WEIGHT_BITS) if signed else 0, (1 << _WEIGHT_BITS) - 1)
    dropped = max(0, _WEIGHT_BITS - bits + signed)
    kept = (clipped >> dropped) << dropped
    # The sum is shifted back by `shift`; it is exact only where every weight still is a multiple.
    if bool((kept % (1 << shift)).any()):
        return None
    return ((-kept if high <= 0 else kept) >> shift).astype(np.int32)
