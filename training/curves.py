"""Training curves: one CSV row per update, and a picture of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.files import replace_file

COLUMNS = ("total", "heatmap", "offset", "size", "gradient_norm", "learning_rate")
"""What is kept of every update, in the order of the columns."""

_SMOOTHING = 50


def write_curves(folder: Path, history: npt.NDArray[np.float64], name: str = "curves") -> tuple[Path, Path]:
    """Write `<name>.csv` and `<name>.png` for a history (updates, len(COLUMNS)); returns both paths."""
    table, picture = folder / f"{name}.csv", folder / f"{name}.png"
    with replace_file(table) as temporary, temporary.open("w", encoding="ascii") as stream:
        stream.write(",".join(("update", *COLUMNS)) + "\n")
        for number, row in enumerate(history, 1):
            stream.write(f"{number}," + ",".join(f"{value:.6g}" for value in row) + "\n")
    # Imported here: matplotlib takes a second to load. The Agg canvas needs no screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 2)
    panels = (("loss", (0,)), ("heatmap", (1,)), ("offset and size", (2, 3)), ("learning rate", (5,)))
    updates = np.arange(1, len(history) + 1)
    for axis, (title, columns) in zip(axes.flat, panels, strict=True):
        for column in columns:
            values = history[:, column]
            if title == "learning rate":
                axis.plot(updates, values)
                continue
            (line,) = axis.plot(updates, values, alpha=0.2, linewidth=0.5)
            axis.plot(updates, _running_mean(values), color=line.get_color(), label=COLUMNS[column])
        axis.set_title(title)
        axis.set_xlabel("update")
        if len(columns) > 1:
            axis.legend()
        if title != "learning rate":
            _limit(axis, history[:, list(columns)])
    with replace_file(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return table, picture


def _running_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of the last 50 values at every point, of fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - _SMOOTHING)
    means: npt.NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _limit(axis: Any, values: npt.NDArray[np.float64]) -> None:
    # The first updates tower over the rest; the picture is about the rest.
    if values.size:
        axis.set_ylim(0.0, max(1e-6, float(np.quantile(values, 0.98)) * 1.1))
