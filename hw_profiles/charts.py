"""Pictures of a report, as text that an HTML page can hold: SVG charts, PNG frames, the mesh with its cores.

The same report gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hw_profiles.frames import Box, Frame
from hw_profiles.quantities import format_count, format_energy
from hw_profiles.report import CoreRow, Report

INK, MUTED, GRID = "#1f2933", "#66727f", "#e3e7eb"
ACCENT, ACCENT_LIGHT, INPUT_COLOUR = "#0f6e84", "#a9d3dc", "#b8c0c8"
TRUTH_COLOUR, DETECTION_COLOUR = "#ffffff", "#ffd23f"

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "basalt",
    "svg.fonttype": "path",
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "text.color": INK,
}


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return _data_uri("image/svg+xml", buffer.getvalue())


def _bar_axes(rows: int, width: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, 0.26 * rows + 0.75), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylim(rows - 0.4, -0.6)
    return figure, axes


def spike_rates(report: Report) -> str:
    """Bars of spikes per neuron and step, one for each layer; the input in grey. A data URI (SVG)."""
    layers = [] if report.workload is None else [entry for entry in report.workload.layers if entry.rate is not None]
    with mpl.rc_context(_STYLE):
        figure, axes = _bar_axes(len(layers), 6.4)
        inputs = {entry.population for entry in layers} - {entry.population for entry in report.static.layers}
        rates = [100 * (entry.rate or 0.0) for entry in layers]
        colours = [INPUT_COLOUR if entry.population in inputs else ACCENT for entry in layers]
        axes.barh(range(len(layers)), rates, color=colours, height=0.68)
        for row, rate in enumerate(rates):
            axes.text(rate, row, f" {rate:.3g} %", va="center", ha="left", fontsize=8, color=MUTED)
        axes.set_yticks(range(len(layers)), [entry.population for entry in layers], parse_math=False)
        axes.set_xlim(0, max([*rates, 1e-3]) * 1.14)
        axes.set_xlabel("spikes per neuron and step, %")
        return _svg(figure)


def energy_by_layer(report: Report) -> str:
    """Bars of energy per inference, one for each layer: solid the low end, pale up to the high end. SVG data URI."""
    workload = report.workload
    layers = [] if workload is None else [(e.population, e.energy) for e in workload.layers if e.energy is not None]
    samples = 1 if workload is None else workload.samples
    low = [energy[0] / samples for _, energy in layers]
    high = [energy[1] / samples for _, energy in layers]
    factor, unit = _energy_unit(max([*high, 1.0]))
    with mpl.rc_context(_STYLE):
        figure, axes = _bar_axes(len(layers), 6.4)
        rows = range(len(layers))
        ranged = any(a != b for a, b in zip(low, high, strict=True))
        axes.barh(rows, [value / factor for value in high], color=ACCENT_LIGHT, height=0.68)
        axes.barh(rows, [value / factor for value in low], color=ACCENT, height=0.68)
        for row, (a, b) in enumerate(zip(low, high, strict=True)):
            axes.text(b / factor, row, f" {format_energy(a, b)}", va="center", ha="left", fontsize=8, color=MUTED)
        axes.set_yticks(rows, [name for name, _ in layers], parse_math=False)
        axes.set_xlim(0, max([*high, 1.0]) / factor * 1.24)
        axes.set_xlabel(f"{unit} per inference" + (" (solid: low, pale: high)" if ranged else ""))
        return _svg(figure)


def _energy_unit(largest: float) -> tuple[float, str]:
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ")):
        if largest >= factor:
            return factor, unit
    return 1.0, "pJ"


def frame_picture(frame: Frame) -> str:
    """One frame with its truth (white, dashed) and detections (yellow, with scores), as a PNG data URI."""
    height, width = frame.picture.shape[:2]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 4.8 * height / width), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(frame.picture, interpolation="nearest", aspect="auto", extent=(0, width, height, 0))
        for box in frame.truth:
            _draw(axes, box, TRUTH_COLOUR, (0, (3, 2)), 1.3, (width, height))
        for box in frame.detections:
            _draw(axes, box, DETECTION_COLOUR, "-", 1.8, (width, height))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        buffer = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return _data_uri("image/png", buffer.getvalue())


def _draw(axes: Any, box: Box, colour: str, style: Any, line: float, limits: tuple[int, int]) -> None:
    axes.add_patch(
        Rectangle((box.x, box.y), box.w, box.h, fill=False, edgecolor=colour, linestyle=style, linewidth=line)
    )
    if box.score is None:
        return
    axes.text(
        min(max(box.x, 0), limits[0] * 0.84),
        max(box.y, limits[1] * 0.06),
        f"{box.label} {box.score:.2f}",
        color="#111111",
        fontsize=8,
        va="bottom",
        parse_math=False,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
    )


# -- the mesh ------------------------------------------------------------------------------------------------------

_CELL, _GAP, _MARGIN = 10, 4, 6


def layer_colours(report: Report) -> dict[str, str]:
    """A colour for each layer, in the network's order."""
    names = [layer.population for layer in report.static.layers]
    colours = mpl.colormaps["turbo"]
    return {name: to_hex(colours(0.06 + 0.88 * index / max(len(names) - 1, 1))) for index, name in enumerate(names)}


def core_load(report: Report) -> tuple[str, Callable[[CoreRow], float]]:
    """What the heat map shows: synaptic operations per step of a run; without a run, neurons."""
    workload = report.workload
    if workload is None:
        return "neurons", lambda core: float(core.registers.get("neurons", 0))
    runs = workload.samples * workload.steps
    return "synaptic operations per step", lambda core: core.counters["syn_ops"] / runs


def mesh(report: Report, *, by_layer: bool) -> str:
    """The chips in use as inline SVG, a square for each core: coloured by load, or by the layer that sits there.

    The colour of a load grows with its square root, so that quiet cores stay apart from silent ones.
    Every square carries its core's figures as a tooltip; unused cores are hollow.
    """
    facts = report.profile
    side = math.ceil(math.sqrt(facts.cores_per_tile))
    tall = math.ceil(facts.cores_per_tile / side)
    tile_w, tile_h = side * _CELL + _GAP, tall * _CELL + _GAP
    chip_w, chip_h = facts.mesh_columns * tile_w + 2 * _MARGIN, facts.mesh_rows * tile_h + 2 * _MARGIN
    per_row = min(2 if report.static.chips <= 4 else 4, max(report.static.chips, 1))
    chip_rows = math.ceil(report.static.chips / per_row)
    width, height = per_row * (chip_w + 10), chip_rows * (chip_h + 24)
    load_name, load = core_load(report)
    most = max((load(core) for core in report.cores), default=0.0) or 1.0
    shades, colours = mpl.colormaps["cividis"], layer_colours(report)
    held = {core.core: core for core in report.cores}
    samples = 1 if report.workload is None else report.workload.samples
    parts = [
        f'<svg class="mesh" viewBox="0 0 {width} {height}" style="max-width:{min(560, 2 * width)}px" role="img" '
        f'aria-label="{"layers on cores" if by_layer else escape(load_name) + " of each core"}">'
    ]
    for chip in range(report.static.chips):
        left, top = chip % per_row * (chip_w + 10), chip // per_row * (chip_h + 24) + 16
        parts.append(f'<text x="{left + 2}" y="{top - 4}">chip {chip}</text>')
        parts.append(f'<rect class="chip" x="{left}" y="{top}" width="{chip_w}" height="{chip_h}" rx="6"/>')
        for local in range(facts.cores_per_chip):
            tile, place = local // facts.cores_per_tile, local % facts.cores_per_tile
            x = left + _MARGIN + tile % facts.mesh_columns * tile_w + _GAP // 2 + place % side * _CELL
            y = top + _MARGIN + tile // facts.mesh_columns * tile_h + _GAP // 2 + place // side * _CELL
            core = held.get(chip * facts.cores_per_chip + local)
            square = f'<rect x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}"'
            if core is None:
                parts.append(f'{square} class="unused"/>')
                continue
            fill = colours[core.population] if by_layer else to_hex(shades(math.sqrt(load(core) / most)))
            parts.append(
                f'{square} fill="{fill}"><title>{escape(_tooltip(core, load_name, load, samples))}</title></rect>'
            )
    parts.append("</svg>")
    return "".join(parts)


def _tooltip(core: CoreRow, load_name: str, load: Callable[[CoreRow], float], samples: int) -> str:
    text = f"core {core.core}, {core.population}: {core.registers.get('neurons', 0)} neurons"
    if core.counters:
        text += f", {format_count(load(core))} {load_name}"
    if core.energy is not None:
        text += f", {format_energy(core.energy[0] / samples, core.energy[1] / samples)} per inference"
    return text


def load_scale(report: Report) -> tuple[str, str, str]:
    """(CSS gradient over square roots, text of the largest value, what it is) for the heat map's legend."""
    name, load = core_load(report)
    shades = mpl.colormaps["cividis"]
    stops = ", ".join(to_hex(shades(math.sqrt(step / 16))) for step in range(17))
    most = max((load(core) for core in report.cores), default=0.0)
    return f"linear-gradient(90deg, {stops})", format_count(most), name
