"""Running one group of populations step by step over B samples, threads over samples and rows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import stepwise_tables as column
from lava_runtime.engine.compiled import compiled
from lava_runtime.engine.spike_lists import SpikeLists
from lava_runtime.engine.stepwise_kernels import run_jobs
from lava_runtime.engine.stepwise_plan import StepwiseGroup, StepwisePopulation

Int32s = npt.NDArray[np.int32]

_JOBS_PER_PIECE = 4
_NOTHING = np.empty((0, 0, 0, 0, 0), np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stepped:
    """What one population of a group did; records are channel-last (B,T,H,W,C)."""

    population: StepwisePopulation
    spikes: SpikeLists | None
    values: Int32s
    u: Int32s
    v: Int32s


def run_group(
    group: StepwiseGroup,
    live: Mapping[str, SpikeLists],
    *,
    samples: int,
    steps: int,
    active: tuple[int, int],
    states: frozenset[str],
    pool: ThreadPoolExecutor | None,
    threads: int,
) -> list[Stepped]:
    """Compute `group` over B samples of T local steps from the lists of its sources; `active` as for `sweep_plan`."""
    done = [_room(population, samples, steps, population.id in states) for population in group.populations]
    lists = dict(live)
    lists.update({one.population.id: one.spikes for one in done if one.spikes is not None})
    members = np.stack([one.population.member for one in done])
    for member, one in zip(members, done, strict=True):
        _point_outputs(member, one)
    projections = np.concatenate([one.population.projections for one in done])
    sources = [source for one in done for source in one.population.sources]
    for row, source in zip(projections, sources, strict=True):
        row[column.START] = lists[source].start.ctypes.data
        row[column.EVENTS] = lists[source].events.ctypes.data
        row[column.VALUES] = lists[source].values.ctypes.data if lists[source].values.size else 0
    sums = np.concatenate([one.population.sums for one in done])

    def piece(first: int, last: int) -> None:
        memory = np.empty(group.memory, np.int32)
        run_jobs(first, last, group.blocks, steps, *active, members, sums, projections, memory)

    jobs = samples * group.blocks
    if pool is None:
        piece(0, jobs)
    else:
        edges = np.linspace(0, jobs, min(jobs, threads * _JOBS_PER_PIECE) + 1).astype(int)
        for running in [pool.submit(piece, int(a), int(b)) for a, b in pairwise(edges)]:
            running.result()
    return done


def _room(population: StepwisePopulation, samples: int, steps: int, states: bool) -> Stepped:
    channels, height, width = population.shape
    record = (samples, steps, height, width, channels)
    graded = not population.spiking
    lists = None
    if not population.readout:
        lists = SpikeLists.empty(population.shape, samples=samples, steps=steps, graded=graded)
    return Stepped(
        population=population,
        spikes=lists,
        values=np.zeros(record, np.int32) if population.readout else _NOTHING,
        u=np.zeros(record, np.int32) if states else _NOTHING,
        v=np.zeros(record, np.int32) if states else _NOTHING,
    )


def _point_outputs(member: npt.NDArray[np.int64], one: Stepped) -> None:
    if one.spikes is None:
        member[column.OUT_VALUES] = one.values.ctypes.data
    else:
        member[column.OUT_START] = one.spikes.start.ctypes.data
        member[column.OUT_EVENTS] = one.spikes.events.ctypes.data
        member[column.OUT_VALUES] = one.spikes.values.ctypes.data if one.spikes.values.size else 0
    if one.u.size:
        member[column.OUT_U], member[column.OUT_V] = one.u.ctypes.data, one.v.ctypes.data


@compiled
def write_messages(start: Int32s, events: Int32s, values: Int32s, raster: Int32s) -> None:
    """raster[b*T + t, c, y, x] = the message of every event; `raster` is (N,C,H,W)."""
    B, T, H, _ = start.shape
    C, W = raster.shape[1], raster.shape[3]
    for b in range(B):
        for t in range(T):
            for y in range(H):
                base = ((b * T + t) * H + y) * W * C
                for x in range(W):
                    for i in range(start[b, t, y, x], start[b, t, y, x + 1]):
                        raster[b * T + t, events[base + i] - x * C, y, x] = values[base + i]
