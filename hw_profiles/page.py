"""The report as one self-contained HTML page: nothing beside it, nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from hw_profiles import charts
from hw_profiles.comparison import compare_reports
from hw_profiles.mesh_picture import (
    layer_colours,
    link_gradient,
    load_gradient,
    mean_loads,
    mesh,
    shown_steps,
    slider_data,
)
from hw_profiles.palette import PART_COLOURS, TERM_COLOURS, link_palette, load_palette
from hw_profiles.quantities import format_count, format_energy, format_time
from hw_profiles.report import Report, same_run
from hw_profiles.slices import RESOURCES
from hw_profiles.static_part import LayerStatic

TEMPLATES = Path(__file__).parent

REGISTER_NAMES = {
    "neurons": "Neurons",
    "neuron_groups": "NeuronGr",
    "synapse_memory": "Synapses",
    "axon_in": "AxonIn",
    "output_edges": "AxonOut",
    "axon_map": "AxonMap",
    "axon_memory": "AxonMem",
}
"""The vendor's word for each register; what it has no word for goes by its own name."""

_PROBE_HINT = "Rasters were not recorded, so steps are not shown one by one: run with --probe all to see them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of the fit table: share of the limit (None where there is no limit), and both numbers as text."""

    share: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A share of a whole, with its colour."""

    name: str
    percent: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipView:
    """What the template shows of one profile."""

    report: Report
    anchor: str
    energy: str
    energy_note: str
    static_energy: str
    step: str
    sample_time: str
    latency: str
    bound_by: str
    slowest_layer: str
    mesh_load: str
    mesh_layers: str
    load_gradient: str
    link_gradient: str
    most: str
    link_most: str
    colours: dict[str, str]
    data: dict[str, Any]
    json: str
    cut: str
    energy_chart: str
    step_chart: str
    registers: tuple[str, ...]
    fit: tuple[tuple[LayerStatic, tuple[Cell, ...]], ...]
    energy_parts: tuple[Part, ...]
    step_parts: tuple[Part, ...]


def environment() -> jinja2.Environment:
    """Templates of this package, with everything escaped and the filters they use."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = format_count
    made.filters["energy"] = lambda pair: format_energy(*pair)
    made.filters["plain"] = plain_range
    made.filters["percent"] = percent_range
    return made


def plain_range(pair: tuple[float, float]) -> str:
    """Two numbers as one where they read the same."""
    low, high = (f"{value:.4g}" for value in pair)
    return low if low == high else f"{low} to {high}"


def percent_range(pair: tuple[float, float]) -> str:
    """Two shares as signed percentages."""
    low, high = (f"{100 * value:+.0f} %" for value in pair)
    return low if low == high else f"{low} to {high}"


def render_page(reports: Sequence[Report]) -> str:
    """The page of one run on one or several profiles; ProfileError for reports of different runs."""
    same_run(reports)
    first = reports[0]
    framed = next((report for report in reports if report.frames), first)
    scored = next((report for report in reports if report.scores), first)
    probed = next((report for report in reports if report.steps is not None), first)
    calibrations = [(r.profile.name, r.calibration) for r in reports if r.calibration is not None]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            first=first,
            workload=first.workload,
            notes=[line for line, _ in _shared([("", report.notes) for report in reports])],
            views=[_view(report) for report in reports],
            rates=None if first.workload is None else charts.spike_rates(first),
            raster=charts.raster(probed),
            probe_hint=_PROBE_HINT if any(report.static.board_chips for report in reports) else "",
            frames=[(frame, charts.frame_picture(frame)) for frame in framed.frames],
            scores=scored.scores,
            groups=compare_reports([("", report) for report in reports]),
            calibrations=calibrations,
            calibration_notes=_shared([(name, found.notes) for name, found in calibrations]),
            assumptions=_shared([(view.profile.name, view.assumptions) for view in reports]),
            sources=_shared([(report.profile.name, report.sources) for report in reports]),
            part_colours=PART_COLOURS,
            load_palette=json.dumps(load_palette()),
            link_palette=json.dumps(link_palette()),
        )
    )


def render_comparison(named: Sequence[tuple[str, Report]]) -> str:
    """The page of several runs side by side, each with its name: one section for each estimator."""
    groups = compare_reports(named)
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            names=list(dict.fromkeys(name for name, _ in named)),
            notes=[line for line, _ in _shared([(name, report.notes) for name, report in named])],
            groups=groups,
            pictures=[charts.energy_of_columns(group) for group in groups],
            sources=[line for line, _ in _shared([(name, report.sources) for name, report in named])],
        )
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
    energy, note, static = _energy_texts(report)
    step = None if workload is None else workload.step
    data = slider_data(report) if has_chip else {"count": 0, "metrics": []}
    shown = shown_steps(report)
    total = 0 if report.steps is None else report.steps.count
    series, barrier = (None, None) if step is None else (step.series, step.barrier)
    metric = "neurons" if workload is None else "synaptic operations per step"
    runs = 1 if workload is None else workload.samples * workload.steps
    return ChipView(
        report=report,
        anchor=re.sub(r"[^a-z0-9]+", "-", f"{report.profile.name} {report.profile.board}".lower()).strip("-"),
        energy=energy,
        energy_note=note,
        static_energy=static,
        step="" if step is None or step.total is None else format_time(*step.total),
        sample_time="" if step is None or step.sample is None else format_time(*step.sample),
        latency="" if step is None or step.latency is None else format_time(*step.latency),
        bound_by=", ".join(f"{name} {times}" for name, times in ({} if step is None else step.bound_by).items()),
        slowest_layer=_slowest_layer(report),
        mesh_load=mesh(report, by_layer=False) if has_chip else "",
        mesh_layers=mesh(report, by_layer=True) if has_chip else "",
        load_gradient=load_gradient(),
        link_gradient=link_gradient(),
        most=f"{format_count(max(mean_loads(report, 'syn_ops'), default=0.0))} {metric}" if has_chip else "",
        link_most=f"{format_count(max((k.messages for k in report.links), default=0) / runs)} messages per step",
        colours=layer_colours(report),
        data=data,
        json=_embedded(data),
        cut=f"The first {shown} of {total} steps; all are in steps.csv and core_steps.csv." if shown < total else "",
        energy_chart=charts.energy_by_layer(report) if workload and any(e.energy for e in workload.layers) else "",
        step_chart=""
        if series is None or barrier is None or report.steps is None
        else charts.step_times(series, barrier[1], report.steps.steps, shown),
        registers=tuple(REGISTER_NAMES.get(name, name.replace("_", " ")) for name in limited),
        fit=tuple((layer, tuple(_cell(layer, name) for name in limited)) for layer in report.static.layers),
        energy_parts=_energy_parts(report),
        step_parts=_step_parts(report),
    )


def _embedded(data: dict[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever a layer is called."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _slowest_layer(report: Report) -> str:
    slowest = None if report.workload is None else report.workload.step.slowest
    return next((core.population for core in report.cores if core.core == slowest), "")


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


def _energy_parts(report: Report) -> tuple[Part, ...]:
    """Priced operations of one inference at their high end, largest first."""
    workload = report.workload
    lines = () if workload is None else workload.estimates[0].lines
    samples = 1 if workload is None else workload.samples
    whole = sum(line.high for line in lines) or 1.0
    return tuple(
        Part(
            name=line.label,
            percent=100 * line.high / whole,
            text=format_energy(line.low / samples, line.high / samples),
            colour=TERM_COLOURS.get(line.term, "#999999"),
        )
        for line in sorted(lines, key=lambda line: -line.high)
    )


def _step_parts(report: Report) -> tuple[Part, ...]:
    """Parts of the step time at their high end."""
    step = None if report.workload is None else report.workload.step
    if step is None or step.total is None or step.neuron is None or step.message is None or step.barrier is None:
        return ()
    parts = (("neurons", step.neuron), ("messages", step.message), ("barrier", step.barrier))
    whole = sum(part[1] for _, part in parts) or 1.0
    return tuple(
        Part(name=name, percent=100 * part[1] / whole, text=format_time(*part), colour=PART_COLOURS[name])
        for name, part in parts
    )
