"""Cutting populations into slices that fit a core, by the rules of the vendor's compiler.

Every population starts on one core and is divided until every register fits.
Dense layers (a dense or sparse projection ends there) are cut into runs of neurons: the longest allowed run starts at
the neurons of a core and is divided, rounding down, by ceil(used / limit) of the fullest register until all fit; the
last core takes what is left. That is why 100 neurons that need 6 cores get 12: 4095 -> 682 -> 113 -> 18 -> 9.
Convolutional populations are cut into (w,h,c) tiles: too much synapse memory halves the channels, because positions
share their kernel; everything else halves columns (widths are powers of two) and rows. Of the tiles that fit, the one
with the fewest cores is taken; at equal cores columns and rows are halved equally often, columns first.
Source: derived from the partitions that the vendor's compiler printed in published notebooks; docs/chips.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from hw_profiles.layer_cores import assign_layers
from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import Box, box_size, whole_box
from hw_profiles.registers import Registers, output_edges, slice_registers
from hw_profiles.slices import FitProblem, Slice, tile_boxes
from hw_profiles.widths import width_problems
from netx_export.graph import Dense, Graph, Input, Population, Shape, Sparse

REMEDIES = {
    "neurons": "use a larger stride or fewer channels in this layer.",
    "neuron_groups": "give the layer a core of its own.",
    "synapse_memory": "use fewer input channels, a smaller kernel, groups, or fewer weight bits.",
    "axon_in": "use fewer input channels, a smaller kernel, or groups, so that fewer neurons reach one core.",
    "output_edges": "let fewer layers read this one, or make the layers that read it narrower.",
    "axon_map": "let fewer layers read this one, or use fewer channels here.",
    "axon_memory": "let fewer layers read this one.",
    "core_memory": "use fewer input channels, a smaller kernel, or fewer weight bits.",
}

_MOST_CORES = 1 << 14
"""A layer is cut into more cores than the board has, so that it can be said how many it needs, but not into more."""

Cut = tuple[list[Box], list[Registers]]
"""All boxes of a layer, and the registers of each."""

Excess = tuple[str, int, int]
"""(resource, used, limit) of a register that does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Slices of every population but the inputs, numbered by core, their registers, and what did not fit."""

    slices: tuple[Slice, ...]
    registers: tuple[Registers, ...]
    problems: tuple[FitProblem, ...]


def partition(
    graph: Graph, profile: HardwareProfile, *, most_cores: int = _MOST_CORES, every_core: bool = True
) -> Partition:
    """Cut `graph` into core slices for `profile`; what does not fit is listed in `problems`, nothing is raised.

    A layer that needs more than `most_cores`, and more than the board has, is a problem. Without `every_core` one core
    per layer is measured and stands for all: the number of cores is then right unless another one is fuller.
    """
    problems = width_problems(graph, profile)
    on_cores = [p for p in graph.populations if not isinstance(p.neuron, Input)]
    if profile.topology is None:
        # An estimator has no cores: everything sits in one abstract place.
        slices = tuple(Slice(population=p.id, core=0, box=whole_box(p.shape)) for p in on_cores)
        return Partition(slices=slices, registers=({},), problems=tuple(problems))
    if profile.kernel_memories:
        assigned, held, unplaced = assign_layers(graph, profile, on_cores)
        return Partition(slices=assigned, registers=held, problems=(*problems, *unplaced))
    cutter = _Cutter(graph, profile, max(profile.topology.cores_per_chip * profile.chips, most_cores), every_core)
    problems += cutter.cut(on_cores)
    slices = tuple(
        Slice(population=p.id, core=core, box=box)
        for core, (p, box) in enumerate((p, box) for p in on_cores for box in cutter.boxes[p.id])
    )
    registers = tuple(entry for p in on_cores for entry in cutter.registers[p.id])
    return Partition(slices=slices, registers=registers, problems=tuple(problems))


def is_dense_layer(graph: Graph, population: Population) -> bool:
    """True where a dense or sparse projection ends in the population, so that it is cut into runs of neurons."""
    return any(isinstance(p.synapse, Dense | Sparse) for p in graph.incoming[population.id])


class _Cutter:
    """Boxes of every population, made smaller until all registers fit."""

    def __init__(self, graph: Graph, profile: HardwareProfile, most_cores: int, every_core: bool) -> None:
        self.graph = graph
        self.profile = profile
        self.most_cores = most_cores
        self.every_core = every_core
        self.boxes: dict[str, list[Box]] = {p.id: [whole_box(p.shape)] for p in graph.populations}
        self.registers: dict[str, list[Registers]] = {}
        self.cuts: dict[str, Iterator[Cut]] = {}
        self.stuck: dict[str, FitProblem] = {}

    def cut(self, populations: list[Population]) -> list[FitProblem]:
        """Every layer alone first, then the layers with too many output edges, until nothing changes."""
        for population in populations:
            dense = is_dense_layer(self.graph, population)
            self.cuts[population.id] = self._runs(population) if dense else self._tiles(population)
            self._next_cut(population)
        changed = {population.id for population in populations}
        while changed and not self.stuck:
            changed = self._cut_for_edges(populations, changed)
        return list(self.stuck.values())

    def _next_cut(self, population: Population) -> bool:
        """Take the next finer cut that fits; False, with the problem noted, where there is none."""
        cut = next(self.cuts[population.id], None)
        if cut is None:
            self.registers.setdefault(population.id, [self._measure(population, b) for b in self.boxes[population.id]])
            return False
        self.boxes[population.id], self.registers[population.id] = cut
        return True

    # -- dense layers --------------------------------------------------------------------------------------------

    def _runs(self, population: Population) -> Iterator[Cut]:
        """Ever shorter runs that fit."""
        longest = self.profile.limit("neurons") or population.size
        reason = ("neurons", 0, 0)
        while True:
            boxes = _run_boxes(population.shape, longest)
            # The first run is as long as any and nearly always decides; all runs are measured once it fits.
            worst = self._worst(self._measure(population, boxes[0]))
            registers: list[Registers] = []
            if worst is None and len(boxes) <= self.most_cores:
                registers = self._measure_all(population, boxes)
                worst = max(
                    filter(None, map(self._worst, registers)), key=lambda excess: excess[1] / excess[2], default=None
                )
            reason = worst or reason
            if worst is not None and longest == 1:
                self._give_up(population, worst, 0)
                return
            if len(boxes) > self.most_cores:
                self._give_up(population, reason, len(boxes))
                return
            if worst is None:
                yield boxes, registers
            divisor = 2 if worst is None else max(2, -(-worst[1] // worst[2]))
            longest = max(1, min(longest, population.size if worst is None else longest) // divisor)

    # -- convolutional populations -------------------------------------------------------------------------------

    def _tiles(self, population: Population) -> Iterator[Cut]:
        """Ever more tiles that fit, by number of cores."""
        channels = population.shape[0]
        while True:
            one = (channels, 1, 1)
            alone = self._worst(self._measure(population, _middle(population.shape, one)))
            if alone is None:
                yield from self._tiles_with(population, channels)
            elif channels == 1:
                self._give_up(population, alone, 0)
                return
            if channels == 1:
                self._give_up(population, ("neurons", 0, 0), self.most_cores + 1)
                return
            channels = -(-channels // 2)

    def _tiles_with(self, population: Population, channels: int) -> Iterator[Cut]:
        shape = population.shape
        most = self.profile.limit("neurons") or population.size
        before = 0
        for tile in _tiles_by_cores(shape, channels):
            if tile[0] * tile[1] * tile[2] > most:
                continue
            # Nearly always the middle tile decides; all tiles are measured once it fits.
            if self._worst(self._measure(population, _middle(shape, tile))) is not None:
                continue
            boxes = tile_boxes(shape, tile)
            if len(boxes) > self.most_cores:
                return
            if len(boxes) == before:
                continue
            registers = self._measure_all(population, boxes)
            if any(self._worst(entry) for entry in registers):
                continue
            before = len(boxes)
            yield boxes, registers

    # -- what both need ------------------------------------------------------------------------------------------

    def _measure(self, population: Population, box: Box) -> Registers:
        return slice_registers(self.graph, self.profile, population, box)

    def _measure_all(self, population: Population, boxes: list[Box]) -> list[Registers]:
        if self.every_core:
            return [self._measure(population, box) for box in boxes]
        return [self._measure(population, boxes[len(boxes) // 2])] * len(boxes)

    def _worst(self, registers: Registers) -> Excess | None:
        """The register that is fullest beyond its limit."""
        found: Excess | None = None
        for resource, used in registers.items():
            limit = self.profile.limit(resource)
            if limit is None or used <= limit:
                continue
            if found is None or used * found[2] > found[1] * limit:
                found = (resource, used, limit)
        return found

    def _give_up(self, population: Population, excess: Excess, cores: int) -> None:
        """The layer cannot be divided further, or only over more `cores` than anybody has."""
        if population.id in self.stuck:
            return
        resource, used, limit = excess
        over = f"dividing it by {resource.replace('_', ' ')} takes more cores than any board; {REMEDIES[resource]}"
        self.stuck[population.id] = FitProblem(
            layer=population.id,
            resource="cores" if cores else resource,
            used=cores or used,
            limit=self.most_cores if cores else limit,
            remedy=over if cores else f"it cannot be divided further; {REMEDIES[resource]}",
            source=population.source,
        )

    def _cut_for_edges(self, populations: list[Population], changed: set[str]) -> set[str]:
        """Count the output edges that `changed` layers changed; cut the layers that have too many and return them."""
        limit = self.profile.limit("output_edges")
        if limit is None:
            return set()
        again: set[str] = set()
        for population in populations:
            targets = {p.dst for p in self.graph.outgoing[population.id]}
            if population.id not in changed and changed.isdisjoint(targets):
                continue
            edges = output_edges(self.graph, population, self.boxes)
            for entry, used in zip(self.registers[population.id], edges, strict=True):
                entry["output_edges"] = int(used)
            most = int(edges.max())
            if most > limit:
                if box_size(self.boxes[population.id][0]) == 1:
                    self._give_up(population, ("output_edges", most, limit), 0)
                elif self._next_cut(population):
                    again.add(population.id)
        return again


def _run_boxes(shape: Shape, longest: int) -> list[Box]:
    """Runs of at most `longest` neurons in C,H,W order, kept as boxes: whole channels, else rows, else columns."""
    channels, rows, columns = shape
    if longest >= rows * columns:
        return tile_boxes(shape, (min(channels, longest // (rows * columns)), rows, columns))
    if longest >= columns:
        return tile_boxes(shape, (1, min(rows, longest // columns), columns))
    return tile_boxes(shape, (1, 1, longest))


def _middle(shape: Shape, tile: Shape) -> Box:
    """The middle one of the tiles."""
    spans = []
    for extent, step in zip(shape, tile, strict=True):
        start = (-(-extent // step) // 2) * step
        spans.append((start, min(start + step, extent)))
    return (spans[0], spans[1], spans[2])


def _tiles_by_cores(shape: Shape, channels: int) -> list[Shape]:
    """(C,H,W) tiles with that many channels: columns a power of two, rows halved; fewest cores first."""
    _, rows, columns = shape
    widths = [1 << k for k in range(columns.bit_length() - 1, -1, -1)]
    heights = list(dict.fromkeys(-(-rows // (1 << k)) for k in range(rows.bit_length() + 1)))

    def order(cut: tuple[tuple[int, int], tuple[int, int]]) -> tuple[int, int, int]:
        (i, width), (j, height) = cut
        imbalance = i - j
        return (-(-columns // width) * -(-rows // height), imbalance if imbalance >= 0 else -2 * imbalance, i)

    cuts = sorted(product(enumerate(widths), enumerate(heights)), key=order)
    return [(channels, height, width) for (_, width), (_, height) in cuts]
