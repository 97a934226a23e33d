"""Which neurons sit on which core: checked for overlap, gaps and the chip's limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw_profiles.fit_result import Utilization as Utilization
from hw_profiles.partition import REMEDIES, Partition, partition
from hw_profiles.placement import Placement, Traffic, place_near
from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import Box
from hw_profiles.registers import Registers, output_edges, reaches_by_source, senders, slice_registers
from hw_profiles.slices import RESOURCES, FitProblem, Slice, box_bounds
from netx_export.errors import DoesNotFitError, ProfileError
from netx_export.graph import Graph, Input


class OverlapError(ProfileError):
    """A neuron sits on two cores."""


class GapError(ProfileError):
    """A neuron sits on no core."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping:
    """Slices of all populations but the inputs on the cores of a profile's board; inputs come from the host.

    Raises OverlapError, GapError, ProfileError for slices that do not describe the graph, DoesNotFitError where a core
    or the board would have to hold more than its limit. `registers` holds the use of each core's registers. `placed`
    replaces our own placement of the cores on the mesh.
    """

    graph: Graph
    profile: HardwareProfile
    slices: tuple[Slice, ...]
    registers: tuple[Registers, ...]
    placed: Placement | None = None

    def __post_init__(self) -> None:
        self._check_slices()
        for core, used in enumerate(self.registers):
            for resource, count in used.items():
                limit = self.profile.limit(resource)
                if limit is not None and count > limit:
                    layer = next((s.population for s in self.slices if s.core == core), "")
                    raise _does_not_fit(
                        self.profile,
                        FitProblem(
                            layer=layer,
                            resource=resource,
                            used=count,
                            limit=limit,
                            remedy=f"on core {core}; {REMEDIES.get(resource, 'divide it over more cores.')}",
                        ),
                    )
        if self.profile.topology is not None and self.chips > self.profile.chips:
            raise _does_not_fit(self.profile, _board_problem(self.graph, self.profile, self.slices))

    @classmethod
    def from_slices(cls, graph: Graph, profile: HardwareProfile, slices: Sequence[Slice]) -> Mapping:
        """A mapping of your own; cores are numbered from 0, each holds one slice."""
        boxes: dict[str, list[Box]] = {population.id: [] for population in graph.populations}
        for entry in slices:
            boxes.setdefault(entry.population, []).append(entry.box)
        registers: list[Registers] = [{} for _ in range(max((s.core for s in slices), default=-1) + 1)]
        if profile.topology is not None:
            edges = {
                p.id: iter(output_edges(graph, p, boxes))
                for p in graph.populations
                if profile.limit("output_edges") is not None
            }
            for entry in slices:
                if entry.population not in graph.by_id:
                    continue
                used = slice_registers(graph, profile, graph.by_id[entry.population], entry.box)
                if entry.population in edges:
                    used["output_edges"] = int(next(edges[entry.population]))
                registers[entry.core] = used
        return cls(graph=graph, profile=profile, slices=tuple(slices), registers=tuple(registers))

    # -- look-ups ------------------------------------------------------------------------------------------------

    @property
    def cores(self) -> int:
        """Cores in use, 1 for an estimator without cores."""
        return len(self.registers)

    @property
    def chips(self) -> int:
        """Chips in use, 0 for an estimator without chips."""
        if self.placed is not None:
            return self.placed.chips
        return 0 if self.profile.topology is None else -(-self.cores // self.profile.topology.cores_per_chip)

    @cached_property
    def placement(self) -> Placement | None:
        """Coordinates of the cores, None for an estimator without cores."""
        if self.placed is not None or self.profile.topology is None:
            return self.placed
        return place_near(self.cores, self.profile.topology, self.traffic)

    @cached_property
    def traffic(self) -> Traffic:
        """How many neurons of each core reach each other core; messages from the host are not among them."""
        found: list[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int, list[int]]] = []
        own = {name: [entry.core for entry in entries] for name, entries in self.by_population.items()}
        bounds = {
            name: box_bounds([entry.box for entry in entries])
            for name, entries in self.by_population.items()
            if entries
        }
        for entry in self.slices:
            target = self.graph.by_id[entry.population]
            for name, reaches in reaches_by_source(self.graph, target, entry.box).items():
                if name in bounds:
                    found.append((senders(reaches, bounds[name]), entry.core, own[name]))
        start = np.array([core for counts, _, cores in found for core in cores], np.int64)
        end = np.array([end for counts, end, _ in found for _ in counts], np.int64)
        messages = np.concatenate([counts for counts, _, _ in found]) if found else np.zeros(0, np.int64)
        sent = (messages > 0) & (start != end)
        return Traffic(start=start[sent], end=end[sent], messages=messages[sent])

    @cached_property
    def by_population(self) -> dict[str, tuple[Slice, ...]]:
        """Slices of each population, in core order; inputs have none."""
        found: defaultdict[str, list[Slice]] = defaultdict(list)
        for entry in self.slices:
            found[entry.population].append(entry)
        return {p.id: tuple(found[p.id]) for p in self.graph.populations}

    def utilization(self, population: str | None = None) -> Utilization:
        """(used, max) of the fullest core per register, of the whole network or one population; cores and chips too."""
        if self.profile.topology is None:
            return {}
        if population is None:
            chosen = set(range(self.cores))
        elif population in self.graph.by_id:
            chosen = {s.core for s in self.by_population[population]}
        else:
            raise ProfileError(
                f"Population {population!r} does not exist; the network has {', '.join(self.graph.by_id)}."
            )
        found = fullest(self.profile, [self.registers[core] for core in sorted(chosen)])
        found["cores"] = (len(chosen), self.profile.topology.cores_per_chip * self.profile.chips)
        if population is None:
            found["chips"] = (self.chips, self.profile.chips)
        return found

    # -- checks --------------------------------------------------------------------------------------------------

    def _check_slices(self) -> None:
        if self.profile.topology is not None:
            holder: dict[int, str] = {}
            for entry in self.slices:
                if entry.core in holder:
                    raise OverlapError(
                        f"Core {entry.core} holds slices of {holder[entry.core]!r} and {entry.population!r}; "
                        "a core holds one slice: number the cores one by one."
                    )
                holder[entry.core] = entry.population
        cover = {p.id: np.zeros(p.shape, np.uint16) for p in self.graph.populations if not isinstance(p.neuron, Input)}
        for entry in self.slices:
            if entry.population not in cover:
                raise ProfileError(
                    f"Core {entry.core} holds a slice of {entry.population!r}, which is no population with neurons; "
                    f"map {', '.join(cover)}."
                )
            shape = self.graph.by_id[entry.population].shape
            if any(not 0 <= a < b <= extent for (a, b), extent in zip(entry.box, shape, strict=True)):
                raise ProfileError(
                    f"Core {entry.core} holds {entry.box} of {entry.population!r}, whose shape (C,H,W) is {shape}; "
                    "keep slices inside and not empty."
                )
            c, y, x = (slice(*span) for span in entry.box)
            cover[entry.population][c, y, x] += 1
        for name, times in cover.items():
            if times.max() > 1:
                neuron = tuple(int(i) for i in np.unravel_index(int(np.argmax(times)), times.shape))
                cores = [s.core for s in self.slices if s.population == name and _holds(s, neuron)]
                raise OverlapError(
                    f"Neuron (c,y,x) = {neuron} of population {name!r} sits on cores {', '.join(map(str, cores))}; "
                    "a neuron has one core: cut the slices apart."
                )
            if times.min() < 1:
                neuron = tuple(int(i) for i in np.unravel_index(int(np.argmin(times)), times.shape))
                raise GapError(
                    f"Neuron (c,y,x) = {neuron} of population {name!r} sits on no core, with {int((times == 0).sum())} "
                    "of its neurons unmapped in all; add slices for them."
                )


def _holds(entry: Slice, neuron: tuple[int, ...]) -> bool:
    return all(a <= index < b for (a, b), index in zip(entry.box, neuron, strict=True))


def fullest(profile: HardwareProfile, registers: Sequence[Registers]) -> Utilization:
    """(used, max) of each register, of the core that takes most of it."""
    found: Utilization = {}
    for resource in RESOURCES:
        used = [entry[resource] for entry in registers if resource in entry]
        if used:
            found[resource] = (max(used), profile.limit(resource))
    return found


def _board_problem(
    graph: Graph, profile: HardwareProfile, slices: Sequence[Slice], *, unplaced: bool = False
) -> FitProblem:
    """More cores than the board has; with `unplaced` layers, which fit no number of cores, it is at least so many."""
    count: defaultdict[str, int] = defaultdict(int)
    for entry in slices:
        count[entry.population] += 1
    largest = max(count, key=lambda name: count[name])
    per_chip = profile.topology.cores_per_chip if profile.topology else 1
    boards = [profile.on_board(name) for name in profile.boards]
    enough = [b.board for b in boards if b.topology and len(slices) <= b.topology.cores_per_chip * b.chips]
    board = f", or choose a larger board ({', '.join(enough)})" if enough else ""
    least = "at least " if unplaced else ""
    return FitProblem(
        layer=largest,
        resource="chips",
        used=-(-len(slices) // per_chip),
        limit=profile.chips,
        remedy=(
            f"the network takes {least}{len(slices)} cores and this layer {count[largest]} of them: "
            f"use a larger stride or fewer channels there{board}."
        ),
        source=graph.by_id[largest].source,
    )


def _does_not_fit(profile: HardwareProfile, problem: FitProblem) -> DoesNotFitError:
    board = f" on {profile.board}" if profile.board else ""
    return DoesNotFitError(f"Profile {profile.name!r}{board}: {problem}")


def fit_problems(graph: Graph, profile: HardwareProfile, parts: Partition) -> list[FitProblem]:
    """Everything that keeps the partition from the profile's board."""
    problems = list(parts.problems)
    if profile.topology is not None and len(parts.slices) > profile.topology.cores_per_chip * profile.chips:
        problems.append(_board_problem(graph, profile, parts.slices, unplaced=bool(parts.problems)))
    return problems


def map_graph(graph: Graph, profile: HardwareProfile) -> Mapping:
    """Cut `graph` into core slices and place them on the profile's board.

    Raises DoesNotFitError naming layer, resource, used, limit and remedy.
    """
    parts = partition(graph, profile)
    problems = fit_problems(graph, profile, parts)
    if problems:
        raise _does_not_fit(profile, problems[0])
    return Mapping(graph=graph, profile=profile, slices=parts.slices, registers=parts.registers)
