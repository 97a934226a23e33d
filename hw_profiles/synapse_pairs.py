"""Every synapse of a projection as a pair of neuron numbers: for small networks that leave for another simulator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    OneToOne,
    Population,
    Projection,
    Shape,
    Sparse,
    Wire,
)

Numbers = npt.NDArray[np.int64]


def synapse_pairs(projection: Projection, source: Population, target: Population) -> tuple[Numbers, Numbers]:
    """Source and target neuron of each synapse, numbered in C,H,W order of the whole populations; zero weights too."""
    shape = projection.source_shape(source)
    synapse = projection.synapse
    match synapse:
        case Conv():
            sources, targets = _conv_pairs(synapse, shape, target.shape)
        case ConvTranspose():
            sources, targets = _transposed_pairs(synapse, shape, target.shape)
        case Dense():
            count = int(np.prod(shape))
            sources = np.tile(np.arange(count), target.size)
            targets = np.repeat(np.arange(target.size), count)
        case Sparse():
            sources, targets = synapse.columns.astype(np.int64), synapse.rows.astype(np.int64)
        case OneToOne():
            sources = targets = np.arange(int(np.prod(shape)))
        case Wire():
            sources = targets = np.zeros(0, np.int64)
    first = projection.src_channels[0] if projection.src_channels else 0
    return sources + first * shape[1] * shape[2], targets


def _conv_pairs(conv: Conv, source: Shape, target: Shape) -> tuple[Numbers, Numbers]:
    outputs, per_group, _, _ = conv.kernel.mantissa.shape
    rows, columns = (_conv_axis(conv, source[1 + axis] * conv.upsample, target[1 + axis], axis) for axis in range(2))
    out_channel, inner = np.meshgrid(np.arange(outputs), np.arange(per_group), indexing="ij")
    in_channel = (out_channel // (outputs // conv.groups)) * per_group + inner
    sources = _combine(in_channel.ravel(), rows[0], columns[0], source)
    return sources, _combine(out_channel.ravel(), rows[1], columns[1], target)


def _conv_axis(conv: Conv, extent: int, size: int, axis: int) -> tuple[Numbers, Numbers]:
    """(source position, target position) of each tap that lies inside, along one axis."""
    position, tap = np.meshgrid(np.arange(size), np.arange(conv.kernel.mantissa.shape[2 + axis]), indexing="ij")
    read = position * conv.stride[axis] - conv.padding[axis] + tap * conv.dilation[axis]
    inside = (read >= 0) & (read < extent)
    return read[inside] // conv.upsample, position[inside]


def _transposed_pairs(conv: ConvTranspose, source: Shape, target: Shape) -> tuple[Numbers, Numbers]:
    inputs, per_group, _, _ = conv.kernel.mantissa.shape
    axes = []
    for axis in range(2):
        taps = np.arange(conv.kernel.mantissa.shape[2 + axis])
        position, tap = np.meshgrid(np.arange(source[1 + axis]), taps, indexing="ij")
        reached = position * conv.stride[axis] - conv.padding[axis] + tap * conv.dilation[axis]
        inside = (reached >= 0) & (reached < target[1 + axis])
        axes.append((position[inside], reached[inside]))
    in_channel, inner = np.meshgrid(np.arange(inputs), np.arange(per_group), indexing="ij")
    out_channel = (in_channel // (inputs // conv.groups)) * per_group + inner
    sources = _combine(in_channel.ravel(), axes[0][0], axes[1][0], source)
    return sources, _combine(out_channel.ravel(), axes[0][1], axes[1][1], target)


def _combine(channels: Numbers, rows: Numbers, columns: Numbers, shape: Shape) -> Numbers:
    """Neuron numbers of all combinations of (channel, row, column) entries."""
    plane = rows[:, None] * shape[2] + columns
    return np.asarray((channels[:, None, None] * (shape[1] * shape[2]) + plane).ravel(), np.int64)
