"""Pictures of a report as text that an HTML page can hold: bars, rasters, steps as SVG; event frames as PNG.

The same report gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hw_profiles.comparison import Group
from hw_profiles.frames import Box, Frame
from hw_profiles.latency import StepSeries
from hw_profiles.palette import (
    ACCENT,
    INPUT_COLOUR,
    PART_COLOURS,
    TERM_COLOURS,
    label,
    nice_ticks,
    number,
    sequence_colours,
    svg,
)
from hw_profiles.quantities import format_energy, format_time
from hw_profiles.report import Report

TRUTH_COLOUR, DETECTION_COLOUR = "#ffffff", "#ffd23f"

_RASTER_LINES = 130
_LABELS, _VALUES, _WIDTH, _ROW = 150, 104, 560, 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: parts (value, colour, tooltip) laid end to end, a mark at `low`, and `text` behind them."""

    name: str
    parts: tuple[tuple[float, str, str], ...]
    text: str
    low: float | None = None


def bars(rows: Sequence[Bar], what: str, *, width: float = _WIDTH) -> str:
    """Horizontal bars, one for each row, on one scale."""
    most = max((sum(value for value, _, _ in row.parts) for row in rows), default=0.0) or 1.0
    room = width - _LABELS - _VALUES
    content: list[str] = [f'<line class="axis" x1="{_LABELS}" x2="{_LABELS}" y1="2" y2="{len(rows) * _ROW + 2}"/>']
    for index, row in enumerate(rows):
        y, x = index * _ROW + 4, float(_LABELS)
        content.append(
            f'<text class="name" x="{_LABELS - 8}" y="{y + 13}">{label(row.name, 22)}<title>{escape(row.name)}</title></text>'
        )
        for value, colour, title in row.parts:
            wide = value / most * room
            if wide > 0:
                content.append(
                    f'<rect x="{number(x)}" y="{y}" width="{number(max(wide, 0.4))}" height="{_ROW - 6}" fill="{colour}">'
                    f"<title>{escape(title)}</title></rect>"
                )
            x += wide
        if row.low is not None:
            mark = _LABELS + row.low / most * room
            content.append(f'<path class="low" d="M{number(mark)} {y - 2}v{_ROW - 2}"/>')
        content.append(f'<text class="value" x="{number(x + 7)}" y="{y + 13}">{escape(row.text)}</text>')
    return svg(width, len(rows) * _ROW + 6, what, content)


def spike_rates(report: Report) -> str:
    """Bars of spikes per neuron and step, one for each layer; the input in grey."""
    layers = [] if report.workload is None else [entry for entry in report.workload.layers if entry.rate is not None]
    inner = {entry.population for entry in report.static.layers}
    rows = [
        Bar(
            name=entry.population,
            parts=((entry.rate or 0.0, ACCENT if entry.population in inner else INPUT_COLOUR, entry.population),),
            text=f"{100 * (entry.rate or 0.0):.3g} %",
        )
        for entry in layers
    ]
    return bars(rows, "Bars: spikes per neuron and step of each layer")


def energy_by_layer(report: Report) -> str:
    """Bars of energy per inference at the high end, one for each layer, by operation; a mark at the low end."""
    workload = report.workload
    if workload is None:
        return ""
    main, samples = workload.estimates[0], workload.samples
    names = {line.term: line.label for line in main.lines}
    rows = []
    for name, (low, high) in main.per_population.items():
        parts = tuple(
            (bounds[1] / samples, TERM_COLOURS.get(term, "#999999"), f"{names.get(term, term)}: {energy}")
            for term, bounds in main.population_terms.get(name, {}).items()
            if (energy := format_energy(bounds[0] / samples, bounds[1] / samples))
        )
        rows.append(
            Bar(
                name=name,
                parts=parts,
                text=format_energy(low / samples, high / samples),
                low=low / samples if low != high else None,
            )
        )
    return bars(rows, "Bars: energy per inference of each layer, by operation")


def energy_of_columns(group: Group) -> str:
    """Bars of energy per inference of the runs of one estimator; empty where none has a price."""
    rows = [
        Bar(
            name=column.name,
            parts=((column.energy[1], ACCENT, column.name),),
            text=format_energy(*column.energy),
            low=column.energy[0] if column.energy[0] != column.energy[1] else None,
        )
        for column in group.columns
        if column.energy is not None
    ]
    return bars(rows, f"Bars: energy per inference by {group.estimator}", width=1000) if rows else ""


# -- rasters -------------------------------------------------------------------------------------------------------


def raster(report: Report, most_steps: int = 400) -> str:
    """Spikes of a few neurons of each population over the steps of the run."""
    steps = report.steps
    if steps is None:
        return ""
    held = {name: spikes[:, :most_steps] for name, spikes in steps.shown.items() if len(spikes)}
    # Deep networks show fewer neurons of each population, so that the picture stays on one page.
    lines = max(3, _RASTER_LINES // max(len(held), 1))
    shown = {name: spikes[:: -(-len(spikes) // lines)] for name, spikes in held.items()}
    colours = sequence_colours(list(shown))
    count = min(steps.count, most_steps)
    width, left = 1100.0, 150.0
    column, line, gap = (width - left - 6) / max(count, 1), 3.6, 8.0
    content: list[str] = []
    y = 4.0
    for name, spikes in shown.items():
        tall = len(spikes) * line
        content.append(
            f'<rect class="lane" x="{left}" y="{number(y)}" width="{number(count * column)}" height="{number(tall)}"/>'
        )
        middle = y + tall / 2 + 4
        content.append(
            f'<text class="name" x="{left - 8}" y="{number(middle)}">{label(name, 22)}<title>{escape(name)}</title></text>'
        )
        marks = "".join(
            f"M{number(left + step * column + column * 0.12)} {number(y + row * line + 0.6)}h{number(column * 0.76)}"
            for row, step in zip(*np.nonzero(spikes), strict=True)
        )
        if marks:
            content.append(f'<path d="{marks}" stroke="{colours[name]}" stroke-width="{number(line - 1)}"/>')
        y += tall + gap
    content += _sample_lines(count, steps.steps, left, column, y - gap)
    content.append(
        f'<rect class="cursor" x="{left}" y="0" width="{number(column)}" height="{number(y - gap)}" data-left="{left}" data-step="{number(column)}" visibility="hidden"/>'
    )
    content += _step_axis(count, left, column, y + 6)
    what = f"Raster: spikes of a few neurons of each population in {count} steps"
    return svg(width, y + 26, what, content, kind="chart raster")


def _sample_lines(count: int, steps: int, left: float, column: float, bottom: float) -> list[str]:
    """A line where each sample begins."""
    return [
        f'<path class="sample" d="M{number(left + start * column)} 0v{number(bottom)}"/>'
        for start in range(steps, count, steps)
    ]


def _step_axis(count: int, left: float, column: float, y: float) -> list[str]:
    ticks = [int(tick) for tick in nice_ticks(count, 10) if tick == int(tick) and tick >= 1]
    content = [
        f'<text class="tick" x="{number(left + (tick - 0.5) * column)}" y="{number(y + 8)}">{tick}</text>'
        for tick in ticks
    ]
    content.append(f'<text class="name" x="{left - 8}" y="{number(y + 8)}">step</text>')
    return content


def step_times(series: StepSeries, barrier: float, steps: int, most_steps: int = 400) -> str:
    """Columns of time, one for each step at the high end: what the slowest core does, the barrier, links as a line."""
    count = min(len(series.high), most_steps)
    width, left, tall = 1100.0, 150.0, 170.0
    column = (width - left - 6) / max(count, 1)
    most = max(max(series.high[:count]), 1.0)
    content: list[str] = []
    for tick in nice_ticks(most):
        y = tall + 6 - tick / most * tall
        content.append(f'<path class="grid" d="M{left} {number(y)}H{width - 6}"/>')
        if tick:
            content.append(f'<text class="name" x="{left - 8}" y="{number(y + 4)}">{format_time(tick)}</text>')
    for step in range(count):
        x = left + step * column
        title = f"step {step + 1}: {format_time(series.low[step], series.high[step])}, waits for {series.waits(step)}"
        content.append(f"<g><title>{escape(title)}</title>")
        base = tall + 6
        body = max(series.neuron[step] + series.message[step], series.link[step])
        rest = body - series.neuron[step] - series.message[step]
        stack = (
            ("neurons", series.neuron[step]),
            ("messages", series.message[step]),
            ("link", rest),
            ("barrier", barrier),
        )
        for name, value in stack:
            high = value / most * tall
            if high <= 0:
                continue
            base -= high
            content.append(
                f'<rect x="{number(x + column * 0.08)}" y="{number(base)}" width="{number(column * 0.84)}" '
                f'height="{number(high)}" fill="{PART_COLOURS[name]}"/>'
            )
        content.append("</g>")
    content += _sample_lines(count, steps, left, column, tall + 6)
    content.append(
        f'<rect class="cursor" x="{left}" y="0" width="{number(column)}" height="{tall + 6}" data-left="{left}" data-step="{number(column)}" visibility="hidden"/>'
    )
    content += _step_axis(count, left, column, tall + 14)
    return svg(width, tall + 36, f"Columns: time of each of {count} steps and what it is spent on", content)


# -- frames --------------------------------------------------------------------------------------------------------


def frame_picture(frame: Frame) -> str:
    """One frame with its truth (white, dashed) and detections (yellow, with scores), as a PNG data URI."""
    height, width = frame.picture.shape[:2]
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
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
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


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
