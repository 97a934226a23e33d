"""Which source neurons reach a box of a target population, and through how many synapses: exact, borders counted.

The fan-out of every synapse Basalt has is a product of one factor per axis, so a core's share of a projection is
three short vectors and never a matrix of synapses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, OneToOne, Population, Projection, Shape

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
    """Fan-out of source neuron (c,y,x) into the box: channels[c] * rows[y] * columns[x]."""

    channels: IntVector
    rows: IntVector
    columns: IntVector

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
        return int(self.channels.sum()) * int(self.rows.sum()) * int(self.columns.sum())

    def count_operations(self, spikes: npt.NDArray[np.int64]) -> int:
        """sum of spikes[c,y,x] * fan-out[c,y,x] for (C,H,W) spike counts: synaptic operations in the box."""
        box = self.bounds
        if box is None:
            return 0
        c, y, x = (slice(*span) for span in box)
        return int(self.channels[c] @ ((spikes[c, y, x] @ self.columns[x]) @ self.rows[y]))

    def mask(self, box: Box) -> npt.NDArray[np.bool_]:
        """Which source neurons of `box` have at least one synapse into the target box."""
        c, y, x = (slice(*span) for span in box)
        return np.asarray(
            (self.channels[c] > 0)[:, None, None]
            & (self.rows[y] > 0)[None, :, None]
            & (self.columns[x] > 0)[None, None, :]
        )


def reach(projection: Projection, source: Population, target: Population, box: Box) -> Reach:
    """The share of `projection` that ends in `box` of `target`."""
    shape = projection.source_shape(source)
    channels, rows, columns = box
    synapse = projection.synapse
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
        case Dense():
            factors = (
                np.full(shape[0], box_size(box), np.int64),
                np.ones(shape[1], np.int64),
                np.ones(shape[2], np.int64),
            )
        case OneToOne():
            factors = (
                _inside(shape[0], channels),
                _inside(shape[1], rows),
                _inside(shape[2], columns),
            )
    if projection.src_channels is not None:
        everywhere = np.zeros(source.shape[0], np.int64)
        everywhere[slice(*projection.src_channels)] = factors[0]
        factors = (everywhere, factors[1], factors[2])
    return Reach(channels=factors[0], rows=factors[1], columns=factors[2])


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
