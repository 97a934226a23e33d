"""What follows the sums of a tile: neurons, spikes, counts and records."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, inlined, int32_pointer
from lava_runtime.engine.neuron_kernels import (
    keep_bytes,
    keep_words,
    lif_tile,
    lif_tile_without_u,
    or_tile,
    readout_tile,
)
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
def store_counts(layer: Int64s, place: int, step: int, counts: Address, groups: int) -> None:
    """Write or add groups of 16 counts; the first goes to number `place` of all, each next one `step` numbers on."""
    if layer[COUNTS_WIDE]:
        keep_words(counts, layer[COUNTS] + 4 * place, 4 * step, groups, layer[COUNTS_KEPT])
    else:
        keep_bytes(counts, layer[COUNTS] + place, step, groups, layer[COUNTS_KEPT])


@inlined
def record(address: int, at: int, state: Int32s, first: int, length: int) -> None:
    """Copy `length` states to number `at` behind `address`."""
    to = carray(int32_pointer(address + 4 * at), (_MANY,))
    for o in range(length):
        to[o] = state[first + o]


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
