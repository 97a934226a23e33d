"""One population made ready for the kernels: tables of its projections, weights for both ways of computing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import gcd, lcm

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import synapse_kernels as column
from lava_runtime.engine.dense_blocks import DenseBlocks, Term, dense_blocks
from lava_runtime.engine.spike_maps import Layout
from lava_runtime.engine.sweep_tables import LIF, OR, READOUT
from lava_runtime.engine.vector_sums import LANES, pack_rows, padded
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Shape,
    Wire,
    accumulator_bound,
    fixedpoint,
    is_spiking,
    message_limit,
)

_POINT = Conv(kernel=Kernel(mantissa=np.ones((1, 1, 1, 1), np.int16)))

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]

_MOST_GROUPS_IN_LISTS = 4
"""Rows of packed weights span all channels: with more groups than this most of what is added would be zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wiring:
    """One projection with everything the tables need to know about it."""

    source: str
    synapse: Conv | ConvTranspose | Dense
    weights: Int8s
    """(kh,kw,C,N) over whole source pixels, zero where no synapse is; twins: (kh,kw,C,1)."""
    twin: bool
    grouped: bool
    dense_only: bool
    exponent: int
    wrap: bool
    lag: int
    scales: tuple[int, ...]
    """What each byte of a message counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PopulationPlan:
    """One population as `sweep_jobs` takes it; the tables lack the addresses of the sources' maps and lists."""

    id: str
    shape: Shape
    kind: int
    depth: int
    wirings: tuple[Wiring, ...]
    layouts: tuple[Layout, ...]
    bias: Int32s
    bias_per_pixel: bool
    neuron: Lif | Or | Readout
    phases: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the populations it reads."""
        return tuple(wiring.source for wiring in self.wirings)

    @property
    def has_states(self) -> bool:
        """True where u and v exist."""
        return self.kind == LIF

    @property
    def dynamics(self) -> tuple[int, int, int]:
        """Multipliers of the leaks of u and v, and the threshold, as the kernels take them."""
        lif = self.neuron
        if not isinstance(lif, Lif):
            return 0, 0, 0
        threshold = lif.vth_mant << fixedpoint.ACTIVATION_SHIFT
        return fixedpoint.current_multiplier(lif.du), fixedpoint.voltage_multiplier(lif.dv), threshold

    @property
    def event_driven(self) -> bool:
        """Whether lists of spikes can drive it."""
        return not any(wiring.dense_only for wiring in self.wirings)

    @cached_property
    def dense_table(self) -> tuple[Int64s, tuple[tuple[int, int], ...]]:
        """The term table of the dense way, and for each row its wiring and byte of the message."""
        origin = [(number, plane) for number, wiring in enumerate(self.wirings) for plane in range(len(wiring.scales))]
        return np.stack([self._row(self.wirings[n], self.layouts[n]) for n, _ in origin]), tuple(origin)

    @cached_property
    def blocks(self) -> DenseBlocks:
        """Weights and tables of the dense way."""
        channels, height, width = self.shape
        fixed = any(isinstance(wiring.synapse, Dense) for wiring in self.wirings)
        pixels = height * width if fixed else 1
        terms, at = [], 0
        for wiring, layout in zip(self.wirings, self.layouts, strict=True):
            weights = _spread_twins(wiring.weights, channels) if wiring.twin else wiring.weights
            if pixels > 1 and not isinstance(wiring.synapse, Dense):
                weights = np.tile(weights, (1, 1, 1, pixels))
            synapse = wiring.synapse
            terms.append(
                Term(
                    weights=weights,
                    pitch=layout.pitch,
                    row_of_taps=isinstance(synapse, Dense)
                    or (isinstance(synapse, Conv) and synapse.upsample == 1 and synapse.dilation[1] == 1),
                    grouped=wiring.grouped,
                    exponent=wiring.exponent,
                    wrap=wiring.wrap,
                    planes=tuple((at + plane, scale) for plane, scale in enumerate(wiring.scales)),
                )
            )
            at += len(wiring.scales)
        return dense_blocks(terms, channels, pixels)

    @cached_property
    def event_rows(self) -> EventRows:
        """Weights and table of the way over lists."""
        return _event_rows(
            [self._row(*pair) for pair in zip(self.wirings, self.layouts, strict=True)], self.wirings, self.shape
        )

    def _row(self, wiring: Wiring, layout: Layout) -> Int64s:
        row = np.zeros(column.COLUMNS, np.int64)
        row[column.KERNEL_H], row[column.KERNEL_W] = wiring.weights.shape[:2]
        row[column.LAG], row[column.EXPONENT], row[column.WRAP] = wiring.lag, wiring.exponent, wiring.wrap
        row[column.TWIN] = wiring.twin
        row[column.DILATION_Y], row[column.DILATION_X], row[column.UPSAMPLE] = 1, 1, 1
        row[column.SOURCE_C], row[column.SOURCE_H], row[column.SOURCE_W] = layout.shape
        row[column.FRAME], row[column.ROW], row[column.PITCH] = layout.frame, layout.row, layout.pitch
        synapse = wiring.synapse
        if isinstance(synapse, Dense):
            row[column.MOVE] = column.FIXED
            return row
        row[column.STRIDE_Y], row[column.STRIDE_X] = synapse.stride
        row[column.PADDING_Y], row[column.PADDING_X] = synapse.padding
        row[column.DILATION_Y], row[column.DILATION_X] = synapse.dilation
        if isinstance(synapse, Conv):
            row[column.MOVE], row[column.UPSAMPLE] = column.CONVOLVED, synapse.upsample
        else:
            row[column.MOVE] = column.TRANSPOSED
        row[column.COLUMN_STEP] = column_step(synapse, self.phases)
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventRows:
    """Packed weights and the table of the projections, sums that may be added up together side by side."""

    table: Int64s
    order: tuple[int, ...]
    """The wiring of each row."""
    weights: Int8s
    room: int
    column_room: int
    line_room: int


def plan_population(
    graph: Graph, population: Population, wirings: tuple[Wiring, ...], *, layouts: Mapping[str, Layout]
) -> PopulationPlan:
    """The plan of a Lif, Or or Readout population; `layouts` are those of its sources."""
    neuron = population.neuron
    if not isinstance(neuron, Lif | Or | Readout):
        raise TypeError(f"population {population.id!r}: {type(neuron).__name__} is not computed layer by layer")
    bias, per_pixel = _bias(population)
    return PopulationPlan(
        id=population.id,
        shape=population.shape,
        kind=LIF if isinstance(neuron, Lif) else OR if isinstance(neuron, Or) else READOUT,
        depth=graph.depth[population.id] if graph.timing == "aligned" else 0,
        wirings=wirings,
        layouts=tuple(layouts[wiring.source] for wiring in wirings),
        bias=bias,
        bias_per_pixel=per_pixel,
        neuron=neuron,
        phases=lcm(1, *(phases_of(wiring.synapse) for wiring in wirings)),
    )


def phases_of(synapse: Conv | ConvTranspose | Dense) -> int:
    """After so many output pixels the receptive field has moved by whole source pixels."""
    match synapse:
        case Conv():
            return synapse.upsample // gcd(synapse.upsample, synapse.stride[1])
        case ConvTranspose():
            return synapse.stride[1]
        case Dense():
            return 1


def column_step(synapse: Conv | ConvTranspose | Dense, phases: int) -> int:
    """Source columns between output pixels that are `phases` apart."""
    match synapse:
        case Conv():
            return synapse.stride[1] * phases // synapse.upsample
        case ConvTranspose():
            return phases // synapse.stride[1]
        case Dense():
            return 0


def wire(graph: Graph, projection: Projection, *, aligned: bool) -> Wiring:
    """What the tables need to know about `projection`."""
    source = graph.by_id[projection.src]
    target = graph.by_id[projection.dst].shape
    channels, height, width = projection.source_shape(source)
    first = projection.src_channels[0] if projection.src_channels else 0
    synapse = projection.synapse
    lag = 0 if aligned else 1 + projection.delay
    limit, scales = message_limit(source.neuron), message_scales(source)
    wrap, twin, groups = False, False, 1
    exponent = 0 if isinstance(synapse, Wire) else synapse.kernel.exponent
    core: Conv | ConvTranspose | Dense
    match synapse:
        case Dense():
            core = synapse
            laid = synapse.kernel.mantissa.reshape(*target, channels, height, width).transpose(4, 5, 3, 1, 2, 0)
            weights = laid.reshape(height, width, channels, -1)
        case OneToOne() | Wire():
            # A grouped 1x1 convolution, as in Lava, its wrap at 24 bits included.
            mantissa = np.ones(channels, np.int16) if isinstance(synapse, Wire) else synapse.kernel.mantissa
            core = _POINT
            twin, groups = True, channels
            weights = mantissa[None, None, :, None]
            wrap = isinstance(synapse, OneToOne) and accumulator_bound(synapse, limit) >= fixedpoint.STATE_LIMIT
            lag = lag - 1 if isinstance(synapse, Wire) and not aligned else lag
        case Conv() | ConvTranspose():
            core, groups = synapse, synapse.groups
            wrap = accumulator_bound(synapse, limit) >= fixedpoint.STATE_LIMIT
            mantissa = synapse.kernel.mantissa
            transposed = isinstance(synapse, ConvTranspose)
            # (kh, kw, group, in, out)
            split = mantissa.reshape(groups, -1, *mantissa.shape[1:])
            ordered = split.transpose(3, 4, 0, 1, 2) if transposed else split.transpose(3, 4, 0, 2, 1)
            twin = groups == channels == target[0] and groups > 1
            weights = ordered.reshape(*ordered.shape[:2], channels, 1) if twin else _spread_groups(ordered)
        case _:
            raise TypeError(f"projection {projection.label}: {type(synapse).__name__} is not computed layer by layer")
    whole = channels == source.shape[0]
    if twin and not whole:
        weights, twin = _spread_twins(weights, channels), False
    if not whole:
        filled = np.zeros((*weights.shape[:2], source.shape[0], weights.shape[3]), np.int16)
        filled[:, :, first : first + channels] = weights
        weights = filled
    return Wiring(
        source=source.id,
        synapse=core,
        weights=weights.astype(np.int8),
        twin=twin,
        grouped=groups > 1,
        dense_only=len(scales) > 1
        or isinstance(core, ConvTranspose)
        or (not twin and (groups > _MOST_GROUPS_IN_LISTS or channels * 4 < source.shape[0])),
        exponent=exponent,
        wrap=wrap,
        lag=lag,
        scales=scales,
    )


def message_scales(source: Population) -> tuple[int, ...]:
    """What each byte of the source's messages counts: (1,) for spikes; the last one of a message is its sign."""
    neuron = source.neuron
    if not (isinstance(neuron, Input) and neuron.message_bits) and is_spiking(neuron):
        return (1,)
    planes = max(1, -(-(message_limit(neuron) - 1).bit_length() // 8))
    return (*(256**plane for plane in range(planes)), -(256**planes))


def _spread_groups(ordered: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """(kh,kw,groups,in,out) as (kh,kw,groups*in,groups*out), zero between groups."""
    kernel_h, kernel_w, groups, reads, feeds = ordered.shape
    spread = np.zeros((kernel_h, kernel_w, groups, reads, groups, feeds), np.int16)
    for group in range(groups):
        spread[:, :, group, :, group] = ordered[:, :, group]
    return spread.reshape(kernel_h, kernel_w, groups * reads, groups * feeds)


def _spread_twins(weights: npt.NDArray[np.signedinteger], channels: int) -> npt.NDArray[np.signedinteger]:  # type: ignore[type-arg]
    spread = np.zeros((*weights.shape[:3], channels), weights.dtype)
    every = np.arange(channels)
    spread[:, :, every, every] = weights[..., 0]
    return spread


def _event_rows(rows: list[Int64s], wirings: Sequence[Wiring], target: Shape) -> EventRows:
    pixels = target[1] * target[2]
    keys = []
    for row, wiring in zip(rows, wirings, strict=True):
        fixed = isinstance(wiring.synapse, Dense)
        alone = wiring.wrap or wiring.twin or wiring.exponent < 0
        lanes = padded(target[0])
        row[column.ROW_LENGTH] = 1 if wiring.twin else lanes * (pixels if fixed else 1)
        row[column.PIXEL_COLUMN] = lanes if fixed else 0
        keys.append((int(alone), wiring.exponent, int(row[column.ROW_LENGTH]), int(row[column.PIXEL_COLUMN])))
    order = sorted(range(len(rows)), key=keys.__getitem__)
    weights: list[Int8s] = []
    weights_at, longest = 0, 0
    for key, members in groupby(order, key=keys.__getitem__):
        together = list(members)
        for sum_ in [[member] for member in together] if key[0] else [together]:
            count, begin = 0, weights_at
            for number in sum_:
                row, wiring = rows[number], wirings[number]
                row[column.FIRST_WEIGHT], row[column.FIRST_ROW], row[column.LAST_OF_SUM] = begin, count, 0
                packed = _packed(wiring, target)
                weights.append(packed)
                weights_at += packed.size
                count += int(np.prod(wiring.weights.shape[:3]))
            row[column.LAST_OF_SUM] = 1
            longest = max(longest, count)
    table = np.stack([rows[number] for number in order])
    columns, lines = (sum(needs) for needs in zip(*(column.places(row, target[2]) for row in table), strict=True))
    return EventRows(
        table=table,
        order=tuple(order),
        weights=np.concatenate(weights),
        room=longest + LANES,
        column_room=columns,
        line_room=lines,
    )


def _packed(wiring: Wiring, target: Shape) -> Int8s:
    if wiring.twin:
        return wiring.weights.reshape(-1)
    return pack_rows(wiring.weights.reshape(-1, target[0]).astype(np.int16)).reshape(-1)


def _bias(population: Population) -> tuple[Int32s, bool]:
    """The scaled bias, padded channels last, (C,) or (H*W*C,), and whether it differs between pixels."""
    channels = population.shape[0]
    match population.neuron:
        case Lif() as neuron:
            bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
        case Readout() as neuron:
            bias = neuron.bias
        case _:
            return np.zeros(padded(channels), np.int32), False
    if bias.ndim == 3 and bias.shape == population.shape:
        per_pixel = bias.transpose(1, 2, 0)
    else:
        per_pixel = np.broadcast_to(bias, (1, 1, channels))
    whole_lanes = np.zeros((*per_pixel.shape[:2], padded(channels)), np.int32)
    whole_lanes[..., :channels] = per_pixel
    return whole_lanes.reshape(-1), bias.ndim == 3
