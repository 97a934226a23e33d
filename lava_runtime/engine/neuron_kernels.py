"""One time step of the neurons of one pixel, bit for bit as Lava's fixed-point models compute it.

Everything is 32-bit two's complement; sums are cut back to 32 bits after each operation, as numpy's int32 does.
Equations: netx_export/graph/neurons.py. Reference: netx_export/graph/fixedpoint.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import inlined
from netx_export.graph.fixedpoint import ACTIVATION_SHIFT, CONV_WRAP, DECAY_BITS, DECAY_ONE, STATE_LIMIT

Int32s = npt.NDArray[np.int32]

_SHIFT = np.uint32(DECAY_BITS)
_LOW_BITS = np.uint32(DECAY_ONE - 1)
_HIGH = np.int32(STATE_LIMIT)
_LOW = np.int32(-STATE_LIMIT)
_TURN = np.int32(CONV_WRAP)
_V_MAX = np.int32(STATE_LIMIT - 1)
_V_MIN = np.int32(1 - STATE_LIMIT)
_ALIGN = np.int32(ACTIVATION_SHIFT)
_SIGN = np.int32(31)


@inlined
def leak(state: np.int32, multiplier: np.uint32) -> np.int32:
    """tz(state * multiplier, 12) for multiplier in 0..4096 and any state with |state| * multiplier < 2**43.

    The 64-bit product is split at 12 bits of |state|, which keeps every part in 32 bits:
    |state| * m >> 12 = (|state| >> 12) * m + (((|state| & 4095) * m) >> 12).
    """
    sign = np.int32(state >> _SIGN)
    magnitude = np.uint32(np.int32(np.int32(state ^ sign) - sign))
    low = np.uint32(np.uint32(magnitude & _LOW_BITS) * multiplier)
    total = np.uint32(np.uint32(np.uint32(magnitude >> _SHIFT) * multiplier) + np.uint32(low >> _SHIFT))
    return np.int32(np.int32(np.int32(total) ^ sign) - sign)


@inlined
def lif_pixel(
    current: Int32s,
    u: Int32s,
    v: Int32s,
    bias: Int32s,
    spikes: Int32s,
    u_multiplier: np.uint32,
    v_multiplier: np.uint32,
    threshold: np.int32,
) -> None:
    """Lif over the channels of a pixel: u, v, spikes (C,) from the arriving current (C,).

    u' = wrap24(tz(u*(4096-(du+1)), 12) + (a_in << 6));  v' = clip24(tz(v*(4096-dv), 12) + u' + bias)
    s = v' > threshold;  v' = 0 where s
    """
    for o in range(current.size):
        grown = np.int32(leak(u[o], u_multiplier) + np.int32(current[o] << _ALIGN))
        # At most one of the two corrections can apply.
        turned = np.int32(grown - _TURN) if grown > _HIGH else grown
        turned = np.int32(grown + _TURN) if grown <= _LOW else turned
        u[o] = turned
        raised = np.int32(np.int32(leak(v[o], v_multiplier) + turned) + bias[o])
        raised = min(max(raised, _V_MIN), _V_MAX)
        fired = raised > threshold
        spikes[o] = np.int32(1) if fired else np.int32(0)
        v[o] = np.int32(0) if fired else raised


@inlined
def or_pixel(current: Int32s, spikes: Int32s) -> None:
    """Or over the channels of a pixel: s = a_in > 0."""
    for o in range(current.size):
        spikes[o] = np.int32(1) if current[o] > 0 else np.int32(0)
