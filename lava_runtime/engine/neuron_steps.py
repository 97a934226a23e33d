"""What follows the sums of a tile: neurons, spikes, counts and records."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, inlined, int8_pointer, int32_pointer
from lava_runtime.engine.neuron_kernels import lif_tile, lif_tile_without_u, or_tile, readout_tile
from lava_runtime.engine.sweep_tables import (
    BEGIN,
    COUNTS,
    COUNTS_KEPT,
    COUNTS_WIDE,
    KEEPS_U,
    KIND,
    LIF,
    OR,
    RESET_INTERVAL,
    RESET_OFFSET,
    THRESHOLD,
    U_MULTIPLIER,
    V_MULTIPLIER,
)
from netx_export.graph.fixedpoint import ACTIVATION_SHIFT

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Address = Any
"""An int64, in compiled code."""

_MANY: Final = 1 << 48


@inlined
def resets(layer: Int64s, t: int) -> bool:
    """Whether u and v are cleared before local step t."""
    interval = layer[RESET_INTERVAL]
    return bool(t == layer[BEGIN] or (interval > 0 and (t + 1) % interval == layer[RESET_OFFSET] % interval))


@inlined
def store_counts(layer: Int64s, pixel: int, channel: int, lanes: int, counts: Int32s, at: int, length: int) -> None:
    """Write or add the counts of `length` channels of a pixel."""
    to = pixel * lanes + channel
    if layer[COUNTS_WIDE]:
        words = carray(int32_pointer(layer[COUNTS] + 4 * to), (_MANY,))
        if layer[COUNTS_KEPT]:
            for o in range(length):
                words[o] += counts[at + o]
        else:
            for o in range(length):
                words[o] = counts[at + o]
    else:
        small = carray(int8_pointer(layer[COUNTS] + to), (_MANY,))
        if layer[COUNTS_KEPT]:
            for o in range(length):
                small[o] = np.int8(small[o] + counts[at + o])
        else:
            for o in range(length):
                small[o] = np.int8(counts[at + o])


@inlined
def record(address: int, at: int, state: Int32s, first: int, length: int) -> None:
    if address:
        record = carray(int32_pointer(address + 4 * at), (_MANY,))
        for o in range(length):
            record[o] = state[first + o]


@inlined
def neurons(
    layer: Int64s,
    current: int,
    u: int,
    v: int,
    bias: int,
    bias_step: int,
    counts: int,
    out: int,
    out_step: int,
    values: int,
    values_step: int,
    groups: int,
    shift: int,
) -> int:
    """One step of `groups` x 16 neurons; everything but numbers is an address. Returns how many fired."""
    fired = 0
    if layer[KIND] == LIF:
        if layer[KEEPS_U]:
            fired = lif_tile(
                current,
                u,
                v,
                bias,
                bias_step,
                counts,
                out,
                out_step,
                groups,
                shift + ACTIVATION_SHIFT,
                layer[U_MULTIPLIER],
                layer[V_MULTIPLIER],
                layer[THRESHOLD],
            )
        else:
            fired = lif_tile_without_u(
                current,
                u,
                v,
                bias,
                bias_step,
                counts,
                out,
                out_step,
                groups,
                shift + ACTIVATION_SHIFT,
                0,
                layer[V_MULTIPLIER],
                layer[THRESHOLD],
            )
    elif layer[KIND] == OR:
        fired = or_tile(current, counts, out, out_step, groups)
    else:
        readout_tile(current, bias, bias_step, values, values_step, groups, shift)
    return fired
