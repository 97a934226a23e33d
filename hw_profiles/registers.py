"""How much of each core register a slice of a population takes.

neurons         neurons of the slice
neuron_groups   1 for each slice
synapse_memory  words: a convolution keeps one list of weights per (input channel, tap) and shares it between all
                positions and between projections with the same kernel; a dense projection keeps one list per axon,
                zeros included; a list of n synapses takes ceil(n * synapse bits / word bits) words
axon_in         source neurons that reach the core; or, where the profile says that convolutions share axons, one per
                source core
output_edges    pairs (neuron, destination core)
axon_map        one entry per neuron and target population; per position where convolutions share axons
delay_slots     neurons * (longest incoming delay + 1): the buffers that delayed currents wait in (no published limit)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import Box, Reach, box_size, reach
from hw_profiles.slices import box_bounds
from netx_export.graph import Conv, Dense, Graph, Input, Population

Registers = dict[str, int]
Boxes = Mapping[str, Sequence[Box]]
"""Boxes of every population, by population id."""


def synapse_words(graph: Graph, profile: HardwareProfile, population: Population, box: Box) -> int:
    """Words of synapse memory for the part of all incoming projections that ends in `box`."""
    word = profile.packed("word_bits")
    weight = profile.limit("weight_bits")
    if word is None or weight is None:
        return 0
    conv_bits = profile.packed("conv_synapse_bits") or weight
    dense_bits = profile.packed("dense_synapse_bits") or weight
    words, stored = 0, set[int]()
    for projection in graph.incoming[population.id]:
        synapse = projection.synapse
        mantissa = synapse.kernel.mantissa
        if isinstance(synapse, Dense):
            words += mantissa.shape[1] * _ceil_div(box_size(box) * dense_bits, word)
            continue
        if id(synapse.kernel) in stored:
            continue
        stored.add(id(synapse.kernel))
        if isinstance(synapse, Conv):
            reached = reach(projection, graph.by_id[projection.src], population, box).channels
            taps = mantissa.shape[2] * mantissa.shape[3]
            words += taps * sum(_ceil_div(int(n) * conv_bits, word) for n in reached[reached > 0])
        else:
            words += (box[0][1] - box[0][0]) * _ceil_div(conv_bits, word)
    return words


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


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
    return profile.packed("conv_axons_per_source_core") is not None and not any(
        isinstance(p.synapse, Dense) for p in graph.incoming[target] if p.src == source
    )


def slice_registers(
    graph: Graph, profile: HardwareProfile, population: Population, box: Box, boxes: Boxes
) -> Registers:
    """Registers that depend on the slice and on how its sources are cut; see the module's table."""
    axons = 0
    for source, reaches in reaches_by_source(graph, population, box).items():
        if not reaches:
            continue
        if shares_axons(graph, profile, source, population.id):
            # The host sends the input through one axon set; cores are counted one by one.
            is_input = isinstance(graph.by_id[source].neuron, Input)
            cores = 1 if is_input else int((senders(reaches, box_bounds(list(boxes[source]))) > 0).sum())
            axons += cores * (profile.packed("conv_axons_per_source_core") or 1)
        else:
            shape = graph.by_id[source].shape
            axons += int(senders(reaches, np.array([[0, shape[0], 0, shape[1], 0, shape[2]]], np.int64))[0])
    longest = max((p.delay for p in graph.incoming[population.id]), default=0)
    size = box_size(box)
    registers = {
        "neurons": size,
        "neuron_groups": 1,
        "synapse_memory": synapse_words(graph, profile, population, box),
        "axon_in": axons,
        "delay_slots": size * (longest + 1),
    }
    if profile.limit("axon_map") is not None:
        registers["axon_map"] = _axon_map(graph, profile, population, box)
    return registers


def _axon_map(graph: Graph, profile: HardwareProfile, population: Population, box: Box) -> int:
    size = box_size(box)
    positions = size // (box[0][1] - box[0][0])
    targets = {p.dst for p in graph.outgoing[population.id]}
    if not targets:
        return size
    per_position = profile.packed("conv_axon_map_per_position")
    return sum(
        positions * per_position
        if per_position is not None and shares_axons(graph, profile, population.id, target)
        else size
        for target in targets
    )


def output_edges(graph: Graph, population: Population, boxes: Boxes) -> npt.NDArray[np.int64]:
    """Pairs (neuron, destination core) for each box of `population`."""
    bounds = box_bounds(list(boxes[population.id]))
    edges = np.zeros(len(bounds), np.int64)
    for target in dict.fromkeys(p.dst for p in graph.outgoing[population.id]):
        for box in boxes[target]:
            edges += senders(reaches_by_source(graph, graph.by_id[target], box)[population.id], bounds)
    return edges
