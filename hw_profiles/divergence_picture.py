"""Two rasters over each other: which spikes two runs share, and which only one of them has."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lava_runtime.divergence import Divergence
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.files import replace_file

SHARED, ONLY_FIRST, ONLY_SECOND, MARK = "#b8c0c8", "#d1495b", "#0f6e84", "#1f2933"

NEURONS_SHOWN = 120


def draw_divergence(
    divergence: Divergence, mine: Trace, theirs: Trace, path: str | os.PathLike[str], *, names: tuple[str, str]
) -> None:
    """Write a PNG of the population in which two runs part first, around that step; `names` label the two runs.

    Raises RunError where neither rasters nor outputs of the population were recorded in both.
    """
    population = divergence.difference.population
    first, second = _recorded(mine, population), _recorded(theirs, population)
    place = int(np.ravel_multi_index(divergence.difference.neuron, mine.spike_counts[population].shape))
    rows, steps = _window(first, second, divergence.difference.step, place)
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    a, b = first[steps][:, rows] != 0, second[steps][:, rows] != 0
    for label, colour, cells in (
        ("both", SHARED, a & b),
        (f"{names[0]} only", ONLY_FIRST, a & ~b),
        (f"{names[1]} only", ONLY_SECOND, b & ~a),
    ):
        step, neuron = np.nonzero(cells)
        axes.scatter(step + steps.start, neuron, s=10, color=colour, label=f"{label} ({step.size})", linewidths=0)
    row = int(np.nonzero(rows == place)[0][0])
    axes.scatter([divergence.difference.step], [row], s=140, facecolors="none", edgecolors=MARK, linewidths=1.4)
    axes.annotate(
        f"first difference: step {divergence.difference.step}, neuron {divergence.difference.neuron}",
        (divergence.difference.step, row),
        textcoords="offset points",
        xytext=(10, 10),
        color=MARK,
    )
    axes.set(xlabel="hardware step", ylabel=f"neuron of {population}", title=f"{names[0]} against {names[1]}")
    axes.set_yticks([row], [str(divergence.difference.neuron)])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def _recorded(trace: Trace, population: str) -> npt.NDArray[Any]:
    """What was recorded of a population, (steps, neurons)."""
    found = trace.rasters.get(population, trace.outputs.get(population))
    if found is None:
        raise RunError(
            f"No raster of population {population!r} was recorded in both runs; run again with rasters of every population."
        )
    return found.reshape(len(found), -1)


def _window(
    first: npt.NDArray[Any], second: npt.NDArray[Any], at: int, place: int
) -> tuple[npt.NDArray[np.int64], slice]:
    """The neurons shown, `place` and those that differ before those that are active, in their own order; and the steps."""
    steps = slice(max(0, at - 20), min(len(first), at + 41))
    differs = (first[steps] != second[steps]).any(axis=0)
    active = (first[steps] != 0).any(axis=0) | (second[steps] != 0).any(axis=0)
    worth = 2 * differs.astype(np.int64) + active
    worth[place] = 4
    shown: npt.NDArray[np.int64] = np.sort(np.argsort(-worth, kind="stable")[:NEURONS_SHOWN])
    return shown, steps
