"""A tile of pixels from the bytes of its sources, 16 channels at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, inlined, int32_pointer
from lava_runtime.engine.dense_blocks import (
    BLOCK_AT,
    COMPLETE,
    FIRST_ENTRY,
    FIRST_SEGMENT,
    FIRST_TILE,
    LAST_ENTRY,
    LAST_SEGMENT,
    LAST_TILE,
    LIST_WEIGHTS,
    OFFSET,
    SCALE,
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
    dots_1,
    dots_4,
    dots_5,
    dots_6,
    tiles_1,
    tiles_2,
    tiles_3,
    tiles_4,
    tiles_5,
    tiles_6,
)
from lava_runtime.engine.neuron_steps import neurons, record, resets, store_counts
from lava_runtime.engine.sweep_tables import (
    BEGIN,
    BIAS,
    BIAS_PER_PIXEL,
    DENSE_KIND,
    DENSE_WEIGHTS,
    END,
    FIRST_CHANNELS,
    FIRST_PIXEL,
    FRAME_COUNT,
    GROUP,
    HEIGHT,
    JOB_Y,
    KEEPS_U,
    KIND,
    LAST_CHANNELS,
    OUT,
    OUT_FRAME,
    OUT_PITCH,
    OUT_ROW,
    PHASE,
    PHASES,
    PIXEL_WEIGHTS,
    READOUT,
    SLOT,
    STEPS,
    TILE_ROWS,
    TIME_TILES,
    U_OUT,
    V_OUT,
    VALUES_OUT,
    WIDTH,
)
from lava_runtime.engine.synapse_kernels import (
    BASE,
    COLUMN_STEP,
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
    scale,
)
from lava_runtime.engine.vector_sums import clear_bytes, clear_words

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Address = Any
"""An int64, in compiled code."""

_TILE: Final = ROWS * ROWS


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
            # A byte that no message of this run has needs no sum.
            inside = table[p, BASE] != 0
            if table[p, MOVE] == FIXED:
                source_y, source_x = ky, kx
            elif table[p, MOVE] == TRANSPOSED:
                over_y = y + table[p, PADDING_Y] - ky * table[p, DILATION_Y]
                over_x = phase + table[p, PADDING_X] - kx * table[p, DILATION_X]
                source_y, source_x = over_y // table[p, STRIDE_Y], over_x // table[p, STRIDE_X]
                inside = inside and over_y % table[p, STRIDE_Y] == 0 and over_x % table[p, STRIDE_X] == 0
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
def dense_job(
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
                    if resets(layer, t):
                        clear_words(v, valid, 4 * ROWS)
                        if layer[KEEPS_U]:
                            clear_words(u, valid, 4 * ROWS)
                    current = sums_at + (4 * ROWS if time_tiles else 4 * _TILE) * f
                    fired = neurons(
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
                    if layer[U_OUT]:
                        for i in range(valid):
                            record(layer[U_OUT], place + i * phases * lanes, state, ROWS * i, ROWS)
                            record(layer[V_OUT], place + i * phases * lanes, state, _TILE + ROWS * i, ROWS)
            if layer[KIND] != READOUT:
                store_counts(layer, pixel * lanes + ROWS * tile, phases * lanes, counts, valid)


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
        whole = carray(int32_pointer(sums_at + 8 * part), (length,))
        if fresh:
            for o in range(length):
                whole[o] = 0
        if ends[segment] > begin:
            _dense_sums(layer, steps_at, begin, ends[segment], frame, frames, weights, sums_at + 4 * part)
            factor = np.int32(segments[segment, SCALE])
            for o in range(length):
                whole[o] += np.int32(sums[part + o] * factor)
        begin = ends[segment]
        fresh = segments[segment, COMPLETE] == 1
        if fresh:
            scale(whole, np.int32(segments[segment, SEGMENT_EXPONENT]), segments[segment, SEGMENT_WRAP] == 1)
            for o in range(length):
                sums[o] = np.int32(sums[o] + whole[o])
