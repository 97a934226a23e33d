"""Comparing the stages of an export: where, if anywhere, does the network stop doing the same?

A stage is what one form of the network did with the same input: the torch module, the folded float graph, the quantised
twin, each backend. Everything is numpy; whoever ran the stage brings the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageRecord:
    """What one stage did, at training's timing.

    spikes    population id -> 0/1 (T,B,C,H,W)
    readouts  output name -> integers in units of the current, or reals, (T,B,C,H,W)
    u, v      population id -> states after the step (T,B,C,H,W), where the stage can tell
    """

    name: str
    spikes: Mapping[str, Array]
    readouts: Mapping[str, Array] = field(default_factory=dict)
    u: Mapping[str, Array] = field(default_factory=dict)
    v: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstMismatch:
    """The earliest place, in population order and then time, where a stage parts from the one it is held to.

    `neuron` is (c,y,x). `states` holds `u mine`, `u theirs`, `v mine`, `v theirs` as far as the stages know them.
    """

    population: str
    step: int
    sample: int
    neuron: tuple[int, int, int]
    mine: float
    theirs: float
    states: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        states = "".join(f", {name} {value:g}" for name, value in self.states.items())
        return (
            f"population {self.population!r}, step {self.step}, sample {self.sample}, neuron (c,y,x) = {self.neuron}: "
            f"{self.mine:g} against {self.theirs:g}{states}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One line of the table. `spikes` were compared (those of the stage held to), `values` counts all positions.

    `mismatches` counts differing spikes and readouts; `first` is None exactly where it is 0.
    """

    stage: str
    against: str
    spikes: int
    values: int
    mismatches: int
    first: FirstMismatch | None


def compare(
    stage: StageRecord,
    against: StageRecord,
    *,
    order: Sequence[str] = (),
    tolerance: float = 1e-5,
) -> StageRow:
    """Hold `stage` to `against`, population by population.

    Every population that `against` knows and `stage` knows is compared; `order` (the graph's populations, sources first)
    decides which mismatch is the first. Readouts of integers must be equal; where one side is real, they may differ by
    `tolerance` of the largest magnitude. Raises GraphError when the stages share no population, or a population has two
    shapes: a comparison of nothing proves nothing.
    """
    shared = [name for name in against.spikes if name in stage.spikes]
    readouts = [name for name in against.readouts if name in stage.readouts]
    missing = [name for name in order if name in against.spikes and name not in stage.spikes]
    if missing:
        raise GraphError(
            f"Stage {stage.name!r} has no spikes of {missing}, which {against.name!r} recorded; ask the run for the rasters of "
            "every population."
        )
    if not shared:
        raise GraphError(
            f"Stages {stage.name!r} and {against.name!r} share no spiking population; record the rasters of both."
        )
    rank = {name: index for index, name in enumerate(order)}
    names = sorted([*shared, *readouts], key=lambda name: rank.get(name, len(rank)))
    spikes = values = mismatches = 0
    first: FirstMismatch | None = None
    for name in names:
        is_spiking = name in shared
        mine = np.asarray((stage.spikes if is_spiking else stage.readouts)[name])
        theirs = np.asarray((against.spikes if is_spiking else against.readouts)[name])
        if mine.shape != theirs.shape or mine.ndim != 5:
            raise GraphError(
                f"Population {name!r} has shape {mine.shape} in {stage.name!r} and {theirs.shape} in {against.name!r}; both must "
                "be the same (T,B,C,H,W)."
            )
        wrong = _differs(mine, theirs, exact=is_spiking, tolerance=tolerance)
        values += wrong.size
        spikes += int(np.count_nonzero(theirs)) if is_spiking else 0
        count = int(np.count_nonzero(wrong))
        mismatches += count
        if count and first is None:
            place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            first = _mismatch(name, tuple(int(index) for index in place), mine, theirs, stage, against)
    return StageRow(
        stage=stage.name, against=against.name, spikes=spikes, values=values, mismatches=mismatches, first=first
    )


def compare_all(stages: Sequence[StageRecord], *, order: Sequence[str] = (), tolerance: float = 1e-5) -> list[StageRow]:
    """Each stage against the one before it."""
    return [compare(stage, before, order=order, tolerance=tolerance) for before, stage in pairwise(stages)]


def table(rows: Sequence[StageRow]) -> str:
    """The rows as aligned text, the first mismatch of a row in the line below it."""
    header = ("stage", "compared against", "spikes compared", "mismatches")
    cells = [header, *((row.stage, row.against, f"{row.spikes:,}", f"{row.mismatches:,}") for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = []
    for index, line in enumerate(cells):
        texts = [
            text.ljust(width) if c < 2 else text.rjust(width)
            for c, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(texts).rstrip())
        if index and rows[index - 1].first is not None:
            lines.append(f"  first: {rows[index - 1].first}")
    return "\n".join(lines)


def _differs(mine: Array, theirs: Array, *, exact: bool, tolerance: float) -> npt.NDArray[np.bool_]:
    if exact or (mine.dtype.kind in "iub" and theirs.dtype.kind in "iub"):
        return cast(npt.NDArray[np.bool_], mine != theirs)
    limit = tolerance * max(1.0, float(np.abs(theirs).max(initial=0.0)))
    # Written so that a NaN on either side counts as a difference.
    return cast(npt.NDArray[np.bool_], ~(np.abs(mine - theirs) <= limit))


def _mismatch(
    name: str,
    place: tuple[int, ...],
    mine: Array,
    theirs: Array,
    stage: StageRecord,
    against: StageRecord,
) -> FirstMismatch:
    states = {
        f"{kind} {side}": float(record[name][place])
        for kind, side, record in (
            ("u", "mine", stage.u),
            ("u", "theirs", against.u),
            ("v", "mine", stage.v),
            ("v", "theirs", against.v),
        )
        if name in record
    }
    step, sample, channel, row, column = place
    return FirstMismatch(
        population=name,
        step=step,
        sample=sample,
        neuron=(channel, row, column),
        mine=float(mine[place]),
        theirs=float(theirs[place]),
        states=states,
    )


__all__ = ["FirstMismatch", "StageRecord", "StageRow", "compare", "compare_all", "table"]
