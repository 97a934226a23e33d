"""Compiled loops of the PLIF neuron: all time steps of a block of neurons while the block is in the cache.

Blocks are independent and shared out among numba's threads; sums are taken per block and added in the order of the
blocks, so a run repeats to the bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from training.compiled_loops import exact, reordered

Rows = npt.NDArray[np.float32]

_BLOCK = 4096
_ZERO, _ONE, _PI_SQUARED = np.float32(0.0), np.float32(1.0), np.float32(np.pi**2)


@exact
def forward(x: Rows, k: np.float32, h: Rows, spikes: Rows) -> None:
    """H[t] = V[t-1] + k*(X[t] - V[t-1]) and S[t] = H[t] >= 1 into `h` and `spikes`, all (T, N)."""
    steps, neurons = x.shape
    for block in prange((neurons + _BLOCK - 1) // _BLOCK):
        start = block * _BLOCK
        end = min(start + _BLOCK, neurons)
        for i in range(start, end):
            value = k * x[0, i]
            h[0, i] = value
            spikes[0, i] = _ONE if value >= _ONE else _ZERO
        for t in range(1, steps):
            for i in range(start, end):
                before = h[t - 1, i]
                v = _ZERO if before >= _ONE else before
                value = v + k * (x[t, i] - v)
                h[t, i] = value
                spikes[t, i] = _ONE if value >= _ONE else _ZERO


@reordered
def backward(upstream: Rows, h: Rows, k: np.float32, to_input: Rows) -> float:
    """dL/dX (T, N) into `to_input`; returns dL/dk = sum over t of dL/dH[t] * (X[t] - V[t-1]).

    dL/dH[t] = dL/dS[t] / (1 + (pi*(H[t]-1))^2) + (1-k) * dL/dH[t+1] where H[t] < 1
    """
    steps, neurons = h.shape
    keep = _ONE - k
    blocks = (neurons + _BLOCK - 1) // _BLOCK
    parts = np.zeros(blocks, dtype=np.float64)
    for block in prange(blocks):
        start = block * _BLOCK
        count = min(_BLOCK, neurons - start)
        carried = np.zeros(count, dtype=np.float32)
        for t in range(steps - 1, -1, -1):
            part = _ZERO
            for i in range(count):
                value = h[t, start + i]
                distance = value - _ONE
                to_h = upstream[t, start + i] / (_ONE + _PI_SQUARED * distance * distance)
                to_h += _ZERO if value >= _ONE else carried[i]
                before = h[t - 1, start + i] if t > 0 else _ZERO
                v = _ZERO if before >= _ONE else before
                part += to_h * (value - v)
                to_input[t, start + i] = to_h * k
                carried[i] = to_h * keep
            parts[block] += part
    total = 0.0
    for block in range(blocks):
        total += parts[block]
    return float(total / k)
