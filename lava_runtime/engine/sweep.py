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
from lava_runtime.engine.dense_blocks import (
    BLOCK_AT,
    COMPLETE,
    ENTRY,
    FIRST_ENTRY,
    FIRST_SEGMENT,
    FIRST_TILE,
    LAST_ENTRY,
    LAST_SEGMENT,
    LAST_TILE,
    LIST,
    LIST_WEIGHTS,
    OFFSET,
    SCALE,
    SEGMENT,
    SEGMENT_EXPONENT,
    SEGMENT_WRAP,
    TAP_X,
    TAP_Y,
    TERM,
    TILE_WEIGHTS,
    USED,
)
from lava_runtime.engine.dense_sums import (
    FRAMES,
    ROWS,
    STEP,
    TILES,
    configure_tiles,
    dots_1,
    dots_4,
    dots_5,
    dots_6,
    release_tiles,
    tiles_1,
    tiles_2,
    tiles_3,
    tiles_4,
    tiles_5,
    tiles_6,
)
from lava_runtime.engine.neuron_kernels import lif_tile, lif_tile_without_u, or_tile, readout_tile
from lava_runtime.engine.synapse_kernels import (
    BASE,
    COLUMN_STEP,
    COLUMNS,
    DILATION_X,
    DILATION_Y,
    FIXED,
    FRAME,
    MOVE,
    PADDING_X,
    PADDING_Y,
    PITCH,
    ROW,
    SOURCE_H,
    STRIDE_X,
    STRIDE_Y,
    TRANSPOSED,
    UPSAMPLE,
    pixel_current,
    place_columns,
    place_lines,
    scale,
)
from lava_runtime.engine.vector_sums import clear_bytes, clear_words
from netx_export.graph.fixedpoint import ACTIVATION_SHIFT

LIF: Final = 0
OR: Final = 1
READOUT: Final = 2

# Columns of the one row that describes a population and where its results go.
KIND: Final = 0
CHANNELS: Final = 1
HEIGHT: Final = 2
WIDTH: Final = 3
STEPS: Final = 4
FRAME_COUNT: Final = 5
BEGIN: Final = 6  # local steps [begin,end) in which the neurons exist
END: Final = 7
U_MULTIPLIER: Final = 8
V_MULTIPLIER: Final = 9
THRESHOLD: Final = 10
RESET_INTERVAL: Final = 11
RESET_OFFSET: Final = 12
KEEPS_U: Final = 13  # 0 where the current lives for one step and nobody records it
BIAS: Final = 14  # address
BIAS_PER_PIXEL: Final = 15
PHASES: Final = 16
TIME_TILES: Final = 17  # 1 where the rows of a tile are time steps of one pixel
TILE_ROWS: Final = 18
GROUP: Final = 19  # frames per call of the dense sums
DENSE_KIND: Final = 20
DENSE_WEIGHTS: Final = 21  # address
PIXEL_WEIGHTS: Final = 22
OUT: Final = 23  # address of the map, frame 0, row 0, column 0
OUT_FRAME: Final = 24
OUT_ROW: Final = 25
OUT_PITCH: Final = 26
OUT_LEFT: Final = 27
OUT_RIGHT: Final = 28
VALUES_OUT: Final = 29  # addresses of int32 (F,H,W,lanes), 0 where not wanted
U_OUT: Final = 30
V_OUT: Final = 31
COUNTS: Final = 32  # address of (H,W,lanes)
COUNTS_WIDE: Final = 33  # 1 for int32, 0 for bytes
COUNTS_KEPT: Final = 34  # 1 where counts are added to what is there
ROOM: Final = 35  # rows of the longest list
COUNTER: Final = 36  # address of the next job's number
LAYER: Final = 37

# Columns of a job.
EVENT: Final = 0  # 1 for lists of spikes, 0 for dense
JOB_Y: Final = 1
PHASE: Final = 2
FIRST_PIXEL: Final = 3  # of the phase
FIRST_CHANNELS: Final = 4  # tiles of 16 channels
LAST_CHANNELS: Final = 5
SLOT: Final = 6  # where it counts its spikes
JOB: Final = 7

_MANY: Final = 1 << 48
_TILE: Final = ROWS * ROWS

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Address = Any
"""An int64, in compiled code."""


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
            _event_job(
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
            _dense_job(
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


@inlined
def _resets(layer: Int64s, t: int) -> bool:
    """Whether u and v are cleared before local step t."""
    interval = layer[RESET_INTERVAL]
    return bool(t == layer[BEGIN] or (interval > 0 and (t + 1) % interval == layer[RESET_OFFSET] % interval))


@inlined
def _store_counts(layer: Int64s, pixel: int, channel: int, lanes: int, counts: Int32s, at: int, length: int) -> None:
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
def _record(address: int, at: int, state: Int32s, first: int, length: int) -> None:
    if address:
        record = carray(int32_pointer(address + 4 * at), (_MANY,))
        for o in range(length):
            record[o] = state[first + o]


@inlined
def _neurons(
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


@inlined
def _place_steps(
    layer: Int64s,
    table: Int64s,
    segments: Int64s,
    entries: Int64s,
    first_entry: int,
    first_segment: int,
    last_segment: int,
    y: int,
    phase: int,
    first_pixel: int,
    steps: Int64s,
    ends: Int64s,
) -> None:
    """The steps of one list at a tile: where its bytes lie; taps that fall outside the source are left out."""
    count = 0
    entry = first_entry
    for segment in range(first_segment, last_segment):
        while entry < segments[segment, LAST_ENTRY]:
            p = entries[entry, TERM]
            ky, kx = entries[entry, TAP_Y], entries[entry, TAP_X]
            inside = True
            if table[p, MOVE] == FIXED:
                source_y, source_x = ky, kx
            elif table[p, MOVE] == TRANSPOSED:
                over_y = y + table[p, PADDING_Y] - ky * table[p, DILATION_Y]
                over_x = phase + table[p, PADDING_X] - kx * table[p, DILATION_X]
                source_y, source_x = over_y // table[p, STRIDE_Y], over_x // table[p, STRIDE_X]
                inside = over_y % table[p, STRIDE_Y] == 0 and over_x % table[p, STRIDE_X] == 0
                source_x += first_pixel * table[p, COLUMN_STEP]
            else:
                up = table[p, UPSAMPLE]
                source_y = (y * table[p, STRIDE_Y] - table[p, PADDING_Y] + ky * table[p, DILATION_Y]) // up
                source_x = (phase * table[p, STRIDE_X] - table[p, PADDING_X] + kx * table[p, DILATION_X]) // up
                source_x += first_pixel * table[p, COLUMN_STEP]
            if inside and 0 <= source_y < table[p, SOURCE_H]:
                at = STEP * count
                steps[at] = (
                    table[p, BASE] + source_y * table[p, ROW] + source_x * table[p, PITCH] + entries[entry, OFFSET]
                )
                steps[at + 1] = table[p, FRAME]
                steps[at + 2] = table[p, FRAME] if layer[TIME_TILES] else table[p, COLUMN_STEP] * table[p, PITCH]
                steps[at + 3] = entries[entry, BLOCK_AT]
                steps[at + 4] = entries[entry, USED]
                count += 1
            entry += 1
        ends[segment] = count


@inlined
def _dense_sums(
    layer: Int64s, steps: int, first: int, last: int, frame: int, frames: int, weights: int, out: int
) -> None:
    """out (frames,16,16) = the sums of steps first..last."""
    if layer[DENSE_KIND] == TILES:
        if frames == 1:
            tiles_1(steps, first, last, frame, weights, out)
        elif frames == 2:
            tiles_2(steps, first, last, frame, weights, out)
        elif frames == 3:
            tiles_3(steps, first, last, frame, weights, out)
        elif frames == 4:
            tiles_4(steps, first, last, frame, weights, out)
        elif frames == 5:
            tiles_5(steps, first, last, frame, weights, out)
        else:
            tiles_6(steps, first, last, frame, weights, out)
    elif frames == 4:
        dots_4(steps, first, last, frame, weights, out, layer[TILE_ROWS])
    elif frames == 5:
        dots_5(steps, first, last, frame, weights, out, layer[TILE_ROWS])
    elif frames == 6:
        dots_6(steps, first, last, frame, weights, out, layer[TILE_ROWS])
    else:
        for f in range(frames):
            dots_1(steps, first, last, frame + f, weights, out + 4 * _TILE * f, layer[TILE_ROWS])


@inlined
def _dense_job(
    layer: Int64s,
    table: Int64s,
    lists: Int64s,
    segments: Int64s,
    entries: Int64s,
    jobs: Int64s,
    number: int,
    totals: Int32s,
    steps: Int64s,
    ends: Int64s,
    sums: Int32s,
    state: Int32s,
    steps_at: Address,
    sums_at: Address,
    state_at: Address,
    lanes: int,
) -> None:
    """Pixels of a row, some tiles of 16 channels, every frame."""
    y, phase, first_pixel = jobs[number, JOB_Y], jobs[number, PHASE], jobs[number, FIRST_PIXEL]
    phases, width, time_tiles = layer[PHASES], layer[WIDTH], layer[TIME_TILES]
    x = phase + phases * first_pixel
    pixel = y * width + x
    # Pixels of this tile; a tile of time steps has one.
    valid = 1 if time_tiles else min(layer[TILE_ROWS], -(-(width - phase) // phases) - first_pixel)
    frame_count, step_count = layer[FRAME_COUNT], layer[STEPS]
    u, v = state_at, state_at + 4 * _TILE
    counts = u + 8 * _TILE
    together = layer[TILE_ROWS] if time_tiles else layer[GROUP]
    out_step = phases * layer[OUT_PITCH]
    values_step = 4 * phases * lanes
    bias_step = values_step if layer[BIAS_PER_PIXEL] else 0
    for row in range(lists.shape[0]):
        first_tile = max(lists[row, FIRST_TILE], jobs[number, FIRST_CHANNELS])
        last_tile = min(lists[row, LAST_TILE], jobs[number, LAST_CHANNELS])
        if first_tile >= last_tile:
            continue
        first_segment, last_segment = lists[row, FIRST_SEGMENT], lists[row, LAST_SEGMENT]
        _place_steps(
            layer,
            table,
            segments,
            entries,
            lists[row, FIRST_ENTRY],
            first_segment,
            last_segment,
            y,
            phase,
            first_pixel,
            steps,
            ends,
        )
        simple = (
            last_segment - first_segment == 1
            and segments[first_segment, SCALE] == 1
            and segments[first_segment, SEGMENT_WRAP] == 0
            and segments[first_segment, SEGMENT_EXPONENT] >= 0
        )
        shift = segments[first_segment, SEGMENT_EXPONENT] if simple else 0
        for tile in range(first_tile, last_tile):
            weights = layer[DENSE_WEIGHTS] + lists[row, LIST_WEIGHTS] + pixel * layer[PIXEL_WEIGHTS]
            weights += (tile - lists[row, FIRST_TILE]) * lists[row, TILE_WEIGHTS]
            bias = layer[BIAS] + 4 * ROWS * tile + (4 * lanes * pixel if layer[BIAS_PER_PIXEL] else 0)
            clear_words(counts, valid, 4 * ROWS)
            for frame in range(0, frame_count, together):
                frames = min(together, frame_count - frame)
                calls = 1 if time_tiles else frames
                if simple:
                    _dense_sums(layer, steps_at, 0, ends[first_segment], frame, calls, weights, sums_at)
                else:
                    _combine(
                        layer,
                        segments,
                        first_segment,
                        last_segment,
                        ends,
                        steps_at,
                        frame,
                        calls,
                        weights,
                        sums,
                        sums_at,
                    )
                for f in range(frames):
                    t = (frame + f) % step_count
                    out = layer[OUT] + (frame + f) * layer[OUT_FRAME] + y * layer[OUT_ROW] + x * layer[OUT_PITCH]
                    out += ROWS * tile
                    place = ((frame + f) * layer[HEIGHT] * width + pixel) * lanes + ROWS * tile
                    if t < layer[BEGIN] or t >= layer[END]:
                        if layer[KIND] != READOUT:
                            clear_bytes(out, valid, out_step)
                        continue
                    if _resets(layer, t):
                        clear_words(v, valid, 4 * ROWS)
                        if layer[KEEPS_U]:
                            clear_words(u, valid, 4 * ROWS)
                    current = sums_at + (4 * ROWS if time_tiles else 4 * _TILE) * f
                    fired = _neurons(
                        layer,
                        current,
                        u,
                        v,
                        bias,
                        bias_step,
                        counts,
                        out,
                        out_step,
                        layer[VALUES_OUT] + 4 * place,
                        values_step,
                        valid,
                        shift,
                    )
                    totals[jobs[number, SLOT], y, frame + f] += fired
                    for i in range(valid):
                        _record(layer[U_OUT], place + i * phases * lanes, state, ROWS * i, ROWS)
                        _record(layer[V_OUT], place + i * phases * lanes, state, _TILE + ROWS * i, ROWS)
            if layer[KIND] != READOUT:
                for i in range(valid):
                    _store_counts(layer, pixel + i * phases, ROWS * tile, lanes, state, 2 * _TILE + ROWS * i, ROWS)


@inlined
def _combine(
    layer: Int64s,
    segments: Int64s,
    first_segment: int,
    last_segment: int,
    ends: Int64s,
    steps_at: int,
    frame: int,
    frames: int,
    weights: int,
    sums: Int32s,
    sums_at: int,
) -> None:
    """The current as the sum over projections of wrap24(shift(sum over bytes, exponent)), added in 32 bits."""
    length = _TILE * frames
    # The current lies in front, behind it the sum of one segment, then that of one projection.
    part = FRAMES * _TILE
    begin = 0
    for o in range(length):
        sums[o] = 0
    fresh = True
    for segment in range(first_segment, last_segment):
        _dense_sums(layer, steps_at, begin, ends[segment], frame, frames, weights, sums_at + 4 * part)
        begin = ends[segment]
        factor = np.int32(segments[segment, SCALE])
        whole = carray(int32_pointer(sums_at + 8 * part), (length,))
        for o in range(length):
            whole[o] = np.int32(np.int32(sums[part + o] * factor) + (np.int32(0) if fresh else whole[o]))
        fresh = segments[segment, COMPLETE] == 1
        if fresh:
            scale(whole, np.int32(segments[segment, SEGMENT_EXPONENT]), segments[segment, SEGMENT_WRAP] == 1)
            for o in range(length):
                sums[o] = np.int32(sums[o] + whole[o])


@inlined
def _event_job(
    layer: Int64s,
    table: Int64s,
    weights: Int8s,
    jobs: Int64s,
    number: int,
    totals: Int32s,
    rows: Int32s,
    columns: Int32s,
    lines: Int64s,
    line_ends: Int64s,
    wide: Int32s,
    current: Int32s,
    part: Int32s,
    current_at: Address,
    lanes: int,
) -> None:
    """Pixels of a row, all channels, every frame, from lists of spikes."""
    y, phase, first_pixel = jobs[number, JOB_Y], jobs[number, PHASE], jobs[number, FIRST_PIXEL]
    phases, width, steps = layer[PHASES], layer[WIDTH], layer[STEPS]
    valid = 1 if layer[TIME_TILES] else min(layer[TILE_ROWS], -(-(width - phase) // phases) - first_pixel)
    u, v = current_at + 8 * lanes, current_at + 12 * lanes
    clear_words(current_at + 16 * lanes, valid * lanes // ROWS, 4 * ROWS)
    for b in range(layer[FRAME_COUNT] // steps):
        place_lines(table, width, steps, b, y, lines, line_ends)
        for i in range(valid):
            x = phase + phases * (first_pixel + i)
            pixel = y * width + x
            bias = layer[BIAS] + (4 * lanes * pixel if layer[BIAS_PER_PIXEL] else 0)
            for t in range(steps):
                frame = b * steps + t
                out = layer[OUT] + frame * layer[OUT_FRAME] + y * layer[OUT_ROW] + x * layer[OUT_PITCH]
                place = (frame * layer[HEIGHT] * width + pixel) * lanes
                if t < layer[BEGIN] or t >= layer[END]:
                    if layer[KIND] != READOUT:
                        clear_bytes(out, lanes // ROWS, ROWS)
                    continue
                if _resets(layer, t):
                    clear_words(u, 2 * lanes // ROWS, 4 * ROWS)
                pixel_current(table, line_ends, lines, columns, weights, t, x, pixel, rows, part, current)
                fired = _neurons(
                    layer,
                    current_at,
                    u,
                    v,
                    bias,
                    4 * ROWS,
                    current_at + 4 * (4 + i) * lanes,
                    out,
                    ROWS,
                    layer[VALUES_OUT] + 4 * place,
                    4 * ROWS,
                    lanes // ROWS,
                    0,
                )
                totals[jobs[number, SLOT], y, frame] += fired
                _record(layer[U_OUT], place, wide, 2 * lanes, lanes)
                _record(layer[V_OUT], place, wide, 3 * lanes, lanes)
    if layer[KIND] != READOUT:
        for i in range(valid):
            x = phase + phases * (first_pixel + i)
            _store_counts(layer, y * width + x, 0, lanes, wide, (4 + i) * lanes, lanes)
