"""The messages of one time step as a list, and the last few of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.simulation import frame_kernels
from lava_runtime.simulation.vector_rows import LANES

Int32Array = npt.NDArray[np.int32]
FrameArray = npt.NDArray[np.integer[Any]]

NO_VALUES: Int32Array = np.empty(0, np.int32)
"""Stands where spikes have no values."""

_COMPILED_FOR = (np.uint8, np.int8, np.int32)


class MessageList:
    """The non-zero messages of a frame of `size` neurons: `events[:count]`, and `values[:count]` where they are graded."""

    def __init__(self, size: int, *, graded: bool) -> None:
        self.events: Int32Array = np.empty(size + LANES, np.int32)
        self.values: Int32Array = np.empty(size, np.int32) if graded else NO_VALUES
        self.count = 0

    def fill(self, frame: FrameArray) -> None:
        """List the messages of a flat frame."""
        if frame.dtype not in _COMPILED_FOR:
            frame = frame.view(np.uint8) if frame.dtype == np.bool_ else frame.astype(np.int32)
        self.count = int(frame_kernels.list_messages(frame, self.events))
        if self.values.size:
            frame_kernels.list_values(frame, self.events, self.count, self.values)


class History:
    """The lists of the last `length` steps of one population."""

    def __init__(self, size: int, *, graded: bool, length: int) -> None:
        self._lists = [MessageList(size, graded=graded) for _ in range(length)]
        self._now = 0

    def push(self, frame: FrameArray) -> None:
        """List the messages of the step that begins now."""
        self._now = (self._now + 1) % len(self._lists)
        self._lists[self._now].fill(frame)

    def ago(self, steps: int) -> MessageList:
        """The list of `steps` pushes before the last one."""
        return self._lists[self._now - steps]

    def forget(self) -> None:
        """Nothing was ever sent."""
        for held in self._lists:
            held.count = 0


class AxonDelays:
    """Messages that wait on their axons: `delays` steps each, beside what their projection waits."""

    def __init__(self, delays: npt.NDArray[np.int32], *, graded: bool) -> None:
        size = delays.size
        self._ring: Int32Array = np.zeros((int(delays.max()) + 1) * size, np.int32)
        self._start = np.arange(size + 1, dtype=np.int32)
        self._target = (delays.reshape(-1).astype(np.int64) * size + np.arange(size)).astype(np.int32)
        self._ones = np.ones(size, np.int32)
        self._first = 0
        self._arrived = MessageList(size, graded=graded)

    def arrive(self, sent: MessageList) -> MessageList:
        """What arrives in the step in which `sent` would arrive without delays."""
        size = len(self._ones)
        frame_kernels.add_columns(
            sent.events, sent.values, sent.count, self._start, self._target, self._ones, self._first, self._ring
        )
        now = self._ring[self._first : self._first + size]
        self._arrived.fill(now)
        now.fill(0)
        self._first = (self._first + size) % self._ring.size
        return self._arrived

    def forget(self) -> None:
        """Nothing is under way."""
        self._ring.fill(0)
        self._first = 0
