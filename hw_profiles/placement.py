"""Where cores sit on the mesh: row-major to begin with, then exchanged until no exchange shortens the way of messages.

Slots are numbered chip after chip, tile after tile, the tiles of a chip from left to right and then top to bottom.
Chips stand side by side, so that a message to the next chip travels east. Messages take XY routes.

`place_near` starts from the better of two orders (row-major; the same along a snake of tile columns) and exchanges two
slots, one of them possibly empty, as long as the sum of traffic * hops becomes smaller: the steepest exchange each time,
the first of equals. It is deterministic and never worse than row-major. Source: the 2-exchange heuristic for quadratic
assignment (T. Koopmans and M. Beckmann, 1957; R. Burkard, 1984).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.profile import Topology

Indices = npt.NDArray[np.int64]

_MOST_SLOTS = 2600
"""Beyond this many slots a table of all exchanges is too large; the better starting order is kept."""

_WORK = 600_000_000
"""Entries of that table that are looked at in all, a few seconds; large systems stop exchanging before the best is found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Coordinates of every core, arrays over cores: chip, tile within the chip, and its column x and row y there."""

    topology: Topology
    chip: Indices
    tile: Indices
    x: Indices
    y: Indices

    @property
    def chips(self) -> int:
        """Chips in use."""
        return int(self.chip.max()) + 1 if self.chip.size else 0

    def hops(self, start: Indices, end: Indices) -> tuple[Indices, Indices, Indices]:
        """(east-west hops, north-south hops, chip borders crossed) between cores `start` and `end`."""
        columns = self.topology.mesh_columns
        across = self.chip * columns + self.x
        return (
            np.abs(across[start] - across[end]),
            np.abs(self.y[start] - self.y[end]),
            np.abs(self.chip[start] - self.chip[end]),
        )

    def same_tile(self, start: Indices, end: Indices) -> npt.NDArray[np.bool_]:
        """True where both cores share a tile, so that a message takes no hop."""
        return np.asarray((self.chip[start] == self.chip[end]) & (self.tile[start] == self.tile[end]))

    def weighted_hops(self, traffic: Traffic) -> int:
        """Sum over pairs of cores of messages times hops."""
        east_west, north_south, _ = self.hops(traffic.start, traffic.end)
        return int((traffic.messages * (east_west + north_south)).sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """Messages between cores: arrays of sender, receiver, and how many neurons of the sender reach the receiver."""

    start: Indices
    end: Indices
    messages: Indices


def place(cores: int, topology: Topology) -> Placement:
    """Place cores 0..cores-1 row-major."""
    return place_on(np.arange(cores, dtype=np.int64), topology)


def place_on(slots: Indices, topology: Topology) -> Placement:
    """Place core k on slot `slots[k]`; see the module's rule for the numbers of slots."""
    tile = slots % topology.cores_per_chip // topology.cores_per_tile
    return Placement(
        topology=topology,
        chip=slots // topology.cores_per_chip,
        tile=tile,
        x=tile % topology.mesh_columns,
        y=tile // topology.mesh_columns,
    )


def place_near(cores: int, topology: Topology, traffic: Traffic) -> Placement:
    """Place cores so that messages travel few hops; never worse than `place`. No more chips are used than there."""
    chips = -(-cores // topology.cores_per_chip)
    row_major = np.arange(cores, dtype=np.int64)
    starts = [row_major, _snake(topology, chips)[:cores]]
    best = min(starts, key=lambda slots: place_on(slots, topology).weighted_hops(traffic))
    count = chips * topology.cores_per_chip
    if count <= _MOST_SLOTS and traffic.messages.size:
        best = _exchange(best, count, topology, traffic)
    return place_on(best, topology)


def _snake(topology: Topology, chips: int) -> Indices:
    """All slots of `chips` chips, column by column of tiles, down one and up the next."""
    slots = np.arange(chips * topology.cores_per_chip, dtype=np.int64)
    where = place_on(slots, topology)
    column = where.chip * topology.mesh_columns + where.x
    down = np.where(column % 2 == 0, where.y, topology.mesh_rows - 1 - where.y)
    order: Indices = np.lexsort((slots, down, column)).astype(np.int64)
    return order


def _exchange(start: Indices, count: int, topology: Topology, traffic: Traffic) -> Indices:
    """Exchange the contents of two slots while that helps. Returns the slot of each core.

    With W the traffic between things and P the hops between their slots, both symmetric, exchanging i and j changes the
    sum of W * P (each pair once) by M[i,j] + M[j,i] - M[i,i] - M[j,j] + 2 W[i,j] P[i,j], where M = W P.
    """
    cores = len(start)
    weight = np.zeros((count, count), np.float64)
    np.add.at(weight, (traffic.start, traffic.end), traffic.messages)
    weight += weight.T
    np.fill_diagonal(weight, 0)
    where = place_on(np.arange(count, dtype=np.int64), topology)
    across = where.chip * topology.mesh_columns + where.x
    distance = np.abs(across[:, None] - across) + np.abs(where.y[:, None] - where.y).astype(np.float64)
    # Things 0..cores-1 are the cores, the others stand for empty slots.
    free = np.setdiff1d(np.arange(count), start)
    slot = np.concatenate((start, free))
    between = distance[np.ix_(slot, slot)]
    product = weight @ between
    for _ in range(_WORK // (cores * count)):
        own = np.diag(product)
        change = product[:cores] + product[:, :cores].T - own[:cores, None] - own
        change += 2 * weight[:cores] * between[:cores]
        found = int(np.argmin(change))
        i, j = divmod(found, count)
        if change[i, j] >= -0.5:
            break
        before = between[[i, j]].copy()
        slot[[i, j]] = slot[[j, i]]
        between[[i, j]] = between[[j, i]]
        between[:, [i, j]] = between[:, [j, i]]
        # Only columns i and j and rows i and j of `between` changed.
        product += np.outer(weight[:, i], between[i] - before[0]) + np.outer(weight[:, j], between[j] - before[1])
        product[:, [i, j]] = weight @ between[:, [i, j]]
    return slot[:cores]
