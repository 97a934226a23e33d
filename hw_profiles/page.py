"""The report as one self-contained HTML page: no scripts, no files beside it, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from hw_profiles import charts
from hw_profiles.quantities import format_count, format_energy, format_time
from hw_profiles.report import LayerStatic, Report, same_run
from hw_profiles.slices import RESOURCES

_TEMPLATE = "report.html.j2"

REGISTER_NAMES = {
    "neurons": "Neurons",
    "neuron_groups": "NeuronGr",
    "synapse_memory": "Synapses",
    "axon_in": "AxonIn",
    "output_edges": "AxonOut",
    "axon_map": "AxonMap",
    "axon_memory": "AxonMem",
}
"""The vendor's word for each register; buffers of delayed currents have none and no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of the fit table: share of the limit (None where there is no limit), and both numbers as text."""

    share: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipView:
    """What the template shows of one profile."""

    report: Report
    energy: str
    energy_note: str
    static_energy: str
    step: str
    sample_time: str
    mesh_load: str
    mesh_layers: str
    scale: tuple[str, str, str]
    colours: dict[str, str]
    energy_chart: str
    registers: tuple[str, ...]
    fit: tuple[tuple[LayerStatic, tuple[Cell, ...]], ...]
    energy_parts: tuple[tuple[str, float, str], ...]
    step_parts: tuple[tuple[str, float, str], ...]


def render_page(reports: Sequence[Report]) -> str:
    """The page of one run on one or several profiles; ProfileError for reports of different runs."""
    same_run(reports)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = format_count
    environment.filters["energy"] = lambda pair: format_energy(*pair)
    first = reports[0]
    framed = next((report for report in reports if report.frames), first)
    scored = next((report for report in reports if report.scores), first)
    assumptions = _shared([(view.profile.name, view.assumptions) for view in reports])
    return environment.get_template(_TEMPLATE).render(
        first=first,
        workload=first.workload,
        views=[_view(report) for report in reports],
        rates=None if first.workload is None else charts.spike_rates(first),
        frames=[(frame, charts.frame_picture(frame)) for frame in framed.frames],
        scores=scored.scores,
        assumptions=assumptions,
        sources=_shared([(report.profile.name, report.sources) for report in reports]),
    )


def _shared(lists: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Each line once, with the profiles it belongs to."""
    found: dict[str, list[str]] = {}
    for name, lines in lists:
        for line in lines:
            owners = found.setdefault(line, [])
            if name not in owners:
                owners.append(name)
    return [(line, tuple(owners)) for line, owners in found.items()]


def _view(report: Report) -> ChipView:
    workload = report.workload
    has_chip = report.static.board_chips > 0
    limited = [name for name in RESOURCES if report.static.utilization.get(name, (0, None))[1] is not None]
    registers = tuple(name for name in limited if name in REGISTER_NAMES)
    energy, note, static = _energy_texts(report)
    step = None if workload is None else workload.step
    return ChipView(
        report=report,
        energy=energy,
        energy_note=note,
        static_energy=static,
        step="" if step is None or step.total is None else format_time(*step.total),
        sample_time="" if step is None or step.sample is None else format_time(*step.sample),
        mesh_load=charts.mesh(report, by_layer=False) if has_chip else "",
        mesh_layers=charts.mesh(report, by_layer=True) if has_chip else "",
        scale=charts.load_scale(report),
        colours=charts.layer_colours(report),
        energy_chart=charts.energy_by_layer(report) if workload and any(e.energy for e in workload.layers) else "",
        registers=tuple(REGISTER_NAMES[name] for name in registers),
        fit=tuple((layer, tuple(_cell(layer, name) for name in registers)) for layer in report.static.layers),
        energy_parts=_energy_parts(report),
        step_parts=_step_parts(report),
    )


def _cell(layer: LayerStatic, resource: str) -> Cell:
    used, limit = layer.utilization.get(resource, (0, None))
    return Cell(share=None if limit is None else used / limit, text=f"{used} of {limit}")


def _energy_texts(report: Report) -> tuple[str, str, str]:
    """(headline energy, what it is, static energy), all for one inference."""
    workload = report.workload
    if workload is None:
        return "", "no run yet", ""
    main = workload.estimates[0]
    static = ""
    if main.static is not None:
        static = format_energy(main.static.low / workload.samples, main.static.high / workload.samples)
    if main.total is None:
        return "not priced", "no operation energy has been published", static
    low, high = (bound / workload.samples for bound in main.total)
    return format_energy(low, high), "dynamic" if report.profile.kind == "chip" else f"arithmetic, {main.label}", static


def _energy_parts(report: Report) -> tuple[tuple[str, float, str], ...]:
    """Priced operations of one inference at their high end, largest first: (name, percent, text)."""
    workload = report.workload
    lines = () if workload is None else workload.estimates[0].lines
    samples = 1 if workload is None else workload.samples
    whole = sum(line.high for line in lines) or 1.0
    return tuple(
        (line.label, 100 * line.high / whole, format_energy(line.low / samples, line.high / samples))
        for line in sorted(lines, key=lambda line: -line.high)
    )


def _step_parts(report: Report) -> tuple[tuple[str, float, str], ...]:
    """Parts of the step time at their high end: (name, percent, text)."""
    step = None if report.workload is None else report.workload.step
    if step is None or step.total is None or step.neuron is None or step.message is None or step.barrier is None:
        return ()
    parts = (("neurons", step.neuron), ("messages", step.message), ("barrier", step.barrier))
    whole = sum(part[1] for _, part in parts) or 1.0
    return tuple((name, 100 * part[1] / whole, format_time(*part)) for name, part in parts)
