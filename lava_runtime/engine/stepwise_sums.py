"""What arrives at a population: messages of its sources, times the weights they meet, added to rows of targets."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import (
    carray,
    compiled,
    inlined,
    int8_pointer,
    int32_pointer,
    int64_pointer,
)
from lava_runtime.engine.stepwise_rows import (
    add_messages,
    add_scaled,
    add_spikes,
)
from lava_runtime.engine.stepwise_tables import (
    CHANNEL_STRIDE,
    DELAYS,
    EVENTS,
    FIRST_C,
    FIRST_SYNAPSE,
    GROUP_IN,
    GROUP_OUT,
    KERNEL_H,
    PROJECTION_COLUMNS,
    READ_C,
    ROWS,
    RUN_COUNT,
    RUNS,
    SHIFT,
    SOURCE_C,
    SOURCE_H,
    SOURCE_W,
    START,
    TAP_STRIDE,
    TARGET_STRIDE,
    TARGETS,
    TWIN,
    VALUES,
    WEIGHTS,
)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Address = np.int64 | int

_MANY: Final = 1 << 48


@inlined
def _message(values: Int32s, graded: bool, at: int, shift: int) -> np.int64:
    return (np.int64(values[at]) if graded else np.int64(1)) << shift


@inlined
def _add_pixels(
    p: Int64s,
    runs: Int32s,
    start: Int32s,
    line: int,
    lists_at: int,
    weights_at: Address,
    target: Address,
    W: int,
    C: int,
    graded: bool,
    shift: int,
) -> None:
    """Add one row of source neurons to one target row, all messages of a pixel at once."""
    first_c, last_c, run_count = p[FIRST_C], p[FIRST_C] + p[READ_C], p[RUN_COUNT]
    events = carray(int32_pointer(p[EVENTS] + lists_at), (_MANY,))
    for x in range(W):
        begin, end = start[line * (W + 1) + x], start[line * (W + 1) + x + 1]
        if p[READ_C] < C:
            while begin < end and events[begin] < x * C + first_c:
                begin += 1
            while begin < end and events[end - 1] >= x * C + last_c:
                end -= 1
        if begin == end:
            continue
        first, count = x * C + first_c, end - begin
        events_at, values_at = p[EVENTS] + lists_at + 4 * begin, p[VALUES] + lists_at + 4 * begin
        for k in range(x * run_count, (x + 1) * run_count):
            n, to, weights = runs[3 * k + 1], target + 4 * runs[3 * k], weights_at + runs[3 * k + 2]
            if graded:
                add_messages(n, to, weights, p[CHANNEL_STRIDE], events_at, values_at, count, first, shift)
            else:
                add_spikes(n, to, weights, p[CHANNEL_STRIDE], events_at, values_at, count, first, shift)


@compiled
def add_taps(
    table_at: Address, steps: int, b: int, t: int, y: int, target: Address, slots: int, slot_bytes: int, now: int
) -> int:
    """Add what the source of a projection sent at step `t` to target row `y`; returns how many messages were seen.

    The row lies at address `target`; messages with a delay go `slot_bytes` further per slot, the ring's slot now is `now`.
    """
    p = carray(int64_pointer(table_at), (PROJECTION_COLUMNS,))
    C, H, W = p[SOURCE_C], p[SOURCE_H], p[SOURCE_W]
    first_c, read_c, shift = p[FIRST_C], p[READ_C], p[SHIFT]
    kernel_h, run_count = p[KERNEL_H], p[RUN_COUNT]
    channel_stride, weights_at = p[CHANNEL_STRIDE], p[WEIGHTS] + y * p[TARGET_STRIDE]
    group_in, group_out, twin, delayed = p[GROUP_IN], p[GROUP_OUT], p[TWIN] == 1, p[DELAYS] != 0
    graded, grouped = p[VALUES] != 0, p[GROUP_IN] < p[READ_C]
    start = carray(int32_pointer(p[START]), (_MANY,))
    rows = carray(int32_pointer(p[ROWS]), (_MANY,))
    runs = carray(int32_pointer(p[RUNS]), (_MANY,))
    delays = carray(int32_pointer(p[DELAYS]), (_MANY,))
    weights = carray(int8_pointer(p[WEIGHTS]), (_MANY,))
    together = not (twin or delayed or grouped)
    seen = 0
    for ky in range(kernel_h):
        source_y = np.int64(rows[y * kernel_h + ky])
        if source_y < 0:
            continue
        line = (b * steps + t) * H + source_y
        count = start[line * (W + 1) + W]
        if count == 0:
            continue
        seen += count
        events = carray(int32_pointer(p[EVENTS] + 4 * line * W * C), (_MANY,))
        values = carray(int32_pointer(p[VALUES] + 4 * line * W * C), (_MANY,))
        if together:
            _add_pixels(
                p, runs, start, line, 4 * line * W * C, weights_at + ky * p[TAP_STRIDE], target, W, C, graded, shift
            )
            continue
        x, edge = 0, C
        for i in range(count):
            event = np.int64(events[i])
            while event >= edge:
                x += 1
                edge += C
            c = event - edge + C - first_c
            if c < 0 or c >= read_c:
                continue
            value = _message(values, graded, i, shift)
            row = target
            if delayed:
                row += (now + delays[(source_y * W + x) * read_c + c]) % slots * slot_bytes
            if twin:
                total = carray(int32_pointer(row), (_MANY,))
                at = x * read_c + c
                total[at] = np.int32(total[at] + weights[c] * value)
                continue
            weight = weights_at + c * channel_stride + ky * p[TAP_STRIDE]
            if grouped:
                row += 4 * (c // group_in * group_out)
            for k in range(x * run_count, (x + 1) * run_count):
                add_scaled(runs[3 * k + 1], row + 4 * runs[3 * k], weight + runs[3 * k + 2], value)
    return seen


@compiled
def add_singles(
    table_at: Address, steps: int, b: int, t: int, target: Address, slots: int, slot_size: int, now: int
) -> int:
    """Add what the source sent at step `t` to all target rows, which begin at address `target`; returns the messages seen."""
    p = carray(int64_pointer(table_at), (PROJECTION_COLUMNS,))
    C, H, W = p[SOURCE_C], p[SOURCE_H], p[SOURCE_W]
    first_c, read_c, shift = p[FIRST_C], p[READ_C], p[SHIFT]
    graded = p[VALUES] != 0
    ring, begin = slots * slot_size, now * slot_size
    start = carray(int32_pointer(p[START]), (_MANY,))
    first = carray(int64_pointer(p[FIRST_SYNAPSE]), (_MANY,))
    targets = carray(int32_pointer(p[TARGETS]), (_MANY,))
    weights = carray(int8_pointer(p[WEIGHTS]), (_MANY,))
    total = carray(int32_pointer(target), (_MANY,))
    seen = 0
    for y in range(H):
        line = (b * steps + t) * H + y
        count = start[line * (W + 1) + W]
        seen += count
        events = carray(int32_pointer(p[EVENTS] + 4 * line * W * C), (_MANY,))
        values = carray(int32_pointer(p[VALUES] + 4 * line * W * C), (_MANY,))
        x, edge = 0, C
        for i in range(count):
            event = np.int64(events[i])
            while event >= edge:
                x += 1
                edge += C
            c = event - edge + C - first_c
            if c < 0 or c >= read_c:
                continue
            value = _message(values, graded, i, shift)
            neuron = (y * W + x) * read_c + c
            for k in range(first[neuron], first[neuron + 1]):
                at = begin + targets[k]
                if at >= ring:
                    at -= ring
                total[at] = np.int32(total[at] + weights[k] * value)
    return seen
