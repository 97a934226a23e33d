"""Fit checks in the terminal: used / max per register and layer, what binds, boards, what to change."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hw_profiles.fit_result import FitCheck, LayerFit

_COLUMNS = (
    ("axon_in", "AxonIn"),
    ("neurons", "Neurons"),
    ("synapse_memory", "SynMem"),
    ("axon_map", "AxonMap"),
    ("output_edges", "Edges"),
    ("core_memory", "Memory"),
    ("kernel_memory", "Kernels"),
    ("neuron_memory", "States"),
)


def print_check(found: FitCheck, console: Console | None = None) -> None:
    """Print whether a network fits, what each layer takes, what binds, and what to change."""
    console = console or Console()
    board = f" on {found.board}" if found.board else ""
    console.print(f"\n[bold]{escape(found.profile + board)}: {'fits' if found.fits else 'does not fit'}[/bold]")
    if found.cores[1] is None:
        console.print("an estimator without cores: nothing to fit")
    else:
        # Without a list of boards some layer fits no number of cores, and counts as one or none.
        least = "" if found.fits or found.boards else "at least "
        console.print(
            f"cores {least}{found.cores[0]} of {found.cores[1]}, chips {least}{found.chips[0]} of {found.chips[1]}\n"
        )
        console.print(_table(found))
        console.print("used / max of the fullest core; * binds", style="dim")
    if found.boards:
        boards = (
            f"{one.board}: {one.needed} of {one.chips} {'' if one.chips == 1 else 'chips '}"
            f"({'fits' if one.fits else 'too small'})"
            for one in found.boards
        )
        console.print("boards: " + "; ".join(boards), markup=False, highlight=False)
    for problem in found.problems:
        console.print(problem, style="red", markup=False, highlight=False)
    if found.suggestions:
        console.print("what to change (each tried out on the layer alone):", highlight=False)
        for suggestion in found.suggestions:
            console.print(f"  {suggestion}", markup=False, highlight=False)


def _table(found: FitCheck) -> Table:
    shown = [
        (resource, title)
        for resource, title in _COLUMNS
        if any(layer.utilization.get(resource, (0, None))[1] is not None for layer in found.layers)
    ]
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    for title in ("cores", "(w,h,c)", *(title for _, title in shown)):
        table.add_column(title, justify="right")
    for layer in found.layers:
        row = [escape(layer.population), str(layer.cores), ",".join(map(str, layer.tile))]
        table.add_row(*row, *(_share(layer, resource) for resource, _ in shown))
    return table


def _share(layer: LayerFit, resource: str) -> str:
    used, most = layer.utilization.get(resource, (0, None))
    if most is None:
        return "-"
    text = f"{used}/{most}{'*' if resource == layer.binding else ''}"
    return f"[red]{text}[/red]" if used > most else text
