"""The integer arithmetic of Loihi's neurons, as Lava's fixed-point models compute it.

Everything is 32-bit two's complement; only the product of a leak is 64 bits wide. Shifts and the
`iDecay - 1` convention of NetX files live here and nowhere else.
Source: lava-nc 0.10.0, `lava/proc/lif/models.py`, `lava/proc/conv/utils.py` (measured).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.integer[Any]]

ACTIVATION_SHIFT = 6
"""Synaptic input and thresholds are aligned to the states by this left shift."""

DECAY_BITS = 12
"""Leaks are multiplications by an integer followed by a division by 2**12."""

DECAY_ONE = 1 << DECAY_BITS

STATE_LIMIT = 1 << 23
"""States u and v are 24 bits wide, sign included."""

CONV_WRAP = 1 << 24
"""Lava's Conv returns its sum modulo 2**24, centred on zero."""

WEIGHT_MIN, WEIGHT_MAX = -128, 127
WEIGHT_EXP_MIN, WEIGHT_EXP_MAX = -8, 7
BIAS_MANT_MIN, BIAS_MANT_MAX = -(1 << 12), (1 << 12) - 1
BIAS_EXP_MAX = 7
VTH_MANT_MAX = (1 << 17) - 1
VTH_NEVER = 1 << 17
"""A threshold mantissa that v cannot reach, as it saturates just below: what lava-dl writes for integrators."""

DELAY_MAX = 62
"""Largest delay a Loihi synapse or axon holds, in time steps."""

NO_CURRENT_STATE = 4095
"""`du` of a neuron whose current lives for one step only: u = a_in << 6."""


def shift_toward_zero(x: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """tz(x, n) = sign(x) * (|x| >> n)."""
    magnitude = np.right_shift(np.abs(x), bits)
    return np.where(x < 0, -magnitude, magnitude)


def decay(state: IntArray, multiplier: int) -> Int32Array:
    """tz(state * multiplier, 12) with a 64-bit product; `multiplier` in 0..4096."""
    return shift_toward_zero(state.astype(np.int64) * multiplier, DECAY_BITS).astype(np.int32)


def current_multiplier(du: int) -> int:
    """4096 - (du + 1): Lava's current always loses at least 1/4096 a step."""
    return DECAY_ONE - (du + 1)


def voltage_multiplier(dv: int) -> int:
    """4096 - dv."""
    return DECAY_ONE - dv


def du_from_netx(i_decay: int) -> int:
    """NetX stores `iDecay` = du + 1."""
    return i_decay - 1


def netx_from_du(du: int) -> int:
    """The `iDecay` that a NetX file holds for `du`."""
    return du + 1


def wrap_conv(total: IntArray) -> Int32Array:
    """The accumulator of one Conv process: modulo 2**24 into [-2**23, 2**23)."""
    wide = total.astype(np.int64)
    return ((wide + STATE_LIMIT) % CONV_WRAP - STATE_LIMIT).astype(np.int32)


def wrap_int32(total: IntArray) -> Int32Array:
    """Two's complement wrap to 32 bits, as a message between two Lava processes does."""
    return total.astype(np.int64).astype(np.int32)


def wrap_current(u: Int32Array) -> Int32Array:
    """One correction by 2**24 where u > 2**23 or u <= -2**23; +2**23 itself is kept, as in Lava."""
    high = np.where(u > STATE_LIMIT, u - CONV_WRAP, u)
    return np.where(high <= -STATE_LIMIT, u + CONV_WRAP, high).astype(np.int32)


def clip_voltage(v: IntArray) -> Int32Array:
    """Saturation of v at +-(2**23 - 1)."""
    return np.clip(v, -(STATE_LIMIT - 1), STATE_LIMIT - 1).astype(np.int32)


def shift(total: IntArray, exponent: int) -> IntArray:
    """total << exponent, or an arithmetic right shift (floor) where the exponent is negative."""
    return np.left_shift(total, exponent) if exponent >= 0 else np.right_shift(total, -exponent)


def scale_bias(bias_mant: IntArray, bias_exp: int) -> Int32Array:
    """bias_mant << bias_exp, or an arithmetic right shift where the exponent is negative."""
    wide = bias_mant.astype(np.int32)
    return np.left_shift(wide, bias_exp) if bias_exp >= 0 else np.right_shift(wide, -bias_exp)


def lif_step(
    u: Int32Array, v: Int32Array, a_in: Int32Array, *, du: int, dv: int, bias: Int32Array, vth_mant: int
) -> tuple[Int32Array, Int32Array, npt.NDArray[np.bool_]]:
    """One step of Lava's fixed-point LIF; returns (u, v, spikes) after the step.

    u' = wrap(tz(u*(4096-(du+1)), 12) + (a_in << 6))
    v' = clip(tz(v*(4096-dv), 12) + u' + bias, +-(2**23-1));  s = v' > (vth_mant << 6);  v' = 0 where s
    """
    current = wrap_current(decay(u, current_multiplier(du)) + np.left_shift(a_in.astype(np.int32), ACTIVATION_SHIFT))
    voltage = clip_voltage(decay(v, voltage_multiplier(dv)) + current + bias)
    spikes = voltage > (vth_mant << ACTIVATION_SHIFT)
    return current, np.where(spikes, np.int32(0), voltage), spikes
