"""The stepwise loop: a group of populations, step after step; what arrives, the neurons, the lists of what they send.

Event-driven: work is done per message and per neuron, never per silent synapse. The sources' lists are read as they
are; those of the group's own members are read behind the step that is being written.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, compiled, inlined, int8_pointer, int32_pointer, int64_pointer
from lava_runtime.engine.stepwise_rows import (
    add_messages,
    add_scaled,
    add_spikes,
    delta_row,
    emit_messages,
    emit_spikes,
    lif_row,
    move_row,
    or_row,
    readout_row,
    rf_iz_row,
    rf_row,
    sigma_delta_row,
    sigma_row,
)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Address = np.int64 | int

LIF: Final = 0
OR: Final = 1
READOUT: Final = 2
DELTA: Final = 3
SIGMA_DELTA: Final = 4
SIGMA: Final = 5
RF: Final = 6
RF_IZ: Final = 7

# Columns of the table of members, one row per population of the group.
KIND: Final = 0
CHANNELS: Final = 1
HEIGHT: Final = 2
WIDTH: Final = 3
PITCH: Final = 4  # elements from one row of neurons to the next: W*C in whole lanes
BIAS: Final = 5  # address of (H,pitch), scaled
PARAMETER: Final = 6  # four of them, see stepwise_rows
RESET_INTERVAL: Final = 10
RESET_OFFSET: Final = 11
RESTS: Final = 12  # 1 where a row that receives nothing stays as it is and sends nothing
FIRST_SUM: Final = 13
LAST_SUM: Final = 14
STATES: Final = 15  # where x, y, z of the job's rows begin in the working memory
WORK: Final = 16  # where the currents and messages of one row begin
STATE_ROWS: Final = 17  # rows of one job
OUT_START: Final = 18  # addresses of what is written
OUT_EVENTS: Final = 19
OUT_VALUES: Final = 20  # values of graded messages (readouts: of the record), or 0
OUT_U: Final = 21
OUT_V: Final = 22
MEMBER_COLUMNS: Final = 23

# Columns of the table of sums: what is added up before it is shifted and wrapped.
PORT: Final = 0  # 0: the current, or its real part; 1: the imaginary part
SLOTS: Final = 1  # steps that a message may be under way here; above 1 a ring of rows for each of the job's rows
AT: Final = 2  # where the sum begins in the working memory
STAGE: Final = 3  # where what one step adds is shifted before it goes into the ring, or -1
DROP: Final = 4  # bits of a negative exponent
WRAP: Final = 5  # 1 for modulo 2**24
SINGLE: Final = 6  # 1 where the projection has the form Singles
FIRST_PROJECTION: Final = 7
LAST_PROJECTION: Final = 8
SUM_COLUMNS: Final = 9

# Columns of the table of projections.
START: Final = 0  # addresses of the source's lists
EVENTS: Final = 1
VALUES: Final = 2
SOURCE_C: Final = 3
SOURCE_H: Final = 4
SOURCE_W: Final = 5
FIRST_C: Final = 6  # channel slice
READ_C: Final = 7
LAG: Final = 8
SHIFT: Final = 9  # bits of a positive exponent
WEIGHTS: Final = 10  # addresses and strides, see Taps and Singles
ROWS: Final = 11
RUNS: Final = 12
KERNEL_H: Final = 13
RUN_COUNT: Final = 14
TARGET_STRIDE: Final = 15
CHANNEL_STRIDE: Final = 16
TAP_STRIDE: Final = 17
GROUP_IN: Final = 18
GROUP_OUT: Final = 19
TWIN: Final = 20
DELAYS: Final = 21  # Taps: address of delays per source neuron (H,W,C), or 0
FIRST_SYNAPSE: Final = 22
TARGETS: Final = 23
PROJECTION_COLUMNS: Final = 24

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


@inlined
def _add_sum(
    s: Int64s, projections: Int64s, memory: Address, steps: int, b: int, t: int, y: int, row: int, rows: int, pitch: int
) -> int:
    """Everything that sum `s` receives at step `t` in target row `y` (Singles: in all rows); returns the messages seen."""
    seen = 0
    slots, staged = s[SLOTS], s[STAGE] >= 0
    single = s[SINGLE] == 1
    slot_size = rows * pitch
    base = memory + 4 * (s[STAGE] if staged else s[AT])
    now = 0 if staged else t % slots
    for p in range(s[FIRST_PROJECTION], s[LAST_PROJECTION]):
        sent = t - projections[p, LAG]
        if sent < 0:
            continue
        table_at = projections.ctypes.data + 8 * PROJECTION_COLUMNS * p
        if single:
            seen += add_singles(table_at, steps, b, sent, base, slots, slot_size, now)
        else:
            place = row * pitch if slots > 1 else 0
            seen += add_taps(table_at, steps, b, sent, y, base + 4 * place, slots, 4 * slot_size, now)
    if staged and seen:
        for delay in range(slots):
            ring = (t + delay) % slots * slot_size
            first, last = (0, rows) if single else (row, row + 1)
            for r in range(first, last):
                stage = 4 * (delay * slot_size + r * pitch)
                move_row(pitch, memory + 4 * (s[AT] + ring + r * pitch), base + stage, s[DROP], 0)
    return seen


@inlined
def _update(m: Int64s, a_re: Address, y: int, x_at: Address, plane: int, message: Address) -> None:
    """One step of one row of neurons."""
    n, kind = m[PITCH], m[KIND]
    a_im, bias = a_re + 4 * n, m[BIAS] + 4 * y * n
    y_at, z_at = x_at + plane, x_at + 2 * plane
    p0, p1, p2, p3 = m[PARAMETER], m[PARAMETER + 1], m[PARAMETER + 2], m[PARAMETER + 3]
    if kind == LIF:
        lif_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == OR:
        or_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == READOUT:
        readout_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == DELTA:
        delta_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == SIGMA_DELTA:
        sigma_delta_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == SIGMA:
        sigma_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    elif kind == RF:
        rf_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)
    else:
        rf_iz_row(n, a_re, a_im, bias, x_at, y_at, z_at, message, p0, p1, p2, p3)


@inlined
def _send(m: Int64s, line: int, message: Address) -> None:
    """List the non-zero messages of one row of neurons, and where each pixel begins."""
    C, W = m[CHANNELS], m[WIDTH]
    at = 4 * line * W * C
    if m[OUT_VALUES]:
        count = emit_messages(W * C, message, m[OUT_EVENTS] + at, m[OUT_VALUES] + at)
    else:
        count = emit_spikes(W * C, message, m[OUT_EVENTS] + at, 0)
    start = carray(int32_pointer(m[OUT_START] + 4 * line * (W + 1)), (_MANY,))
    events = carray(int32_pointer(m[OUT_EVENTS] + at), (_MANY,))
    i = 0
    for x in range(W):
        start[x] = i
        while i < count and events[i] < (x + 1) * C:
            i += 1
    start[W] = count


@inlined
def _silence(m: Int64s, line: int) -> None:
    start = carray(int32_pointer(m[OUT_START] + 4 * line * (m[WIDTH] + 1)), (_MANY,))
    for x in range(m[WIDTH] + 1):
        start[x] = 0


@inlined
def _copy(n: int, target: Address, source: Address) -> None:
    to = carray(int32_pointer(target), (_MANY,))
    start = carray(int32_pointer(source), (_MANY,))
    for i in range(n):
        to[i] = start[i]


@compiled
def _step(
    m: Int64s,
    sums: Int64s,
    projections: Int64s,
    memory: Address,
    steps: int,
    b: int,
    t: int,
    fresh: bool,
    first_row: int,
    last_row: int,
) -> None:
    """Rows first_row..last_row of one population at step `t`."""
    pitch, rows = m[PITCH], m[STATE_ROWS]
    n = m[WIDTH] * m[CHANNELS]
    plane = 4 * rows * pitch
    a_re = memory + 4 * m[WORK]
    message = a_re + 8 * pitch
    restart = m[RESET_INTERVAL] > 0 and (t + 1) % m[RESET_INTERVAL] == m[RESET_OFFSET] % m[RESET_INTERVAL]
    seen_anywhere = 0
    for s in range(m[FIRST_SUM], m[LAST_SUM]):
        if sums[s, SINGLE]:
            seen_anywhere += _add_sum(sums[s], projections, memory, steps, b, t, 0, 0, rows, pitch)
    for y in range(first_row, last_row):
        row = y - first_row
        line = (b * steps + t) * m[HEIGHT] + y
        x_at = memory + 4 * (m[STATES] + row * pitch)
        seen = seen_anywhere
        current = carray(int32_pointer(a_re), (_MANY,))
        for i in range(2 * pitch):
            current[i] = 0
        for s in range(m[FIRST_SUM], m[LAST_SUM]):
            if sums[s, SINGLE] == 0:
                seen += _add_sum(sums[s], projections, memory, steps, b, t, y, row, rows, pitch)
            if sums[s, SLOTS] > 1:
                seen += 1
                place = t % sums[s, SLOTS] * rows + row
            else:
                place = row if sums[s, SINGLE] else 0
            drop = 0 if sums[s, STAGE] >= 0 else sums[s, DROP]
            total = memory + 4 * (sums[s, AT] + place * pitch)
            move_row(pitch, a_re + 4 * pitch * sums[s, PORT], total, drop, sums[s, WRAP])
        if restart:
            states = carray(int32_pointer(x_at), (_MANY,))
            for i in range(pitch):
                states[i] = 0
                states[rows * pitch + i] = 0
        if seen == 0 and m[RESTS] == 1 and not fresh:
            _silence(m, line)
        else:
            _update(m, a_re, y, x_at, plane, message)
            if m[KIND] == READOUT:
                _copy(n, m[OUT_VALUES] + 4 * line * n, message)
            else:
                _send(m, line, message)
        if m[OUT_U]:
            _copy(n, m[OUT_U] + 4 * line * n, x_at)
            _copy(n, m[OUT_V] + 4 * line * n, x_at + plane)


@compiled
def run_jobs(
    first_job: int,
    last_job: int,
    blocks: int,
    steps: int,
    begin: int,
    end: int,
    members: Int64s,
    sums: Int64s,
    projections: Int64s,
    memory: Int32s,
) -> None:
    """Jobs `first_job`..`last_job` of B*blocks: block j % blocks of the rows of sample j // blocks, over all steps.

    The neurons exist in the local steps [begin,end) and are silent outside; every job starts from rest.
    """
    at = np.int64(memory.ctypes.data)
    for job in range(first_job, last_job):
        b, block = job // blocks, job % blocks
        for i in range(memory.size):
            memory[i] = 0
        for t in range(steps):
            for index in range(members.shape[0]):
                m = members[index]
                first_row = block * m[STATE_ROWS]
                last_row = min(first_row + m[STATE_ROWS], m[HEIGHT])
                if begin <= t < end:
                    _step(m, sums, projections, at, steps, b, t, t == begin, first_row, last_row)
                elif m[KIND] != READOUT:
                    for y in range(first_row, last_row):
                        _silence(m, (b * steps + t) * m[HEIGHT] + y)
