"""How much of each core register a slice of a population takes.

neurons         neurons of the slice
neuron_groups   1 for each slice
synapse_memory  words of all lists of synapses; see hw_profiles.packing
axon_in         source neurons that reach the core; where the profile says that convolutions share axons, one per
                channel block of the slice and source population
output_edges    pairs (neuron, destination core)
axon_map        one entry per neuron and target population; per position and channel block where convolutions share
                axons; an output keeps one per neuron for the host
core_memory     synapse_memory + axon_in + neurons + axon_map: registers that share one memory
state_words     words of neuron state, by kind of neuron (no published limit)
delay_slots     neurons * (longest incoming delay + 1): the buffers that delayed currents wait in (no published limit)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hw_profiles.packing import channel_blocks, list_words
from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import Box, Reach, box_size, reach
from hw_profiles.slices import box_bounds
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Lif,
    NeuronSpec,
    OneToOne,
    Or,
    Population,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)

Registers = dict[str, int]
Boxes = Mapping[str, Sequence[Box]]
"""Boxes of every population, by population id."""


def state_words(neuron: NeuronSpec) -> int:
    """State variables that one neuron keeps from step to step."""
    match neuron:
        case Input():
            return 0
        case Readout() | Sigma():
            return 1
        case Lif() | Or() | Delta() | Rf() | RfIz():
            return 2
        case SigmaDelta():
            return 3


def synapse_words(graph: Graph, profile: HardwareProfile, population: Population, box: Box) -> int:
    """Words of synapse memory for the part of all incoming projections that ends in `box`."""
    words, stored = 0, set[int]()
    for projection in graph.incoming[population.id]:
        synapse = projection.synapse
        source = graph.by_id[projection.src]
        match synapse:
            case Dense():
                axons = synapse.kernel.mantissa.shape[1]
                words += axons * list_words(profile, np.array([box_size(box)]), synapse.kernel, shared=False)
            case Sparse():
                table = reach(projection, source, population, box).table
                if table is not None:
                    words += list_words(profile, table.ravel(), synapse.kernel, shared=False)
            case Wire():
                pass
            case Conv() | ConvTranspose() | OneToOne():
                # Projections with one kernel share its lists.
                if id(synapse.kernel) in stored:
                    continue
                stored.add(id(synapse.kernel))
                if isinstance(synapse, OneToOne):
                    synapses, taps = np.ones(box[0][1] - box[0][0], np.int64), 1
                else:
                    synapses = reach(projection, source, population, box).channels
                    taps = synapse.kernel.mantissa.shape[2] * synapse.kernel.mantissa.shape[3]
                words += taps * list_words(profile, synapses, synapse.kernel, shared=True)
    return words


def reaches_by_source(graph: Graph, population: Population, box: Box) -> dict[str, list[Reach]]:
    """For each source population, the distinct sets of neurons that reach `box`."""
    found: dict[str, list[Reach]] = {}
    for projection in graph.incoming[population.id]:
        one = reach(projection, graph.by_id[projection.src], population, box)
        others = found.setdefault(projection.src, [])
        if one.bounds is not None and not any(one.same_neurons(other) for other in others):
            others.append(one)
    return found


def senders(
    reaches: Sequence[Reach], bounds: npt.NDArray[np.int64], weights: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Neurons of each source box (rows of `bounds`) that reach the target, each counted once or by its weight.

    `weights` (C,H,W) are spike counts: the result then is the number of messages, one per spike and target core.
    """
    if not reaches:
        return np.zeros(len(bounds), np.int64)
    if weights is None and len(reaches) == 1 and reaches[0].table is None:
        product = np.ones(len(bounds), np.int64)
        for axis, factor in enumerate((reaches[0].channels, reaches[0].rows, reaches[0].columns)):
            total = np.concatenate(([0], np.cumsum(factor > 0)))
            product *= total[bounds[:, 2 * axis + 1]] - total[bounds[:, 2 * axis]]
        return product
    edges = box_bounds([one.bounds for one in reaches if one.bounds is not None])
    low, high = edges[:, 0::2].min(axis=0), edges[:, 1::2].max(axis=0)
    crop: Box = tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[assignment]
    mask = np.logical_or.reduce([one.mask(crop) for one in reaches])
    counted = mask.astype(np.int64)
    if weights is not None:
        counted *= weights[crop[0][0] : crop[0][1], crop[1][0] : crop[1][1], crop[2][0] : crop[2][1]]
    return _sum_boxes(counted, bounds - np.repeat(low, 2))


def _sum_boxes(values: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of a (C,H,W) array over boxes, which may reach beyond it."""
    table = np.pad(values.cumsum(0).cumsum(1).cumsum(2), ((1, 0), (1, 0), (1, 0)))
    limits = np.repeat(np.array(values.shape), 2)
    c0, c1, y0, y1, x0, x1 = np.clip(bounds, 0, limits).T
    return np.asarray(
        (table[c1, y1, x1] - table[c0, y1, x1] - table[c1, y0, x1] - table[c1, y1, x0])
        + (table[c0, y0, x1] + table[c0, y1, x0] + table[c1, y0, x0] - table[c0, y0, x0])
    )


def shares_axons(graph: Graph, profile: HardwareProfile, source: str, target: str) -> bool:
    """True where every projection between the two is a convolution and the chip shares convolutions' axons."""
    return profile.packed("conv_axons_per_channel_block") is not None and not any(
        isinstance(p.synapse, Dense | Sparse) for p in graph.incoming[target] if p.src == source
    )


def slice_registers(graph: Graph, profile: HardwareProfile, population: Population, box: Box) -> Registers:
    """Registers that depend on the slice alone; see the module's table."""
    blocks = channel_blocks(box[0][1] - box[0][0])
    axons = 0
    for source, reaches in reaches_by_source(graph, population, box).items():
        if shares_axons(graph, profile, source, population.id):
            axons += blocks * (profile.packed("conv_axons_per_channel_block") or 1)
        elif reaches:
            shape = graph.by_id[source].shape
            axons += int(senders(reaches, np.array([[0, shape[0], 0, shape[1], 0, shape[2]]], np.int64))[0])
    longest = max((p.longest_delay for p in graph.incoming[population.id]), default=0)
    size = box_size(box)
    registers = {
        "neurons": size,
        "neuron_groups": 1,
        "synapse_memory": synapse_words(graph, profile, population, box),
        "axon_in": axons,
        "state_words": size * state_words(population.neuron),
        "delay_slots": size * (longest + 1),
    }
    if profile.limit("axon_map") is not None:
        registers["axon_map"] = _axon_map(graph, profile, population, box, blocks)
    if profile.limit("core_memory") is not None:
        shared = ("synapse_memory", "axon_in", "neurons", "axon_map")
        registers["core_memory"] = sum(registers.get(name, 0) for name in shared)
    return registers


def _axon_map(graph: Graph, profile: HardwareProfile, population: Population, box: Box, blocks: int) -> int:
    size = box_size(box)
    positions = size // (box[0][1] - box[0][0])
    targets = {p.dst for p in graph.outgoing[population.id]}
    if not targets:
        return size
    return sum(
        positions * blocks if shares_axons(graph, profile, population.id, target) else size for target in targets
    )


def output_edges(graph: Graph, population: Population, boxes: Boxes) -> npt.NDArray[np.int64]:
    """Pairs (neuron, destination core) for each box of `population`."""
    bounds = box_bounds(list(boxes[population.id]))
    edges = np.zeros(len(bounds), np.int64)
    for target in dict.fromkeys(p.dst for p in graph.outgoing[population.id]):
        for box in boxes[target]:
            edges += senders(reaches_by_source(graph, graph.by_id[target], box)[population.id], bounds)
    return edges
