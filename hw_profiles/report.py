"""A report: what the network is (static), what the run cost (workload), and on which assumptions and sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hw_profiles.calibration import Calibration, Measurement, calibrate
from hw_profiles.counters import Counters, count_arithmetic
from hw_profiles.energy import Costing, check_profile, price
from hw_profiles.estimate import Estimate
from hw_profiles.frames import Frame
from hw_profiles.latency import StepTime
from hw_profiles.mapping import Mapping
from hw_profiles.packing import packing_notes
from hw_profiles.probes import StepCounts
from hw_profiles.profile import HardwareProfile
from hw_profiles.static_part import StaticPart, static_part
from lava_runtime.trace import Trace
from netx_export.errors import ProfileError
from netx_export.graph import Input, Readout

REPORT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFacts:
    """Which chip and board, by which estimator, and what that estimator includes."""

    name: str
    title: str
    kind: str
    board: str
    estimator: str
    includes: str
    cores_per_chip: int
    cores_per_tile: int
    mesh_columns: int
    mesh_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWorkload:
    """One population over the run. `rate` is spikes per neuron and step; None for a readout. Energies in pJ."""

    population: str
    spikes: int | None
    rate: float | None
    syn_ops: int
    neuron_updates: int
    energy: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPart:
    """What a run did and cost; counts and energies (pJ) are for the whole run of `samples` samples.

    `ac`, `mac` are event-exact; `ac_dense`, `mac_dense` follow the SyOPs convention (rate times dense operations).
    """

    backend: str
    samples: int
    steps: int
    hardware_steps: int
    spikes: int
    rate: float
    input_rate: float
    syn_ops: int
    neuron_updates: int
    messages: int
    host_messages: int
    ac: int
    mac: int
    ac_dense: float
    mac_dense: int
    layers: tuple[LayerWorkload, ...]
    estimates: tuple[Estimate, ...]
    step: StepTime


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRow:
    """One core: where it is, what it holds, its registers, counters over the run, energy in pJ."""

    core: int
    chip: int
    tile: int
    x: int
    y: int
    population: str
    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    registers: dict[str, int]
    counters: dict[str, int]
    energy: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """A link of the mesh that carried messages: out of tile (column, row) of the grid over all chips."""

    chip: int
    column: int
    row: int
    direction: str
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Static part, workload part (None without a run), cores, links, assumptions and sources.

    `notes` are what a reader must know first. Frames and the counts of single steps stay out of the JSON.
    """

    version: int
    title: str
    notes: tuple[str, ...]
    network: str
    profile: ProfileFacts
    static: StaticPart
    workload: WorkloadPart | None
    cores: tuple[CoreRow, ...]
    links: tuple[LinkRow, ...]
    calibration: Calibration | None
    scores: dict[str, float]
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]
    provenance: dict[str, str]
    frames: tuple[Frame, ...] = field(default=(), compare=False, metadata={"json": False})
    steps: StepCounts | None = field(default=None, compare=False, metadata={"json": False})


COUNTERS = ("spikes_in", "axon_out", "syn_ops", "dendrite_updates")
"""The vendor's per-core counters."""


def report(
    trace: Trace | None,
    mapping: Mapping,
    profile: HardwareProfile,
    *,
    frames: Sequence[Frame] | None = None,
    scores: MappingType[str, float] | None = None,
    probed: StepCounts | None = None,
    measured: Measurement | None = None,
    title: str = "",
    notes: Sequence[str] = (),
) -> Report:
    """The report of `trace` on `mapping` at the prices of `profile`; without a trace only its static part.

    `frames` are pictures with detections and truth for the page, `scores` figures such as AP50 by name. `probed` are
    the counts of every step, from a CoreProbe; a trace with all rasters needs none. `measured` is put beside the
    estimate. `notes` come first on the page.
    Raises ProfileError or RunError where trace, mapping and profile do not belong together.
    """
    check_profile(mapping, profile)
    costing = None if trace is None else price(trace, mapping, profile, probed)
    workload = None if trace is None or costing is None else _workload(trace, mapping, costing)
    assumptions = [*packing_notes(profile), *(() if costing is None else costing.assumptions)]
    if costing is not None:
        assumptions += costing.step.assumptions
    if mapping.placement is not None:
        assumptions.append("Cores are placed layer by layer, row-major over the tiles of the mesh, chip after chip.")
    topology = profile.topology
    return Report(
        version=REPORT_VERSION,
        title=title,
        notes=tuple(notes),
        network=mapping.graph.digest,
        profile=ProfileFacts(
            name=profile.name,
            title=profile.title,
            kind=profile.kind,
            board=profile.board,
            estimator=profile.estimator,
            includes=profile.includes,
            cores_per_chip=topology.cores_per_chip if topology else 0,
            cores_per_tile=topology.cores_per_tile if topology else 0,
            mesh_columns=topology.mesh_columns if topology else 0,
            mesh_rows=topology.mesh_rows if topology else 0,
        ),
        static=static_part(mapping),
        workload=workload,
        cores=_core_rows(mapping, costing),
        links=_link_rows(costing),
        calibration=None if measured is None or costing is None else _calibration(measured, costing, profile),
        scores={name: float(value) for name, value in (scores or {}).items()},
        assumptions=tuple(assumptions),
        sources=profile.sources,
        provenance={**mapping.graph.meta, **({} if trace is None else dict(trace.meta))},
        frames=tuple(frames or ()),
        steps=None if costing is None else costing.steps,
    )


def _calibration(measured: Measurement, costing: Costing, profile: HardwareProfile) -> Calibration | None:
    """None for an estimator without a chip: arithmetic is no measurable quantity of a board."""
    if profile.kind != "chip":
        return None
    estimate = costing.estimates[0]
    return calibrate(
        measured,
        profile=profile.name,
        steps=costing.counters.steps,
        samples=costing.counters.samples,
        dynamic_pj=estimate.total,
        static_pj=None if estimate.static is None else (estimate.static.low, estimate.static.high),
        step_ns=costing.step.total,
    )


# -- workload ------------------------------------------------------------------------------------------------------


def _workload(trace: Trace, mapping: Mapping, costing: Costing) -> WorkloadPart:
    graph = mapping.graph
    updates, synops = trace.neuron_updates(graph), trace.synops(graph)
    runs = trace.schedule.steps * trace.schedule.samples
    main = costing.estimates[0]
    layers: list[LayerWorkload] = []
    for population in graph.populations:
        counts = trace.spike_counts.get(population.id)
        silent = counts is None or isinstance(population.neuron, Readout)
        spikes = None if counts is None or silent else int(counts.sum())
        layers.append(
            LayerWorkload(
                population=population.id,
                spikes=spikes,
                rate=None if spikes is None else spikes / (population.size * runs),
                syn_ops=synops[population.id],
                neuron_updates=updates[population.id],
                energy=main.per_population.get(population.id),
            )
        )
    neurons = sum(p.size for p in graph.populations if not isinstance(p.neuron, Input | Readout))
    spikes = trace.total_spikes(graph)
    arithmetic = count_arithmetic(trace, graph)
    inputs = graph.inputs
    return WorkloadPart(
        backend=trace.backend,
        samples=trace.schedule.samples,
        steps=trace.schedule.steps,
        hardware_steps=trace.schedule.hardware_steps,
        spikes=spikes,
        rate=spikes / (neurons * runs) if neurons else 0.0,
        input_rate=sum(int(trace.spike_counts[p.id].sum()) for p in inputs) / (sum(p.size for p in inputs) * runs),
        syn_ops=sum(synops.values()),
        neuron_updates=sum(updates.values()),
        messages=int(costing.counters.spikes_in.sum()),
        host_messages=int(costing.counters.host_messages.sum()),
        ac=sum(entry.ac for entry in arithmetic),
        mac=sum(entry.mac for entry in arithmetic),
        ac_dense=sum(entry.ac_dense for entry in arithmetic),
        mac_dense=sum(entry.mac_dense for entry in arithmetic),
        layers=tuple(layers),
        # The same figures stand in the rows of the cores.
        estimates=tuple(dataclasses.replace(entry, per_core=()) for entry in costing.estimates),
        step=costing.step,
    )


def _core_rows(mapping: Mapping, costing: Costing | None) -> tuple[CoreRow, ...]:
    placement = mapping.placement
    if placement is None:
        return ()
    rows: list[CoreRow] = []
    for entry in sorted(mapping.slices, key=lambda s: s.core):
        core = entry.core
        energies = costing.estimates[0].per_core if costing is not None else ()
        rows.append(
            CoreRow(
                core=core,
                chip=int(placement.chip[core]),
                tile=int(placement.tile[core]),
                x=int(placement.x[core]),
                y=int(placement.y[core]),
                population=entry.population,
                channels=entry.box[0],
                rows=entry.box[1],
                columns=entry.box[2],
                registers=dict(mapping.registers[core]),
                counters={} if costing is None else _core_counters(costing.counters, core),
                energy=energies[core] if energies else None,
            )
        )
    return tuple(rows)


def _link_rows(costing: Costing | None) -> tuple[LinkRow, ...]:
    links = None if costing is None else costing.counters.links
    if links is None:
        return ()
    rows: list[LinkRow] = []
    for direction, load in links.loads.items():
        for row, column in zip(*np.nonzero(load[:, :, 0]), strict=True):
            rows.append(
                LinkRow(
                    chip=int(column) // links.mesh_columns,
                    column=int(column),
                    row=int(row),
                    direction=direction,
                    messages=int(load[row, column, 0]),
                )
            )
    return tuple(rows)


def _core_counters(counters: Counters, core: int) -> dict[str, int]:
    return {name: int(np.asarray(getattr(counters, name))[core]) for name in COUNTERS}


def same_run(reports: Sequence[Report]) -> None:
    """ProfileError unless all reports describe the same network and run, so that they may share a page."""
    if not reports:
        raise ProfileError("No report was given; make one with hw_profiles.report(trace, mapping, profile).")
    runs = {
        (r.network, None if r.workload is None else (r.workload.samples, r.workload.steps, r.workload.spikes))
        for r in reports
    }
    if len(runs) > 1:
        raise ProfileError(
            f"The reports for {', '.join(r.profile.name for r in reports)} describe different networks or runs; "
            "a page compares profiles for one run: write one folder for each run."
        )
    names = [(r.profile.name, r.profile.board) for r in reports]
    for name, board in names:
        if names.count((name, board)) > 1:
            raise ProfileError(f"Profile {name!r} on {board!r} is reported twice; give each profile and board once.")
