"""Cutting populations into slices that fit a core, by the rule of the vendor's compiler.

Every population starts on one core and is divided until every register fits. Convolutional populations are cut into
(w,h,c) tiles: too much synapse memory divides the channels (positions share their kernel), too many neurons or axons
divide columns, then rows, then channels. Tile widths are powers of two, as in every published tile; rows and channels
are divided into equal parts.
Source: published partitions of PilotNet LIF and an MNIST network on Loihi 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import Box
from hw_profiles.registers import Registers, output_edges, slice_registers
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
        self.shared_axons = profile.packed("conv_axons_per_source_core") is not None
        self.boxes: dict[str, list[Box]] = {}
        self.registers: dict[str, list[Registers]] = {}
        self.stuck: dict[str, FitProblem] = {}

    def cut(self, populations: list[Population]) -> list[FitProblem]:
        """Forward over the layers for what depends on sources, then back for output edges, until nothing changes."""
        changed = {population.id for population in populations}
        while changed and not self.stuck:
            for population in populations:
                sources = {p.src for p in self.graph.incoming[population.id]}
                # Where convolutions share axons, a layer's axons depend on how its sources were cut.
                if population.id in changed or (self.shared_axons and not changed.isdisjoint(sources)):
                    self._fit(population)
                    changed.add(population.id)
            changed = set() if self.stuck else self._cut_for_edges(populations, changed)
        return list(self.stuck.values())

    def _fit(self, population: Population) -> None:
        shape = population.shape
        one = ((0, 1), (shape[1] // 2, shape[1] // 2 + 1), (shape[2] // 2, shape[2] // 2 + 1))
        alone = self._worst([self._measure(population, one)])
        if alone is not None:
            self.stuck[population.id] = self._problem(population, *alone)
            self._set_tiles(population)
            return
        while True:
            boxes = tile_boxes(shape, self.tiles[population.id])
            # Nearly always the middle tile decides; all tiles are measured once it fits.
            worst = self._worst([self._measure(population, boxes[len(boxes) // 2])])
            if worst is None:
                self._set_tiles(population)
                worst = self._worst(self.registers[population.id])
            if worst is None:
                return
            if not self._shrink(population, *worst):
                self._set_tiles(population)
                return

    def _measure(self, population: Population, box: Box) -> Registers:
        return slice_registers(self.graph, self.profile, population, box, self.boxes)

    def _set_tiles(self, population: Population) -> None:
        boxes = tile_boxes(population.shape, self.tiles[population.id])
        self.boxes[population.id] = boxes
        self.registers[population.id] = [self._measure(population, box) for box in boxes]

    def _worst(self, registers: list[Registers]) -> tuple[str, int, int] | None:
        """The register that is fullest beyond its limit: (resource, used, limit).

        Synapse memory goes first: it divides channels, and wide tiles are then cut in fewer places.
        """
        found: tuple[str, int, int] | None = None
        for resource in registers[0]:
            limit = self.profile.limit(resource)
            used = max(entry[resource] for entry in registers)
            if limit is None or used <= limit:
                continue
            if resource == "synapse_memory":
                return (resource, used, limit)
            if found is None or used * found[2] > found[1] * limit:
                found = (resource, used, limit)
        return found

    def _shrink(self, population: Population, resource: str, used: int, limit: int) -> bool:
        """Cut the tile once for `resource`; record the problem and return False where cutting cannot help."""
        tile, shape = self.tiles[population.id], population.shape
        dense = any(isinstance(p.synapse, Dense) for p in self.graph.incoming[population.id])
        if resource == "synapse_memory" and not dense:
            smaller = _cut_channels(tile, shape, used, limit)
        elif resource == "synapse_memory":
            smaller = _cut_channels(tile, shape, used, limit) or _cut_positions(tile, shape, used, limit, 1)
        else:
            smaller = (
                _cut_positions(tile, shape, used, limit, _NARROWEST)
                or _cut_positions(tile, shape, used, limit, 1)
                or _cut_channels(tile, shape, used, limit)
            )
        cores = 0 if smaller is None else len(tile_boxes(shape, smaller))
        if smaller is None or cores > self.board_cores:
            self.stuck[population.id] = self._problem(population, resource, used, limit, cores=cores)
            return False
        self.tiles[population.id] = smaller
        return True

    def _problem(self, population: Population, resource: str, used: int, limit: int, *, cores: int = 0) -> FitProblem:
        """`resource` cannot be divided further, or only over more `cores` than the board has."""
        over = f"dividing it by {resource.replace('_', ' ')} takes more cores than the board has; {REMEDIES[resource]}"
        return FitProblem(
            layer=population.id,
            resource="cores" if cores else resource,
            used=cores or used,
            limit=self.board_cores if cores else limit,
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
            if most > limit and self._shrink(population, "output_edges", most, limit):
                again.add(population.id)
        return again


def _first_tile(shape: Shape) -> Shape:
    width = 1 << (shape[2].bit_length() - 1)
    return (shape[0], shape[1], width)


def _cut_positions(tile: Shape, shape: Shape, used: int, limit: int, narrowest: int) -> Shape | None:
    channels, rows, columns = tile
    if columns > narrowest:
        return (channels, rows, columns // 2)
    if rows > narrowest:
        return (channels, max(narrowest, _next_part(rows, shape[1], used, limit)), columns)
    return None


def _cut_channels(tile: Shape, shape: Shape, used: int, limit: int) -> Shape | None:
    if tile[0] == 1:
        return None
    return (_next_part(tile[0], shape[0], used, limit), tile[1], tile[2])


def _next_part(part: int, whole: int, used: int, limit: int) -> int:
    """The size of the parts when `whole` is divided into more equal parts than now, `part` being the size now."""
    # Registers shrink at most in proportion, so fewer parts than this cannot be enough.
    parts = max(-(-whole // part) + 1, -(-whole // part) * used // limit)
    return max(1, min(part - 1, -(-whole // parts)))


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
