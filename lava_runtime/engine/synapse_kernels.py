"""Currents of one output pixel: collect the active synapse rows of its receptive field, then add them up.

A row holds the weights of one source neuron (at one kernel tap) to all channels of the output pixel. The `collect_*`
and `place_*` kernels know geometry and no arithmetic, the `add_*` kernels know arithmetic and no geometry.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, inlined, int32_pointer
from lava_runtime.engine.vector_sums import (
    LANES,
    clear_words,
    copy_shifted,
    sum_rows_16,
    sum_rows_32,
    sum_rows_64,
    sum_rows_128,
    sum_rows_256,
)
from netx_export.graph.fixedpoint import CONV_WRAP, STATE_LIMIT

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# Columns of the table that describes a population's projections, one row each (graded input: one per byte of a message).
START: Final = 0  # address of the source's lists: where pixels start
EVENTS: Final = 1  # address of the source's lists: active neurons
SOURCE_C: Final = 2
SOURCE_H: Final = 3
SOURCE_W: Final = 4
KERNEL_H: Final = 5
KERNEL_W: Final = 6
STRIDE_Y: Final = 7
STRIDE_X: Final = 8
PADDING_Y: Final = 9
PADDING_X: Final = 10
DILATION_Y: Final = 11
DILATION_X: Final = 12
UPSAMPLE: Final = 13
LAG: Final = 14  # local steps between a spike and its arrival
EXPONENT: Final = 15
WRAP: Final = 16  # 1 where the sum may reach 24 bits and wraps
TWIN: Final = 17  # 1 for spikes from each channel to its twin: depthwise, one-to-one
LAST_OF_SUM: Final = 18  # 0 where the next projection continues the same sum
FIRST_WEIGHT: Final = 19  # where the sum's packed weights begin
FIRST_ROW: Final = 20  # the projection's first row, counted from the first weight
ROW_LENGTH: Final = 21
PIXEL_COLUMN: Final = 22  # columns from one output pixel's weights to the next one's (Dense), else 0
MOVE: Final = 23  # how the receptive field moves with the output pixel: FIXED, CONVOLVED, TRANSPOSED
BASE: Final = 24  # address of the source's map: frame 0 seen through the lag, row 0, column 0, channel 0
FRAME: Final = 25  # bytes of the map from step to step
ROW: Final = 26  # from row to row
PITCH: Final = 27  # from pixel to pixel
COLUMN_STEP: Final = 28  # source columns between neighbouring pixels of a tile
COLUMNS: Final = 29

FIXED: Final = 0
CONVOLVED: Final = 1
TRANSPOSED: Final = 2

_LINE: Final = 6
_MANY: Final = 1 << 48

_HALF = np.int32(STATE_LIMIT)
_MASK = np.int32(CONV_WRAP - 1)


def places(row: Int64s, width: int) -> tuple[int, int]:
    """How many numbers a projection needs in `columns` (for `width` output columns) and in `lines`."""
    runs = 1 if row[UPSAMPLE] == 1 and row[DILATION_X] == 1 else int(row[KERNEL_W])
    return 3 * width * runs, _LINE * runs * int(row[KERNEL_H])


@inlined
def place_columns(table: Int64s, width: int, columns: Int32s) -> None:
    """For each projection and output column x: where its runs begin and end in a source row, and what the events
    need to become row numbers. Three numbers per (run, x); a run is a kernel row, or one
    tap where dilation or upsampling part them.
    """
    at = 0
    for p in range(table.shape[0]):
        C, W, up = table[p, SOURCE_C], table[p, SOURCE_W], table[p, UPSAMPLE]
        kernel_w, dilation_x = table[p, KERNEL_W], table[p, DILATION_X]
        one_run = up == 1 and dilation_x == 1
        for kx in range(1 if one_run else kernel_w):
            for x in range(width):
                column = x * table[p, STRIDE_X] - table[p, PADDING_X] + kx * dilation_x
                if one_run:
                    low = max(column, 0)
                    high = max(low, min(column + kernel_w, W))
                    shift = -column * C
                elif 0 <= column < W * up:
                    low = column // up
                    high = low + 1
                    shift = (kx - low) * C
                else:
                    low, high, shift = 0, 0, 0
                columns[at] = min(low, W)
                columns[at + 1] = min(high, W)
                columns[at + 2] = shift
                at += 3


@inlined
def place_lines(table: Int64s, width: int, steps: int, b: int, y: int, lines: Int64s, ends: Int64s) -> None:
    """The source rows that output row y of sample b reads, six numbers per run; `ends[p]` counts those up to p."""
    count = 0
    column_at = 0
    for p in range(table.shape[0]):
        C, H, W, up = table[p, SOURCE_C], table[p, SOURCE_H], table[p, SOURCE_W], table[p, UPSAMPLE]
        kernel_w = table[p, KERNEL_W]
        room = W * C + LANES
        runs = 1 if up == 1 and table[p, DILATION_X] == 1 else kernel_w
        for ky in range(table[p, KERNEL_H]):
            row_y = y * table[p, STRIDE_Y] - table[p, PADDING_Y] + ky * table[p, DILATION_Y]
            if row_y < 0 or row_y >= H * up:
                continue
            line = (b * steps - table[p, LAG]) * H + row_y // up
            for run in range(runs):
                at = _LINE * count
                lines[at] = table[p, START] + 4 * line * (W + 1)
                lines[at + 1] = 4 * H * (W + 1)
                lines[at + 2] = table[p, EVENTS] + 4 * line * room
                lines[at + 3] = 4 * H * room
                lines[at + 4] = column_at + 3 * width * run
                lines[at + 5] = table[p, FIRST_ROW] + ky * kernel_w * C
                count += 1
        column_at += 3 * width * runs
        ends[p] = count


@inlined
def collect_runs(
    first: int, last: int, lines: Int64s, columns: Int32s, t: int, x: int, count: int, rows: Int32s
) -> int:
    """Append the active rows of lines first..last at output column x and step t; returns the new length."""
    for line in range(first, last):
        at = _LINE * line
        place = lines[at + 4] + 3 * x
        start = carray(int32_pointer(lines[at] + t * lines[at + 1]), (_MANY,))
        begin = int(start[np.uint32(columns[place])])
        length = int(start[np.uint32(columns[place + 1])]) - begin
        events = carray(int32_pointer(lines[at + 2] + t * lines[at + 3]), (_MANY,))
        copy_shifted(events, begin, length, lines[at + 5] + columns[place + 2], rows, count)
        count += length
    return count


@inlined
def add_plain(
    weights: npt.NDArray[np.int8], first: int, row_length: int, rows: Int32s, count: int, total: Int32s
) -> None:
    """total[o] = sum_i w[rows[i],o] for 0/1 spikes; rows are packed, `total` is padded to whole lanes."""
    C = total.size
    o = 0
    while C - o >= 256:
        sum_rows_256(weights, first + o, row_length, rows, count, total, o)
        o += 256
    if C - o >= 128:
        sum_rows_128(weights, first + o, row_length, rows, count, total, o)
        o += 128
    if C - o >= 64:
        sum_rows_64(weights, first + o, row_length, rows, count, total, o)
        o += 64
    if C - o >= 32:
        sum_rows_32(weights, first + o, row_length, rows, count, total, o)
        o += 32
    if C - o >= 16:
        sum_rows_16(weights, first + o, row_length, rows, count, total, o)


@inlined
def add_twins(
    first: int,
    last: int,
    lines: Int64s,
    columns: Int32s,
    channels: int,
    weights: npt.NDArray[np.int8],
    first_weight: int,
    t: int,
    x: int,
    total: Int32s,
) -> None:
    """total[c] = sum over the taps of lines first..last at column x of w[tap,c] where channel c spiked."""
    clear_words(np.int64(total.ctypes.data), total.size // LANES, 4 * LANES)
    for line in range(first, last):
        at = _LINE * line
        place = lines[at + 4] + 3 * x
        start = carray(int32_pointer(lines[at] + t * lines[at + 1]), (_MANY,))
        events = carray(int32_pointer(lines[at + 2] + t * lines[at + 3]), (_MANY,))
        weight = first_weight + lines[at + 5] + columns[place + 2]
        for source_x in range(columns[place], columns[place + 1]):
            for i in range(start[source_x], start[source_x + 1]):
                event = events[i]
                total[event - source_x * channels] += weights[weight + event]


@inlined
def pixel_current(
    table: Int64s,
    ends: Int64s,
    lines: Int64s,
    columns: Int32s,
    weights: npt.NDArray[np.int8],
    t: int,
    x: int,
    pixel: int,
    rows: Int32s,
    part: Int32s,
    current: Int32s,
) -> None:
    """current (C,) = sum over projections of wrap24(shift(sum, exponent)), added in 32 bits."""
    count = 0
    line = 0
    fresh = True
    for p in range(table.shape[0]):
        arrives = t >= table[p, LAG]
        if arrives and table[p, TWIN] == 0:
            count = collect_runs(line, ends[p], lines, columns, t, x, count, rows)
        begin, line = line, ends[p]
        if table[p, LAST_OF_SUM] == 0:
            continue
        first = table[p, FIRST_WEIGHT] + pixel * table[p, PIXEL_COLUMN]
        # The first sum goes straight into `current`.
        total = current if fresh else part
        if table[p, TWIN] == 0:
            add_plain(weights, first, table[p, ROW_LENGTH], rows, count, total)
        else:
            end = line if arrives else begin
            add_twins(begin, end, lines, columns, table[p, SOURCE_C], weights, first, t, x, total)
        count = 0
        scale(total, np.int32(table[p, EXPONENT]), table[p, WRAP] == 1)
        if not fresh:
            for o in range(current.size):
                current[o] = np.int32(current[o] + part[o])
        fresh = False


@inlined
def scale(total: Int32s, exponent: np.int32, wrap: bool) -> None:
    """total << exponent (>>, which floors, below 0), then modulo 2**24 into [-2**23, 2**23) where a Conv may reach that."""
    if exponent > 0:
        for o in range(total.size):
            total[o] = np.int32(total[o] << exponent)
    if exponent < 0:
        for o in range(total.size):
            total[o] = np.int32(total[o] >> -exponent)
    if wrap:
        for o in range(total.size):
            total[o] = np.int32(np.int32(np.int32(total[o] + _HALF) & _MASK) - _HALF)
