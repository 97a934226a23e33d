"""Currents of one output pixel: collect the active synapse rows of its receptive field, then add them up.

A row holds the weights of one source neuron (at one kernel tap) to all channels of the output pixel. `collect_rows`
knows geometry and no arithmetic, the `add_*` kernels know arithmetic and no geometry.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, inlined, int32_pointer
from lava_runtime.engine.vector_sums import (
    copy_shifted,
    sum_rows_16,
    sum_rows_32,
    sum_rows_64,
    sum_rows_128,
    sum_rows_256,
)
from netx_export.graph.fixedpoint import CONV_WRAP, STATE_LIMIT

Int32s = npt.NDArray[np.int32]

# Columns of the table that describes a population's projections, one row each.
START: Final = 0  # address of the source's `start`
EVENTS: Final = 1  # address of the source's `events`
VALUES: Final = 2  # address of the source's `values`, 0 for 0/1 spikes
SOURCE_C: Final = 3
SOURCE_H: Final = 4
SOURCE_W: Final = 5
FIRST_C: Final = 6  # channel slice
LAST_C: Final = 7
KERNEL_H: Final = 8
KERNEL_W: Final = 9
STRIDE_Y: Final = 10
STRIDE_X: Final = 11
PADDING_Y: Final = 12
PADDING_X: Final = 13
DILATION_Y: Final = 14
DILATION_X: Final = 15
UPSAMPLE: Final = 16
LAG: Final = 17  # local steps between a spike and its arrival
FIRST_WEIGHT: Final = 18  # where the projection's weights begin
FIRST_ROW: Final = 19  # the projection's first row, counted from the first weight
ROW_LENGTH: Final = 20
PIXEL_COLUMN: Final = 21  # columns from one output pixel's weights to the next one's (Dense), else 0
GROUP_IN: Final = 22
GROUP_OUT: Final = 23
EXPONENT: Final = 24
WRAP: Final = 25  # 1 where the sum may reach 24 bits and wraps
LAST_OF_SUM: Final = 26  # 0 where the next projection continues the same sum
PLAIN: Final = 27  # 1 for 0/1 spikes into all output channels
COLUMNS: Final = 28

_HALF = np.int32(STATE_LIMIT)
_MASK = np.int32(CONV_WRAP - 1)


@inlined
def collect_rows(
    table: npt.NDArray[np.int64],
    p: int,
    steps: int,
    b: int,
    t: int,
    y: int,
    x: int,
    count: int,
    rows: Int32s,
    targets: Int32s,
    values: Int32s,
) -> int:
    """Append the active rows of projection `p` at output pixel (y,x); returns the new length.

    `targets` (first output channel of the row's group) and `values` are filled for projections that are not PLAIN.
    """
    arrived = t - table[p, LAG]
    if arrived < 0:
        return count
    C, H, W = table[p, SOURCE_C], table[p, SOURCE_H], table[p, SOURCE_W]
    first_c, last_c = table[p, FIRST_C], table[p, LAST_C]
    channels = last_c - first_c
    kernel_h, kernel_w = table[p, KERNEL_H], table[p, KERNEL_W]
    up = table[p, UPSAMPLE]
    dilation_x = table[p, DILATION_X]
    plain = table[p, PLAIN] == 1
    graded = table[p, VALUES] != 0
    start = carray(int32_pointer(table[p, START]), (1 << 62,))
    events = carray(int32_pointer(table[p, EVENTS]), (1 << 62,))
    messages = carray(int32_pointer(table[p, VALUES]), (1 << 62,))
    left = x * table[p, STRIDE_X] - table[p, PADDING_X]
    whole = plain and channels == C
    in_one_run = whole and up == 1 and dilation_x == 1
    for ky in range(kernel_h):
        row_y = y * table[p, STRIDE_Y] - table[p, PADDING_Y] + ky * table[p, DILATION_Y]
        if row_y < 0 or row_y >= H * up:
            continue
        line = (b * steps + arrived) * H + row_y // up
        first_start = line * (W + 1)
        first_event = line * W * C
        if in_one_run:
            low, high = max(left, 0), min(left + kernel_w, W)
            if low < high:
                begin = start[first_start + low]
                length = start[first_start + high] - begin
                shift = table[p, FIRST_ROW] + (ky * kernel_w - left) * C
                copy_shifted(events, first_event + begin, length, shift, rows, count)
                count += length
            continue
        for kx in range(kernel_w):
            column = left + kx * dilation_x
            if column < 0 or column >= W * up:
                continue
            source_x = column // up
            tap = table[p, FIRST_ROW] + (ky * kernel_w + kx) * channels
            begin = first_event + start[first_start + source_x]
            length = first_event + start[first_start + source_x + 1] - begin
            if whole:
                copy_shifted(events, begin, length, tap - source_x * C, rows, count)
                count += length
                continue
            for i in range(begin, begin + length):
                c = events[i] - source_x * C - first_c
                if c < 0 or c >= channels:
                    continue
                rows[count] = tap + c
                if not plain:
                    targets[count] = c // table[p, GROUP_IN] * table[p, GROUP_OUT]
                    values[count] = messages[i] if graded else 1
                count += 1
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
def add_general(
    weights: npt.NDArray[np.int8],
    first: int,
    row_length: int,
    width: int,
    rows: Int32s,
    targets: Int32s,
    values: Int32s,
    count: int,
    total: Int32s,
) -> None:
    """total[targets[i] + k] = sum_i weights[first + rows[i]*row_length + k] * values[i], groups and graded messages."""
    for o in range(total.size):
        total[o] = 0
    for i in range(count):
        at = first + rows[i] * row_length
        target = targets[i]
        value = values[i]
        for k in range(width):
            total[target + k] += np.int32(weights[at + k] * value)


@inlined
def pixel_current(
    table: npt.NDArray[np.int64],
    weights: npt.NDArray[np.int8],
    steps: int,
    b: int,
    t: int,
    y: int,
    x: int,
    pixel: int,
    rows: Int32s,
    targets: Int32s,
    values: Int32s,
    part: Int32s,
    current: Int32s,
) -> None:
    """current (C,) = sum over projections of wrap24(sum << exponent), added in 32 bits."""
    count = 0
    fresh = True
    for p in range(table.shape[0]):
        count = collect_rows(table, p, steps, b, t, y, x, count, rows, targets, values)
        if table[p, LAST_OF_SUM] == 0:
            continue
        first = table[p, FIRST_WEIGHT] + pixel * table[p, PIXEL_COLUMN]
        total = part
        if table[p, PLAIN] == 1:
            add_plain(weights, first, table[p, ROW_LENGTH], rows, count, total)
        else:
            add_general(weights, first, table[p, ROW_LENGTH], table[p, GROUP_OUT], rows, targets, values, count, total)
        count = 0
        scale(total, np.int32(table[p, EXPONENT]), table[p, WRAP] == 1)
        for o in range(current.size):
            current[o] = part[o] if fresh else np.int32(current[o] + part[o])
        fresh = False


@inlined
def scale(total: Int32s, exponent: np.int32, wrap: bool) -> None:
    """total << exponent, then modulo 2**24 into [-2**23, 2**23) where a Conv may reach that."""
    if exponent:
        for o in range(total.size):
            total[o] = np.int32(total[o] << exponent)
    if wrap:
        for o in range(total.size):
            total[o] = np.int32(np.int32(np.int32(total[o] + _HALF) & _MASK) - _HALF)
