"""Compiled loops of batch normalisation over rows (R,C), channels innermost.

torch's own loops take one thread where channels come last. Channels are narrow (16 to 100), so rows are taken several at
a time: in flat memory the channels repeat with every period that is a multiple of C, long enough for vector units.
Sums are taken per block of rows and added in the order of the blocks, so a run repeats to the bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from training.compiled_loops import reordered

Flat = npt.NDArray[np.float32]
PerChannel = npt.NDArray[np.float64]

_PERIOD = 512
_PERIODS_PER_BLOCK = 32


@reordered
def sums(x: Flat, y: Flat, channels: int) -> PerChannel:
    """Sums of x and of x*y per channel, (2,C), over flat (R*C,) arrays."""
    period = channels * max(1, _PERIOD // channels)
    size = period * _PERIODS_PER_BLOCK
    blocks = (x.size + size - 1) // size
    parts = np.zeros((blocks, 2, period), dtype=np.float32)
    for block in prange(blocks):
        part = parts[block]
        end = min((block + 1) * size, x.size)
        for start in range(block * size, end, period):
            for i in range(min(period, end - start)):
                value = x[start + i]
                part[0, i] += value
                part[1, i] += value * y[start + i]
    total = np.zeros((2, channels), dtype=np.float64)
    for block in range(blocks):
        for row in range(2):
            for i in range(period):
                total[row, i % channels] += parts[block, row, i]
    return total


@reordered
def scale_shift(x: Flat, scale: Flat, shift: Flat, out: Flat) -> None:
    """out = scale*x + shift, scale and shift per channel (C,), x and out flat (R*C,)."""
    channels = scale.size
    period = channels * max(1, _PERIOD // channels)
    wide_scale, wide_shift = np.empty(period, np.float32), np.empty(period, np.float32)
    for i in range(period):
        wide_scale[i], wide_shift[i] = scale[i % channels], shift[i % channels]
    size = period * _PERIODS_PER_BLOCK
    for block in prange((x.size + size - 1) // size):
        end = min((block + 1) * size, x.size)
        for start in range(block * size, end, period):
            for i in range(min(period, end - start)):
                out[start + i] = wide_scale[i] * x[start + i] + wide_shift[i]


@reordered
def combine(gradient: Flat, x: Flat, a: Flat, b: Flat, c: Flat, out: Flat) -> None:
    """out = a*gradient + b*x + c, coefficients per channel (C,), the rest flat (R*C,)."""
    channels = a.size
    period = channels * max(1, _PERIOD // channels)
    wide = np.empty((3, period), np.float32)
    for i in range(period):
        wide[0, i], wide[1, i], wide[2, i] = a[i % channels], b[i % channels], c[i % channels]
    size = period * _PERIODS_PER_BLOCK
    for block in prange((x.size + size - 1) // size):
        end = min((block + 1) * size, x.size)
        for start in range(block * size, end, period):
            for i in range(min(period, end - start)):
                out[start + i] = wide[0, i] * gradient[start + i] + wide[1, i] * x[start + i] + wide[2, i]
