"""A graph made ready for the kernels: weights packed row by row, projections as tables of integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import synapse_kernels as column
from lava_runtime.engine.stepwise_plan import (
    StepwiseGroup,
    StepwisePopulation,
    execution_order,
    needs_steps,
    plan_group,
)
from lava_runtime.engine.sweep import LIF, OR, READOUT
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
    Sparse,
    Wire,
    accumulator_bound,
    fixedpoint,
)

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PopulationPlan:
    """One population as `sweep_rows` takes it; `table` lacks the addresses of the sources' spikes."""

    id: str
    shape: Shape
    kind: int
    depth: int
    sources: tuple[str, ...]
    table: npt.NDArray[np.int64]
    room: int
    weights: npt.NDArray[np.int8]
    bias: Int32s
    bias_per_pixel: bool
    u_multiplier: int
    v_multiplier: int
    threshold: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A whole graph: inputs first, then populations in the order in which they are computed."""

    inputs: tuple[Population, ...]
    populations: tuple[PopulationPlan | StepwisePopulation, ...]
    groups: Mapping[str, StepwiseGroup]
    """Id of a group's first population -> the populations, in order, that are computed step by step with it."""
    latency: int
    resets: bool
    idle_spikes: dict[int, tuple[dict[str, int], dict[str, int]]] = field(default_factory=dict)
    """Steps per sample -> spikes of each population while the pipeline fills and empties; they never change."""

    @cached_property
    def last_reader(self) -> dict[str, int]:
        """Index of the last population that reads each population's spikes."""
        return {source: index for index, p in enumerate(self.populations) for source in p.sources}

    @cached_property
    def peak_neurons(self) -> int:
        """Most neurons whose spikes must be held at once."""
        live = {p.id: p.size for p in self.inputs}
        peak = 0
        for index, population in enumerate(self.populations):
            live[population.id] = population.size
            peak = max(peak, sum(live.values()))
            live = {name: size for name, size in live.items() if self.last_reader.get(name, -1) > index}
        return peak


_PLANS: WeakKeyDictionary[Graph, Plan] = WeakKeyDictionary()


def plan_of(graph: Graph) -> Plan:
    """The plan of `graph`, made once and kept as long as the graph lives."""
    plan = _PLANS.get(graph)
    if plan is None:
        aligned = graph.timing == "aligned"
        populations: list[PopulationPlan | StepwisePopulation] = []
        groups: dict[str, StepwiseGroup] = {}
        for members in execution_order(graph):
            if needs_steps(graph, members):
                groups[members[0].id] = plan_group(graph, members, aligned=aligned)
                populations += groups[members[0].id].populations
            else:
                populations.append(_plan_population(graph, members[0], aligned))
        plan = _PLANS[graph] = Plan(
            inputs=graph.inputs,
            populations=tuple(populations),
            groups=groups,
            latency=max(graph.depth.values()) if aligned else 0,
            resets=aligned,
        )
    return plan


def _plan_population(graph: Graph, population: Population, aligned: bool) -> PopulationPlan:
    parts = [_plan_projection(graph, p, population.shape, aligned) for p in graph.incoming[population.id]]
    # Sums that share their exponent and cannot wrap are one sum; neighbours in the table are merged.
    parts.sort(key=_Part.sum_key)
    weights_at, rooms = 0, []
    for key, members in groupby(parts, key=_Part.sum_key):
        together = [[part] for part in members]
        if key[0] == 0:
            together = [[part for single in together for part in single]]
        for sum_ in together:
            rooms.append(_place_sum(sum_, weights_at))
            weights_at += sum(part.weights.size for part in sum_)
    bias, per_pixel = _bias(population)
    neuron = population.neuron
    lif = neuron if isinstance(neuron, Lif) else None
    return PopulationPlan(
        id=population.id,
        shape=population.shape,
        kind=LIF if lif else OR if isinstance(neuron, Or) else READOUT,
        depth=graph.depth[population.id] if aligned else 0,
        sources=tuple(part.source for part in parts),
        table=np.array([part.row for part in parts], np.int64),
        room=max(rooms) + LANES,
        weights=np.concatenate([part.weights for part in parts]),
        bias=bias,
        bias_per_pixel=per_pixel,
        u_multiplier=fixedpoint.current_multiplier(lif.du) if lif else 0,
        v_multiplier=fixedpoint.voltage_multiplier(lif.dv) if lif else 0,
        threshold=lif.vth_mant << fixedpoint.ACTIVATION_SHIFT if lif else 0,
    )


@dataclass(slots=True, kw_only=True)
class _Part:
    """One projection on its way into the table."""

    source: str
    row: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int8]
    rows: int

    def sum_key(self) -> tuple[int, ...]:
        """Parts with equal keys that begin with 0 may be added up together."""
        alone = self.row[column.WRAP] == 1 or self.row[column.PLAIN] == 0
        names = (column.EXPONENT, column.ROW_LENGTH, column.PIXEL_COLUMN)
        return (int(alone), *(int(self.row[name]) for name in names))


def _place_sum(parts: Iterable[_Part], weights_at: int) -> int:
    """Number the rows of the parts of one sum; returns how many there are."""
    rows = 0
    for part in parts:
        part.row[column.FIRST_WEIGHT] = weights_at
        part.row[column.FIRST_ROW] = rows
        part.row[column.LAST_OF_SUM] = 0
        rows += part.rows
    part.row[column.LAST_OF_SUM] = 1
    return rows


def _plan_projection(graph: Graph, projection: Projection, target: Shape, aligned: bool) -> _Part:
    source = graph.by_id[projection.src]
    channels, height, width = projection.source_shape(source)
    bits = source.neuron.message_bits if isinstance(source.neuron, Input) else 0
    synapse = projection.synapse
    conv: Conv | None = None
    match synapse:
        case Conv():
            conv, weights = synapse, synapse.kernel.mantissa
        case OneToOne():
            # A grouped 1x1 convolution, as in Lava, its wrap at 24 bits included.
            weights = synapse.kernel.mantissa[:, None, None, None]
            conv = Conv(kernel=Kernel(mantissa=weights), groups=channels)
        case Dense():
            # Every output pixel reads the whole source: a kernel of the source's size that does not move.
            weights = synapse.kernel.mantissa
        case ConvTranspose() | Sparse() | Wire():
            raise TypeError(f"{type(synapse).__name__} synapses are computed step by step.")
    row = np.zeros(column.COLUMNS, np.int64)
    row[column.SOURCE_C], row[column.SOURCE_H], row[column.SOURCE_W] = source.shape
    row[column.FIRST_C], row[column.LAST_C] = projection.src_channels or (0, channels)
    row[column.LAG] = 0 if aligned else 1 + projection.delay
    row[column.EXPONENT] = synapse.kernel.exponent
    row[column.DILATION_Y], row[column.DILATION_X], row[column.UPSAMPLE] = 1, 1, 1
    if conv is None:
        row[column.KERNEL_H], row[column.KERNEL_W] = height, width
        row[column.GROUP_IN], row[column.GROUP_OUT] = channels, target[0]
        laid = weights.reshape(*target, channels, height, width).transpose(4, 5, 3, 1, 2, 0)
        pixels = target[1] * target[2]
    else:
        row[column.KERNEL_H], row[column.KERNEL_W] = weights.shape[2:]
        row[column.STRIDE_Y], row[column.STRIDE_X] = conv.stride
        row[column.PADDING_Y], row[column.PADDING_X] = conv.padding
        row[column.DILATION_Y], row[column.DILATION_X] = conv.dilation
        row[column.UPSAMPLE] = conv.upsample
        row[column.GROUP_IN], row[column.GROUP_OUT] = weights.shape[1], weights.shape[0] // conv.groups
        row[column.WRAP] = accumulator_bound(synapse, 1 << max(bits - 1, 0)) >= fixedpoint.STATE_LIMIT
        grouped = weights.reshape(conv.groups, -1, *weights.shape[1:])
        laid = grouped.transpose(3, 4, 0, 2, 1)
        pixels = 1
    row[column.PLAIN] = bits == 0 and (conv is None or conv.groups == 1)
    whole = channels == source.shape[0]
    row[column.TWIN] = bits == 0 and whole and conv is not None and row[column.GROUP_IN] == row[column.GROUP_OUT] == 1
    if row[column.TWIN]:
        row[column.PLAIN] = 0
    row[column.WHOLE] = whole and (row[column.PLAIN] or row[column.TWIN])
    row[column.VALUES] = bits > 0
    flat = laid.reshape(-1, laid.shape[-1])
    packed = pack_rows(flat) if row[column.PLAIN] else flat.astype(np.int8)
    row[column.ROW_LENGTH] = packed.shape[1] * pixels
    row[column.PIXEL_COLUMN] = packed.shape[1] if conv is None else 0
    return _Part(
        source=source.id,
        row=row,
        weights=packed.reshape(-1),
        rows=int(row[column.KERNEL_H] * row[column.KERNEL_W]) * channels,
    )


def _bias(population: Population) -> tuple[Int32s, bool]:
    """The scaled bias, padded channels last, (C,) or (H*W*C,), and whether it differs between pixels."""
    channels = population.shape[0]
    match population.neuron:
        case Lif() as neuron:
            bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
        case Readout() as neuron:
            bias = neuron.bias
        case Or() | Input():
            return np.zeros(padded(channels), np.int32), False
    if bias.ndim == 3 and bias.shape == population.shape:
        per_pixel = bias.transpose(1, 2, 0)
    else:
        per_pixel = np.broadcast_to(bias, (1, 1, channels))
    whole_lanes = np.zeros((*per_pixel.shape[:2], padded(channels)), np.int32)
    whole_lanes[..., :channels] = per_pixel
    return whole_lanes.reshape(-1), bias.ndim == 3


def addresses(row: npt.NDArray[np.int64], *, start: Any, events: Any, values: Any) -> None:
    """Point one table row at its source's spikes."""
    row[column.START] = start.ctypes.data
    row[column.EVENTS] = events.ctypes.data
    row[column.VALUES] = values.ctypes.data if row[column.VALUES] else 0
