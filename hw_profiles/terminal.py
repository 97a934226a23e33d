"""Reports in the terminal: summary, the vendor's table of registers, energy by operation."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hw_profiles.calibration import Calibration
from hw_profiles.comparison import Group
from hw_profiles.quantities import format_count, format_energy, format_time
from hw_profiles.report import Report
from hw_profiles.static_part import LayerStatic

COLUMNS = (
    ("AxonIn", "axon_in"),
    ("NeuronGr", "neuron_groups"),
    ("Neurons", "neurons"),
    ("Synapses", "synapse_memory"),
    ("AxonMap", "axon_map"),
    ("AxonMem", "axon_memory"),
)
"""The vendor's columns and the register each shows; chips that count output edges show them under AxonMap."""


def register_shares(layer: LayerStatic) -> dict[str, float | None]:
    """Share of the fullest core's registers by the vendor's column names, `Total` the fullest; None where unknown."""
    shares: dict[str, float | None] = {}
    for column, resource in COLUMNS:
        found = layer.utilization.get(resource)
        if resource == "axon_map" and found is None:
            found = layer.utilization.get("output_edges")
        shares[column] = None if found is None or found[1] is None else found[0] / found[1]
    shares["Total"] = max((share for share in shares.values() if share is not None), default=None)
    return shares


def headline(report: Report) -> tuple[tuple[str, str], ...]:
    """(name, text) of the figures that come first, for one inference."""
    static, workload = report.static, report.workload
    rows: list[tuple[str, str]] = []
    if static.board_chips:
        rows.append(("chips", f"{static.chips} of {static.board_chips} ({report.profile.board})"))
        rows.append(("cores", f"{static.cores} of {static.board_cores}"))
    if workload is None:
        return tuple(rows)
    for estimate in workload.estimates:
        if estimate.total is None:
            rows.append(("energy / inference", "no published prices"))
        else:
            low, high = (bound / workload.samples for bound in estimate.total)
            rows.append((f"{estimate.label} energy / inference", format_energy(low, high)))
        if estimate.static is not None:
            low, high = estimate.static.low / workload.samples, estimate.static.high / workload.samples
            rows.append(("static energy / inference", format_energy(low, high)))
    if workload.step.total is not None:
        rows.append(("step time", format_time(*workload.step.total)))
    if workload.step.sample is not None:
        rows.append(("time / inference", format_time(*workload.step.sample)))
    if workload.step.bound_by and workload.step.series is not None:
        waits = ", ".join(f"{name} {steps}" for name, steps in workload.step.bound_by.items())
        rows.append(("steps wait for", waits))
    return tuple(rows)


def print_summary(reports: Sequence[Report], console: Console | None = None) -> None:
    """Print accuracy and the first figures of every profile, a line or two each."""
    console = console or Console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    if reports and reports[0].scores:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in reports[0].scores.items())
        table.add_row("accuracy", escape(scores))
    for report in reports:
        fit = f"fits {report.profile.board}: " if report.profile.board else ""
        figures = ", ".join(f"{name} {text}" for name, text in headline(report))
        table.add_row(report.profile.name, escape(fit + figures))
    console.print(table)


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the report as tables."""
    console = console or Console()
    console.print(f"\n[bold]{escape(report.profile.title)}[/bold]")
    summary = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in headline(report):
        summary.add_row(escape(name), f"[bold]{escape(text)}[/bold]")
    console.print(summary)
    if report.static.board_chips:
        console.print()
        console.print(_register_table(report.static.layers, report.static.cores, console.width))
    if report.workload is not None:
        for table in _energy_tables(report):
            console.print()
            console.print(table)
    if report.calibration is not None:
        console.print()
        console.print(_calibration_table(report.calibration))
        for line in (*report.calibration.flags, *report.calibration.notes):
            console.print(line, style="yellow", markup=False, highlight=False)
    for title, lines in (("Assumptions", report.assumptions), ("Sources", report.sources)):
        console.print(f"\n[bold]{title}[/bold]")
        for line in lines:
            console.print(f"- {line}", markup=False, highlight=False)


def _calibration_table(calibration: Calibration) -> Table:
    table = _table(f"Against a measurement: {escape(calibration.title)}")
    for name in ("", "measured", "estimate", "error"):
        table.add_column(name, justify="right" if name else "left")
    for line in calibration.lines:
        measured = f"{line.measured:.4g} {line.unit}" + (" (flagged)" if line.flagged else "")
        estimate = "no price" if line.estimate is None else f"{_pair(line.estimate, '.4g')} {line.unit}"
        error = "-" if line.error is None else f"{_pair((100 * line.error[0], 100 * line.error[1]), '+.0f')} %"
        table.add_row(line.quantity, measured, estimate, error)
    return table


def _pair(values: tuple[float, float], form: str) -> str:
    low, high = (format(value, form) for value in values)
    return low if low == high else f"{low} to {high}"


def print_comparison(groups: Sequence[Group], console: Console | None = None) -> None:
    """Print one table for each estimator, a column for each run."""
    console = console or Console()
    for group in groups:
        console.print()
        table = _table(escape(group.estimator))
        table.add_column("one inference", no_wrap=True)
        for column in group.columns:
            table.add_column(escape(column.name), justify="right")
        for label, texts in group.rows:
            table.add_row(label, *map(escape, texts))
        console.print(table)
        if len(groups) > 1:
            console.print(group.reason, markup=False, highlight=False, style="dim")


def _register_table(layers: Sequence[LayerStatic], cores: int, width: int) -> Table:
    names = [column for column, _ in COLUMNS]
    table = _table("Fullest core of each layer, share of its limit")
    table.add_column("layer", no_wrap=True)
    room = max(12, width - sum(len(name) + 1 for name in [*names, "Total", "Cores"]))
    for name in [*names, "Total", "Cores"]:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for layer in layers:
        shares = register_shares(layer)
        cells = [_percent(shares[name]) for name in [*names, "Total"]]
        table.add_row(escape(_last(layer.population, room)), *cells, str(layer.cores))
    table.add_section()
    table.add_row("total", *[""] * (len(names) + 1), str(cores))
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )


def _last(name: str, room: int) -> str:
    """The end of a name tells layers apart; cut its beginning."""
    return name if len(name) <= room else "…" + name[1 - room :]


def _percent(share: float | None) -> str:
    """At most five characters, so that the vendor's nine columns fit into 80."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1%"
    if share > 9.99:
        return ">999%"
    return f"{100 * share:.1f}%" if share < 0.9995 else f"{100 * share:.0f}%"


def _energy_tables(report: Report) -> list[Table]:
    tables: list[Table] = []
    workload = report.workload
    for estimate in () if workload is None else workload.estimates:
        samples = 1 if workload is None else workload.samples
        table = _table(f"{report.profile.name}: {estimate.label} energy of one inference")
        for name in ("operation", "count", "price", "energy", "grade", "basis"):
            # Numbers and grades stay whole; words, and prices that are pairs of ranges, take a second line.
            number = name in ("count", "energy")
            table.add_column(name, justify="right" if number else "left", no_wrap=number or name == "grade")
        for line in estimate.lines:
            cost = format_energy(line.low / samples, line.high / samples)
            table.add_row(line.label, format_count(line.count / samples), line.price, cost, line.grade, line.basis)
        if estimate.static is not None:
            line = estimate.static
            cost = format_energy(line.low / samples, line.high / samples)
            table.add_row(line.label, "", line.price, cost, line.grade, line.basis)
        for entry in estimate.unpriced:
            counted = "" if entry.count is None else format_count(entry.count / samples)
            table.add_row(entry.label, counted, "", "unpriced", "", entry.reason)
        table.add_section()
        total = estimate.total
        text = "refused" if total is None else format_energy(total[0] / samples, total[1] / samples)
        table.add_row(
            "total dynamic" if report.profile.kind == "chip" else "total", "", "", text, estimate.grade or "", ""
        )
        if estimate.refusal:
            table.caption = estimate.refusal
        tables.append(table)
    return tables
