"""The synapses of a projection, one by one: who reaches whom, with what weight, after how many steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, ConvTranspose, Dense, OneToOne, Population, Projection, Sparse, Wire
from tests.reference.arithmetic import wrap24, wrap32

Fan = list[list[tuple[int, int, int]]]
"""Per flat source neuron of the whole population: (flat target neuron, weight mantissa, delay in steps)."""


def fan_of(projection: Projection, source: Population, target: Population) -> Fan:
    """The synapses of `projection`, listed by source neuron; a Wire has none."""
    c_all, h, w = source.shape
    first, last = projection.src_channels if projection.src_channels is not None else (0, c_all)
    fan: Fan = [[] for _ in range(c_all * h * w)]
    synapse = projection.synapse
    if isinstance(synapse, Wire):
        return fan
    kernel = synapse.kernel.mantissa.tolist()
    delays = projection.delays.tolist() if projection.delays is not None else None
    per_axon = projection.delays is not None and projection.delays.ndim == 3
    _, h_out, w_out = target.shape

    def wait(c: int, y: int, x: int, *synapse_index: int) -> int:
        """Delay of the synapse from axon (c,y,x), c counted inside the slice."""
        if delays is None:
            return projection.delay
        found = delays
        for index in (c, y, x) if per_axon else synapse_index:
            found = found[index]
        return projection.delay + int(found)

    def place(read: int) -> tuple[int, int, int]:
        """(c,y,x) of flat axon `read`, c counted inside the slice."""
        return read // (h * w), read // w % h, read % w

    match synapse:
        case Dense():
            for o, row in enumerate(kernel):
                for i, weight in enumerate(row):
                    fan[first * h * w + i].append((o, weight, wait(*place(i), o, i)))
        case Sparse():
            for k, (o, i) in enumerate(zip(synapse.rows.tolist(), synapse.columns.tolist(), strict=True)):
                fan[first * h * w + i].append((o, kernel[k], wait(*place(i), k)))
        case OneToOne():
            for c in range(last - first):
                for y in range(h):
                    for x in range(w):
                        origin = ((first + c) * h + y) * w + x
                        fan[origin].append(((c * h + y) * w + x, kernel[c], wait(c, y, x)))
        case Conv():
            c_out, c_group, kh, kw = len(kernel), len(kernel[0]), len(kernel[0][0]), len(kernel[0][0][0])
            out_per_group = c_out // synapse.groups
            up = synapse.upsample
            for o in range(c_out):
                group = o // out_per_group
                for y in range(h_out):
                    for x in range(w_out):
                        for i in range(c_group):
                            for ky in range(kh):
                                yy = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                                if not 0 <= yy < h * up:
                                    continue
                                for kx in range(kw):
                                    xx = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                                    if not 0 <= xx < w * up:
                                        continue
                                    c = group * c_group + i
                                    origin = ((first + c) * h + yy // up) * w + xx // up
                                    late = wait(c, yy // up, xx // up)
                                    fan[origin].append(((o * h_out + y) * w_out + x, kernel[o][i][ky][kx], late))
        case ConvTranspose():
            c_in, c_group, kh, kw = len(kernel), len(kernel[0]), len(kernel[0][0]), len(kernel[0][0][0])
            in_per_group = c_in // synapse.groups
            for i in range(c_in):
                for p in range(h):
                    for q in range(w):
                        origin = ((first + i) * h + p) * w + q
                        for o in range(c_group):
                            channel = i // in_per_group * c_group + o
                            for ky in range(kh):
                                y = p * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                                for kx in range(kw):
                                    x = q * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                                    if 0 <= y < h_out and 0 <= x < w_out:
                                        reached = (channel * h_out + y) * w_out + x
                                        fan[origin].append((reached, kernel[i][o][ky][kx], wait(i, p, q)))
    return fan


def wraps_at_24_bits(projection: Projection) -> bool:
    """Convolutions, and one-to-one projections (a grouped 1x1 convolution in Lava), have 24-bit accumulators."""
    return isinstance(projection.synapse, Conv | ConvTranspose | OneToOne)


def scaled(total: int, projection: Projection) -> int:
    """What one accumulator delivers: the sum of a step's weight mantissas times messages, with the exponent.

    With several delays in one projection, the spikes of one step that travel equally long have an accumulator of their
    own, as in Lava's DelayDense: the floor of a negative exponent is taken there, before different steps meet.
    """
    if isinstance(projection.synapse, Wire):
        return wrap32(total)
    exponent = projection.synapse.kernel.exponent
    if exponent < 0:
        return wrap32(total) >> -exponent
    return wrap24(total * 2**exponent) if wraps_at_24_bits(projection) else wrap32(total * 2**exponent)


def per_neuron(bias: npt.NDArray[np.int32], shape: tuple[int, int, int]) -> list[int]:
    """A bias (1,), (C,) or (C,H,W) as one integer per flat neuron."""
    c, h, w = shape
    if bias.ndim == 3:
        return [int(b) for b in bias.reshape(-1).tolist()]
    values = bias.tolist() * (c if bias.shape[0] == 1 and c > 1 else 1)
    return [int(values[index // (h * w)]) for index in range(c * h * w)]
