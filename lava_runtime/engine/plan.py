"""A graph made ready for the engine: populations in the order they are computed, and how their spikes lie in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import lcm
from weakref import WeakKeyDictionary

from lava_runtime.engine.dense_sums import DEPTH, ROWS
from lava_runtime.engine.population_plan import (
    PopulationPlan,
    Wiring,
    column_step,
    message_scales,
    phases_of,
    plan_population,
    wire,
)
from lava_runtime.engine.spike_maps import Layout, MemoryPool
from lava_runtime.engine.stepwise_plan import (
    StepwiseGroup,
    StepwisePopulation,
    execution_order,
    needs_steps,
    plan_group,
)
from netx_export.graph import Conv, ConvTranspose, Dense, Graph, Input, Population, Shape

NARROW = 8
"""Output rows of fewer pixels are computed in tiles of time steps."""

_ROWS_READ = ROWS + 8
"""Rows of a tile that are read at most, meaningful or not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A whole graph: inputs first, then populations in the order in which they are computed."""

    inputs: tuple[Population, ...]
    populations: tuple[PopulationPlan | StepwisePopulation, ...]
    groups: Mapping[str, StepwiseGroup]
    """Id of a group's first population -> the populations, in order, that are computed step by step with it."""
    layouts: Mapping[str, Layout]
    latency: int
    resets: bool
    idle_spikes: dict[int, tuple[dict[str, int], dict[str, int]]] = field(default_factory=dict)
    """Steps per sample -> spikes of each population while the pipeline fills and empties; they never change."""
    idle_pools: list[MemoryPool] = field(default_factory=list)
    """Memory of runs that have ended, for the next ones."""

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
        plan = _PLANS[graph] = _plan(graph)
    return plan


def _plan(graph: Graph) -> Plan:
    aligned = graph.timing == "aligned"
    order = execution_order(graph)
    swept = [members[0] for members in order if not needs_steps(graph, members)]
    wirings = {p.id: tuple(wire(graph, one, aligned=aligned) for one in graph.incoming[p.id]) for p in swept}
    readers: dict[str, list[tuple[Wiring, Shape, int, bool]]] = {p.id: [] for p in graph.populations}
    for population in swept:
        phases = lcm(1, *(phases_of(wiring.synapse) for wiring in wirings[population.id]))
        fixed = any(isinstance(wiring.synapse, Dense) for wiring in wirings[population.id])
        for wiring in wirings[population.id]:
            readers[wiring.source].append((wiring, population.shape, phases, fixed))
    layouts = {p.id: _layout(p, readers[p.id]) for p in graph.populations}
    populations: list[PopulationPlan | StepwisePopulation] = []
    groups: dict[str, StepwiseGroup] = {}
    for members in order:
        first = members[0]
        if first.id in wirings:
            populations.append(plan_population(graph, first, wirings[first.id], layouts=layouts))
        else:
            groups[first.id] = plan_group(graph, members, aligned=aligned)
            populations += groups[first.id].populations
    return Plan(
        inputs=graph.inputs,
        populations=tuple(populations),
        groups=groups,
        layouts=layouts,
        latency=max(graph.depth.values()) if aligned else 0,
        resets=aligned,
    )


def _layout(population: Population, readers: Iterable[tuple[Wiring, Shape, int, bool]]) -> Layout:
    """Borders wide enough for every reader; pixels a whole number of cache lines apart where they are wide."""
    channels, height, width = population.shape
    if isinstance(population.neuron, Input) and channels < ROWS:
        pitch = channels
    else:
        unit = ROWS if channels <= DEPTH else DEPTH
        pitch = -(-channels // unit) * unit
    left, right, lag, columns, frames = 0, 0, 0, 0, 0
    for wiring, target, phases, fixed in readers:
        synapse = wiring.synapse
        lag = max(lag, wiring.lag)
        if isinstance(synapse, Conv):
            reach = (wiring.weights.shape[1] - 1) * synapse.dilation[1]
            first = -synapse.padding[1] // synapse.upsample
            last = ((target[2] - 1) * synapse.stride[1] - synapse.padding[1] + reach) // synapse.upsample
            left, right = max(left, -first), max(right, last - width + 1)
        elif isinstance(synapse, ConvTranspose):
            reach = (wiring.weights.shape[1] - 1) * synapse.dilation[1]
            first = (synapse.padding[1] - reach) // synapse.stride[1]
            last = (target[2] - 1 + synapse.padding[1]) // synapse.stride[1]
            left, right = max(left, -first), max(right, last - width + 1)
        columns = max(columns, _ROWS_READ * column_step(synapse, phases) + wiring.weights.shape[1])
        # The rows of such a tile are frames.
        frames = max(frames, _ROWS_READ if fixed or target[2] < NARROW * phases else 0)
    frame = height * (left + width + right) * pitch
    slack = columns * pitch + frames * frame + DEPTH
    return Layout(
        shape=population.shape,
        pitch=pitch,
        left=left,
        right=right,
        lag=lag,
        slack=slack,
        planes=len(message_scales(population)),
    )
