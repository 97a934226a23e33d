"""The engine's one loop: a population tile by tile over all local steps, neurons fused behind the synapses.

A job is up to 16 pixels of one output row (every `phases`-th one, so that a tile's sources lie at equal distances). It
is computed either densely, 16 channels at a time from the bytes of the source maps, or from lists of spikes, all
channels of a pixel at a time. Both give the same bits. Threads take the next job from a shared counter.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import (
    carray,
    compiled,
    fetch_add,
    inlined,
    int8_pointer,
    int32_pointer,
    int64_pointer,
)
from lava_runtime.engine.dense_blocks import ENTRY, LIST, SEGMENT
from lava_runtime.engine.dense_jobs import dense_job
from lava_runtime.engine.dense_sums import FRAMES, ROWS, STEP, TILES, configure_tiles, release_tiles
from lava_runtime.engine.event_jobs import event_job
from lava_runtime.engine.sweep_tables import (
    CHANNELS,
    COUNTER,
    DENSE_KIND,
    EVENT,
    FRAME_COUNT,
    HEIGHT,
    JOB,
    JOB_Y,
    KIND,
    LAYER,
    OUT,
    OUT_FRAME,
    OUT_LEFT,
    OUT_PITCH,
    OUT_RIGHT,
    OUT_ROW,
    READOUT,
    ROOM,
    SLOT,
    WIDTH,
)
from lava_runtime.engine.synapse_kernels import COLUMNS, place_columns
from lava_runtime.engine.vector_sums import clear_bytes

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Address = Any
"""An int64, in compiled code."""

_MANY: Final = 1 << 48
_TILE: Final = ROWS * ROWS


@compiled
def sweep_jobs(
    layer: Int64s,
    table: Int64s,
    event_table: Int64s,
    lists: Int64s,
    segments: Int64s,
    entries: Int64s,
    longest: int,
    event_weights: Int8s,
    column_room: int,
    line_room: int,
    shape: npt.NDArray[np.uint8],
    jobs: Int64s,
    totals: Int32s,
) -> None:
    """Take jobs (J,JOB) until none is left; `totals` (slots,H,F) receives the spikes of each job and frame."""
    lanes = -(-layer[CHANNELS] // ROWS) * ROWS
    # Memory to work in; the tiles' lists of steps, sums and states.
    steps = np.empty(STEP * max(longest, 1), np.int64)
    ends = np.empty(max(segments.shape[0], 1), np.int64)
    sums = np.empty(3 * FRAMES * _TILE, np.int32)
    state = np.empty(3 * _TILE, np.int32)
    rows = np.empty(layer[ROOM], np.int32)
    columns = np.empty(column_room, np.int32)
    lines = np.empty(line_room, np.int64)
    line_ends = np.empty(event_table.shape[0], np.int64)
    wide = np.empty((4 + ROWS) * lanes, np.int32)
    _take_jobs(
        np.int64(layer.ctypes.data),
        np.int64(table.ctypes.data),
        table.shape[0],
        np.int64(event_table.ctypes.data),
        event_table.shape[0],
        np.int64(lists.ctypes.data),
        lists.shape[0],
        np.int64(segments.ctypes.data),
        np.int64(entries.ctypes.data),
        np.int64(event_weights.ctypes.data),
        column_room,
        np.int64(shape.ctypes.data),
        np.int64(jobs.ctypes.data),
        jobs.shape[0],
        np.int64(totals.ctypes.data),
        totals.shape[0],
        np.int64(steps.ctypes.data),
        np.int64(ends.ctypes.data),
        np.int64(sums.ctypes.data),
        np.int64(state.ctypes.data),
        np.int64(rows.ctypes.data),
        np.int64(columns.ctypes.data),
        np.int64(lines.ctypes.data),
        np.int64(line_ends.ctypes.data),
        np.int64(wide.ctypes.data),
        lanes,
    )


@compiled
def _take_jobs(
    layer_at: Address,
    table_at: Address,
    terms: int,
    event_table_at: Address,
    event_terms: int,
    lists_at: Address,
    list_count: int,
    segments_at: Address,
    entries_at: Address,
    event_weights_at: Address,
    column_room: int,
    shape_at: Address,
    jobs_at: Address,
    job_count: int,
    totals_at: Address,
    slots: int,
    steps_at: Address,
    ends_at: Address,
    sums_at: Address,
    state_at: Address,
    rows_at: Address,
    columns_at: Address,
    lines_at: Address,
    line_ends_at: Address,
    wide_at: Address,
    lanes: int,
) -> None:
    # Arrays made of addresses have no owner: no references are counted, which would cost more than the sums.
    layer = carray(int64_pointer(layer_at), (LAYER,))
    table = carray(int64_pointer(table_at), (terms, COLUMNS))
    event_table = carray(int64_pointer(event_table_at), (event_terms, COLUMNS))
    lists = carray(int64_pointer(lists_at), (list_count, LIST))
    segments = carray(int64_pointer(segments_at), (_MANY, SEGMENT))
    entries = carray(int64_pointer(entries_at), (_MANY, ENTRY))
    event_weights = carray(int8_pointer(event_weights_at), (_MANY,))
    jobs = carray(int64_pointer(jobs_at), (job_count, JOB))
    totals = carray(int32_pointer(totals_at), (slots, layer[HEIGHT], layer[FRAME_COUNT]))
    steps = carray(int64_pointer(steps_at), (_MANY,))
    ends = carray(int64_pointer(ends_at), (_MANY,))
    sums = carray(int32_pointer(sums_at), (_MANY,))
    state = carray(int32_pointer(state_at), (_MANY,))
    rows = carray(int32_pointer(rows_at), (_MANY,))
    columns = carray(int32_pointer(columns_at), (_MANY,))
    lines = carray(int64_pointer(lines_at), (_MANY,))
    line_ends = carray(int64_pointer(line_ends_at), (_MANY,))
    wide = carray(int32_pointer(wide_at), (_MANY,))
    current = carray(int32_pointer(wide_at), (lanes,))
    part = carray(int32_pointer(wide_at + 4 * lanes), (lanes,))
    if column_room > 0:
        place_columns(event_table, layer[WIDTH], columns)
    if layer[DENSE_KIND] == TILES:
        configure_tiles(shape_at)
    while True:
        number = fetch_add(layer[COUNTER], 1)
        if number >= job_count:
            break
        if jobs[number, EVENT] == 1:
            event_job(
                layer,
                event_table,
                event_weights,
                jobs,
                number,
                totals,
                rows,
                columns,
                lines,
                line_ends,
                wide,
                current,
                part,
                wide_at,
                lanes,
            )
        else:
            dense_job(
                layer,
                table,
                lists,
                segments,
                entries,
                jobs,
                number,
                totals,
                steps,
                ends,
                sums,
                state,
                steps_at,
                sums_at,
                state_at,
                lanes,
            )
        _clear_borders(layer, jobs, number)
    if layer[DENSE_KIND] == TILES:
        release_tiles()


@inlined
def _clear_borders(layer: Int64s, jobs: Int64s, number: int) -> None:
    """The first job of a row clears the columns beside it."""
    if layer[KIND] == READOUT or jobs[number, SLOT] != 0:
        return
    left, right = layer[OUT_LEFT] * layer[OUT_PITCH], layer[OUT_RIGHT] * layer[OUT_PITCH]
    behind = layer[WIDTH] * layer[OUT_PITCH]
    for f in range(layer[FRAME_COUNT]):
        at = layer[OUT] + f * layer[OUT_FRAME] + jobs[number, JOB_Y] * layer[OUT_ROW]
        clear_bytes(at - left, left // ROWS, ROWS)
        clear_bytes(at + behind, right // ROWS, ROWS)
