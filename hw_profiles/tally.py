"""Counting spikes into cores: one source population and one block of steps at a time.

A block is (N,C,H,W): the rows of a raster, or the spike counts of a whole run as one row. Both take the same way, so the
steps of a run add up to its totals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hw_profiles.links import LinkTally
from hw_profiles.mapping import Mapping
from hw_profiles.reach import Box, Reach, intersect, reach
from hw_profiles.registers import reaches_by_source
from hw_profiles.slices import Slice, box_bounds
from netx_export.graph import Dense, Graph, Input, Sparse, is_spiking

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP_NAMES = ("spikes_in", "axon_out", "syn_ops", "dense_ops", "sparse_ops", "active_updates")
"""What is kept for each step."""

TOTAL_NAMES = ("graded_ops", "host_messages", "within_tile", "hops_ew", "hops_ns", "chip_crossings")
"""What is kept for the run."""

ROUTE_NAMES = ("messages", "sent", "within_tile", "hops_ew", "hops_ns", "chip_crossings")
"""What is kept for each pair of populations; `sent` leaves out messages from the host."""

_KINDS = {Dense: "dense_ops", Sparse: "sparse_ops"}
"""Operations counted apart as well: chips may price them differently from those of convolutions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Operations:
    projection: int
    slice: int
    reach: Reach
    graded: bool
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Messages:
    slice: int
    reaches: tuple[Reach, ...]
    bounds: Box


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wiring:
    """Which slices each source population reaches, worked out once for a mapping."""

    mapping: Mapping
    operations: dict[str, list[_Operations]]
    messages: dict[str, list[_Messages]]
    own: dict[str, list[int]]
    """Numbers of each population's slices."""
    edges: dict[str, Counts]
    """Boxes of those slices as rows (c0, c1, y0, y1, x0, x1)."""

    @classmethod
    def of(cls, mapping: Mapping) -> Wiring:
        """The wiring of a mapping."""
        graph = mapping.graph
        made = cls(
            mapping=mapping,
            operations={p.id: [] for p in graph.populations},
            messages={p.id: [] for p in graph.populations},
            own={p.id: [] for p in graph.populations},
            edges={},
        )
        for number, entry in enumerate(mapping.slices):
            made.own[entry.population].append(number)
            made._add(graph, number, entry)
        for name, numbers in made.own.items():
            made.edges[name] = box_bounds([mapping.slices[number].box for number in numbers])
        return made

    def overlapping(self, source: str, box: Box) -> list[int]:
        """Numbers of the slices of `source` that share neurons with `box`."""
        edges = self.edges[source]
        inside = np.ones(len(edges), bool)
        for axis, (start, stop) in enumerate(box):
            inside &= (edges[:, 2 * axis] < stop) & (edges[:, 2 * axis + 1] > start)
        return [self.own[source][index] for index in np.flatnonzero(inside)]

    def _add(self, graph: Graph, number: int, entry: Slice) -> None:
        target = graph.by_id[entry.population]
        for index, projection in enumerate(graph.projections):
            if projection.dst != target.id:
                continue
            source = graph.by_id[projection.src]
            found = reach(projection, source, target, entry.box)
            if found.bounds is not None:
                self.operations[source.id].append(
                    _Operations(
                        projection=index,
                        slice=number,
                        reach=found,
                        graded=not is_spiking(source.neuron),
                        kind=_KINDS.get(type(projection.synapse), ""),
                    )
                )
        for name, reaches in reaches_by_source(graph, target, entry.box).items():
            bounds = _hull([one.bounds for one in reaches if one.bounds is not None])
            if bounds is not None:
                self.messages[name].append(_Messages(slice=number, reaches=tuple(reaches), bounds=bounds))


def _hull(boxes: list[Box]) -> Box | None:
    if not boxes:
        return None
    spans = [(min(start for start, _ in axis), max(stop for _, stop in axis)) for axis in zip(*boxes, strict=True)]
    return (spans[0], spans[1], spans[2])


class _Planes:
    """Sums of a block over chosen channels, (N,H,W), each made once. Floats are exact below 2**53."""

    def __init__(self, block: npt.NDArray[np.generic]) -> None:
        self.block = block
        self._made: dict[bytes, Floats] = {}

    def weighted(self, channels: Counts) -> tuple[int, Floats]:
        """(factor, plane) with factor * plane = sum over c of channels[c] * block[:, c]."""
        factor = int(channels.max(initial=0))
        even = bool(np.all((channels == 0) | (channels == factor)))
        weights = (channels > 0).astype(np.int64) if even else channels
        key = weights.tobytes()
        if key not in self._made:
            used = np.flatnonzero(weights)
            low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
            part = self.block[:, low:high]
            if even and used.size == high - low:
                plane = part.sum(axis=1, dtype=np.int64)
            else:
                plane = np.einsum("nchw,c->nhw", part.astype(np.int64), weights[low:high])
            self._made[key] = plane.astype(np.float64)
        return (factor if even else 1), self._made[key]

    def sum_box(self, box: Box, of: Reach | None = None) -> Counts:
        """Spikes of each step in `box`, of all neurons or of those that `of` reaches from."""
        c, y, x = (slice(*span) for span in box)
        channels = np.zeros(self.block.shape[1], np.int64)
        channels[c] = 1 if of is None else of.channels[c] > 0
        _, plane = self.weighted(channels)
        part = plane[:, y, x]
        if of is None:
            return np.asarray(part.sum(axis=(1, 2)).astype(np.int64))
        return _along(part, of.rows[y] > 0, of.columns[x] > 0)

    def operations(self, found: Reach) -> Counts:
        """Synaptic operations of each step."""
        box = found.bounds
        if box is None:
            return np.zeros(len(self.block), np.int64)
        if found.table is not None:
            c, y, x = (slice(*span) for span in box)
            part = self.block[:, c, y, x].reshape(len(self.block), -1)
            return np.asarray(part.astype(np.int64) @ found.table[c, y, x].reshape(-1))
        factor, plane = self.weighted(found.channels)
        _, y, x = (slice(*span) for span in box)
        return np.asarray(factor * _along(plane[:, y, x], found.rows[y], found.columns[x]))


def _along(part: Floats, rows: npt.NDArray[np.generic], columns: npt.NDArray[np.generic]) -> Counts:
    return np.asarray((part @ columns.astype(np.float64)) @ rows.astype(np.float64)).astype(np.int64)


@dataclass(kw_only=True, eq=False)
class Tally:
    """Counts over the slices of a mapping: of each of N steps (slices, N), and of the run (slices,)."""

    wiring: Wiring
    steps: int
    per_step: dict[str, Counts] = field(init=False)
    totals: dict[str, Counts] = field(init=False)
    by_projection: Counts = field(init=False)
    by_route: dict[tuple[str, str], dict[str, int]] = field(init=False)
    links: LinkTally | None = field(init=False)

    def __post_init__(self) -> None:
        mapping = self.wiring.mapping
        count = len(mapping.slices)
        self.per_step = {name: np.zeros((count, self.steps), np.int64) for name in STEP_NAMES}
        self.totals = {name: np.zeros(count, np.int64) for name in TOTAL_NAMES}
        self.by_projection = np.zeros(len(mapping.graph.projections), np.int64)
        self.by_route = {}
        self.links = None if mapping.placement is None else LinkTally(mapping.placement, self.steps)
        self._core = np.array([entry.core for entry in mapping.slices], np.int64)

    def add(self, source: str, block: npt.NDArray[np.generic], first: int) -> None:
        """Count the spikes (N,C,H,W) of population `source` into the steps from `first` on; graded messages are != 0."""
        mapping, wiring = self.wiring.mapping, self.wiring
        planes = _Planes(block)
        steps = slice(first, first + len(block))
        for number in wiring.own[source]:
            self.per_step["active_updates"][number, steps] += planes.sum_box(mapping.slices[number].box)
        for entry in wiring.operations[source]:
            found = planes.operations(entry.reach)
            self.per_step["syn_ops"][entry.slice, steps] += found
            if entry.kind:
                self.per_step[entry.kind][entry.slice, steps] += found
            total = int(found.sum())
            self.by_projection[entry.projection] += total
            if entry.graded:
                self.totals["graded_ops"][entry.slice] += total
        from_host = isinstance(mapping.graph.by_id[source].neuron, Input)
        for reached in wiring.messages[source]:
            if from_host:
                arrived = _messages(planes, reached, reached.bounds)
                self.totals["host_messages"][reached.slice] += int(arrived.sum())
                self._add_route(source, reached.slice, messages=int(arrived.sum()))
            else:
                arrived = self._send(planes, source, reached, steps)
            self.per_step["spikes_in"][reached.slice, steps] += arrived

    def _send(self, planes: _Planes, source: str, reached: _Messages, steps: slice) -> Counts:
        """Messages of each step from the slices of `source`; credits those that send."""
        mapping = self.wiring.mapping
        senders: list[int] = []
        sent: list[Counts] = []
        for number in self.wiring.overlapping(source, reached.bounds):
            box = intersect(mapping.slices[number].box, reached.bounds)
            if box is not None:
                senders.append(number)
                sent.append(_messages(planes, reached, box))
        if not senders:
            return np.zeros(len(planes.block), np.int64)
        messages, numbers = np.stack(sent), np.array(senders, np.int64)
        self.per_step["axon_out"][numbers, steps] += messages
        total = messages.sum(axis=1)
        counted = {"messages": int(total.sum()), "sent": int(total.sum())}
        if mapping.placement is not None and self.links is not None:
            start, end = self._core[numbers], np.full(len(numbers), self._core[reached.slice], np.int64)
            self.links.add(start, end, messages, steps)
            east_west, north_south, crossings = mapping.placement.hops(start, end)
            within = mapping.placement.same_tile(start, end)
            for name, times in (
                ("hops_ew", east_west),
                ("hops_ns", north_south),
                ("chip_crossings", crossings),
                ("within_tile", within),
            ):
                self.totals[name][numbers] += total * times
                counted[name] = int((total * times).sum())
        self._add_route(source, reached.slice, **counted)
        return np.asarray(messages.sum(axis=0))

    def _add_route(self, source: str, number: int, **counted: int) -> None:
        target = self.wiring.mapping.slices[number].population
        route = self.by_route.setdefault((source, target), dict.fromkeys(ROUTE_NAMES, 0))
        for name, count in counted.items():
            route[name] += count


def _messages(planes: _Planes, reached: _Messages, box: Box) -> Counts:
    """Of each step, spikes in `box` of neurons with a synapse into the slice: each counts once."""
    if len(reached.reaches) == 1 and reached.reaches[0].table is None:
        return planes.sum_box(box, reached.reaches[0])
    mask = np.logical_or.reduce([one.mask(box) for one in reached.reaches])
    c, y, x = (slice(*span) for span in box)
    part = planes.block[:, c, y, x].astype(np.int64)
    return np.asarray(np.einsum("nchw,chw->n", part, mask.astype(np.int64)))
