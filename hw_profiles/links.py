"""Messages on the links of the mesh: every message travels its row first, then the column of its target (XY routing).

Chips stand side by side, so the routers form one grid; a link leads from one router to a neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hw_profiles.placement import Indices, Placement

Counts = npt.NDArray[np.int64]
Direction = Literal["east", "west", "south", "north"]

DIRECTIONS: tuple[Direction, ...] = ("east", "west", "south", "north")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The way out of router (column, row) of the grid over all chips."""

    column: int
    row: int
    direction: Direction
    chip: int

    def __str__(self) -> str:
        return f"link from tile ({self.column},{self.row}) {self.direction}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkLoads:
    """Messages of N steps on each link: direction -> (rows, columns, N), by the router that the message leaves."""

    loads: dict[Direction, Counts]
    mesh_columns: int

    @property
    def horizontal(self) -> int:
        """Messages times the links they took east or west."""
        return int(self.loads["east"].sum() + self.loads["west"].sum())

    @property
    def vertical(self) -> int:
        """Messages times the links they took south or north."""
        return int(self.loads["south"].sum() + self.loads["north"].sum())

    def total(self) -> LinkLoads:
        """The same, summed over its steps: N = 1."""
        loads = {name: load.sum(axis=2, keepdims=True) for name, load in self.loads.items()}
        return LinkLoads(loads=loads, mesh_columns=self.mesh_columns)

    def folded(self, steps: int) -> LinkLoads:
        """The same with steps beyond `steps` added to the first ones, again and again."""
        return LinkLoads(
            loads={name: fold(load, steps) for name, load in self.loads.items()}, mesh_columns=self.mesh_columns
        )

    def busiest(self, directions: tuple[Direction, ...]) -> tuple[Counts, list[Link]]:
        """Of each step: messages on the busiest link among `directions`, and that link."""
        stacked = np.stack([self.loads[name] for name in directions])
        kinds, rows, columns, steps = stacked.shape
        flat = stacked.reshape(-1, steps)
        chosen = flat.argmax(axis=0)
        kind, row, column = np.unravel_index(chosen, (kinds, rows, columns))
        links = [
            Link(column=int(c), row=int(r), direction=directions[k], chip=int(c) // self.mesh_columns)
            for k, r, c in zip(kind, row, column, strict=True)
        ]
        return np.asarray(flat.max(axis=0)), links


def fold(values: Counts, steps: int) -> Counts:
    """(..., M) as (..., steps): entry n is added to entry n % steps."""
    extra = -values.shape[-1] % steps
    padded = np.concatenate([values, np.zeros((*values.shape[:-1], extra), np.int64)], axis=-1)
    rounds = padded.shape[-1] // steps
    return np.asarray(padded.reshape(*values.shape[:-1], rounds, steps).sum(axis=-2))


class LinkTally:
    """Adds up messages between cores on the links between them."""

    def __init__(self, placement: Placement, steps: int) -> None:
        topology = placement.topology
        self._x = placement.chip * topology.mesh_columns + placement.x
        self._y = placement.y
        self._mesh_columns = topology.mesh_columns
        self._rows, self._columns = topology.mesh_rows, topology.mesh_columns * max(placement.chips, 1)
        # Where a message enters and leaves a stretch of links; the sum along the way gives the load.
        self._edges = {name: np.zeros((self._rows + 1, self._columns + 1, steps), np.int64) for name in DIRECTIONS}

    def add(self, start: Indices, end: Indices, messages: Counts, steps: slice) -> None:
        """Count (P,N) `messages` of P pairs of cores into `steps`."""
        x0, y0, x1, y1 = self._x[start], self._y[start], self._x[end], self._y[end]
        self._stretch("east", x1 > x0, y0, x0, y0, x1, messages, steps)
        self._stretch("west", x1 < x0, y0, x1 + 1, y0, x0 + 1, messages, steps)
        self._stretch("south", y1 > y0, y0, x1, y1, x1, messages, steps)
        self._stretch("north", y1 < y0, y1 + 1, x1, y0 + 1, x1, messages, steps)

    def _stretch(
        self,
        direction: Direction,
        chosen: npt.NDArray[np.bool_],
        row0: Indices,
        column0: Indices,
        row1: Indices,
        column1: Indices,
        messages: Counts,
        steps: slice,
    ) -> None:
        if not chosen.any():
            return
        edges = self._edges[direction][:, :, steps]
        np.add.at(edges, (row0[chosen], column0[chosen]), messages[chosen])
        np.subtract.at(edges, (row1[chosen], column1[chosen]), messages[chosen])

    def loads(self) -> LinkLoads:
        """What was counted."""
        return LinkLoads(
            loads={
                name: np.cumsum(edges, axis=1 if name in ("east", "west") else 0)[: self._rows, : self._columns]
                for name, edges in self._edges.items()
            },
            mesh_columns=self._mesh_columns,
        )
