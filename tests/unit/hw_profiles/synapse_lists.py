"""Every synapse of a projection written out one by one, slow and obvious: what counters are held to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    OneToOne,
    Population,
    Projection,
    Shape,
    Sparse,
)

Neuron = tuple[int, int, int]


def synapses_of(projection: Projection, source: Population, target: Population) -> Iterator[tuple[Neuron, Neuron]]:
    """(source neuron, target neuron) of each synapse, both (c,y,x)."""
    first = projection.src_channels[0] if projection.src_channels else 0
    shape = projection.source_shape(source)
    for (c, y, x), reached in _pairs(projection, shape, target.shape):
        yield (c + first, y, x), reached


def _neurons(shape: Shape) -> list[Neuron]:
    return list(product(*(range(extent) for extent in shape)))


def _pairs(projection: Projection, source: Shape, target: Shape) -> Iterator[tuple[Neuron, Neuron]]:
    synapse = projection.synapse
    match synapse:
        case Conv():
            outputs, per_group, kh, kw = synapse.kernel.mantissa.shape
            for o, y, x in _neurons(target):
                group = o // (outputs // synapse.groups)
                for i, ky, kx in product(range(per_group), range(kh), range(kw)):
                    row = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                    column = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                    if 0 <= row < source[1] * synapse.upsample and 0 <= column < source[2] * synapse.upsample:
                        yield (
                            (group * per_group + i, row // synapse.upsample, column // synapse.upsample),
                            (o, y, x),
                        )
        case ConvTranspose():
            inputs, per_group, kh, kw = synapse.kernel.mantissa.shape
            for i, p, q in _neurons(source):
                group = i // (inputs // synapse.groups)
                for o, ky, kx in product(range(per_group), range(kh), range(kw)):
                    row = p * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                    column = q * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                    if 0 <= row < target[1] and 0 <= column < target[2]:
                        yield (i, p, q), (group * per_group + o, row, column)
        case Dense():
            yield from product(_neurons(source), _neurons(target))
        case Sparse():
            senders, receivers = _neurons(source), _neurons(target)
            for row, column in zip(synapse.rows.tolist(), synapse.columns.tolist(), strict=True):
                yield senders[column], receivers[row]
        case OneToOne():
            for neuron in _neurons(source):
                yield neuron, neuron
