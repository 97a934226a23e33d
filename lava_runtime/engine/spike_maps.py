"""What a population sends, step after step: a map of bytes per step, channel-last, 0/1 spikes or one byte of a message.

Frame f = b*T + t holds H rows of `left` + W + `right` pixels of `pitch` bytes; the columns beside the W are zero, so
that a convolution needs no border. `lag` frames of silence lie in front. Channels between C and `pitch` hold what they
like (weights there are zero). Behind the last frame lies slack that may be read and means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import carray, compiled, int8_pointer, int32_pointer
from lava_runtime.engine.vector_sums import LANES, append_active
from netx_export.graph.synapses import Shape

Array = npt.NDArray[Any]

_MANY = 1 << 48
_BLOCK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a population's maps lie in memory; chosen once for all that read it. `planes` maps carry one message."""

    shape: Shape
    pitch: int
    left: int = 0
    right: int = 0
    lag: int = 0
    slack: int = 64
    planes: int = 1

    @property
    def row(self) -> int:
        """Bytes from row to row."""
        return (self.left + self.shape[2] + self.right) * self.pitch

    @property
    def frame(self) -> int:
        """Bytes from step to step."""
        return self.shape[1] * self.row

    def room(self, frames: int) -> int:
        """Bytes that `frames` frames of one plane need, silence and slack included."""
        return -(-((self.lag + frames) * self.frame + self.slack) // 64) * 64


class MemoryPool:
    """Byte arrays that are used again: fresh memory costs a page fault per 4 KiB, as much as computing what goes in."""

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """An array of at least `size` bytes with anything in it."""
        fitting = [array for array in self._free if size <= array.size <= 4 * size + (1 << 16)]
        if not fitting:
            return np.empty(-(-size // 64) * 64, np.uint8)
        best = min(fitting, key=lambda array: array.size)
        self._free = [array for array in self._free if array is not best]
        return best

    def give(self, array: npt.NDArray[np.uint8]) -> None:
        """Hand `array` back; whoever gives it must not look at it again."""
        self._free.append(array)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowLists:
    """The active neurons of each row, in order: events[(f*H + y)*room + i] is x*C + c; start[f,y,x] is where pixel x
    begins in the row, start[f,y,W] the row's length. Both are int32."""

    start: npt.NDArray[np.uint8]
    events: npt.NDArray[np.uint8]


@dataclass(slots=True, kw_only=True, eq=False)
class SpikeMap:
    """What one population sent in B samples of T local steps. `totals` (slots,H,F): spikes per row and frame."""

    layout: Layout
    samples: int
    steps: int
    memory: npt.NDArray[np.uint8]
    totals: npt.NDArray[np.int32]
    used: tuple[bool, ...] = (True,)
    """Which bytes of the messages are not 0 everywhere; the maps of the others hold anything."""
    lists: RowLists | None = None
    listed: npt.NDArray[np.bool_] | None = None

    @property
    def frames(self) -> int:
        """B*T."""
        return self.samples * self.steps

    def origin(self, plane: int = 0) -> int:
        """Address of frame 0, row 0, column 0, channel 0."""
        layout = self.layout
        before = plane * layout.room(self.frames) + layout.lag * layout.frame + layout.left * layout.pitch
        return int(self.memory.ctypes.data) + before

    def view(self, plane: int = 0) -> npt.NDArray[np.uint8]:
        """The bytes as (B,T,H,W,C); writable."""
        layout = self.layout
        channels, height, width = layout.shape
        begin = plane * layout.room(self.frames) + layout.lag * layout.frame
        rows = self.memory[begin : begin + self.frames * layout.frame]
        pixels = rows.reshape(self.samples, self.steps, height, layout.left + width + layout.right, layout.pitch)
        return pixels[:, :, :, layout.left : layout.left + width, :channels]

    def row_totals(self) -> npt.NDArray[np.int64]:
        """Spikes per row, all frames together, (H,)."""
        counted: npt.NDArray[np.int64] = self.totals.sum(axis=(0, 2), dtype=np.int64)
        return counted

    def step_totals(self) -> npt.NDArray[np.int64]:
        """Spikes per sample and local step, (B,T)."""
        counted: npt.NDArray[np.int64] = self.totals.sum(axis=(0, 1), dtype=np.int64)
        return counted.reshape(self.samples, self.steps)

    def write_raster(self, raster: Array, *, first: int) -> None:
        """raster[first + b*T + t, c, y, x] = 0/1; `raster` is (N,C,H,W)."""
        rows = raster[first : first + self.frames]
        rows.reshape(self.samples, self.steps, *raster.shape[1:])[:] = self.view().transpose(0, 1, 4, 2, 3)

    def release(self, pool: MemoryPool) -> None:
        """Give all memory back."""
        pool.give(self.memory)
        if self.lists is not None:
            pool.give(self.lists.start)
            pool.give(self.lists.events)


def new_map(layout: Layout, pool: MemoryPool, *, samples: int, steps: int, slots: int = 1) -> SpikeMap:
    """A map with nothing in it yet but silence in front; `slots` parts of a row count their spikes apart."""
    room = layout.room(samples * steps)
    memory = pool.take(layout.planes * room)
    used = (True,) * layout.planes
    for plane in range(layout.planes):
        memory[plane * room : plane * room + layout.lag * layout.frame] = 0
    totals = np.zeros((slots, layout.shape[1], samples * steps), np.int32)
    return SpikeMap(layout=layout, samples=samples, steps=steps, memory=memory, totals=totals, used=used)


def silent_map(layout: Layout, pool: MemoryPool, *, samples: int, steps: int) -> SpikeMap:
    """No spikes at all."""
    made = new_map(layout, pool, samples=samples, steps=steps)
    made.memory[:] = 0
    return made


def row_room(shape: Shape) -> int:
    """Events that a row of a list has room for."""
    return shape[2] * shape[0] + LANES


def new_lists(made: SpikeMap, pool: MemoryPool) -> RowLists:
    """Room for the lists of every row of `made`."""
    rows = made.frames * made.layout.shape[1]
    return RowLists(
        start=pool.take(4 * rows * (made.layout.shape[2] + 1)),
        events=pool.take(4 * (rows * row_room(made.layout.shape) + LANES)),
    )


@compiled
def list_rows(
    first: int,
    last: int,
    rows: npt.NDArray[np.int64],
    origin: int,
    shape: tuple[int, int, int],
    row: int,
    pitch: int,
    frames: int,
    start_at: int,
    events_at: int,
) -> None:
    """Fill the lists of rows[first:last], all frames."""
    C, H, W = shape
    room = W * C + LANES
    start = carray(int32_pointer(start_at), (_MANY,))
    for index in range(first, last):
        y = rows[index]
        for f in range(frames):
            line = f * H + y
            source = origin + line * row
            events = events_at + 4 * line * room
            count = 0
            start[line * (W + 1)] = 0
            for x in range(W):
                count = append_active(source + x * pitch, C, x * C, events, count)
                start[line * (W + 1) + x + 1] = count


@compiled
def encode_rows(
    first: int,
    last: int,
    inputs: Array,
    origins: npt.NDArray[np.int64],
    signs: npt.NDArray[np.bool_],
    row: int,
    pitch: int,
    left: int,
    right: int,
    counts: npt.NDArray[np.int32],
    totals: npt.NDArray[np.int32],
) -> None:
    """Rows [first,last) of messages (T,B,C,H,W) as maps; counts (H,W,C) and totals (1,H,F) of what is not 0.

    0/1 spikes have one map. A message m of k bytes has k + 1: m = sum_p 256^p byte_p - 256^k negative.
    """
    T, B, C, H, W = inputs.shape
    planes = origins.size
    for y in range(first, last):
        for b in range(B):
            for t in range(T):
                line = ((b * T + t) * H + y) * row
                active = np.int32(0)
                for plane in range(planes):
                    border = carray(int8_pointer(origins[plane] + line - left * pitch), (_MANY,))
                    for x in range(left * pitch):
                        border[x] = 0
                    for x in range((left + W) * pitch, (left + W + right) * pitch):
                        border[x] = 0
                # A few pixels at a time, so that what is written channel by channel stays in the cache.
                for first_x in range(0, W, _BLOCK):
                    for c in range(C):
                        for plane in range(planes):
                            out = carray(int8_pointer(origins[plane] + line + c), (_MANY,))
                            sign, shift = signs[plane], np.int32(8 * plane)
                            for x in range(first_x, min(first_x + _BLOCK, W)):
                                message = np.int32(inputs[t, b, c, y, x])
                                byte = np.int32(message < 0) if sign else message >> shift
                                out[x * pitch] = np.int8(byte)
                        for x in range(first_x, min(first_x + _BLOCK, W)):
                            sent = np.int32(inputs[t, b, c, y, x] != 0)
                            active += sent
                            counts[y, x, c] += sent
                totals[0, y, b * T + t] = active
