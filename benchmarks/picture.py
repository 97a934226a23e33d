"""The figures of `make bench` as one picture: ratios as bars, time against firing rate as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from netx_export.files import replace_file

INK, MUTED, GRID = "#1f2933", "#66727f", "#e3e7eb"
OURS, THEIRS, TARGET = "#0f6e84", "#b8c0c8", "#d1495b"
_WAYS = {
    "lists": ("#a9d3dc", "--", "lists of spikes alone"),
    "dense": (MUTED, "--", "dense sums alone"),
    "float32 convolution": (THEIRS, ":", "torch float32 convolution, no neurons"),
    "chosen": (OURS, "o-", "fast, as it chooses"),
}


def draw(rows: Sequence[dict[str, Any]], density: Sequence[dict[str, Any]], path: Path, *, title: str) -> None:
    """Write a PNG. `rows` have what, ratio, target (or None); `density` rate, and milliseconds by way."""
    figure = Figure(figsize=(11, 0.34 * len(rows) + 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=10)
    bars, lines = figure.subplots(2, 1, height_ratios=[0.34 * len(rows) + 0.6, 3.6])
    labels = [f"{row['what']}: {row['faster']} against {row['slower']}" for row in rows]
    places = range(len(rows))
    bars.barh(places, [row["ratio"] for row in rows], color=OURS, height=0.62)
    for place, row in zip(places, rows, strict=True):
        bars.text(row["ratio"] * 1.05, place, f"{row['ratio']:.1f}x", va="center", fontsize=8, color=INK)
        if row.get("target"):
            bars.plot([row["target"]] * 2, [place - 0.4, place + 0.4], color=TARGET, linewidth=2)
    bars.set_xscale("log")
    bars.set_xlim(0.5, 4 * max(row["ratio"] for row in rows))
    bars.set_yticks(list(places), labels, fontsize=8)
    bars.invert_yaxis()
    bars.set_xlabel("times faster, in one run; red: the target", fontsize=8, color=MUTED)
    rates = [100 * row["rate"] for row in density]
    for name, (colour, style, label) in _WAYS.items():
        lines.plot(rates, [row[name] for row in density], style, color=colour, label=label, markersize=4)
    lines.set(xscale="log", yscale="log")
    lines.set_xlabel("firing rate of the source, %", fontsize=8, color=MUTED)
    lines.set_ylabel("ms, 256->256 3x3 at 64x80, T = 5", fontsize=8, color=MUTED)
    lines.legend(frameon=False, fontsize=8)
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=140, metadata={"Software": None})
