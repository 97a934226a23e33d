"""Several runs or chips side by side: one table for each estimator, for energies of different estimators do not compare."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hw_profiles.quantities import format_count, format_energy, format_time
from hw_profiles.report import Report
from netx_export.errors import ProfileError
from netx_export.files import replace_file

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One run on one profile, energies in pJ and times in ns for one inference; None where nobody published a price."""

    name: str
    run: str
    profile: str
    board: str
    precision: str
    cores: int | None
    chips: int | None
    spikes: float | None
    rate: float | None
    syn_ops: float | None
    energy: Range | None
    static: Range | None
    step: Range | None
    sample: Range | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns of one estimator, and the rows of their table as text."""

    estimator: str
    includes: str
    reason: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def compare_reports(named: Sequence[tuple[str, Report]]) -> tuple[Group, ...]:
    """One group for each estimator and precision, in the order given; names of runs may be empty."""
    if not named:
        raise ProfileError("No report was given to compare; give at least one.")
    groups: dict[tuple[str, str], list[Column]] = {}
    includes: dict[tuple[str, str], str] = {}
    for name, report in named:
        for precision, column in _columns(name, report):
            key = (report.profile.estimator, precision)
            groups.setdefault(key, []).append(column)
            includes[key] = report.profile.includes
    return tuple(
        Group(
            estimator=f"{estimator}, {precision}" if precision else estimator,
            includes=includes[estimator, precision],
            reason=f"A table of its own: this estimator includes {includes[estimator, precision]}.",
            columns=tuple(columns),
            rows=_rows(columns),
        )
        for (estimator, precision), columns in groups.items()
    )


def _columns(run: str, report: Report) -> list[tuple[str, Column]]:
    workload, static = report.workload, report.static
    samples = 1 if workload is None else workload.samples
    estimates = () if workload is None else workload.estimates
    has_chip = static.board_chips > 0
    found: list[tuple[str, Column]] = []
    for estimate in estimates or (None,):
        precision = "" if estimate is None or report.profile.kind == "chip" else estimate.label
        leak = None if estimate is None else estimate.static
        where = f"{report.profile.name} on {report.profile.board}" if report.profile.board else report.profile.name
        found.append(
            (
                precision,
                Column(
                    name=f"{run}: {where}" if run else where,
                    run=run,
                    profile=report.profile.name,
                    board=report.profile.board,
                    precision=precision,
                    cores=static.cores if has_chip else None,
                    chips=static.chips if has_chip else None,
                    spikes=None if workload is None else workload.spikes / samples,
                    rate=None if workload is None else workload.rate,
                    syn_ops=None if workload is None else workload.syn_ops / samples,
                    energy=_scaled(None if estimate is None else estimate.total, samples),
                    static=None if leak is None else _scaled((leak.low, leak.high), samples),
                    step=None if workload is None else workload.step.total,
                    sample=None if workload is None else workload.step.sample,
                    scores=report.scores,
                ),
            )
        )
    return found


def _scaled(pair: Range | None, samples: int) -> Range | None:
    return None if pair is None else (pair[0] / samples, pair[1] / samples)


def _rows(columns: Sequence[Column]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    def row(label: str, text: Callable[[Column], str]) -> tuple[str, tuple[str, ...]]:
        return label, tuple(text(column) for column in columns)

    def pair(found: Range | None, form: Callable[[float, float], str], without: str) -> str:
        return without if found is None else form(*found)

    def figure(found: float | None, factor: float = 1.0, unit: str = "") -> str:
        return "no run" if found is None else f"{format_count(factor * found)}{unit}"

    # What no column has is no row.
    rows = [row("energy", lambda c: pair(c.energy, format_energy, "no price"))]
    if any(c.static is not None for c in columns):
        rows.append(row("static", lambda c: pair(c.static, format_energy, "no price")))
    if any(c.sample is not None for c in columns):
        rows.append(row("time", lambda c: pair(c.sample, format_time, "no price")))
        rows.append(row("of a step", lambda c: pair(c.step, format_time, "no price")))
    if any(c.cores is not None for c in columns):
        rows.append(row("cores", lambda c: "none" if c.cores is None else str(c.cores)))
        rows.append(row("chips", lambda c: "none" if c.chips is None else str(c.chips)))
    rows.append(row("spikes", lambda c: figure(c.spikes)))
    rows.append(row("rate", lambda c: figure(c.rate, 100, " %")))
    rows.append(row("syn_ops", lambda c: figure(c.syn_ops)))
    for name in dict.fromkeys(name for column in columns for name in column.scores):
        rows.append(row(name, lambda c, name=name: f"{c.scores[name]:.3f}" if name in c.scores else "-"))  # type: ignore[misc]
    return tuple(rows)


def write_comparison(groups: Sequence[Group], folder: str | os.PathLike[str], page: str) -> tuple[Path, ...]:
    """Write `compare.json`, `compare.csv` and `compare.html` (`page`, as rendered); returns the paths."""
    target = Path(folder)
    paths = (target / "compare.json", target / "compare.csv", target / "compare.html")
    with replace_file(paths[0]) as temporary:
        document = {
            "groups": [{key: value for key, value in asdict(group).items() if key != "rows"} for group in groups]
        }
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with replace_file(paths[1]) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("estimator", "run", "profile", "board", "quantity", "value"))
        for group in groups:
            for label, texts in group.rows:
                for column, text in zip(group.columns, texts, strict=True):
                    writer.writerow((group.estimator, column.run, column.profile, column.board, label, text))
    with replace_file(paths[2]) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return paths
