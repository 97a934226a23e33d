"""A tile of pixels from lists of spikes, all channels of a pixel at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import inlined
from lava_runtime.engine.dense_sums import ROWS
from lava_runtime.engine.neuron_steps import neurons, record, resets, store_counts
from lava_runtime.engine.sweep_tables import (
    BEGIN,
    BIAS,
    BIAS_PER_PIXEL,
    END,
    FIRST_PIXEL,
    FRAME_COUNT,
    HEIGHT,
    JOB_Y,
    KIND,
    OUT,
    OUT_FRAME,
    OUT_PITCH,
    OUT_ROW,
    PHASE,
    PHASES,
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
from lava_runtime.engine.synapse_kernels import pixel_current, place_lines
from lava_runtime.engine.vector_sums import clear_bytes, clear_words

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]
Address = Any
"""An int64, in compiled code."""


@inlined
def event_job(
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
                if resets(layer, t):
                    clear_words(u, 2 * lanes // ROWS, 4 * ROWS)
                pixel_current(table, line_ends, lines, columns, weights, t, x, pixel, rows, part, current)
                fired = neurons(
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
                if layer[U_OUT]:
                    record(layer[U_OUT], place, wide, 2 * lanes, lanes)
                    record(layer[V_OUT], place, wide, 3 * lanes, lanes)
    if layer[KIND] != READOUT:
        for i in range(valid):
            x = phase + phases * (first_pixel + i)
            store_counts(layer, (y * width + x) * lanes, ROWS, current_at + 4 * (4 + i) * lanes, lanes // ROWS)
