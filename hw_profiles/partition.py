"""Cutting populations into slices that fit a core, by the rule of the vendor's compiler.

Every population starts on one core and is divided until every register fits. Convolutional populations are cut into
(w,h,c) tiles: too much synapse memory divides the channels (positions share their kernel), too many neurons or axons
divide columns, then rows, then channels. Tile widths are powers of two, as in every published tile.
Source: published partitions of PilotNet LIF and an MNIST network on Loihi 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.profile import HardwareProfile
from hw_profiles.registers import Boxes, Registers, output_edges, slice_registers
from hw_profiles.slices import FitProblem, Slice, tile_boxes
from netx_export.graph import Dense, Graph, Input, Lif, Population, Shape

_NARROWEST = 4
"""Columns and rows are not cut below this before the other has been; the narrowest published tile has 4 columns."""

REMEDIES = {
    "neurons": "use a larger stride or fewer channels in this layer.",
    "neuron_groups": "give the layer a core of its own.",
    "synapse_memory": "use fewer input channels, a smaller kernel, groups, or fewer weight bits.",
    "axon_in": "use fewer input channels, a smaller kernel, or groups, so that fewer neurons reach one core.",
    "output_edges": "let fewer layers read this one, or make the layers that read it narrower.",
    "axon_map": "let fewer layers read this one, or use fewer channels here.",
    "axon_memory": "let fewer layers read this one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Slices of every population but the inputs, numbered by core, their registers, and what did not fit."""

    slices: tuple[Slice, ...]
    registers: tuple[Registers, ...]
    problems: tuple[FitProblem, ...]


def partition(graph: Graph, profile: HardwareProfile) -> Partition:
    """Cut `graph` into core slices for `profile`; what does not fit is listed in `problems`, nothing is raised."""
    problems = _width_problems(graph, profile)
    on_cores = [p for p in graph.populations if not isinstance(p.neuron, Input)]
    if profile.topology is None:
        # An estimator has no cores: everything sits in one abstract place.
        slices = tuple(Slice(population=p.id, core=0, box=tile_boxes(p.shape, p.shape)[0]) for p in on_cores)
        return Partition(slices=slices, registers=({},), problems=tuple(problems))
    cutter = _Cutter(graph, profile, profile.topology.cores_per_chip * profile.chips)
    problems += cutter.cut(on_cores)
    slices = tuple(
        Slice(population=p.id, core=core, box=box)
        for core, (p, box) in enumerate((p, box) for p in on_cores for box in cutter.boxes[p.id])
    )
    registers = tuple(entry for p in on_cores for entry in cutter.registers[p.id])
    return Partition(slices=slices, registers=registers, problems=tuple(problems))


class _Cutter:
    """Tiles of every population, made smaller until all registers fit."""

    def __init__(self, graph: Graph, profile: HardwareProfile, board_cores: int) -> None:
        self.graph = graph
        self.profile = profile
        self.board_cores = board_cores
        self.tiles: dict[str, Shape] = {p.id: _first_tile(p.shape) for p in graph.populations}
        self.boxes: dict[str, list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]] = {}
        self.registers: dict[str, list[Registers]] = {}
        self.stuck: dict[str, FitProblem] = {}

    def cut(self, populations: list[Population]) -> list[FitProblem]:
        """Forward over the layers for what depends on sources, then back for output edges, until nothing changes."""
        while True:
            for population in populations:
                self._fit(population)
            if self.stuck or not self._cut_for_edges(populations):
                return list(self.stuck.values())

    def _fit(self, population: Population) -> None:
        while True:
            tile = self.tiles[population.id]
            boxes = tile_boxes(population.shape, tile)
            self.boxes[population.id] = boxes
            self.registers[population.id] = [
                slice_registers(self.graph, self.profile, population, box, self.boxes) for box in boxes
            ]
            worst = self._worst(population)
            if worst is None or not self._shrink(population, *worst):
                return

    def _worst(self, population: Population) -> tuple[str, int, int] | None:
        """The register that is fullest beyond its limit: (resource, used, limit)."""
        found: tuple[str, int, int] | None = None
        for resource in self.registers[population.id][0]:
            limit = self.profile.limit(resource)
            used = max(entry[resource] for entry in self.registers[population.id])
            if limit is not None and used > limit and (found is None or used * found[2] > found[1] * limit):
                found = (resource, used, limit)
        return found

    def _shrink(self, population: Population, resource: str, used: int, limit: int) -> bool:
        """Cut the tile once for `resource`; record the problem and return False where cutting cannot help."""
        tile, shape = self.tiles[population.id], population.shape
        dense = any(isinstance(p.synapse, Dense) for p in self.graph.incoming[population.id])
        if resource == "synapse_memory" and not dense:
            smaller = _cut_channels(tile, shape, used, limit)
        elif resource == "synapse_memory":
            smaller = _cut_channels(tile, shape, used, limit) or _cut_positions(tile, 1)
        else:
            smaller = _cut_positions(tile, _NARROWEST) or _cut_positions(tile, 1)
            smaller = smaller or _cut_channels(tile, shape, used, limit)
        if smaller is None or len(tile_boxes(shape, smaller)) > self.board_cores:
            self.stuck[population.id] = self._problem(population, resource, used, limit, exhausted=smaller is None)
            return False
        self.tiles[population.id] = smaller
        return True

    def _problem(self, population: Population, resource: str, used: int, limit: int, *, exhausted: bool) -> FitProblem:
        if not exhausted:
            return FitProblem(
                layer=population.id,
                resource="cores",
                used=len(tile_boxes(population.shape, self.tiles[population.id])) + 1,
                limit=self.board_cores,
                remedy=f"{resource.replace('_', ' ')} divides it that far; {REMEDIES[resource]}",
                source=population.source,
            )
        return FitProblem(
            layer=population.id,
            resource=resource,
            used=used,
            limit=limit,
            remedy=f"it cannot be divided further; {REMEDIES[resource]}",
            source=population.source,
        )

    def _cut_for_edges(self, populations: list[Population]) -> bool:
        """Count output edges; cut the layers that have too many. True where something was cut."""
        limit = self.profile.limit("output_edges")
        if limit is None:
            return False
        again = False
        for population in populations:
            edges = output_edges(self.graph, population, self.boxes)
            for entry, used in zip(self.registers[population.id], edges, strict=True):
                entry["output_edges"] = int(used)
            most = int(edges.max())
            if most > limit and self._shrink(population, "output_edges", most, limit):
                again = True
        return again and not self.stuck


def _first_tile(shape: Shape) -> Shape:
    width = 1 << (shape[2].bit_length() - 1)
    return (shape[0], shape[1], width)


def _cut_positions(tile: Shape, narrowest: int) -> Shape | None:
    channels, rows, columns = tile
    if columns > narrowest:
        return (channels, rows, columns // 2)
    if rows > narrowest:
        return (channels, -(-rows // 2), columns)
    return None


def _cut_channels(tile: Shape, shape: Shape, used: int, limit: int) -> Shape | None:
    if tile[0] == 1:
        return None
    pieces = -(-shape[0] // tile[0])
    # Registers shrink at most in proportion, so fewer pieces than this cannot be enough.
    pieces = max(pieces + 1, pieces * used // limit)
    return (min(tile[0] - 1, -(-shape[0] // min(pieces, shape[0]))), tile[1], tile[2])


def _width_problems(graph: Graph, profile: HardwareProfile) -> list[FitProblem]:
    """Numbers that the chip's words cannot hold: weights, delays, thresholds, biases."""
    problems: list[FitProblem] = []

    def check(layer: str, resource: str, used: int, limit: int, remedy: str, source: str) -> None:
        if used > limit:
            problems.append(
                FitProblem(layer=layer, resource=resource, used=used, limit=limit, remedy=remedy, source=source)
            )

    weight_bits, delay = profile.limit("weight_bits"), profile.limit("delay")
    for projection in graph.projections:
        source = graph.by_id[projection.dst].source
        if weight_bits is not None:
            mantissa = projection.synapse.kernel.mantissa
            needed = _signed_bits(int(mantissa.min()), int(mantissa.max()))
            check(projection.label, "weight_bits", needed, weight_bits, f"quantise to {weight_bits} bits.", source)
        if delay is not None:
            remedy = "export with relay populations (--relays), or shorten the skip."
            check(projection.label, "delay", projection.delay, delay, remedy, source)
    vth_bits, bias_bits = profile.limit("vth_bits"), profile.limit("bias_bits")
    for population in graph.populations:
        neuron = population.neuron
        if isinstance(neuron, Lif):
            if vth_bits is not None:
                remedy = "scale weights and threshold down together."
                check(population.id, "vth_bits", neuron.vth_mant.bit_length(), vth_bits, remedy, population.source)
            if bias_bits is not None:
                needed = _signed_bits(int(neuron.bias_mant.min()), int(neuron.bias_mant.max()))
                check(population.id, "bias_bits", needed, bias_bits, "use a larger bias_exp.", population.source)
    return problems


def _signed_bits(low: int, high: int) -> int:
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1


__all__ = ["REMEDIES", "Boxes", "Partition", "partition"]
