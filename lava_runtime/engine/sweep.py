"""The engine's one loop: a population over all its rows, pixels and local steps, neurons fused behind the synapses."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import compiled
from lava_runtime.engine.neuron_kernels import lif_pixel, or_pixel, readout_pixel
from lava_runtime.engine.synapse_kernels import pixel_current
from lava_runtime.engine.vector_sums import LANES

LIF: Final = 0
OR: Final = 1
READOUT: Final = 2

Int32s = npt.NDArray[np.int32]


@compiled
def sweep_rows(
    first_job: int,
    last_job: int,
    kind: int,
    shape: tuple[int, int, int],
    table: npt.NDArray[np.int64],
    room: int,
    weights: npt.NDArray[np.int8],
    bias: Int32s,
    bias_per_pixel: bool,
    u_multiplier: np.uint32,
    v_multiplier: np.uint32,
    threshold: np.int32,
    active: npt.NDArray[np.int64],
    start: Int32s,
    events: Int32s,
    values_out: Int32s,
    u_out: Int32s,
    v_out: Int32s,
) -> None:
    """Jobs `first_job`..`last_job` of B*H; job j is row y = j % H of sample b = j // H.

    `active` (B,2): local steps [begin,end) in which the neurons of sample b exist; outside they are silent.
    LIF and OR fill `start` (B,T,H,W+1) and `events`; READOUT fills `values_out` (B,T,H,W,C). `u_out`, `v_out`
    (B,T,H,W,C) are filled where they are not empty.
    """
    C, H, W = shape
    T = values_out.shape[1] if kind == READOUT else start.shape[1]
    rows = np.empty(room, np.int32)
    targets = np.empty(room, np.int32)
    values = np.empty(room, np.int32)
    # Whole lanes; the neurons beyond C exist in these scratch arrays only.
    lanes = -(-C // LANES) * LANES
    part = np.empty(lanes, np.int32)
    current = np.empty(lanes, np.int32)
    u = np.zeros(lanes, np.int32)
    v = np.zeros(lanes, np.int32)
    spikes = np.empty(lanes, np.uint8)
    lengths = np.zeros(T, np.int64)
    states = u_out.size > 0
    for job in range(first_job, last_job):
        b, y = job // H, job % H
        begin, end = active[b, 0], active[b, 1]
        if kind != READOUT:
            for t in range(T):
                lengths[t] = 0
                if begin <= t < end:
                    start[b, t, y, 0] = 0
                else:
                    start[b, t, y, :] = 0
        for x in range(W):
            pixel = y * W + x
            bias_at = pixel * lanes if bias_per_pixel else 0
            pixel_bias = bias[bias_at : bias_at + lanes]
            u[:] = 0
            v[:] = 0
            for t in range(begin, end):
                pixel_current(table, weights, T, b, t, y, x, pixel, rows, targets, values, part, current)
                if kind == READOUT:
                    readout_pixel(current, pixel_bias, values_out[b, t, y, x])
                    continue
                if kind == LIF:
                    lif_pixel(current, u, v, pixel_bias, spikes, u_multiplier, v_multiplier, threshold)
                    if states:
                        u_out[b, t, y, x, :] = u[:C]
                        v_out[b, t, y, x, :] = v[:C]
                else:
                    or_pixel(current, spikes)
                # Written without a branch: the slot is claimed only where the neuron fired.
                row = ((b * T + t) * H + y) * W * C
                slot = row + lengths[t]
                for o in range(C):
                    events[slot] = x * C + o
                    slot += spikes[o]
                lengths[t] = slot - row
                start[b, t, y, x + 1] = slot - row
