"""What a projection adds to the currents of its target in one time step, ready to be called again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.branches import Branch, FrameColumns, FrameMatrix, FrameTwins
from lava_runtime.lowering.taps import FrameConv
from lava_runtime.simulation import frame_kernels
from lava_runtime.simulation.messages import AxonDelays, History, MessageList
from lava_runtime.simulation.vector_rows import padded

Int32Array = npt.NDArray[np.int32]


def narrow(weights: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int8] | npt.NDArray[np.int32]:
    """`weights` in 8 bits where they fit, which moves less memory, else in 32."""
    if weights.size and int(weights.min()) >= -128 and int(weights.max()) <= 127:
        return np.ascontiguousarray(weights, np.int8)
    return np.ascontiguousarray(weights, np.int32)


def _rows(weights: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """Weights (..., N) as flat rows, padded with zeros to whole lanes."""
    whole = np.zeros((*weights.shape[:-1], padded(weights.shape[-1])), np.int32)
    whole[..., : weights.shape[-1]] = weights
    return narrow(whole).reshape(-1)


class ConvSum:
    """A convolution, transposed or not."""

    def __init__(self, conv: FrameConv) -> None:
        self._conv = conv
        width, height, self._channels = conv.source_shape
        self._start = np.zeros(width * height + 1, np.int32)
        self._height = height
        self._y_sums = conv.weights.shape[1]
        self._width = conv.weights.shape[3]
        self._x, self._y = (
            frame_kernels.Axis(axis.start, axis.source, axis.length, axis.taps) for axis in (conv.x, conv.y)
        )
        if conv.groups == 1:
            self._weights, self._lanes = _rows(conv.weights), padded(self._width)
        else:
            # Few channels to a group: not worth a kernel for each width of weights.
            self._weights, self._lanes = conv.weights.reshape(-1).astype(np.int32), self._width * conv.groups
        self._part: Int32Array = np.zeros(self._lanes, np.int32)

    def add(self, messages: MessageList, total: Int32Array) -> None:
        """Add to the flat frame `total`."""
        if messages.count == 0:
            return
        conv = self._conv
        frame_kernels.pixel_starts(messages.events, messages.count, self._channels, self._start)
        if conv.groups == 1:
            frame_kernels.add_conv(
                self._start,
                messages.events,
                messages.values,
                self._height,
                self._channels,
                self._x,
                self._y,
                self._y_sums,
                self._weights,
                self._lanes,
                self._width,
                conv.exponent,
                conv.wraps,
                self._part,
                total,
            )
        else:
            frame_kernels.add_grouped_conv(
                self._start,
                messages.events,
                messages.values,
                self._height,
                self._channels,
                self._x,
                self._y,
                self._y_sums,
                self._weights,
                self._width,
                conv.groups,
                conv.exponent,
                conv.wraps,
                self._part,
                total,
            )

    def forget(self) -> None:
        """Nothing is under way."""


class MatrixSum:
    """A dense matrix, a row for each source neuron."""

    def __init__(self, matrix: FrameMatrix) -> None:
        self._rows = _rows(matrix.rows)
        self._lanes = padded(matrix.rows.shape[1])
        self._exponent = matrix.exponent
        self._part: Int32Array = np.zeros(self._lanes, np.int32)

    def add(self, messages: MessageList, total: Int32Array) -> None:
        """Add to the flat frame `total`."""
        if messages.count:
            frame_kernels.add_rows(
                messages.events,
                messages.values,
                messages.count,
                self._rows,
                self._lanes,
                self._exponent,
                self._part,
                total,
            )

    def forget(self) -> None:
        """Nothing is under way."""


class ColumnSum:
    """Single synapses by source neuron, each with a delay of its own.

    Currents wait in a ring of frames. A negative exponent shifts the sum of what leaves in one step with one delay, as
    Lava's DelayDense does.
    """

    def __init__(self, columns: FrameColumns) -> None:
        self._columns = columns
        slots = columns.longest + 1
        self._weight = columns.weight << columns.exponent if columns.exponent > 0 else columns.weight
        self._exponent = min(columns.exponent, 0)
        self._ring: Int32Array = np.zeros(slots * columns.targets, np.int32)
        self._part: Int32Array = np.zeros(slots * columns.targets if self._exponent else 0, np.int32)
        self._first = 0

    def add(self, messages: MessageList, total: Int32Array) -> None:
        """Add what arrives now to the flat frame `total`."""
        columns, size = self._columns, self._columns.targets
        into, first = (self._part, 0) if self._exponent else (self._ring, self._first)
        frame_kernels.add_columns(
            messages.events, messages.values, messages.count, columns.start, columns.place, self._weight, first, into
        )
        if self._exponent and messages.count:
            split = self._ring.size - self._first
            frame_kernels.shift_add(self._part[:split], self._exponent, self._ring[self._first :])
            frame_kernels.shift_add(self._part[split:], self._exponent, self._ring[: self._first])
        now = self._ring[self._first : self._first + size]
        total += now
        now.fill(0)
        self._first = (self._first + size) % self._ring.size

    def forget(self) -> None:
        """Nothing is under way."""
        self._ring.fill(0)
        self._part.fill(0)
        self._first = 0


class TwinSum:
    """Each source neuron to its twin."""

    def __init__(self, twins: FrameTwins) -> None:
        self._weight, self._wraps = twins.weight, twins.wraps

    def add(self, messages: MessageList, total: Int32Array) -> None:
        """Add to the flat frame `total`."""
        frame_kernels.add_twins(messages.events, messages.values, messages.count, self._weight, self._wraps, total)

    def forget(self) -> None:
        """Nothing is under way."""


SynapseSum = ConvSum | MatrixSum | ColumnSum | TwinSum


def synapse_sum(synapse: FrameConv | FrameMatrix | FrameColumns | FrameTwins) -> SynapseSum:
    """The sum that `synapse` describes."""
    match synapse:
        case FrameConv():
            return ConvSum(synapse)
        case FrameMatrix():
            return MatrixSum(synapse)
        case FrameColumns():
            return ColumnSum(synapse)
        case FrameTwins():
            return TwinSum(synapse)


class BranchSum:
    """One projection: takes its channels from the source's messages, lets them wait, adds their currents."""

    def __init__(self, branch: Branch, *, source_size: int, graded: bool) -> None:
        self._delay = branch.delay
        self._section = branch.section
        self._sum = synapse_sum(branch.synapse)
        self._read: MessageList | None = None
        if branch.section is not None:
            channels, first, last = branch.section
            self._read = MessageList(source_size // channels * (last - first), graded=graded)
        self._axons = AxonDelays(branch.axon_delays, graded=graded) if branch.axon_delays is not None else None

    def add(self, past: History, total: Int32Array, *, now: int = 0) -> None:
        """Add to the flat frame `total` what arrives; the step's own messages lie `now` pushes back in `past`."""
        messages = past.ago(self._delay + now)
        if self._section is not None and self._read is not None:
            read = self._read
            read.count = int(
                frame_kernels.slice_channels(
                    messages.events, messages.values, messages.count, *self._section, read.events, read.values
                )
            )
            messages = read
        if self._axons is not None:
            messages = self._axons.arrive(messages)
        self._sum.add(messages, total)

    def forget(self) -> None:
        """Nothing is under way."""
        self._sum.forget()
        if self._axons is not None:
            self._axons.forget()
