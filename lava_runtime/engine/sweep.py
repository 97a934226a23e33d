"""The engine's one loop: a population over all its rows, pixels and local steps, neurons fused behind the synapses."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, compiled, int8_pointer, int32_pointer, int64_pointer
from lava_runtime.engine.neuron_kernels import lif_pixel, or_pixel
from lava_runtime.engine.synapse_kernels import COLUMNS, pixel_current, place_columns, place_lines, places
from lava_runtime.engine.vector_sums import LANES, padded

LIF: Final = 0
OR: Final = 1
READOUT: Final = 2

_MANY: Final = 1 << 48

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Address = np.int64 | int


def working_memory(table: Int64s, room: int, channels: int, width: int) -> tuple[Int32s, Int32s, Int64s]:
    """What one call of `sweep_rows` works in: lists of `room` rows and lanes, column places, line places."""
    column_places, line_places = (sum(counts) for counts in zip(*(places(row, width) for row in table), strict=True))
    return (
        np.empty(3 * room + 4 * padded(channels), np.int32),
        np.empty(column_places, np.int32),
        np.empty(len(table) + line_places, np.int64),
    )


@compiled
def sweep_rows(
    first_job: int,
    last_job: int,
    kind: int,
    shape: tuple[int, int, int],
    steps: int,
    table: Int64s,
    weights: npt.NDArray[np.int8],
    bias: Int32s,
    bias_per_pixel: bool,
    u_multiplier: int,
    v_multiplier: int,
    threshold: int,
    active: Int64s,
    room: int,
    scratch: Int32s,
    columns: Int32s,
    lines: Int64s,
    start: Int32s,
    events: Int32s,
    values_out: Int32s,
    u_out: Int32s,
    v_out: Int32s,
) -> None:
    """Jobs `first_job`..`last_job` of B*H; job j is row y = j % H of sample b = j // H.

    `active` (B,2): local steps [begin,end) in which the neurons of sample b exist; outside they are silent.
    LIF and OR fill `start` (B,T,H,W+1) and `events`; READOUT fills `values_out` (B,T,H,W,C). `u_out`, `v_out`
    (B,T,H,W,C) are filled where they are not empty. `scratch`, `columns`, `lines`: memory to work in,
    see `working_memory`.
    """
    _sweep(
        first_job,
        last_job,
        kind,
        shape,
        steps,
        table.shape[0],
        np.int64(table.ctypes.data),
        np.int64(weights.ctypes.data),
        np.int64(bias.ctypes.data),
        bias_per_pixel,
        u_multiplier,
        v_multiplier,
        threshold,
        np.int64(active.ctypes.data),
        room,
        np.int64(scratch.ctypes.data),
        np.int64(columns.ctypes.data),
        np.int64(lines.ctypes.data),
        np.int64(start.ctypes.data),
        np.int64(events.ctypes.data),
        np.int64(values_out.ctypes.data),
        np.int64(u_out.ctypes.data) if u_out.size else 0,
        np.int64(v_out.ctypes.data),
    )


@compiled
def _sweep(
    first_job: int,
    last_job: int,
    kind: int,
    shape: tuple[int, int, int],
    T: int,
    projections: int,
    table_at: Address,
    weights_at: Address,
    bias_at: Address,
    bias_per_pixel: bool,
    u_multiplier: int,
    v_multiplier: int,
    threshold: int,
    active_at: Address,
    room: int,
    scratch_at: Address,
    columns_at: Address,
    lines_at: Address,
    start_at: Address,
    events_at: Address,
    values_at: Address,
    u_at: Address,
    v_at: Address,
) -> None:
    C, H, W = shape
    # Whole lanes; the neurons beyond C exist in these scratch arrays only.
    lanes = -(-C // LANES) * LANES
    table = carray(int64_pointer(table_at), (projections, COLUMNS))
    weights = carray(int8_pointer(weights_at), (_MANY,))
    active = carray(int64_pointer(active_at), (_MANY,))
    rows = carray(int32_pointer(scratch_at), (_MANY,))
    targets = carray(int32_pointer(scratch_at + 4 * room), (_MANY,))
    values = carray(int32_pointer(scratch_at + 8 * room), (_MANY,))
    columns = carray(int32_pointer(columns_at), (_MANY,))
    ends = carray(int64_pointer(lines_at), (projections,))
    lines = carray(int64_pointer(lines_at + 8 * projections), (_MANY,))
    lengths = np.zeros(T, np.int64)
    start = carray(int32_pointer(start_at), (_MANY,))
    events = carray(int32_pointer(events_at), (_MANY,))
    values_out = carray(int32_pointer(values_at), (_MANY,))
    u_out = carray(int32_pointer(u_at), (_MANY,))
    v_out = carray(int32_pointer(v_at), (_MANY,))
    working = scratch_at + 12 * room
    part = carray(int32_pointer(working), (lanes,))
    current = carray(int32_pointer(working + 4 * lanes), (lanes,))
    u = carray(int32_pointer(working + 8 * lanes), (lanes,))
    v = carray(int32_pointer(working + 12 * lanes), (lanes,))
    place_columns(table, W, columns)
    for job in range(first_job, last_job):
        b, y = job // H, job % H
        begin, end = active[2 * b], active[2 * b + 1]
        place_lines(table, W, T, b, y, lines, ends)
        if kind != READOUT:
            for t in range(T):
                lengths[t] = 0
                line = ((b * T + t) * H + y) * (W + 1)
                for x in range(1 if begin <= t < end else W + 1):
                    start[line + x] = 0
        for x in range(W):
            pixel = y * W + x
            bias = carray(int32_pointer(bias_at + (4 * lanes * pixel if bias_per_pixel else 0)), (lanes,))
            for o in range(lanes):
                u[o] = 0
                v[o] = 0
            for t in range(begin, end):
                line = (b * T + t) * H + y
                neuron = (line * W + x) * C
                pixel_current(
                    table, ends, lines, columns, weights, T, b, t, y, x, pixel, rows, targets, values, part, current
                )
                if kind == READOUT:
                    for o in range(C):
                        values_out[neuron + o] = np.int32(current[o] + bias[o])
                    continue
                slot = line * W * C + lengths[t]
                if kind == LIF:
                    slot = lif_pixel(
                        current, u, v, bias, lanes, u_multiplier, v_multiplier, threshold, events, slot, x * C
                    )
                    if u_at:
                        for o in range(C):
                            u_out[neuron + o] = u[o]
                            v_out[neuron + o] = v[o]
                else:
                    slot = or_pixel(current, lanes, events, slot, x * C)
                lengths[t] = slot - line * W * C
                start[line * (W + 1) + x + 1] = lengths[t]
