"""Compiled kernels for the neurons of one time step, on flat frames: what Lava processes call in every step.

Arithmetic is that of Lava's fixed-point models: 32-bit two's complement with 64-bit products.
"""
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.simulation.compiled import compiled
from netx_export.graph import fixedpoint

Int32Array = npt.NDArray[np.int32]
FrameArray = npt.NDArray[np.integer[Any]]

_LIMIT = fixedpoint.STATE_LIMIT
_WRAP = fixedpoint.CONV_WRAP
_DECAY_BITS = fixedpoint.DECAY_BITS
_SHIFT = fixedpoint.ACTIVATION_SHIFT


@compiled
def lif_frame(
    a_in: Int32Array,
    u: Int32Array,
    v: Int32Array,
    bias: Int32Array,
    current_multiplier: int,
    voltage_multiplier: int,
    threshold: int,
    spikes: FrameArray,
) -> int:
    """One step of Lava's fixed-point LIF on flat arrays, u, v and spikes in place; returns the number of spikes.

    u = wrap(tz(u*current_multiplier, 12) + (a_in << 6)); v = clip(tz(v*voltage_multiplier, 12) + u + bias)
    s = v > threshold; v = 0 where s. `bias` (one, or one per neuron) and `threshold` are shifted already.
    """
    fired = 0
    every = bias.shape[0] > 1
    for i in range(a_in.shape[0]):
        current, voltage = _lif_states(
            a_in[i], u[i], v[i], bias[i] if every else bias[0], current_multiplier, voltage_multiplier
        )
        u[i] = current
        spike = voltage > threshold
        spikes[i] = spike
        fired += spike
        v[i] = np.int32(0) if spike else voltage
    return fired


@compiled
def ternary_lif_frame(
    a_in: Int32Array,
    u: Int32Array,
    v: Int32Array,
    bias: Int32Array,
    current_multiplier: int,
    voltage_multiplier: int,
    low: int,
    high: int,
    spikes: FrameArray,
) -> None:
    """The states of `lif_frame`; s = -1 below `low`, +1 above `high`, both at once cancel; v = 0 where s is not 0."""
    every = bias.shape[0] > 1
    for i in range(a_in.shape[0]):
        current, voltage = _lif_states(
            a_in[i], u[i], v[i], bias[i] if every else bias[0], current_multiplier, voltage_multiplier
        )
        u[i] = current
        spike = np.int8(voltage > high) - np.int8(voltage < low)
        spikes[i] = spike
        v[i] = np.int32(0) if spike != 0 else voltage


@compiled
def _lif_states(a_in: Any, u: Any, v: Any, bias: Any, current_multiplier: int, voltage_multiplier: int) -> Any:
    product = np.int64(u) * current_multiplier
    decayed = np.int32((abs(product) >> _DECAY_BITS) * (1 if product >= 0 else -1))
    current = np.int32(decayed + np.int32(np.int64(a_in) << _SHIFT))
    if current > _LIMIT:
        current = np.int32(current - _WRAP)
    elif current <= -_LIMIT:
        current = np.int32(current + _WRAP)
    product = np.int64(v) * voltage_multiplier
    decayed = np.int32((abs(product) >> _DECAY_BITS) * (1 if product >= 0 else -1))
    voltage = np.int32(np.int32(decayed + current) + bias)
    voltage = np.int32(min(max(int(voltage), -(_LIMIT - 1)), _LIMIT - 1))
    return current, voltage


@compiled
def delta_frame(
    x: Int32Array, act: Int32Array, residue: Int32Array, threshold: int, state_exp: int, out: FrameArray
) -> None:
    """d = x - act + residue; s = d if |d| >= threshold else 0; residue = d - s; act = x; out = s >> state_exp.

    All in wrapping 32 bits; numpy's |-2**31| is -2**31, below every threshold.
    """
    for i in range(x.shape[0]):
        delta = np.int32(np.int32(x[i] - act[i]) + residue[i])
        magnitude = np.int32(abs(delta))
        sent = delta if magnitude >= threshold else np.int32(0)
        residue[i] = np.int32(delta - sent)
        act[i] = x[i]
        out[i] = sent >> state_exp


@compiled
def activation_frame(sigma: Int32Array, bias: Int32Array, relu: bool, out: Int32Array) -> None:
    """out = max(sigma + bias, 0), or without the maximum; `bias` is one, or one per neuron, scaled already."""
    every = bias.shape[0] > 1
    for i in range(sigma.shape[0]):
        value = np.int32(sigma[i] + (bias[i] if every else bias[0]))
        out[i] = np.int32(max(int(value), 0)) if relu else value


@compiled
def resonator_frame(
    a_re: Int32Array,
    a_im: Int32Array,
    re: Int32Array,
    im: Int32Array,
    sin: int,
    cos: int,
    decay_bits: int,
    state_exp: int,
    threshold: int,
    izhikevich: bool,
    spikes: FrameArray,
) -> int:
    """One step of Lava's fixed-point RF, or RF_IZ, on flat arrays in place; returns the number of spikes."""
    fired = 0
    for i in range(re.shape[0]):
        old_re, old_im = np.int64(re[i]), np.int64(im[i])
        new_re = (
            _rotated(old_re * cos, decay_bits)
            - _rotated(old_im * sin, decay_bits)
            + np.int32(np.int64(a_re[i]) << state_exp)
        )
        new_im = (
            _rotated(old_re * sin, decay_bits)
            + _rotated(old_im * cos, decay_bits)
            + np.int32(np.int64(a_im[i]) << state_exp)
        )
        new_re = min(max(new_re, -(_LIMIT - 1)), _LIMIT - 1)
        new_im = min(max(new_im, -(_LIMIT - 1)), _LIMIT - 1)
        if izhikevich:
            spike = new_im >= threshold
            if spike:
                new_re, new_im = np.int64(0), np.int64(threshold - 1)
        else:
            spike = new_re >= threshold and new_im >= 0 and old_im < 0
        re[i], im[i] = np.int32(new_re), np.int32(new_im)
        spikes[i] = spike
        fired += spike
    return fired


@compiled
def _rotated(product: Any, bits: int) -> Any:
    return (abs(product) >> bits) * (1 if product >= 0 else -1)
