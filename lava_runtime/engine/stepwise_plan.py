"""Which populations are computed step by step, and their tables for the stepwise kernels.

Layer by layer over the whole sample serves spiking populations without cycles. Whatever else a file may bring goes
through here: sigma-delta neurons and resonators, graded messages between populations, delays per axon or synapse,
sparse and transposed synapses, wires, resets, cycles. Populations that reach each other form one group and advance
together; every other one is a group of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import stepwise_tables as column
from lava_runtime.engine.stepwise_rows import LANES
from lava_runtime.engine.stepwise_synapses import is_single, singles_of, taps_of
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Shape,
    Sigma,
    SigmaDelta,
    Wire,
    accumulator_bound,
    fixedpoint,
    has_states,
    is_spiking,
    message_limit,
)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Array = npt.NDArray[np.generic]

_STATE_PLANES = 3
_ROWS_AT_WORK = 3  # real part, imaginary part, messages


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepwisePopulation:
    """One population as the stepwise kernels take it; the tables lack the addresses of lists and records.

    `kept` are the arrays that the tables point to.
    """

    id: str
    shape: Shape
    depth: int
    sources: tuple[str, ...]
    spiking: bool
    readout: bool
    has_states: bool
    whole: bool
    """True where one job must hold all rows."""
    member: Int64s
    sums: Int64s
    projections: Int64s
    kept: tuple[Array, ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepwiseGroup:
    """Populations that advance together, and the int32 numbers that one job works in."""

    populations: tuple[StepwisePopulation, ...]
    blocks: int
    memory: int


def execution_order(graph: Graph) -> list[list[Population]]:
    """Populations other than inputs, sources before targets; those that reach each other stand together."""
    populations = graph.populations
    reach = [1 << index for index in range(len(populations))]
    edges = [(graph.rank[p.src], graph.rank[p.dst]) for p in graph.projections]
    grown = True
    while grown:
        grown = False
        for source, target in reversed(edges):
            wider = reach[source] | reach[target]
            grown |= wider != reach[source]
            reach[source] = wider
    together = [
        frozenset(j for j in range(len(populations)) if reach[i] >> j & 1 and reach[j] >> i & 1)
        for i in range(len(populations))
    ]
    order: list[list[Population]] = []
    waiting, done = list(dict.fromkeys(together)), set[int]()
    while waiting:
        ready = next(
            group
            for group in waiting
            if all(source in done or source in group for source, target in edges if target in group)
        )
        waiting.remove(ready)
        done |= ready
        members = [populations[index] for index in sorted(ready)]
        if not isinstance(members[0].neuron, Input):
            order.append(members)
    return order


def needs_steps(graph: Graph, group: Sequence[Population]) -> bool:
    """True where the kernels that go layer by layer cannot compute `group`."""
    return len(group) > 1 or any(
        not isinstance(group[0].neuron, Lif | Or | Readout)
        or projection.src == projection.dst
        or projection.delays is not None
        or not isinstance(projection.synapse, Conv | ConvTranspose | Dense | OneToOne | Wire)
        or not (is_spiking(graph.by_id[projection.src].neuron) or isinstance(graph.by_id[projection.src].neuron, Input))
        for projection in graph.incoming[group[0].id]
    )


def plan_group(graph: Graph, group: Sequence[Population], *, aligned: bool) -> StepwiseGroup:
    """The tables of one group; `aligned` counts every population's steps from its own first one."""
    joined = len(group) > 1 or any(p.src == p.dst for p in graph.incoming[group[0].id])
    populations: list[StepwisePopulation] = []
    at, sums_at, projections_at, blocks = 0, 0, 0, 1
    for population in group:
        planned = _plan_population(graph, population, aligned)
        rows = population.shape[1] if joined or planned.whole else 1
        blocks = population.shape[1] // rows
        at = _place(planned, rows, at)
        planned.sums[:, [column.FIRST_PROJECTION, column.LAST_PROJECTION]] += projections_at
        planned.member[column.FIRST_SUM] = sums_at
        sums_at += len(planned.sums)
        projections_at += len(planned.projections)
        planned.member[column.LAST_SUM] = sums_at
        populations.append(planned)
    return StepwiseGroup(populations=tuple(populations), blocks=blocks, memory=at + LANES)


def _place(planned: StepwisePopulation, rows: int, at: int) -> int:
    """Give states, sums and rows at work their places in the working memory from `at` on; returns its end."""
    pitch = int(planned.member[column.PITCH])
    planned.member[column.STATE_ROWS] = rows
    planned.member[column.STATES] = at
    at += _STATE_PLANES * rows * pitch
    planned.member[column.WORK] = at
    at += _ROWS_AT_WORK * pitch
    for row in planned.sums:
        slots = int(row[column.SLOTS])
        length = slots * pitch * (rows if slots > 1 or row[column.SINGLE] else 1)
        row[column.AT] = at
        at += length
        if row[column.STAGE] >= 0:
            row[column.STAGE] = at
            at += length
    return at


def _plan_population(graph: Graph, population: Population, aligned: bool) -> StepwisePopulation:
    channels, height, width = population.shape
    pitch = -(-width * channels // LANES) * LANES
    ordered = sorted(graph.incoming[population.id], key=lambda p: _sum_key(graph, p))
    kept: list[Array] = []
    projections = [_plan_projection(graph, p, population, pitch, aligned, kept) for p in ordered]
    sums: list[Int64s] = []
    first = 0
    for key, members in groupby(ordered, key=lambda p: _sum_key(graph, p)):
        count = len(list(members))
        # A sum that wraps, is shifted or waits belongs to one projection alone.
        for last in [first + count] if key[0] == 0 else range(first + 1, first + count + 1):
            sums.append(_plan_sum(graph, ordered[first], first, last))
            first = last
    member = np.zeros(column.MEMBER_COLUMNS, np.int64)
    member[[column.CHANNELS, column.HEIGHT, column.WIDTH, column.PITCH]] = channels, height, width, pitch
    bias = _describe_neuron(population, member)
    laid = np.zeros((height, pitch), np.int32)
    laid[:, : width * channels] = (
        ((bias.reshape(-1, 1, 1) if bias.ndim == 1 else bias) + np.zeros(population.shape, np.int32))
        .transpose(1, 2, 0)
        .reshape(height, -1)
    )
    kept.append(laid)
    member[column.BIAS] = laid.ctypes.data
    return StepwisePopulation(
        id=population.id,
        shape=population.shape,
        depth=graph.depth[population.id] if aligned else 0,
        sources=tuple(p.src for p in ordered),
        spiking=is_spiking(population.neuron),
        readout=isinstance(population.neuron, Readout),
        has_states=has_states(population.neuron),
        whole=any(is_single(p) for p in ordered),
        member=member,
        sums=np.array(sums, np.int64),
        projections=np.array(projections, np.int64),
        kept=tuple(kept),
    )


def _wraps(graph: Graph, projection: Projection) -> bool:
    bound = accumulator_bound(projection.synapse, message_limit(graph.by_id[projection.src].neuron))
    return isinstance(projection.synapse, Conv | ConvTranspose | OneToOne) and bound >= fixedpoint.STATE_LIMIT


def _drop(projection: Projection) -> int:
    return 0 if isinstance(projection.synapse, Wire) else max(0, -projection.synapse.kernel.exponent)


def _sum_key(graph: Graph, projection: Projection) -> tuple[int, int]:
    """Projections with equal keys that begin with 0 are added up together."""
    alone = _wraps(graph, projection) or _drop(projection) > 0 or projection.delays is not None or is_single(projection)
    return int(alone), int(projection.port == "im")


def _plan_sum(graph: Graph, projection: Projection, first: int, last: int) -> Int64s:
    row = np.zeros(column.SUM_COLUMNS, np.int64)
    slots = projection.longest_delay - projection.delay + 1
    row[column.PORT] = projection.port == "im"
    row[column.SLOTS] = slots
    row[column.DROP] = _drop(projection)
    row[column.STAGE] = 0 if slots > 1 and _drop(projection) else -1
    row[column.WRAP] = _wraps(graph, projection)
    row[column.SINGLE] = is_single(projection)
    row[column.FIRST_PROJECTION], row[column.LAST_PROJECTION] = first, last
    return row


def _plan_projection(
    graph: Graph, projection: Projection, population: Population, pitch: int, aligned: bool, kept: list[Array]
) -> Int64s:
    source = graph.by_id[projection.src]
    read = projection.source_shape(source)
    synapse = projection.synapse
    row = np.zeros(column.PROJECTION_COLUMNS, np.int64)
    row[[column.SOURCE_C, column.SOURCE_H, column.SOURCE_W]] = source.shape
    row[column.FIRST_C] = projection.src_channels[0] if projection.src_channels else 0
    row[column.READ_C] = read[0]
    wire = isinstance(synapse, Wire)
    row[column.LAG] = 0 if aligned or wire else 1 + projection.delay
    row[column.SHIFT] = 0 if isinstance(synapse, Wire) else max(0, synapse.kernel.exponent)

    def keep(array: Array) -> int:
        kept.append(array)
        return int(array.ctypes.data)

    if is_single(projection):
        singles = singles_of(projection, read, population.shape, pitch)
        row[column.WEIGHTS], row[column.TARGETS] = keep(singles.weights), keep(singles.targets)
        row[column.FIRST_SYNAPSE] = keep(singles.first)
        return row
    taps = taps_of(synapse, read, population.shape)
    row[column.WEIGHTS], row[column.ROWS], row[column.RUNS] = keep(taps.weights), keep(taps.rows), keep(taps.runs)
    row[column.KERNEL_H], row[column.RUN_COUNT] = taps.rows.shape[1], taps.runs.shape[1]
    row[column.TARGET_STRIDE], row[column.CHANNEL_STRIDE] = taps.target_stride, taps.channel_stride
    row[column.TAP_STRIDE], row[column.TWIN] = taps.tap_stride, taps.twin
    row[column.GROUP_IN], row[column.GROUP_OUT] = taps.group_in, taps.group_out
    if projection.delays is not None:
        row[column.DELAYS] = keep(np.ascontiguousarray(projection.delays.transpose(1, 2, 0)))
    return row


def _describe_neuron(population: Population, member: Int64s) -> Int32s:
    """Fill in kind and parameters; returns the scaled bias, (C,) or (C,H,W)."""
    neuron = population.neuron
    bias = np.zeros(1, np.int32)
    parameters: tuple[int, ...] = ()
    match neuron:
        case Lif():
            kind = column.LIF
            bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
            member[column.RESET_INTERVAL], member[column.RESET_OFFSET] = neuron.reset_interval, neuron.reset_offset
            parameters = (
                fixedpoint.current_multiplier(neuron.du),
                fixedpoint.voltage_multiplier(neuron.dv),
                neuron.vth_mant << fixedpoint.ACTIVATION_SHIFT,
            )
        case Or():
            kind = column.OR
        case Readout():
            kind, bias = column.READOUT, neuron.bias
        case Delta() | SigmaDelta():
            scale = neuron.spike_exp + neuron.state_exp
            kind, lowest = column.DELTA, scale
            if isinstance(neuron, SigmaDelta):
                bias = np.left_shift(neuron.bias, scale)
                kind, lowest = column.SIGMA_DELTA, 0 if neuron.activation == "relu" else int(np.iinfo(np.int32).min)
            parameters = (lowest, neuron.vth << scale, neuron.state_exp)
        case Sigma():
            kind = column.SIGMA
        case Rf() | RfIz():
            kind = column.RF if isinstance(neuron, Rf) else column.RF_IZ
            parameters = (neuron.sin, neuron.cos, neuron.vth_mant << neuron.state_exp, neuron.state_exp)
        case Input():
            raise TypeError(f"{population.id}: inputs are not computed.")
    member[column.KIND] = kind
    member[column.RESTS] = kind in (column.SIGMA_DELTA, column.OR)
    member[column.PARAMETER : column.PARAMETER + len(parameters)] = parameters
    return bias
