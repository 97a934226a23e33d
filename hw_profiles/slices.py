"""A population's share of one core, and the fit problems a graph can have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.reach import Box, box_size
from netx_export.graph import Shape

RESOURCES = (
    "neurons",
    "neuron_groups",
    "synapse_memory",
    "axon_in",
    "output_edges",
    "axon_map",
    "axon_memory",
    "core_memory",
    "kernel_memory",
    "neuron_memory",
    "state_words",
    "delay_slots",
)
"""Per-core registers in the order of every table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The neurons `box` of `population`, on core number `core` (numbered over all chips)."""

    population: str
    core: int
    box: Box

    @property
    def size(self) -> int:
        """Number of neurons."""
        return box_size(self.box)

    @property
    def tile(self) -> tuple[int, int, int]:
        """(w,h,c), as the vendor's tables print it."""
        (c0, c1), (y0, y1), (x0, x1) = self.box
        return (x1 - x0, y1 - y0, c1 - c0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitProblem:
    """One reason why a graph does not fit a profile."""

    layer: str
    resource: str
    used: int
    limit: int
    remedy: str
    source: str = ""

    def __str__(self) -> str:
        where = f" (torch module {self.source})" if self.source else ""
        return (
            f"Layer {self.layer!r}{where} needs {self.resource.replace('_', ' ')} {self.used}, "
            f"the limit is {self.limit}; {self.remedy}"
        )


def box_bounds(boxes: list[Box]) -> npt.NDArray[np.int64]:
    """Boxes as rows (c0, c1, y0, y1, x0, x1)."""
    return np.array([[edge for span in box for edge in span] for box in boxes], np.int64).reshape(len(boxes), 6)


def tile_boxes(shape: Shape, tile: Shape) -> list[Box]:
    """Cut a (C,H,W) population into tiles of at most (C,H,W) = `tile`, row-major: rows, then columns, then channels.

    Tiles that read the same part of the source lie next to each other, so that placement keeps their messages short.
    """
    channels, rows, columns = (
        [(start, min(start + step, extent)) for start in range(0, extent, step)]
        for extent, step in zip(shape, tile, strict=True)
    )
    return [(c, y, x) for y in rows for x in columns for c in channels]
