"""Synapses of a graph as Lava's Conv, Dense and Sparse processes, with delays as DelayDense and DelaySparse.

Conv is a true convolution in (W,H,C) order, so kernels are flipped and transposed. Dense and Sparse drop the lowest bit
of mixed-sign weights, so they get mantissas that their process doubles, and an exponent that halves the sum again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.blocks import ConvBlock, DenseBlock, FrameShape, SparseBlock
from lava_runtime.lowering.branches import frame_order, single_synapses, synapse_delays
from lava_runtime.lowering.taps import Reads, conv_reads, transposed_reads
from netx_export.errors import RunError
from netx_export.graph import (
    GRADED,
    Conv,
    ConvTranspose,
    Dense,
    Kernel,
    OneToOne,
    Population,
    Projection,
    Shape,
    Sparse,
    Wire,
    accumulator_bound,
    fixedpoint,
    message_limit,
)

CONV_FIELD_MAX = 127
"""Lava's Conv holds kernel size, stride, padding, dilation and groups in 8 signed bits."""

SUM_LIMIT = 1 << 31
"""Lava's Conv sums in float64 and casts to 32 bits; beyond this the cast is undefined."""

SynapseBlock = ConvBlock | DenseBlock | SparseBlock


def frame_shape(shape: Shape) -> FrameShape:
    """(C,H,W) as Lava's (W,H,C)."""
    return (shape[2], shape[1], shape[0])


def portable_synapses(
    projection: Projection, source: Population, target: Population, name: str, bits: int
) -> list[SynapseBlock]:
    """The processes of `lava.proc` whose currents add up to `projection`, all reading the whole source population.

    The projection's `delay` is part of the synapses only where `holds_delay` says so. Messages of sigma-delta neurons
    have no bound that could be proved beforehand; call `check_sums` with the largest one that was sent.
    Raises RunError where Lava's processes cannot compute the projection exactly.
    """
    synapse = projection.synapse
    if not isinstance(source.neuron, GRADED):
        check_sums(projection, source, message_limit(source.neuron))
    match synapse:
        case Dense() | Sparse():
            return _matrix_blocks(projection, synapse, source, target, name, bits)
        case Wire():
            return []
        case ConvTranspose():
            return _tap_blocks(projection, source, target, name, bits)
        case OneToOne():
            conv = one_to_one_conv(synapse)
        case Conv():
            conv = synapse
    if _waits_inside(projection, source):
        return _tap_blocks(projection, source, target, name, bits)
    bound = accumulator_bound(conv, message_limit(source.neuron))
    if conv.upsample > 1 or (not fits_conv(conv) and bound < fixedpoint.STATE_LIMIT):
        return _tap_blocks(projection, source, target, name, bits)
    if projection.src_channels is not None:
        conv = _whole_source(conv, source.shape[0], projection.src_channels)
    return [_conv_block(conv, source, name, bits, projection.label)]


def plain_synapse(
    projection: Projection, source: Population, target: Population, name: str, bits: int
) -> SynapseBlock | None:
    """The one process that computes `projection` as it stands, without delays; None where there is none."""
    synapse = projection.synapse
    if projection.delay or projection.delays is not None or projection.src_channels is not None:
        return None
    match synapse:
        case Dense():
            mantissa = synapse.kernel.mantissa[frame_order(target.shape)][:, frame_order(source.shape)]
            return DenseBlock(name=name, mantissa=mantissa, exponent=synapse.kernel.exponent, message_bits=bits)
        case Sparse():
            return _sparse_block(projection, synapse, source, target, name, bits)
        case Conv() if synapse.upsample == 1 and fits_conv(synapse):
            return _conv_block(synapse, source, name, bits, projection.label)
        case OneToOne() if fits_conv(one_to_one_conv(synapse)):
            return _conv_block(one_to_one_conv(synapse), source, name, bits, projection.label)
        case _:
            return None


def holds_delay(projection: Projection, source: Population) -> bool:
    """True where the synapses themselves hold the projection's `delay`: relays pass on spikes alone."""
    return projection.delay > 0 and isinstance(source.neuron, GRADED)


def one_to_one_conv(synapse: OneToOne) -> Conv:
    """A OneToOne as a grouped 1x1 Conv."""
    mantissa = synapse.kernel.mantissa
    kernel = Kernel(mantissa=mantissa.reshape(-1, 1, 1, 1), exponent=synapse.kernel.exponent)
    return Conv(kernel=kernel, groups=mantissa.size)


def fits_conv(conv: Conv) -> bool:
    """True where the fields of Lava's Conv can hold `conv`."""
    fields = (*conv.kernel.mantissa.shape[2:], *conv.stride, *conv.padding, *conv.dilation, conv.groups)
    return max(fields) <= CONV_FIELD_MAX


def _waits_inside(projection: Projection, source: Population) -> bool:
    """True for a convolution whose messages wait on their axons or synapses, which Lava's Conv cannot hold."""
    return projection.delays is not None or holds_delay(projection, source)


def check_sums(projection: Projection, source: Population, message_max: int) -> None:
    """RunError where messages of up to `message_max` could make sums that Lava's processes do not compute as the graph does.

    Lava's Conv sums in float64 and casts to 32 bits; Dense and Sparse double their weights, which takes one bit more;
    what is made of Sparse in place of a convolution does not wrap at 24 bits.
    """
    synapse = projection.synapse
    if isinstance(synapse, Wire):
        return
    bound, limit = accumulator_bound(synapse, message_max), SUM_LIMIT
    if isinstance(synapse, Dense | Sparse):
        what = f"Lava's {type(synapse).__name__}, which doubles it"
        bound = 2 * accumulator_bound(Dense(kernel=_unscaled(synapse)), message_max)
        if synapse.kernel.exponent > 0:
            return
    elif isinstance(synapse, ConvTranspose) or _waits_inside(projection, source):
        what, limit = (
            "Lava's Sparse, which this convolution must be made of and which does not wrap",
            fixedpoint.STATE_LIMIT,
        )
    else:
        what = "Lava's Conv"
    if bound >= limit:
        raise RunError(
            f"Projection {projection.label}: a sum of graded messages of up to {message_max} can reach {bound}, the limit of "
            f"{what} is {limit - 1}; lower the input's message_bits or the weight exponent, or use models='compiled'."
        )


def _own_delays(projection: Projection, source: Population) -> int:
    """Steps that every synapse of `projection` waits itself; RunError where a Lava synapse cannot hold them."""
    if not holds_delay(projection, source):
        return 0
    if projection.longest_delay > fixedpoint.DELAY_MAX:
        raise RunError(
            f"Projection {projection.label}: graded messages wait {projection.longest_delay} steps, the limit of a synapse "
            f"is {fixedpoint.DELAY_MAX}, and relay neurons pass on spikes alone; shorten the delay, or use models='compiled'."
        )
    return projection.delay


def _matrix_blocks(
    projection: Projection, synapse: Dense | Sparse, source: Population, target: Population, name: str, bits: int
) -> list[SynapseBlock]:
    exponent = synapse.kernel.exponent
    if isinstance(synapse, Sparse):
        return [_sparse_block(projection, synapse, source, target, name, bits)]
    start, stop = projection.src_channels or (0, source.shape[0])
    read = (stop - start, *source.shape[1:])
    outputs = synapse.kernel.mantissa.shape[0]

    def whole(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """(N_out, N_read) in C,H,W order as (N_out, N_in) for the whole source, both sides in (W,H,C) order."""
        wide = np.zeros((outputs, *source.shape), np.int32)
        wide[:, start:stop] = values.reshape(outputs, *read)
        return np.ascontiguousarray(wide.reshape(outputs, -1)[frame_order(target.shape)][:, frame_order(source.shape)])

    own = _own_delays(projection, source)
    delays = None
    if projection.delays is not None or own:
        columns = single_synapses(synapse)[1]
        delays = whole((synapse_delays(synapse, projection.delays, columns) + own).reshape(outputs, -1))
    mantissa = whole(synapse.kernel.mantissa.astype(np.int32)).astype(np.int16)
    return [DenseBlock(name=name, mantissa=mantissa, exponent=exponent, message_bits=bits, delays=delays)]


def _unscaled(synapse: Dense | Sparse) -> Kernel:
    """The mantissas as a matrix, exponent 0."""
    if isinstance(synapse, Dense):
        return Kernel(mantissa=synapse.kernel.mantissa)
    worst = np.bincount(synapse.rows, weights=np.abs(synapse.kernel.mantissa)).argmax()
    return Kernel(mantissa=synapse.kernel.mantissa[synapse.rows == worst][None])


def _sparse_block(
    projection: Projection, synapse: Sparse, source: Population, target: Population, name: str, bits: int
) -> SparseBlock:
    rows, columns, mantissa = single_synapses(synapse)
    first = projection.src_channels[0] if projection.src_channels else 0
    place_of_target, place_of_source = (np.argsort(frame_order(p.shape)) for p in (target, source))
    own = _own_delays(projection, source)
    delays = None
    if projection.delays is not None or own:
        delays = synapse_delays(synapse, projection.delays, columns) + np.int32(own)
    return SparseBlock(
        name=name,
        shape=(target.size, source.size),
        targets=place_of_target[rows].astype(np.int32),
        sources=place_of_source[columns + first * source.shape[1] * source.shape[2]].astype(np.int32),
        mantissa=mantissa.astype(np.int16),
        exponent=synapse.kernel.exponent,
        message_bits=bits,
        delays=delays,
    )


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


def _tap_blocks(
    projection: Projection, source: Population, target: Population, name: str, bits: int
) -> list[SynapseBlock]:
    """A convolution as Sparse processes: as many as there are taps through which an output reads one source pixel.

    That is one without upsampling, and one per sub-pixel parity with it. Summed into one matrix, taps that read the
    same source neuron would leave 8 bits and be clipped.
    """
    synapse = projection.synapse
    read = projection.source_shape(source)
    kernel, reads, groups, exponent = _readers(synapse, read)
    first = projection.src_channels[0] if projection.src_channels else 0
    own = _own_delays(projection, source)
    per_output, per_group = kernel.shape[0] // groups, kernel.shape[1]
    parts: dict[int, list[tuple[npt.NDArray[np.int64], ...]]] = {}
    o, i = np.indices(kernel.shape[:2])
    channel = o // per_output * per_group + i
    for x, x_reads in enumerate(reads[1]):
        for y, y_reads in enumerate(reads[0]):
            for column, x_taps in x_reads:
                for row, y_taps in y_reads:
                    for number, (ky, kx) in enumerate((ky, kx) for ky in y_taps for kx in x_taps):
                        used = kernel[:, :, ky, kx] != 0
                        to = (x * target.shape[1] + y) * target.shape[0] + o[used]
                        origin = (column * source.shape[1] + row) * source.shape[0] + first + channel[used]
                        wait = np.full(to.shape, own)
                        if projection.delays is not None:
                            wait = wait + projection.delays[channel[used], row, column]
                        parts.setdefault(number, []).append((to, origin, kernel[:, :, ky, kx][used], wait))
    delayed = projection.delays is not None or own > 0
    blocks: list[SynapseBlock] = []
    for number, found in sorted(parts.items()):
        targets, sources, mantissa, wait = (np.concatenate(column) for column in zip(*found, strict=True))
        if targets.size == 0:
            continue
        blocks.append(
            SparseBlock(
                name=f"{name}.{number}",
                shape=(target.size, source.size),
                targets=targets.astype(np.int32),
                sources=sources.astype(np.int32),
                mantissa=mantissa.astype(np.int16),
                exponent=exponent,
                message_bits=bits,
                delays=wait.astype(np.int32) if delayed else None,
            )
        )
    return blocks


def _readers(synapse: object, read: Shape) -> tuple[npt.NDArray[np.int16], tuple[Reads, Reads], int, int]:
    """A convolution's kernel as (C_out, C_in/groups, kh, kw), what its outputs read (rows, columns), groups, exponent."""
    if isinstance(synapse, ConvTranspose):
        mantissa = synapse.kernel.mantissa
        per_input = mantissa.shape[0] // synapse.groups
        grouped = mantissa.reshape(synapse.groups, per_input, *mantissa.shape[1:])
        kernel = grouped.transpose(0, 2, 1, 3, 4).reshape(-1, per_input, *mantissa.shape[2:])

        def axis(number: int) -> Reads:
            return transposed_reads(
                size=read[1 + number],
                kernel=kernel.shape[2 + number],
                stride=synapse.stride[number],
                padding=synapse.padding[number],
                dilation=synapse.dilation[number],
                output_padding=synapse.output_padding[number],
            )

        return kernel, (axis(0), axis(1)), synapse.groups, synapse.kernel.exponent
    conv = one_to_one_conv(synapse) if isinstance(synapse, OneToOne) else synapse
    if not isinstance(conv, Conv):
        raise RunError(f"A {type(conv).__name__} is no convolution.")
    rows, columns = (
        conv_reads(
            size=read[1 + number],
            kernel=conv.kernel.mantissa.shape[2 + number],
            stride=conv.stride[number],
            padding=conv.padding[number],
            dilation=conv.dilation[number],
            upsample=conv.upsample,
        )
        for number in range(2)
    )
    return conv.kernel.mantissa, (rows, columns), conv.groups, conv.kernel.exponent
