"""The mesh with its cores and links as a picture, and the numbers behind it for the slider of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hw_profiles.palette import link_palette, load_palette, number, sequence_colours, shade, svg
from hw_profiles.quantities import format_count, format_energy
from hw_profiles.report import CoreRow, LinkRow, Report

METRICS = (
    ("syn_ops", "synaptic operations"),
    ("spikes_in", "messages in"),
    ("axon_out", "messages out"),
    ("active_updates", "spikes"),
)
"""What the heat map can show, by counter."""

_CELL, _GAP, _MARGIN, _HEAD = 11, 11, 10, 18
_MOST_NUMBERS, _MOST_STEPS = 400_000, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """Where chips, tiles and cores lie."""

    report: Report
    side: int
    tile_width: int
    tile_height: int
    chip_width: int
    chip_height: int
    per_row: int

    @classmethod
    def of(cls, report: Report) -> _Sheet:
        facts = report.profile
        side = math.ceil(math.sqrt(facts.cores_per_tile))
        tall = math.ceil(facts.cores_per_tile / side)
        tile_width, tile_height = side * _CELL + _GAP, tall * _CELL + _GAP
        return cls(
            report=report,
            side=side,
            tile_width=tile_width,
            tile_height=tile_height,
            chip_width=facts.mesh_columns * tile_width + 2 * _MARGIN - _GAP,
            chip_height=facts.mesh_rows * tile_height + 2 * _MARGIN - _GAP,
            per_row=min(2 if report.static.chips <= 4 else 4, max(report.static.chips, 1)),
        )

    @property
    def size(self) -> tuple[int, int]:
        rows = math.ceil(self.report.static.chips / self.per_row)
        return self.per_row * (self.chip_width + _GAP) - _GAP, rows * (self.chip_height + _HEAD)

    def chip(self, chip: int) -> tuple[int, int]:
        """Left and top of a chip."""
        left = chip % self.per_row * (self.chip_width + _GAP)
        return left, chip // self.per_row * (self.chip_height + _HEAD) + _HEAD

    def tile(self, chip: int, x: int, y: int) -> tuple[int, int]:
        """Left and top of a tile."""
        left, top = self.chip(chip)
        return left + _MARGIN + x * self.tile_width, top + _MARGIN + y * self.tile_height

    def core(self, chip: int, x: int, y: int, place: int) -> tuple[int, int]:
        """Left and top of a core, `place` its number within its tile."""
        left, top = self.tile(chip, x, y)
        return left + place % self.side * _CELL, top + place // self.side * _CELL

    def link(self, link: LinkRow) -> tuple[float, float, float, float]:
        """A bar in the gap that the link crosses: left, top, width, height."""
        columns = self.report.profile.mesh_columns
        left, top = self.tile(link.chip, link.column % columns, link.row)
        wide, tall = self.tile_width - _GAP, self.tile_height - _GAP
        match link.direction:
            case "east":
                return left + wide, top + tall / 2 - 4.2, _GAP - 1, 2.6
            case "west":
                return left - _GAP, top + tall / 2 + 1.2, _GAP - 1, 2.6
            case "south":
                return left + wide / 2 + 1.2, top + tall, 2.6, _GAP - 1
            case _:
                return left + wide / 2 - 4.2, top - _GAP, 2.6, _GAP - 1


def mean_loads(report: Report, counter: str) -> list[float]:
    """What each core did per step, in the order of the report's cores; without a run, its neurons."""
    workload = report.workload
    if workload is None:
        return [float(core.registers.get("neurons", 0)) for core in report.cores]
    runs = workload.samples * workload.steps
    if counter in (report.cores[0].counters if report.cores else {}):
        return [core.counters[counter] / runs for core in report.cores]
    if report.steps is None:
        return []
    totals = getattr(report.steps, counter).sum(axis=1)
    return [float(totals[core.core]) / runs for core in report.cores]


def mesh(report: Report, *, by_layer: bool) -> str:
    """The chips in use as inline SVG, a square for each core: coloured by load, or by the layer that sits there.

    Every square carries its core's figures as a tooltip; unused cores are hollow. Links are bars between tiles.
    """
    facts, sheet = report.profile, _Sheet.of(report)
    load_name = "neurons" if report.workload is None else "synaptic operations per step"
    loads = mean_loads(report, METRICS[0][0])
    most = max(loads, default=0.0)
    content: list[str] = []
    used = {(core.chip, core.x, core.y) for core in report.cores}
    places = _places(report)
    held = {(core.chip, core.x, core.y, places[core.core]) for core in report.cores}
    for chip in range(report.static.chips):
        left, top = sheet.chip(chip)
        content.append(f'<text x="{left + 2}" y="{top - 5}">chip {chip}</text>')
        content.append(
            f'<rect class="chip" x="{left}" y="{top}" width="{sheet.chip_width}" height="{sheet.chip_height}" rx="6"/>'
        )
        hollow = "".join(
            "M{} {}h{}v{}h-{}z".format(*sheet.core(chip, x, y, place), _CELL - 1, _CELL - 1, _CELL - 1)
            for y in range(facts.mesh_rows)
            for x in range(facts.mesh_columns)
            for place in range(facts.cores_per_tile)
            if (chip, x, y, place) not in held and _exists(report, x, y, place)
        )
        content.append(f'<path class="unused" d="{hollow}"/>')
    if not by_layer:
        content += _links(report, sheet)
    if by_layer:
        content += _layers(report, sheet, places)
    for index, core in enumerate(() if by_layer else report.cores):
        x, y = sheet.core(core.chip, core.x, core.y, places[core.core])
        content.append(
            f'<rect class="core" x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
            f'fill="{shade(loads[index], most, load_palette())}">'
            f"<title>{escape(_tooltip(core, loads[index], load_name, report))}</title></rect>"
        )
    what = "layers on cores" if by_layer else f"{load_name} of each core, {len(used)} tiles in use"
    width, height = sheet.size
    extra = f' style="max-width:{min(1000, 2 * width) if not by_layer else min(760, 2 * width)}px"'
    return svg(width, height, what, content, kind="mesh", extra=extra)


def _layers(report: Report, sheet: _Sheet, places: dict[int, int]) -> list[str]:
    """One shape for each layer: all its cores."""
    side = _CELL - 1
    squares: dict[str, list[str]] = {}
    for core in report.cores:
        x, y = sheet.core(core.chip, core.x, core.y, places[core.core])
        squares.setdefault(core.population, []).append(f"M{x} {y}h{side}v{side}h-{side}z")
    return [
        f'<path class="layer" fill="{colour}" d="{"".join(squares[name])}"><title>{escape(name)}: {len(squares[name])} '
        "cores</title></path>"
        for name, colour in layer_colours(report).items()
        if name in squares
    ]


def _exists(report: Report, x: int, y: int, place: int) -> bool:
    """A chip may have fewer cores than its mesh has room for; the last tiles lack them."""
    facts = report.profile
    return (y * facts.mesh_columns + x) * facts.cores_per_tile + place < facts.cores_per_chip


def _places(report: Report) -> dict[int, int]:
    """Number of each core within its tile."""
    found: dict[int, int] = {}
    filled: dict[tuple[int, int, int], int] = {}
    for core in report.cores:
        key = (core.chip, core.x, core.y)
        found[core.core] = filled.get(key, 0)
        filled[key] = found[core.core] + 1
    return found


def _links(report: Report, sheet: _Sheet) -> list[str]:
    most = max((link.messages for link in report.links), default=0)
    runs = 1 if report.workload is None else report.workload.samples * report.workload.steps
    content: list[str] = []
    for index, link in enumerate(report.links):
        x, y, wide, tall = (number(value) for value in sheet.link(link))
        text = (
            f"tile ({link.column},{link.row}) {link.direction}: {format_count(link.messages / runs)} messages per step"
        )
        content.append(
            f'<rect class="link" data-link="{index}" x="{x}" y="{y}" width="{wide}" height="{tall}" '
            f'fill="{shade(link.messages, most, link_palette())}"><title>{text}</title></rect>'
        )
    return content


def _tooltip(core: CoreRow, load: float, load_name: str, report: Report) -> str:
    text = f"core {core.core}, {core.population}: {core.registers.get('neurons', 0)} neurons"
    if core.counters:
        text += f", {format_count(load)} {load_name}"
    if core.energy is not None and report.workload is not None:
        samples = report.workload.samples
        text += f", {format_energy(core.energy[0] / samples, core.energy[1] / samples)} per inference"
    return text


def layer_colours(report: Report) -> dict[str, str]:
    """A colour for each layer, in the network's order."""
    return sequence_colours([layer.population for layer in report.static.layers])


def load_gradient() -> str:
    """CSS gradient over square roots, for the heat map's legend."""
    palette = load_palette()
    return "linear-gradient(90deg, " + ", ".join(palette[round(63 * (step / 16) ** 0.5)] for step in range(17)) + ")"


def link_gradient() -> str:
    """The same for links."""
    palette = link_palette()
    return "linear-gradient(90deg, " + ", ".join(palette[round(31 * (step / 16) ** 0.5)] for step in range(17)) + ")"


def shown_steps(report: Report) -> int:
    """Steps that the page holds; a long run is cut, so that the page stays small."""
    if report.steps is None:
        return 0
    numbers = len(METRICS) * len(report.cores) + len(report.links)
    return min(report.steps.count, _MOST_STEPS, max(_MOST_NUMBERS // max(numbers, 1), 1))


def slider_data(report: Report) -> dict[str, Any]:
    """What the page's script needs: loads of cores and links in the mean and in every step, and what steps wait for."""
    count = shown_steps(report)
    workload = report.workload
    steps, series = report.steps, None if workload is None else workload.step.series
    order = [core.core for core in report.cores]
    layers = [layer.population for layer in report.static.layers]
    runs = 1 if workload is None else workload.samples * workload.steps
    metrics: list[dict[str, Any]] = []
    for counter, name in METRICS:
        mean = mean_loads(report, counter)
        if not mean:
            continue
        each = [] if steps is None else getattr(steps, counter)[order, :count].T.tolist()
        metrics.append({"name": name, "mean": [round(value, 2) for value in mean], "steps": each})
    links: dict[str, Any] = {"mean": [round(link.messages / runs, 2) for link in report.links], "steps": []}
    if steps is not None and steps.links is not None and report.links:
        loads = np.stack([steps.links.loads[k.direction][k.row, k.column, :count] for k in report.links])  # type: ignore[index]
        links["steps"] = loads.T.tolist()
    return {
        "count": count,
        "perSample": 1 if steps is None else steps.steps,
        "metrics": metrics,
        "links": links,
        "layers": layers,
        "cores": [
            [core.core, layers.index(core.population), core.registers.get("neurons", 0)] for core in report.cores
        ],
        "times": [] if series is None else [[series.low[k], series.high[k]] for k in range(count)],
        "waits": [] if series is None else [series.waits(k) for k in range(count)],
    }
