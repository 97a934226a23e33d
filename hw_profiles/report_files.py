"""Reports on disk: report.json, cores.csv, report.html; links.csv and, of a probed run, steps.csv and core_steps.csv."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hw_profiles.page import render_page
from hw_profiles.report import COUNTERS, Report, same_run
from hw_profiles.slices import RESOURCES
from netx_export.errors import ProfileError
from netx_export.files import replace_file


def write_report(reports: Report | Sequence[Report], folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write `report.json`, `cores.csv` and `report.html` of one run, on one or several profiles, into `folder`.

    A mesh adds `links.csv`, a probed run `steps.csv` and `core_steps.csv`; such files of an earlier report go. Returns
    the paths in this order. Raises ProfileError for reports of different runs, before anything is written.
    """
    chosen = (reports,) if isinstance(reports, Report) else tuple(reports)
    same_run(chosen)
    page = render_page(chosen)
    target = Path(folder)
    paths = [target / "report.json", target / "cores.csv", target / "report.html"]
    with replace_file(paths[0]) as temporary:
        temporary.write_text(to_json(chosen), encoding="utf-8")
    with replace_file(paths[1]) as temporary:
        _write_csv(temporary, _CORE_HEAD, _core_lines(chosen))
    with replace_file(paths[2]) as temporary:
        temporary.write_text(page, encoding="utf-8")
    for name, head, lines, wanted in (
        ("links.csv", _LINK_HEAD, _link_lines(chosen), any(report.links for report in chosen)),
        ("steps.csv", _STEP_HEAD, _step_lines(chosen), any(report.steps is not None for report in chosen)),
        ("core_steps.csv", _CORE_STEP_HEAD, _core_step_lines(chosen), any(r.steps is not None for r in chosen)),
    ):
        if not wanted:
            (target / name).unlink(missing_ok=True)
            continue
        paths.append(target / name)
        with replace_file(paths[-1]) as temporary:
            _write_csv(temporary, head, lines)
    return tuple(paths)


def to_json(reports: Sequence[Report]) -> str:
    """`{"reports": [...]}`; energies in pJ and times in ns for the whole run, frames left out."""
    return json.dumps({"reports": [_encode(report) for report in reports]}, indent=1) + "\n"


def from_json(text: str) -> tuple[Report, ...]:
    """The reports that `to_json` wrote, without frames; ProfileError for anything else."""
    try:
        return tuple(_decode(Report, entry) for entry in json.loads(text)["reports"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ProfileError(f"This is no report.json of this version ({error}); write it again.") from None


def read_report(path: str | os.PathLike[str]) -> tuple[Report, ...]:
    """The reports of a report.json; ProfileError names a file that is none."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read ({error}); give a report.json.") from None
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from None


_PLAIN: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (float, int), bool: (bool,)}


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            entry.name: _encode(getattr(value, entry.name))
            for entry in dataclasses.fields(value)
            if entry.metadata.get("json", True)
        }
    if isinstance(value, dict):
        return {key: _encode(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_encode(entry) for entry in value]
    return value


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        stored = [entry for entry in dataclasses.fields(kind) if entry.metadata.get("json", True)]
        return kind(**{entry.name: _decode(hints[entry.name], value[entry.name]) for entry in stored})
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _decode(next(entry for entry in arguments if entry is not type(None)), value)
    if origin is dict:
        return {key: _decode(arguments[1], entry) for key, entry in value.items()}
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_decode(one, entry) for one, entry in zip(kinds, value, strict=True))
    if kind in _PLAIN and type(value) not in _PLAIN[kind]:
        raise TypeError(f"{value!r} stands where {kind.__name__} is expected")
    return value


_CORE_HEAD = (
    *("profile", "board", "core", "chip", "tile", "x", "y", "population", "source", "channels", "rows", "columns"),
    *(f"{name}_{end}" for name in RESOURCES for end in ("used", "max")),
    *COUNTERS,
    *("energy_low_pJ", "energy_high_pJ"),
)
_LINK_HEAD = ("profile", "board", "chip", "column", "row", "direction", "messages")
_STEP_HEAD = (
    *("profile", "board", "step", "sample", "spikes", "syn_ops", "messages", "hops"),
    *("time_low_ns", "time_high_ns", "neuron_ns", "message_ns", "link_ns", "waits_for", "at"),
)
_STEP_COUNTERS = ("spikes_in", "axon_out", "syn_ops", "active_updates")
_CORE_STEP_HEAD = ("profile", "board", "step", "core", *_STEP_COUNTERS)

Lines = Iterator[list[object]]


def _write_csv(path: Path, head: Sequence[str], lines: Lines) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(lines)


def _core_lines(reports: Sequence[Report]) -> Lines:
    """One line for each core of each chip profile; empty where a figure does not exist."""
    for report in reports:
        source = {layer.population: layer.source for layer in report.static.layers}
        limits = {name: limit for name, (_, limit) in report.static.utilization.items()}
        for core in report.cores:
            row: list[object] = [report.profile.name, report.profile.board, core.core, core.chip, core.tile]
            row += [core.x, core.y, core.population, source[core.population]]
            row += [f"{start}:{stop}" for start, stop in (core.channels, core.rows, core.columns)]
            for name in RESOURCES:
                limit = limits.get(name)
                row += [core.registers.get(name, ""), "" if limit is None else limit]
            row += [core.counters.get(name, "") for name in COUNTERS]
            row += ["", ""] if core.energy is None else [f"{core.energy[0]:.6g}", f"{core.energy[1]:.6g}"]
            yield row


def _link_lines(reports: Sequence[Report]) -> Lines:
    for report in reports:
        for link in report.links:
            yield [
                *(report.profile.name, report.profile.board, link.chip),
                *(link.column, link.row, link.direction, link.messages),
            ]


def _step_lines(reports: Sequence[Report]) -> Lines:
    """One line for each step; times are empty where the profile has none."""
    for report in reports:
        steps = report.steps
        if steps is None:
            continue
        series = None if report.workload is None else report.workload.step.series
        spikes = np.sum(list(steps.spikes.values()), axis=0)
        hops = np.zeros(steps.count, np.int64)
        if steps.links is not None:
            hops = np.sum([load.sum(axis=(0, 1)) for load in steps.links.loads.values()], axis=0)
        totals = [spikes, steps.syn_ops.sum(axis=0), steps.spikes_in.sum(axis=0), hops]
        for step in range(steps.count):
            row: list[object] = [report.profile.name, report.profile.board, step, step // steps.steps]
            row += [int(total[step]) for total in totals]
            if series is None:
                row += [""] * 7
            else:
                row += [series.low[step], series.high[step], series.neuron[step], series.message[step]]
                row += [series.link[step], series.binding[step], series.place[step]]
            yield row


def _core_step_lines(reports: Sequence[Report]) -> Lines:
    """One line for each core and step in which something happened; every core updates its neurons in every step."""
    for report in reports:
        steps = report.steps
        if steps is None:
            continue
        counts = np.stack([getattr(steps, name) for name in _STEP_COUNTERS])
        for step in range(steps.count):
            for core in np.flatnonzero(counts[:, :, step].any(axis=0)):
                yield [report.profile.name, report.profile.board, step, int(core), *counts[:, core, step].tolist()]
