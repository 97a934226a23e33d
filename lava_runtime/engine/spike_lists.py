"""Spikes between populations: per row of neurons a list of the active ones, in order.

Row (b,t,y) of a population of shape (C,H,W) has room for W*C events at `events[((b*T + t)*H + y)*W*C]`; an event is
the index x*C + c of an active neuron. `start[b,t,y,x]` is where pixel x begins in the row, `start[b,t,y,W]` the length.
All pixels of a row lie behind one another, so the receptive field of an output pixel is one run per kernel row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import compiled
from lava_runtime.engine.vector_sums import LANES
from netx_export.graph.synapses import Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpikeLists:
    """Spikes of one population in B samples of T local steps.

    start (B,T,H,W+1) int32, events (B*T*H*W*C + LANES,) int32, values: one int32 message per event, or empty for 0/1 spikes.
    """

    shape: Shape
    start: npt.NDArray[np.int32]
    events: npt.NDArray[np.int32]
    values: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, shape: Shape, *, samples: int, steps: int, graded: bool = False) -> SpikeLists:
        """Room for `samples` x `steps`; memory that no spike touches is never claimed from the system."""
        channels, height, width = shape
        room = samples * steps * channels * height * width
        return cls(
            shape=shape,
            start=np.empty((samples, steps, height, width + 1), np.int32),
            events=np.empty(room + LANES, np.int32),
            values=np.empty(room if graded else 0, np.int32),
        )

    @classmethod
    def silent(cls, shape: Shape, *, samples: int, steps: int) -> SpikeLists:
        """No spikes at all."""
        return cls(
            shape=shape,
            start=np.zeros((samples, steps, shape[1], shape[2] + 1), np.int32),
            events=np.empty(LANES, np.int32),
            values=np.empty(0, np.int32),
        )

    @classmethod
    def encode(cls, inputs: npt.NDArray[np.int32], *, graded: bool) -> SpikeLists:
        """Messages (T,B,C,H,W) as lists of the non-zero ones."""
        steps, samples, *shape = inputs.shape
        lists = cls.empty((shape[0], shape[1], shape[2]), samples=samples, steps=steps, graded=graded)
        encode_messages(inputs, lists.start, lists.events, lists.values)
        return lists

    def totals(self) -> npt.NDArray[np.int64]:
        """Spikes per sample and local step, (B,T)."""
        lengths: npt.NDArray[np.int64] = self.start[..., -1].sum(axis=2, dtype=np.int64)
        return lengths

    def add_counts(self, counts: npt.NDArray[np.int64]) -> None:
        """Add every neuron's spikes to `counts` (C,H,W)."""
        count_events(self.start, self.events, counts)

    def write_raster(self, raster: Array, *, first: int) -> None:
        """Set raster[first + b*T + t, c, y, x] = 1 where neuron (c,y,x) spiked; `raster` is (N,C,H,W)."""
        mark_events(self.start, self.events, raster[first:])


@compiled
def encode_messages(
    inputs: npt.NDArray[np.int32],
    start: npt.NDArray[np.int32],
    events: npt.NDArray[np.int32],
    values: npt.NDArray[np.int32],
) -> None:
    """Fill lists from messages (T,B,C,H,W); `values` may be empty."""
    T, B, C, H, W = inputs.shape
    graded = values.size > 0
    for b in range(B):
        for t in range(T):
            for y in range(H):
                base = ((b * T + t) * H + y) * W * C
                count = 0
                start[b, t, y, 0] = 0
                for x in range(W):
                    for c in range(C):
                        message = inputs[t, b, c, y, x]
                        if message != 0:
                            events[base + count] = x * C + c
                            if graded:
                                values[base + count] = message
                            count += 1
                    start[b, t, y, x + 1] = count


@compiled
def count_events(start: npt.NDArray[np.int32], events: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Add every event to counts (C,H,W)."""
    B, T, H, _ = start.shape
    C, W = counts.shape[0], counts.shape[2]
    # A row of all channels stays in the cache while every step and sample adds to it.
    for y in range(H):
        for b in range(B):
            for t in range(T):
                base = ((b * T + t) * H + y) * W * C
                for x in range(W):
                    for i in range(start[b, t, y, x], start[b, t, y, x + 1]):
                        counts[events[base + i] - x * C, y, x] += 1


@compiled
def mark_events(start: npt.NDArray[np.int32], events: npt.NDArray[np.int32], raster: Array) -> None:
    """Set raster[b*T + t, c, y, x] = 1 for every event."""
    B, T, H, _ = start.shape
    C, W = raster.shape[1], raster.shape[3]
    for b in range(B):
        for t in range(T):
            for y in range(H):
                base = ((b * T + t) * H + y) * W * C
                for x in range(W):
                    for i in range(start[b, t, y, x], start[b, t, y, x + 1]):
                        raster[b * T + t, events[base + i] - x * C, y, x] = 1
