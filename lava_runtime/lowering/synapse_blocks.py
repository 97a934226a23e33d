"""Synapses of a graph as Lava's Conv, Dense and Sparse processes.

Conv is a true convolution in (W,H,C) order, so kernels are flipped and transposed. Dense and Sparse drop the lowest bit
of mixed-sign weights, so they get mantissas that their process doubles, and an exponent that halves the sum again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.blocks import ConvBlock, DenseBlock, FrameShape, SparseBlock
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    Dense,
    Kernel,
    OneToOne,
    Population,
    Projection,
    Shape,
    accumulator_bound,
    fixedpoint,
)

CONV_FIELD_MAX = 127
"""Lava's Conv holds kernel size, stride, padding, dilation and groups in 8 signed bits."""

CONV_SUM_LIMIT = 1 << 31
"""Lava's Conv sums in float64 and casts to 32 bits; beyond this the cast is undefined."""


def frame_shape(shape: Shape) -> FrameShape:
    """(C,H,W) as Lava's (W,H,C)."""
    return (shape[2], shape[1], shape[0])


def plain_synapse(
    projection: Projection, source: Population, target: Population, name: str, bits: int
) -> ConvBlock | DenseBlock:
    """The one Conv or Dense process that computes `projection`; upsampling is not among what they can do."""
    synapse = projection.synapse
    if isinstance(synapse, Dense):
        return DenseBlock(
            name=name,
            mantissa=dense_frame_order(projection, source, target),
            exponent=synapse.kernel.exponent,
            message_bits=bits,
        )
    conv = one_to_one_conv(synapse) if isinstance(synapse, OneToOne) else synapse
    if projection.src_channels is not None:
        conv = _whole_source(conv, source.shape[0], projection.src_channels)
    return _conv_block(conv, source, name, bits, projection.label)


def portable_synapses(
    projection: Projection, source: Population, target: Population, name: str, bits: int
) -> list[ConvBlock | DenseBlock | SparseBlock]:
    """The processes of `lava.proc` whose currents add up to `projection`, all reading the whole source population."""
    synapse = projection.synapse
    if isinstance(synapse, Dense):
        return [plain_synapse(projection, source, target, name, bits)]
    conv = one_to_one_conv(synapse) if isinstance(synapse, OneToOne) else synapse
    message_max = 1 << (bits - 1) if bits else 1
    bound = accumulator_bound(conv, message_max)
    if bound >= CONV_SUM_LIMIT:
        raise RunError(
            f"Projection {projection.label}: a sum of graded messages can reach {bound}, the limit of Lava's Conv is "
            f"{CONV_SUM_LIMIT - 1}; lower the input's message_bits or the weight exponent, or use models='compiled'."
        )
    if conv.upsample > 1 or (not fits_conv(conv) and bound < fixedpoint.STATE_LIMIT):
        return _parity_sparse(conv, projection, source, name, bits)
    return [plain_synapse(projection, source, target, name, bits)]


def one_to_one_conv(synapse: OneToOne) -> Conv:
    """A OneToOne as a grouped 1x1 Conv."""
    mantissa = synapse.kernel.mantissa
    kernel = Kernel(mantissa=mantissa.reshape(-1, 1, 1, 1), exponent=synapse.kernel.exponent)
    return Conv(kernel=kernel, groups=mantissa.size)


def fits_conv(conv: Conv) -> bool:
    """True where the fields of Lava's Conv can hold `conv`."""
    fields = (*conv.kernel.mantissa.shape[2:], *conv.stride, *conv.padding, *conv.dilation, conv.groups)
    return max(fields) <= CONV_FIELD_MAX


def dense_frame_order(projection: Projection, source: Population, target: Population) -> npt.NDArray[np.int16]:
    """The matrix of a Dense projection (N_out, N_in), both sides in (W,H,C) order, columns for the whole source."""
    mantissa = projection.synapse.kernel.mantissa
    start, stop = projection.src_channels or (0, source.shape[0])
    whole = np.zeros((mantissa.shape[0], *source.shape), np.int16)
    whole[:, start:stop] = mantissa.reshape(mantissa.shape[0], stop - start, *source.shape[1:])
    order = np.arange(target.size).reshape(target.shape).transpose(2, 1, 0).reshape(-1)
    return np.ascontiguousarray(whole.transpose(0, 3, 2, 1).reshape(mantissa.shape[0], -1)[order])


def _whole_source(conv: Conv, channels: int, chosen: tuple[int, int]) -> Conv:
    """`conv` over a channel slice as an ungrouped Conv over all channels, the kernel padded with zeros."""
    mantissa = conv.kernel.mantissa
    outputs, per_group = mantissa.shape[:2]
    whole = np.zeros((outputs, channels, *mantissa.shape[2:]), np.int16)
    for output in range(outputs):
        first = chosen[0] + output // (outputs // conv.groups) * per_group
        whole[output, first : first + per_group] = mantissa[output]
    return Conv(
        kernel=Kernel(mantissa=whole, exponent=conv.kernel.exponent),
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        upsample=conv.upsample,
    )


def _conv_block(conv: Conv, source: Population, name: str, bits: int, label: str) -> ConvBlock:
    for what, values in (
        ("kernel size", conv.kernel.mantissa.shape[2:]),
        ("stride", conv.stride),
        ("padding", conv.padding),
        ("dilation", conv.dilation),
        ("groups", (conv.groups,)),
    ):
        if max(values) > CONV_FIELD_MAX:
            raise RunError(
                f"Projection {label}: {what} is {max(values)}, the limit of Lava's Conv is {CONV_FIELD_MAX}; "
                "use models='compiled' with a population of its own, or the fast backend."
            )
    weight = conv.kernel.mantissa.astype(np.int32) << conv.kernel.exponent
    return ConvBlock(
        name=name,
        weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
        input_shape=frame_shape(source.shape),
        stride=conv.stride[::-1],
        padding=conv.padding[::-1],
        dilation=conv.dilation[::-1],
        groups=conv.groups,
        message_bits=bits,
    )


def _parity_sparse(
    conv: Conv, projection: Projection, source: Population, name: str, bits: int
) -> list[ConvBlock | DenseBlock | SparseBlock]:
    """One Sparse per position of a tap inside the upsampled source pixel, so that no two taps meet in one synapse.

    Summed into one matrix, taps that read the same source neuron would leave 8 bits and be clipped.
    """
    first = projection.src_channels[0] if projection.src_channels else 0
    shape = conv.output_shape(projection.source_shape(source))
    outputs, per_group, rows, columns = conv.kernel.mantissa.shape
    o, i, y, x, ky, kx = np.meshgrid(
        np.arange(outputs),
        np.arange(per_group),
        np.arange(shape[1]),
        np.arange(shape[2]),
        np.arange(rows),
        np.arange(columns),
        indexing="ij",
        sparse=True,
    )
    row = y * conv.stride[0] - conv.padding[0] + ky * conv.dilation[0]
    column = x * conv.stride[1] - conv.padding[1] + kx * conv.dilation[1]
    inside = (row >= 0) & (row < source.shape[1] * conv.upsample) & (column >= 0)
    inside = inside & (column < source.shape[2] * conv.upsample)
    channel = first + o // (outputs // conv.groups) * per_group + i
    mantissa = conv.kernel.mantissa[o, i, ky, kx]
    used = inside & (mantissa != 0)
    target = (x * shape[1] + y) * outputs + o
    origin = ((column // conv.upsample) * source.shape[1] + row // conv.upsample) * source.shape[0] + channel
    parity = (row % conv.upsample) * conv.upsample + column % conv.upsample
    target, origin, mantissa, parity = (
        np.broadcast_to(values, used.shape)[used] for values in (target, origin, mantissa, parity)
    )
    return [
        SparseBlock(
            name=f"{name}.{part}",
            shape=(int(np.prod(shape)), source.size),
            targets=target[parity == part].astype(np.int32),
            sources=origin[parity == part].astype(np.int32),
            mantissa=mantissa[parity == part].astype(np.int16),
            exponent=conv.kernel.exponent,
            message_bits=bits,
        )
        for part in np.unique(parity)
    ]
