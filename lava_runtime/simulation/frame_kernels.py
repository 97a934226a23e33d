"""Compiled kernels that work on one frame of one time step: what Lava processes call in every step.

Frames are (W,H,C), Lava's order. Arithmetic is that of Lava's fixed-point models: 32-bit two's complement with 64-bit
products. The batched kernels of the `fast` backend live in `lava_runtime.engine`.
"""
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.taps import FrameConv
from netx_export.graph import fixedpoint

Int32Array = npt.NDArray[np.int32]
FrameArray = npt.NDArray[np.integer[Any]]

_LIMIT = fixedpoint.STATE_LIMIT
_WRAP = fixedpoint.CONV_WRAP
_DECAY_BITS = fixedpoint.DECAY_BITS
_SHIFT = fixedpoint.ACTIVATION_SHIFT


@numba.njit(cache=True)
def _scatter_conv(
    frame: FrameArray,
    first_channel: int,
    x_start: Int32Array,
    x_out: Int32Array,
    x_taps: Int32Array,
    y_start: Int32Array,
    y_out: Int32Array,
    y_taps: Int32Array,
    weights: Int32Array,
    groups: int,
    total: Int32Array,
) -> None:
    channels = weights.shape[2]
    width = weights.shape[3]
    per_group = channels // groups
    for x in range(frame.shape[0]):
        for y in range(frame.shape[1]):
            for c in range(channels):
                message = np.int32(frame[x, y, first_channel + c])
                if message == 0:
                    continue
                first = (c // per_group) * width
                for i in range(x_start[x], x_start[x + 1]):
                    for j in range(y_start[y], y_start[y + 1]):
                        row = weights[x_taps[i], y_taps[j], c]
                        target = total[x_out[i], y_out[j], first : first + width]
                        # Plain indices from zero and a branch outside: loops that the compiler vectorises.
                        if message == 1:
                            for k in range(width):
                                target[k] += row[k]
                        else:
                            for k in range(width):
                                target[k] += row[k] * message


@numba.njit(cache=True)
def scatter_rows(frame: FrameArray, rows: Int32Array, total: Int32Array) -> None:
    """total[o] += sum_i rows[i,o] * frame[i] over the non-zero messages i; `rows` is (N_in, N_out)."""
    for i in range(frame.shape[0]):
        message = np.int32(frame[i])
        if message != 0:
            for k in range(total.shape[0]):
                total[k] += rows[i, k] * message


@numba.njit(cache=True)
def scatter_columns(
    frame: FrameArray, start: Int32Array, target: Int32Array, weight: Int32Array, total: Int32Array
) -> None:
    """total += W * frame for a matrix stored by columns: column i holds `target[start[i]:start[i+1]]`."""
    for i in range(frame.shape[0]):
        message = np.int32(frame[i])
        if message != 0:
            for k in range(start[i], start[i + 1]):
                total[target[k]] += weight[k] * message


@numba.njit(cache=True)
def wrap_24(total: Int32Array) -> None:
    """total modulo 2**24 into [-2**23, 2**23), in place, as Lava's Conv returns it."""
    for i in range(total.shape[0]):
        total[i] = np.int32(((np.int64(total[i]) + _LIMIT) & (_WRAP - 1)) - _LIMIT)


@numba.njit(cache=True)
def lif_frame(
    a_in: Int32Array,
    u: Int32Array,
    v: Int32Array,
    bias: Int32Array,
    current_multiplier: int,
    voltage_multiplier: int,
    threshold: int,
    spikes: npt.NDArray[np.uint8],
) -> int:
    """One step of Lava's fixed-point LIF on flat arrays, u, v and spikes in place; returns the number of spikes.

    u = wrap(tz(u*current_multiplier, 12) + (a_in << 6)); v = clip(tz(v*voltage_multiplier, 12) + u + bias)
    s = v > threshold; v = 0 where s. `bias` and `threshold` are shifted already.
    """
    fired = 0
    for i in range(a_in.shape[0]):
        product = np.int64(u[i]) * current_multiplier
        decayed = -((-product) >> _DECAY_BITS) if product < 0 else product >> _DECAY_BITS
        current = int(np.int32(decayed + np.int32(np.int64(a_in[i]) << _SHIFT)))
        if current > _LIMIT:
            current -= _WRAP
        elif current <= -_LIMIT:
            current += _WRAP
        u[i] = np.int32(current)
        product = np.int64(v[i]) * voltage_multiplier
        decayed = -((-product) >> _DECAY_BITS) if product < 0 else product >> _DECAY_BITS
        voltage = int(np.int32(decayed + current + bias[i]))
        if voltage > _LIMIT - 1:
            voltage = _LIMIT - 1
        elif voltage < -(_LIMIT - 1):
            voltage = -(_LIMIT - 1)
        spike = voltage > threshold
        spikes[i] = spike
        fired += spike
        v[i] = np.int32(0 if spike else voltage)
    return fired


@numba.njit(cache=True)
def count_spikes(spikes: npt.NDArray[np.uint8], counts: Int32Array) -> None:
    """counts += spikes, flat."""
    for i in range(counts.shape[0]):
        counts[i] += spikes[i]


def scatter_conv(frame: FrameArray, conv: FrameConv, total: Int32Array) -> None:
    """Add the convolution of `frame` (W,H,C) to `total` (W',H',C'), modulo 2**32."""
    _scatter_conv(
        frame,
        conv.first_channel,
        conv.x.start,
        conv.x.out,
        conv.x.taps,
        conv.y.start,
        conv.y.out,
        conv.y.taps,
        conv.weights,
        conv.groups,
        total,
    )


def compile_kernels() -> None:
    """Compile (or load from numba's cache) every kernel for the types Lava processes use.

    Called before the processes are forked, so that they share the compiled code instead of compiling it each.
    """
    one = np.zeros(2, np.int32)
    index = np.array([0, 0], np.int32)
    frames: tuple[FrameArray, ...] = (np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.int32))
    for frame in frames:
        total = np.zeros((1, 1, 1), np.int32)
        weights = np.zeros((1, 1, 1, 1), np.int32)
        _scatter_conv(frame, 0, index, one, one, index, one, one, weights, 1, total)
        scatter_columns(frame.reshape(-1), index, one, one, total.reshape(-1))
        scatter_rows(frame.reshape(-1), np.zeros((1, 1), np.int32), total.reshape(-1))
    wrap_24(one)
    spikes = np.zeros(2, np.uint8)
    lif_frame(one.copy(), one.copy(), one.copy(), one.copy(), 0, 0, 0, spikes)
    count_spikes(spikes, one)
