"""Which source neurons reach a box of a target population, and through how many synapses: exact, borders counted.

The fan-out of nearly every synapse Basalt has is a product of one factor per axis, so a core's share of a projection is
three short vectors and never a matrix of synapses. Only a Sparse projection takes one number per source neuron.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, ConvTranspose, Dense, OneToOne, Population, Projection, Shape, Sparse, Wire

Span = tuple[int, int]
"""(start, stop) along one axis."""

Box = tuple[Span, Span, Span]
"""Spans of channels, rows and columns."""

IntVector = npt.NDArray[np.int64]


def whole_box(shape: Shape) -> Box:
    """The box that is all of a (C,H,W) population."""
    return ((0, shape[0]), (0, shape[1]), (0, shape[2]))


def box_size(box: Box) -> int:
    """Neurons in a box."""
    return (box[0][1] - box[0][0]) * (box[1][1] - box[1][0]) * (box[2][1] - box[2][0])


def intersect(a: Box, b: Box) -> Box | None:
    """What two boxes share, None where they share nothing."""
    spans = [(max(one[0], two[0]), min(one[1], two[1])) for one, two in zip(a, b, strict=True)]
    return None if any(start >= stop for start, stop in spans) else (spans[0], spans[1], spans[2])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """Fan-out of source neuron (c,y,x) into the box: channels[c] * rows[y] * columns[x], or table[c,y,x] where given.

    With a `table` the three vectors are its sums over the other two axes.
    """

    channels: IntVector
    rows: IntVector
    columns: IntVector
    table: IntVector | None = None

    @property
    def bounds(self) -> Box | None:
        """The smallest source box that holds every neuron with a synapse into the target box."""
        spans: list[Span] = []
        for factor in (self.channels, self.rows, self.columns):
            used = np.flatnonzero(factor)
            if used.size == 0:
                return None
            spans.append((int(used[0]), int(used[-1]) + 1))
        return (spans[0], spans[1], spans[2])

    def synapses(self) -> int:
        """Synapses into the box."""
        if self.table is not None:
            return int(self.table.sum())
        return int(self.channels.sum()) * int(self.rows.sum()) * int(self.columns.sum())

    def count_operations(self, spikes: npt.NDArray[np.int64]) -> int:
        """sum of spikes[c,y,x] * fan-out[c,y,x] for (C,H,W) spike counts: synaptic operations in the box."""
        if self.table is not None:
            return int((spikes * self.table).sum())
        box = self.bounds
        if box is None:
            return 0
        c, y, x = (slice(*span) for span in box)
        return int(self.channels[c] @ ((spikes[c, y, x] @ self.columns[x]) @ self.rows[y]))

    def mask(self, box: Box) -> npt.NDArray[np.bool_]:
        """Which source neurons of `box` have at least one synapse into the target box."""
        c, y, x = (slice(*span) for span in box)
        if self.table is not None:
            return np.asarray(self.table[c, y, x] > 0)
        return np.asarray(
            (self.channels[c] > 0)[:, None, None]
            & (self.rows[y] > 0)[None, :, None]
            & (self.columns[x] > 0)[None, None, :]
        )

    def same_neurons(self, other: Reach) -> bool:
        """True where both reach their boxes from the same source neurons."""
        if self.table is not None or other.table is not None:
            whole = whole_box((self.channels.size, self.rows.size, self.columns.size))
            return bool(np.array_equal(self.mask(whole), other.mask(whole)))
        return all(
            bool(np.array_equal(mine > 0, theirs > 0))
            for mine, theirs in (
                (self.channels, other.channels),
                (self.rows, other.rows),
                (self.columns, other.columns),
            )
        )


def reach(projection: Projection, source: Population, target: Population, box: Box) -> Reach:
    """The share of `projection` that ends in `box` of `target`; nothing of a Wire, which has no synapses."""
    shape = projection.source_shape(source)
    channels, rows, columns = box
    synapse = projection.synapse
    table: IntVector | None = None
    match synapse:
        case Conv():
            mantissa = synapse.kernel.mantissa
            along = [
                _conv_axis(
                    shape[1 + axis] * synapse.upsample,
                    synapse.upsample,
                    mantissa.shape[2 + axis],
                    synapse.stride[axis],
                    synapse.padding[axis],
                    synapse.dilation[axis],
                    span,
                )
                for axis, span in enumerate((rows, columns))
            ]
            per_group = _conv_channels(mantissa.shape[0], mantissa.shape[1], synapse.groups, channels)
            factors = (per_group, along[0], along[1])
        case ConvTranspose():
            mantissa = synapse.kernel.mantissa
            along = [
                _transposed_axis(
                    shape[1 + axis],
                    mantissa.shape[2 + axis],
                    synapse.stride[axis],
                    synapse.padding[axis],
                    synapse.dilation[axis],
                    span,
                )
                for axis, span in enumerate((rows, columns))
            ]
            outputs = mantissa.shape[1] * synapse.groups
            per_group = _conv_channels(outputs, mantissa.shape[0] // synapse.groups, synapse.groups, channels)
            factors = (per_group, along[0], along[1])
        case Dense():
            factors = (
                np.full(shape[0], box_size(box), np.int64),
                np.ones(shape[1], np.int64),
                np.ones(shape[2], np.int64),
            )
        case Sparse():
            table = _sparse_table(synapse, shape, target.shape, box)
            factors = (table.sum((1, 2)), table.sum((0, 2)), table.sum((0, 1)))
        case OneToOne():
            factors = (
                _inside(shape[0], channels),
                _inside(shape[1], rows),
                _inside(shape[2], columns),
            )
        case Wire():
            factors = (np.zeros(shape[0], np.int64), np.zeros(shape[1], np.int64), np.zeros(shape[2], np.int64))
    if projection.src_channels is not None:
        section = slice(*projection.src_channels)
        everywhere = np.zeros(source.shape[0], np.int64)
        everywhere[section] = factors[0]
        factors = (everywhere, factors[1], factors[2])
        if table is not None:
            inner, table = table, np.zeros(source.shape, np.int64)
            table[section] = inner
    return Reach(channels=factors[0], rows=factors[1], columns=factors[2], table=table)


def _inside(extent: int, span: Span) -> IntVector:
    vector = np.zeros(extent, np.int64)
    vector[slice(*span)] = 1
    return vector


@lru_cache(maxsize=1 << 16)
def _conv_axis(
    extent: int, upsample: int, taps: int, stride: int, padding: int, dilation: int, span: Span
) -> IntVector:
    """How many (output in span, tap) pairs along one axis read each source position."""
    outputs, tap = np.meshgrid(np.arange(*span), np.arange(taps), indexing="ij")
    position = outputs * stride - padding + tap * dilation
    inside = (position >= 0) & (position < extent)
    found = np.bincount(position[inside] // upsample, minlength=extent // upsample).astype(np.int64)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=1 << 16)
def _conv_channels(outputs: int, inputs_per_group: int, groups: int, span: Span) -> IntVector:
    """How many output channels in span read each source channel."""
    group = np.arange(*span) // (outputs // groups)
    found = np.repeat(np.bincount(group, minlength=groups), inputs_per_group).astype(np.int64)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=1 << 16)
def _transposed_axis(extent: int, taps: int, stride: int, padding: int, dilation: int, span: Span) -> IntVector:
    """How many taps along one axis carry each source position into span."""
    output = np.arange(extent)[:, None] * stride - padding + np.arange(taps) * dilation
    found = ((output >= span[0]) & (output < span[1])).sum(axis=1).astype(np.int64)
    found.setflags(write=False)
    return np.asarray(found)


@lru_cache(maxsize=1 << 12)
def _sparse_table(synapse: Sparse, source: Shape, target: Shape, box: Box) -> IntVector:
    """Synapses of each source neuron (C,H,W) into the box."""
    inside = np.ones(len(synapse.rows), bool)
    for index, (start, stop) in zip(np.unravel_index(synapse.rows, target), box, strict=True):
        inside &= (index >= start) & (index < stop)
    found = np.bincount(synapse.columns[inside], minlength=int(np.prod(source))).reshape(source).astype(np.int64)
    found.setflags(write=False)
    return np.asarray(found)
