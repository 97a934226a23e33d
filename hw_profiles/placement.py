"""Where cores sit: layer by layer, row-major over the tiles of the mesh, chip after chip.

Core k is on chip k // cores_per_chip; within its chip it fills tile after tile, the tiles from left to right and then
top to bottom. Chips stand side by side, so that a message to the next chip travels east. Messages take XY routes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.profile import Topology

Indices = npt.NDArray[np.int64]


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


def place(cores: int, topology: Topology) -> Placement:
    """Place cores 0..cores-1; see the module's rule."""
    core = np.arange(cores, dtype=np.int64)
    tile = core % topology.cores_per_chip // topology.cores_per_tile
    return Placement(
        topology=topology,
        chip=core // topology.cores_per_chip,
        tile=tile,
        x=tile % topology.mesh_columns,
        y=tile // topology.mesh_columns,
    )
