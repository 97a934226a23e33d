"""Per-core counters of a run, under the vendor's names, from spike counts and the mapping: exact, borders counted.

spikes_in         messages that arrive; a spike is one message to each core where it has a synapse
axon_out          messages that leave
syn_ops           synaptic operations: spikes times the synapses they reach on this core
dendrite_updates  neurons times steps times samples
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.mapping import Mapping
from hw_profiles.reach import reach, whole_box
from hw_profiles.registers import reaches_by_source, senders
from hw_profiles.slices import box_bounds
from lava_runtime.trace import Trace
from netx_export.graph import Conv, Dense, Graph, Input, Projection, is_spiking

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counters:
    """Totals of one run: arrays over cores, dictionaries over populations. Divide by `samples` for one inference.

    `graded_ops` are the synaptic operations caused by graded input messages, a part of `syn_ops`. `active_updates` are
    updates of neurons that spiked. `host_messages` came from the network's inputs and are a part of `spikes_in`.
    `within_tile`, `hops_ew`, `hops_ns` and `chip_crossings` belong to the messages a core sends to other cores.
    """

    samples: int
    steps: int
    spikes_in: Counts
    axon_out: Counts
    syn_ops: Counts
    graded_ops: Counts
    dendrite_updates: Counts
    active_updates: Counts
    host_messages: Counts
    within_tile: Counts
    hops_ew: Counts
    hops_ns: Counts
    chip_crossings: Counts
    population_of: tuple[tuple[str, ...], ...]
    """Populations on each core."""
    by_slice: dict[str, Counts]
    """The same counters over the slices of the mapping, in their order; for sums over populations."""


_NAMES = (
    "spikes_in",
    "axon_out",
    "syn_ops",
    "graded_ops",
    "dendrite_updates",
    "active_updates",
    "host_messages",
    "within_tile",
    "hops_ew",
    "hops_ns",
    "chip_crossings",
)


def count(trace: Trace, mapping: Mapping) -> Counters:
    """Per-core counters of `trace` on `mapping`; RunError where the trace belongs to another network."""
    graph = mapping.graph
    trace.check_graph(graph)
    slices = mapping.slices
    tally = {name: np.zeros(len(slices), np.int64) for name in _NAMES}
    numbers = {p.id: [k for k, s in enumerate(slices) if s.population == p.id] for p in graph.populations}
    bounds = {name: box_bounds([slices[k].box for k in found]) for name, found in numbers.items()}
    updates = trace.schedule.steps * trace.schedule.samples
    core = np.array([s.core for s in slices], np.int64)

    for k, entry in enumerate(slices):
        target = graph.by_id[entry.population]
        tally["dendrite_updates"][k] = entry.size * updates
        c, y, x = (slice(*span) for span in entry.box)
        if target.id in trace.spike_counts:
            tally["active_updates"][k] = trace.spike_counts[target.id][c, y, x].sum()
        for projection in graph.incoming[target.id]:
            source = graph.by_id[projection.src]
            operations = reach(projection, source, target, entry.box).count_operations(trace.spike_counts[source.id])
            tally["syn_ops"][k] += operations
            if not is_spiking(source.neuron):
                tally["graded_ops"][k] += operations
        for name, reaches in reaches_by_source(graph, target, entry.box).items():
            counts = trace.spike_counts[name]
            if isinstance(graph.by_id[name].neuron, Input):
                arrived = int(senders(reaches, box_bounds([whole_box(graph.by_id[name].shape)]), counts)[0])
                tally["host_messages"][k] += arrived
            else:
                sent = senders(reaches, bounds[name], counts)
                arrived = int(sent.sum())
                _add_routes(tally, mapping, core, np.array(numbers[name], np.int64), k, sent)
            tally["spikes_in"][k] += arrived

    per_core = {name: np.zeros(mapping.cores, np.int64) for name in _NAMES}
    for name, values in tally.items():
        np.add.at(per_core[name], core, values)
    population_of: list[list[str]] = [[] for _ in range(mapping.cores)]
    for entry in slices:
        if entry.population not in population_of[entry.core]:
            population_of[entry.core].append(entry.population)
    return Counters(
        samples=trace.schedule.samples,
        steps=trace.schedule.steps,
        population_of=tuple(tuple(names) for names in population_of),
        by_slice=tally,
        **per_core,
    )


def _add_routes(
    tally: dict[str, Counts], mapping: Mapping, core: Counts, sources: Counts, target: int, sent: Counts
) -> None:
    """Credit messages and the hops they take to the slices that send them."""
    tally["axon_out"][sources] += sent
    if mapping.placement is None:
        return
    start, end = core[sources], np.full(len(sources), core[target], np.int64)
    east_west, north_south, crossings = mapping.placement.hops(start, end)
    tally["hops_ew"][sources] += sent * east_west
    tally["hops_ns"][sources] += sent * north_south
    tally["chip_crossings"][sources] += sent * crossings
    tally["within_tile"][sources] += sent * mapping.placement.same_tile(start, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticCounts:
    """Additions and multiplications of one projection over a run.

    Event-exact: `ac` = spikes times their true fan-out; `mac` = every tap inside the borders at every step (a graded
    input is multiplied whether it is zero or not). SyOPs convention: `ac_dense` = rate * dense operations, `mac_dense` =
    dense operations, padding counted.
    """

    projection: str
    target: str
    ac: int
    mac: int
    ac_dense: float
    mac_dense: int


def count_arithmetic(trace: Trace, graph: Graph) -> tuple[ArithmeticCounts, ...]:
    """AC for projections that read spikes, MAC for those that read graded input, by both conventions."""
    trace.check_graph(graph)
    runs = trace.schedule.steps * trace.schedule.samples
    found: list[ArithmeticCounts] = []
    for projection in graph.projections:
        source, target = graph.by_id[projection.src], graph.by_id[projection.dst]
        share = reach(projection, source, target, whole_box(target.shape))
        dense = dense_operations(projection, graph)
        spiking = is_spiking(source.neuron)
        counts = trace.spike_counts[source.id]
        if projection.src_channels is not None:
            counts = counts[slice(*projection.src_channels)]
        found.append(
            ArithmeticCounts(
                projection=projection.label,
                target=target.id,
                ac=share.count_operations(trace.spike_counts[source.id]) if spiking else 0,
                mac=0 if spiking else share.synapses() * runs,
                ac_dense=dense * float(counts.sum()) / counts.size if spiking else 0.0,
                mac_dense=0 if spiking else dense * runs,
            )
        )
    return tuple(found)


def dense_operations(projection: Projection, graph: Graph) -> int:
    """FL of one step: H_out * W_out * C_out * (C_in / groups) * k_h * k_w, padding counted; N_out * N_in when dense."""
    mantissa = projection.synapse.kernel.mantissa
    target = graph.by_id[projection.dst]
    match projection.synapse:
        case Conv():
            return target.shape[1] * target.shape[2] * int(mantissa.size)
        case Dense():
            return int(mantissa.size)
        case _:
            return target.size
