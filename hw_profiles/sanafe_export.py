"""A mapped network and its spikes as files for SANA-FE, a public simulator of neuromorphic chips.

SANA-FE is free software under the GPL: it runs in a process of its own and is never imported. Two files describe a run:
architecture.yaml (tiles, cores, prices, from our profile) and network.yaml (groups, synapses, cores). Every neuron
replays the spikes that our run recorded, so that both count the same messages and synaptic operations whatever the
neuron computes; its synapses carry no weight. Inputs, which the host sends, sit on cores that are free, from the last
tile backwards. Tile numbers go down the columns: tile = x * rows + y. Format: SANA-FE 2.2, arch/README.md, snn/README.md.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hw_profiles.mapping import Mapping
from hw_profiles.placement import Placement
from hw_profiles.profile import HardwareProfile, Quantity
from hw_profiles.synapse_pairs import synapse_pairs
from lava_runtime.trace import Trace
from netx_export.errors import BasaltError
from netx_export.files import replace_file
from netx_export.graph import Dense, Graph, Input, Population, Sparse, Wire

MOST_SYNAPSES = 2_000_000
"""Networks are written synapse by synapse; larger ones would take gigabytes of text."""

Bound = Literal["low", "high"]

Slot = tuple[int, int]
"""(tile, core in the tile), in SANA-FE's numbers."""


class SanafeError(BasaltError):
    """A mapped network that cannot leave for SANA-FE, or a run of SANA-FE that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Names of the hardware units that the network file refers to."""

    replay: str = "replay"
    conv: str = "conv_synapse"
    dense: str = "dense_synapse"
    sparse: str = "sparse_synapse"


PUBLIC_LOIHI = Units(
    replay="loihi_inputs", conv="loihi_conv_synapse", dense="loihi_dense_synapse", sparse="loihi_sparse_synapse"
)
"""The units of the architecture file loihi.yaml that comes with SANA-FE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SanafeFiles:
    """What was written: paths, steps to simulate, population by group, and the groups that are the host's."""

    architecture: Path
    network: Path
    steps: int
    groups: dict[str, str]
    host: tuple[str, ...]


def write_sanafe(
    folder: str | os.PathLike[str],
    mapping: Mapping,
    trace: Trace,
    *,
    bound: Bound = "high",
    units: Units | None = None,
) -> SanafeFiles:
    """Write architecture.yaml and network.yaml into `folder`; `bound` is the end of published ranges that is used.

    `units` are names of another architecture file that is to be used with network.yaml. SanafeError for a trace without
    rasters, an estimator without cores, a network that is too large, or a population whose synapses differ in kind.
    """
    placement = mapping.placement
    if placement is None:
        raise SanafeError(
            f"Profile {mapping.profile.name!r} has no cores, so nothing can be placed; choose a chip, such as loihi1-fitted."
        )
    graph = mapping.graph
    trace.check_graph(graph)
    senders = [p for p in graph.populations if _sends(graph, p)]
    missing = [p.id for p in senders if p.id not in trace.rasters]
    if missing:
        raise SanafeError(
            f"The spikes of {', '.join(missing)} were not recorded, so they cannot be replayed; "
            "run again with Probes(rasters='all')."
        )
    target = Path(folder)
    names = {p.id: f"g{index}" for index, p in enumerate(graph.populations)}
    slots = _slots(mapping, placement, senders)
    chosen = units or Units()
    longest = max(Counter(slot for own in slots.values() for slot in own).values())
    with replace_file(target / "architecture.yaml") as temporary:
        temporary.write_text(architecture_text(mapping.profile, placement.chips, longest, bound), encoding="utf-8")
    with replace_file(target / "network.yaml") as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in _network_lines(graph, trace, names, slots, chosen):
            file.write(line + "\n")
    return SanafeFiles(
        architecture=target / "architecture.yaml",
        network=target / "network.yaml",
        steps=max((len(trace.rasters[p.id]) for p in senders), default=trace.schedule.steps),
        groups={group: name for name, group in names.items() if name in slots},
        host=tuple(names[p.id] for p in senders if isinstance(p.neuron, Input)),
    )


def _sends(graph: Graph, population: Population) -> bool:
    return any(not isinstance(p.synapse, Wire) for p in graph.outgoing[population.id])


# -- architecture --------------------------------------------------------------------------------------------------


def architecture_text(profile: HardwareProfile, chips: int, neurons: int, bound: Bound = "high") -> str:
    """architecture.yaml of `chips` chips side by side, each core with `neurons` replaying units; in J and s."""
    if profile.topology is None:
        raise SanafeError(f"Profile {profile.name!r} has no cores; choose a chip.")
    topology = profile.topology
    columns, rows = topology.mesh_columns * chips, topology.mesh_rows
    energy, time = profile.costs.energy, profile.costs.time

    def joule(name: str, general: str = "") -> str:
        return _scaled(energy.get(name, energy.get(general)), bound, 1e-12)

    def second(name: str, general: str = "") -> str:
        return _scaled(time.get(name, time.get(general)), bound, 1e-9)

    lines = [
        f"# {profile.title}. {bound} ends of ranges. What nobody published is 0 here.",
        "architecture:",
        f"  name: {profile.name}",
        "  attributes:",
        "    topology: mesh",
        f"    width: {columns}",
        f"    height: {rows}",
        "    link_buffer_size: 16",
        *_barrier_lines(profile, bound),
        "  tile:",
        f"    - name: tile[0..{columns * rows - 1}]",
        "      attributes:",
    ]
    for side, hop in (
        ("north", "north_south"),
        ("east", "east_west"),
        ("south", "north_south"),
        ("west", "east_west"),
    ):
        lines.append(f"        energy_{side}_hop: {joule(f'hop_{hop}')}")
        lines.append(f"        latency_{side}_hop: {second(f'hop_{hop}')}")
    lines += [
        "      core:",
        f"        - name: core[0..{topology.cores_per_tile - 1}]",
        "          attributes:",
        "            buffer_position: soma",
        "            buffer_inside_unit: false",
        f"            max_neurons_supported: {neurons}",
        "          axon_in:",
        "            - name: axon_in",
        "              attributes:",
        f"                energy_message_in: {joule('message_in')}",
        f"                latency_message_in: {second('message_in')}",
        "          soma:",
        f"            - name: {Units().replay}[0..{max(neurons - 1, 1)}]",
        "              attributes:",
        "                model: input",
    ]
    for name in ("access_neuron", "update_neuron", "spike_out"):
        lines += [f"                energy_{name}: 0.0", f"                latency_{name}: 0.0"]
    lines += [
        "          dendrite:",
        "            - name: dendrites",
        "              attributes:",
        "                model: accumulator",
        "                energy_update: 0.0",
        "                latency_update: 0.0",
        "          synapse:",
    ]
    for kind, unit in (("conv", Units().conv), ("dense", Units().dense), ("sparse", Units().sparse)):
        name = f"synaptic_operation_{kind}"
        lines += [
            f"            - name: {unit}",
            "              attributes:",
            "                model: current_based",
            f"                energy_process_spike: {joule(name, 'synaptic_operation')}",
            f"                latency_process_spike: {second(name, 'synaptic_operation')}",
        ]
    lines += [
        "          axon_out:",
        "            - name: axon_out",
        "              attributes:",
        f"                energy_message_out: {joule('message_out')}",
        f"                latency_message_out: {second('message_out')}",
    ]
    return "\n".join(lines) + "\n"


def _barrier_lines(profile: HardwareProfile, bound: Bound) -> list[str]:
    by_tiles = profile.costs.barrier_by_tiles
    if by_tiles:
        table = ", ".join(f"{tiles}: {_scaled(time, bound, 1e-9)}" for tiles, time in sorted(by_tiles.items()))
        return ["    sync_model: table", f"    latency_sync: {{ {table} }}"]
    return ["    sync_model: fixed", f"    latency_sync: {_scaled(profile.costs.time.get('barrier'), bound, 1e-9)}"]


def _scaled(found: Quantity | None, bound: Bound, scale: float) -> str:
    value = 0.0 if found is None else (found.low if bound == "low" else found.high)
    return f"{value * scale:.12e}"


# -- network -------------------------------------------------------------------------------------------------------


def _slots(mapping: Mapping, placement: Placement, senders: list[Population]) -> dict[str, list[Slot]]:
    """Where each neuron sits, in C,H,W order, by population; inputs on free cores."""
    rows, columns = placement.topology.mesh_rows, placement.topology.mesh_columns
    tiles = ((placement.chip * columns + placement.x) * rows + placement.y).tolist()
    taken: Counter[int] = Counter()
    of_core: list[Slot] = []
    for tile in tiles:
        of_core.append((tile, taken[tile]))
        taken[tile] += 1
    found: dict[str, list[Slot]] = {}
    for name, entries in mapping.by_population.items():
        if not entries:
            continue
        core = np.zeros(mapping.graph.by_id[name].shape, np.int64)
        for entry in entries:
            c, y, x = (slice(*span) for span in entry.box)
            core[c, y, x] = entry.core
        found[name] = [of_core[index] for index in core.ravel().tolist()]
    free = _free_slots(placement, taken)
    room = mapping.profile.limit("neurons") or 1024
    for population in senders:
        if not isinstance(population.neuron, Input):
            continue
        own: list[Slot] = []
        while len(own) < population.size:
            slot = next(free, None)
            if slot is None:
                raise SanafeError(
                    f"No core of {mapping.profile.name!r} is free for the {population.size} neurons of the input "
                    f"{population.id!r}; use a chip with more cores, or put the input layer on cores as neurons."
                )
            own += [slot] * min(room, population.size - len(own))
        found[population.id] = own
    return found


def _free_slots(placement: Placement, taken: Counter[int]) -> Iterator[Slot]:
    topology = placement.topology
    for tile in range(topology.mesh_columns * placement.chips * topology.mesh_rows - 1, -1, -1):
        for offset in range(topology.cores_per_tile - 1, taken[tile] - 1, -1):
            yield tile, offset


def _network_lines(
    graph: Graph, trace: Trace, names: dict[str, str], slots: dict[str, list[Slot]], units: Units
) -> Iterator[str]:
    kinds = {p.id: _synapse_unit(graph, p, units) for p in graph.populations}
    yield "network:"
    yield "  name: basalt"
    yield "  groups:"
    for name in slots:
        yield f"    # {name}"
        yield f"    - name: {names[name]}"
        yield "      attributes: []"
        yield "      neurons:"
        raster = trace.rasters.get(name)
        size = len(slots[name])
        sent = np.zeros((1, size), bool) if raster is None else raster.reshape(len(raster), -1) != 0
        for neuron in range(size):
            yield f"        - {neuron}: [spikes: [{', '.join('1' if s else '0' for s in sent[:, neuron])}]]"
    yield "  edges:"
    written = 0
    for projection in graph.projections:
        sources, targets = synapse_pairs(projection, graph.by_id[projection.src], graph.by_id[projection.dst])
        written += len(sources)
        if written > MOST_SYNAPSES:
            raise SanafeError(
                f"Projection {projection.label} brings the network to {written} synapses, the limit is {MOST_SYNAPSES}; "
                "export a smaller network, for every synapse becomes a line of text."
            )
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            yield f"    - {names[projection.src]}.{source} -> {names[projection.dst]}.{target}: [weight: 0]"
    yield "mappings:"
    used: Counter[Slot] = Counter()
    for name, own in slots.items():
        for neuron, (tile, offset) in enumerate(own):
            unit = f'"{units.replay}[{used[tile, offset]}]"'
            used[tile, offset] += 1
            yield f"  - {names[name]}.{neuron}: [core: {tile}.{offset}, soma: {unit}, synapse: {kinds[name]}]"


def _synapse_unit(graph: Graph, population: Population, units: Units) -> str:
    kinds = set()
    for projection in graph.incoming[population.id]:
        match projection.synapse:
            case Wire():
                continue
            case Dense():
                kinds.add(units.dense)
            case Sparse():
                kinds.add(units.sparse)
            case _:
                kinds.add(units.conv)
    if len(kinds) > 1:
        raise SanafeError(
            f"Population {population.id!r} is reached through synapses of different kinds ({', '.join(sorted(kinds))}); "
            "SANA-FE prices one kind per neuron. Give each kind a population of its own."
        )
    return kinds.pop() if kinds else units.dense
