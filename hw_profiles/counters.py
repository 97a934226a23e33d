"""Per-core counters of a run, under the vendor's names, from spike counts and the mapping: exact, borders counted.

spikes_in         messages that arrive; a spike is one message to each core where it has a synapse
axon_out          messages that leave
syn_ops           synaptic operations: spikes times the synapses they reach on this core
dendrite_updates  neurons times steps times samples
A graded message that is not zero counts as a spike does, whatever its value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.links import LinkLoads
from hw_profiles.mapping import Mapping
from hw_profiles.reach import reach, whole_box
from hw_profiles.tally import STEP_NAMES, TOTAL_NAMES, Tally, Wiring
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import Conv, ConvTranspose, Dense, Graph, Projection, Sparse, Wire, is_spiking

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counters:
    """Totals of one run: arrays over cores, dictionaries over populations. Divide by `samples` for one inference.

    `graded_ops` are the synaptic operations caused by graded messages, `dense_ops` and `sparse_ops` those of Dense and
    Sparse projections, all parts of `syn_ops`. `active_updates` are
    updates of neurons that spiked. `host_messages` came from the network's inputs and are a part of `spikes_in`.
    `within_tile`, `hops_ew`, `hops_ns` and `chip_crossings` belong to the messages a core sends to other cores.
    """

    samples: int
    steps: int
    spikes_in: Counts
    axon_out: Counts
    syn_ops: Counts
    dense_ops: Counts
    sparse_ops: Counts
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
    by_projection: Counts
    """Synaptic operations of each projection of the graph, in its order."""
    by_route: dict[tuple[str, str], dict[str, int]]
    """Messages, and the hops they take, of each pair (source, target) of populations."""
    links: LinkLoads | None
    """Messages on every link of the mesh, N = 1; None without a mesh."""


_NAMES = (*STEP_NAMES, *TOTAL_NAMES, "dendrite_updates")


def count(trace: Trace, mapping: Mapping, wiring: Wiring | None = None) -> Counters:
    """Per-core counters of `trace` on `mapping`; RunError where the trace belongs to another network.

    `wiring` is the mapping's, where it was worked out before.
    """
    graph = mapping.graph
    trace.check_graph(graph)
    check_counts(trace, graph)
    tally = Tally(wiring=wiring or Wiring.of(mapping), steps=1)
    for name, counts in trace.spike_counts.items():
        tally.add(name, counts[None], 0)
    by_slice = {name: counts[:, 0] for name, counts in tally.per_step.items()} | tally.totals
    updates = trace.schedule.steps * trace.schedule.samples
    by_slice["dendrite_updates"] = np.array([entry.size * updates for entry in mapping.slices], np.int64)
    population_of: list[list[str]] = [[] for _ in range(mapping.cores)]
    for entry in mapping.slices:
        if entry.population not in population_of[entry.core]:
            population_of[entry.core].append(entry.population)
    return Counters(
        samples=trace.schedule.samples,
        steps=trace.schedule.steps,
        population_of=tuple(tuple(names) for names in population_of),
        by_slice=by_slice,
        by_projection=tally.by_projection,
        by_route=tally.by_route,
        links=None if tally.links is None else tally.links.loads(),
        **{name: by_core(by_slice[name], mapping) for name in _NAMES},
    )


def by_core(values: npt.NDArray[np.int64], mapping: Mapping) -> Counts:
    """(slices, ...) summed over the slices of each core."""
    found = np.zeros((mapping.cores, *values.shape[1:]), np.int64)
    np.add.at(found, np.array([entry.core for entry in mapping.slices], np.int64), values)
    return found


def check_counts(trace: Trace, graph: Graph) -> None:
    """RunError naming a population that sends and whose spikes the trace did not count."""
    for projection in graph.projections:
        if projection.src not in trace.spike_counts:
            raise RunError(
                f"The trace holds no spike counts of population {projection.src!r}, which sends to {projection.dst!r}; "
                "run the network again."
            )


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
    """FL of one step: H_out * W_out * C_out * (C_in / groups) * k_h * k_w, padding counted; N_out * N_in when dense.

    A transposed convolution counts H_in * W_in positions, a sparse projection its synapses, a wire nothing.
    """
    synapse, source, target = projection.synapse, graph.by_id[projection.src], graph.by_id[projection.dst]
    match synapse:
        case Conv():
            return target.shape[1] * target.shape[2] * int(synapse.kernel.mantissa.size)
        case ConvTranspose():
            return source.shape[1] * source.shape[2] * int(synapse.kernel.mantissa.size)
        case Dense() | Sparse():
            return int(synapse.kernel.mantissa.size)
        case Wire():
            return 0
        case _:
            return target.size
