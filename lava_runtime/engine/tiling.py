"""How a population's work is cut into jobs, and which of them are computed from lists of spikes instead of densely.

Both ways give the same bits; the choice rests on measured spikes and on what the ways cost on this kind of processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import sweep_tables as tables
from lava_runtime.engine.dense_sums import BLOCK, DOTS, FRAMES, PORTABLE, ROWS, TILES
from lava_runtime.engine.plan import NARROW
from lava_runtime.engine.population_plan import PopulationPlan, Wiring
from lava_runtime.engine.spike_maps import SpikeMap
from netx_export.graph import Conv, Dense

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_WEIGHTS_AT_ONCE = 512 * 1024
"""Weight blocks of one job: what stays in a core's second-level cache while pixel after pixel goes by."""

_JOBS_PER_THREAD = 12

# Nanoseconds on one core at 2.5 GHz, measured; only their ratios matter.
_TILE_NS: Final = (3.0, 0.8)  # one block times a tile, and more for each of its rows
_DOT_NS: Final = {DOTS: 0.022, PORTABLE: 0.22}  # one byte times 16 channels of one row
_ROW_NS: Final = (0.5, 1.6)  # one row of packed weights, and more for every 64 channels
_TWIN_NS: Final = 1.3
_PIXEL_NS: Final = 80.0  # one pixel and frame of lists
_LIST_NS: Final = 0.15  # one neuron and frame looked at for the lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Tiles of one population for F frames."""

    time_tiles: bool
    rows: int
    tiles: int
    """Tiles per phase and output row."""
    group: int
    channel_blocks: int
    channel_tiles: int
    phases: int

    @property
    def slots(self) -> int:
        """Jobs per output row."""
        return self.phases * self.tiles * self.channel_blocks


def tiling(population: PopulationPlan, frames: int, threads: int) -> Tiling:
    """The tiling that wastes least."""
    channels, height, width = population.shape
    across = -(-width // population.phases)
    # A Dense has weights of its own for every pixel.
    fixed = any(isinstance(wiring.synapse, Dense) for wiring in population.wirings)
    time_tiles = fixed or (across < NARROW and frames > across)
    if time_tiles:
        rows, tiles = -(-frames // -(-frames // ROWS)), across
    else:
        tiles = -(-across // ROWS)
        rows = -(-across // tiles)
    channel_tiles = -(-channels // ROWS)
    blocks = population.blocks
    at_once = max(1, _WEIGHTS_AT_ONCE * channel_tiles // max(1, blocks.cost * BLOCK))
    channel_blocks = -(-channel_tiles // at_once)
    if threads > 1:
        wanted = -(-_JOBS_PER_THREAD * threads // (height * tiles * population.phases))
        channel_blocks = min(channel_tiles, max(channel_blocks, wanted))
    return Tiling(
        time_tiles=time_tiles,
        rows=rows,
        tiles=tiles,
        group=-(-frames // -(-frames // FRAMES)),
        channel_blocks=channel_blocks,
        channel_tiles=channel_tiles,
        phases=population.phases,
    )


def event_rows(population: PopulationPlan, made: Mapping[str, SpikeMap], cut: Tiling, kind: int) -> Bools:
    """Which output rows are cheaper from lists of spikes, (H,)."""
    channels, height, width = population.shape
    rows = np.zeros(height, np.bool_)
    if not population.event_driven:
        return rows
    frames = next(iter(made.values())).frames
    cost = np.full(height, _PIXEL_NS * width * frames)
    lanes = -(-channels // ROWS) * ROWS
    for wiring in population.wirings:
        source = made[wiring.source]
        each = _TWIN_NS if wiring.twin else _ROW_NS[0] + _ROW_NS[1] * lanes / 64
        cost += _reads(wiring, source, height, width) * each
        cost += _LIST_NS * frames * source.layout.shape[0] * source.layout.shape[2]
    return cost < _dense_cost(population, cut, frames, kind)


def _dense_cost(population: PopulationPlan, cut: Tiling, frames: int, kind: int) -> float:
    """Nanoseconds of the dense sums of one output row."""
    calls = cut.tiles * cut.phases * (-(-frames // cut.rows) if cut.time_tiles else frames)
    if kind == TILES:
        return calls * population.blocks.cost * (_TILE_NS[0] + _TILE_NS[1] * cut.rows)
    return calls * population.blocks.used * _DOT_NS[kind] * (-(-cut.rows // 4) * 4)


def _reads(wiring: Wiring, source: SpikeMap, height: int, width: int) -> npt.NDArray[np.float64]:
    """Rows of weights that an output row adds up, (H,)."""
    spikes = source.row_totals()
    synapse = wiring.synapse
    if not isinstance(synapse, Conv):
        return np.full(height, float(spikes.sum()) * (width if isinstance(synapse, Dense) else 1))
    index = _rows_read(
        height,
        len(spikes),
        wiring.weights.shape[0],
        synapse.stride[0],
        synapse.padding[0],
        synapse.dilation[0],
        synapse.upsample,
    )
    # Every spike is read by as many columns as the kernel lets, borders aside.
    across = wiring.weights.shape[1] * width / source.layout.shape[2]
    reads: npt.NDArray[np.float64] = np.append(spikes, 0)[index].sum(axis=1) * across
    return reads


@lru_cache(maxsize=4096)
def _rows_read(
    height: int, source: int, kernel: int, stride: int, padding: int, dilation: int, upsample: int
) -> Int64s:
    """Source row of each output row and tap, (H,kh); `source` where there is none."""
    rows = np.arange(height)[:, None] * stride - padding + np.arange(kernel) * dilation
    return np.where((rows >= 0) & (rows < source * upsample), rows // upsample, source)


def lists_needed(population: PopulationPlan, made: Mapping[str, SpikeMap], rows: Bools) -> dict[str, Bools]:
    """Rows of each source that the output rows in `rows` read."""
    needed = {name: np.zeros(made[name].layout.shape[1] + 1, np.bool_) for name in population.sources}
    for wiring in population.wirings:
        synapse, source = wiring.synapse, made[wiring.source]
        if isinstance(synapse, Conv):
            index = _rows_read(
                len(rows),
                source.layout.shape[1],
                wiring.weights.shape[0],
                synapse.stride[0],
                synapse.padding[0],
                synapse.dilation[0],
                synapse.upsample,
            )
            needed[wiring.source][index[rows]] = True
        else:
            needed[wiring.source][:] = True
    return {name: asked[:-1] for name, asked in needed.items()}


def jobs_of(population: PopulationPlan, cut: Tiling, by_event: Bools) -> Int64s:
    """The jobs (J,JOB) in the order in which they are taken."""
    parts = []
    if not by_event.all():
        parts.append(_jobs(cut, np.flatnonzero(~by_event), cut.channel_blocks))
    if by_event.any():
        listed = _jobs(cut, np.flatnonzero(by_event), 1)
        listed[:, tables.EVENT] = 1
        parts.append(listed)
    jobs = np.concatenate(parts) if len(parts) > 1 else parts[0]
    # Where the last phases have fewer pixels, some tiles are empty.
    first = jobs[:, tables.PHASE] + cut.phases * jobs[:, tables.FIRST_PIXEL]
    return np.ascontiguousarray(jobs[first < population.shape[2]])


def _jobs(cut: Tiling, rows: Int64s, blocks: int) -> Int64s:
    step = 1 if cut.time_tiles else cut.rows
    axes: Sequence[Int64s] = (np.arange(blocks), rows, np.arange(cut.phases), np.arange(cut.tiles))
    block, y, phase, tile = (axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij"))
    jobs = np.zeros((len(y), tables.JOB), np.int64)
    jobs[:, tables.JOB_Y], jobs[:, tables.PHASE], jobs[:, tables.FIRST_PIXEL] = y, phase, tile * step
    edges = np.linspace(0, cut.channel_tiles, blocks + 1).astype(np.int64)
    jobs[:, tables.FIRST_CHANNELS], jobs[:, tables.LAST_CHANNELS] = edges[block], edges[block + 1]
    jobs[:, tables.SLOT] = (block * cut.phases + phase) * cut.tiles + tile
    return jobs
