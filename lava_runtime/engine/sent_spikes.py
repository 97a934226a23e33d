"""Spikes on their way between the engine's two ways of computing: maps for layers, lists for what goes step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.compiled import compiled
from lava_runtime.engine.spike_lists import SpikeLists
from lava_runtime.engine.spike_maps import Layout, MemoryPool, SpikeMap, new_map

Int32s = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]


@dataclass(slots=True, kw_only=True, eq=False)
class Sent:
    """What a population sent, in the form it was made; the other form on demand."""

    layout: Layout
    given: SpikeMap | SpikeLists
    run_memory: MemoryPool
    _map: SpikeMap | None = None
    _lists: SpikeLists | None = None

    def map(self) -> SpikeMap:
        """As a map, for `sweep_jobs`."""
        if isinstance(self.given, SpikeMap):
            return self.given
        if self._map is None:
            samples, steps = self.given.start.shape[:2]
            made = self._map = new_map(self.layout, self.run_memory, samples=samples, steps=steps)
            made.memory[:] = 0
            values = self.given.values if self.layout.planes > 1 else np.empty(0, np.int32)
            for plane in range(self.layout.planes):
                sign = self.layout.planes > 1 and plane == self.layout.planes - 1
                fill_map(self.given.start, self.given.events, values, plane, sign, made.view(plane), made.totals[0])
        return self._map

    def lists(self) -> SpikeLists:
        """As lists, for the stepwise kernels."""
        if isinstance(self.given, SpikeLists):
            return self.given
        if self._lists is None:
            made = self.given
            planes = made.layout.planes
            messages = made.view(0).astype(np.int32)
            # With four bytes the sign's weight, 2**32, is beyond what wraps.
            for plane in filter(made.used.__getitem__, range(1, min(planes, 4))):
                scale = -(256**plane) if plane == planes - 1 else 256**plane
                messages += made.view(plane).astype(np.int32) * np.int32(scale)
            # (B,T,H,W,C) -> (T,B,C,H,W)
            self._lists = SpikeLists.encode(np.ascontiguousarray(messages.transpose(1, 0, 4, 2, 3)), graded=planes > 1)
        return self._lists

    def release(self) -> None:
        """Give the memory of maps back."""
        for made in (self.given, self._map):
            if isinstance(made, SpikeMap):
                made.release(self.run_memory)


@compiled
def fill_map(start: Int32s, events: Int32s, values: Int32s, plane: int, sign: bool, out: Bytes, totals: Int32s) -> None:
    """out[b,t,y,x,c] = 1 where a neuron spiked, or byte `plane` (the sign) of its message; totals (H,F)."""
    B, T, H, W, C = out.shape
    for b in range(B):
        for t in range(T):
            for y in range(H):
                base = ((b * T + t) * H + y) * W * C
                totals[y, b * T + t] = start[b, t, y, W]
                for x in range(W):
                    for i in range(start[b, t, y, x], start[b, t, y, x + 1]):
                        message = values[base + i] if values.size else np.int32(1)
                        byte = np.int32(message < 0) if sign else (message >> np.int32(8 * plane)) & np.int32(255)
                        out[b, t, y, x, events[base + i] - x * C] = byte
