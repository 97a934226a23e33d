"""Reports on disk: report.json, cores.csv, report.html."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hw_profiles.page import render_page
from hw_profiles.report import COUNTERS, Report, same_run
from hw_profiles.slices import RESOURCES
from netx_export.errors import ProfileError
from netx_export.files import replace_file


def write_report(reports: Report | Sequence[Report], folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
    """Write `report.json`, `cores.csv` and `report.html` of one run, on one or several profiles, into `folder`.

    Returns the three paths. Raises ProfileError for reports of different runs, before anything is written.
    """
    chosen = (reports,) if isinstance(reports, Report) else tuple(reports)
    same_run(chosen)
    page = render_page(chosen)
    target = Path(folder)
    paths = (target / "report.json", target / "cores.csv", target / "report.html")
    with replace_file(paths[0]) as temporary:
        temporary.write_text(to_json(chosen), encoding="utf-8")
    with replace_file(paths[1]) as temporary:
        _write_cores(chosen, temporary)
    with replace_file(paths[2]) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return paths


def to_json(reports: Sequence[Report]) -> str:
    """`{"reports": [...]}`; energies in pJ and times in ns for the whole run, frames left out."""
    return json.dumps({"reports": [_encode(report) for report in reports]}, indent=1) + "\n"


def from_json(text: str) -> tuple[Report, ...]:
    """The reports that `to_json` wrote, without frames; ProfileError for anything else."""
    try:
        return tuple(_decode(Report, entry) for entry in json.loads(text)["reports"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"This is no report.json of this version ({error}); write it again.") from None


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
    return value


def _write_cores(reports: Sequence[Report], path: Path) -> None:
    """One line for each core of each chip profile; empty where a figure does not exist."""
    head = ["profile", "board", "core", "chip", "tile", "x", "y", "population", "source"]
    head += ["channels", "rows", "columns"]
    head += [f"{name}_{end}" for name in RESOURCES for end in ("used", "max")]
    head += [*COUNTERS, "energy_low_pJ", "energy_high_pJ"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
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
                writer.writerow(row)
