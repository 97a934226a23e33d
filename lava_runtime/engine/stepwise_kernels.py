"""The stepwise loop: a group of populations, step after step; what arrives, the neurons, the lists of what they send.

Event-driven: work is done per message and per neuron, never per silent synapse. The sources' lists are read as they
are; those of the group's own members are read behind the step that is being written.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import (
    carray,
    compiled,
    inlined,
    int32_pointer,
)
from lava_runtime.engine.stepwise_rows import (
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
from lava_runtime.engine.stepwise_sums import add_singles, add_taps
from lava_runtime.engine.stepwise_tables import (
    AT,
    BIAS,
    CHANNELS,
    DELTA,
    DROP,
    FIRST_PROJECTION,
    FIRST_SUM,
    HEIGHT,
    KIND,
    LAG,
    LAST_PROJECTION,
    LAST_SUM,
    LIF,
    OR,
    OUT_EVENTS,
    OUT_START,
    OUT_U,
    OUT_V,
    OUT_VALUES,
    PARAMETER,
    PITCH,
    PORT,
    PROJECTION_COLUMNS,
    READOUT,
    RESET_INTERVAL,
    RESET_OFFSET,
    RESTS,
    RF,
    SIGMA,
    SIGMA_DELTA,
    SINGLE,
    SLOTS,
    STAGE,
    STATE_ROWS,
    STATES,
    WIDTH,
    WORK,
    WRAP,
)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Address = np.int64 | int

_MANY: Final = 1 << 48


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
