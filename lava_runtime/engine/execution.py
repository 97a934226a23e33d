"""Running a plan layer by layer over whole samples, in each population's own local time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.plan import Plan, PopulationPlan, addresses
from lava_runtime.engine.spike_lists import SpikeLists
from lava_runtime.engine.stepwise import run_group
from lava_runtime.engine.stepwise_plan import StepwisePopulation
from lava_runtime.engine.sweep import READOUT, sweep_rows, working_memory

Array = npt.NDArray[Any]
Planned = PopulationPlan | StepwisePopulation
Active = Callable[[Planned], tuple[int, int]]

_JOBS_PER_PIECE = 4
_NOTHING = np.empty((0, 0, 0, 0, 0), np.int32)
_NO_LISTS = SpikeLists.silent((1, 1, 1), samples=0, steps=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swept:
    """What one population did in B samples of T local steps; records are channel-last (B,T,H,W,C)."""

    population: Planned
    spikes: SpikeLists | None
    values: Array
    u: Array
    v: Array


def sweep_plan(
    plan: Plan,
    inputs: Mapping[str, SpikeLists],
    *,
    samples: int,
    steps: int,
    active: Active,
    states: frozenset[str],
    pool: ThreadPoolExecutor | None,
    threads: int,
) -> Iterator[Swept]:
    """Compute population after population; spikes are dropped as soon as nothing later reads them.

    `active` gives the local steps [begin,end) in which a population's neurons exist.
    """
    live = dict(inputs)
    stepped: dict[str, Swept] = {}
    for index, population in enumerate(plan.populations):
        if population.id in plan.groups:
            # The first of a group computes all of them.
            for one in run_group(
                plan.groups[population.id],
                live,
                samples=samples,
                steps=steps,
                active=active(population),
                states=states,
                pool=pool,
                threads=threads,
            ):
                done = Swept(population=one.population, spikes=one.spikes, values=one.values, u=one.u, v=one.v)
                stepped[one.population.id] = done
        if isinstance(population, StepwisePopulation):
            swept = stepped.pop(population.id)
        else:
            swept = _sweep(population, live, samples, steps, active(population), population.id in states, pool, threads)
        if swept.spikes is not None:
            live[population.id] = swept.spikes
        for name in [name for name in live if plan.last_reader.get(name, -1) <= index]:
            del live[name]
        yield swept


def _sweep(
    population: PopulationPlan,
    live: Mapping[str, SpikeLists],
    samples: int,
    steps: int,
    active: tuple[int, int],
    states: bool,
    pool: ThreadPoolExecutor | None,
    threads: int,
) -> Swept:
    channels, height, width = population.shape
    table = population.table.copy()
    for row, source in zip(table, population.sources, strict=True):
        lists = live[source]
        addresses(row, start=lists.start, events=lists.events, values=lists.values)
    record = (samples, steps, height, width, channels)
    spiking = population.kind != READOUT
    spikes = SpikeLists.empty(population.shape, samples=samples, steps=steps) if spiking else _NO_LISTS
    values = _NOTHING if spiking else np.zeros(record, np.int32)
    u, v = (np.zeros(record, np.int32), np.zeros(record, np.int32)) if states else (_NOTHING, _NOTHING)

    def piece(first: int, last: int) -> None:
        sweep_rows(
            first,
            last,
            population.kind,
            population.shape,
            steps,
            table,
            population.weights,
            population.bias,
            population.bias_per_pixel,
            population.u_multiplier,
            population.v_multiplier,
            population.threshold,
            np.tile(np.array(active, np.int64), (samples, 1)),
            population.room,
            *working_memory(table, population.room, channels, width),
            spikes.start,
            spikes.events,
            values,
            u,
            v,
        )

    jobs = samples * height
    if pool is None:
        piece(0, jobs)
    else:
        edges = np.linspace(0, jobs, min(jobs, threads * _JOBS_PER_PIECE) + 1).astype(int)
        for done in [pool.submit(piece, int(a), int(b)) for a, b in pairwise(edges)]:
            done.result()
    return Swept(population=population, spikes=spikes if spiking else None, values=values, u=u, v=v)


def idle_spikes(plan: Plan, steps: int) -> tuple[dict[str, int], dict[str, int]]:
    """Spikes of each population while the pipeline fills (before its first sample) and empties (after its last).

    The input is silent then, so both depend on the network and on the steps per sample alone. A population at depth d
    starts with zero state at local step -d; after the last sample it runs latency - d steps. In both, its state is
    reset where the local step is a multiple of `steps`, as LIFReset does with an offset of d + 1.
    """
    if steps not in plan.idle_spikes:
        plan.idle_spikes[steps] = _warm_up(plan, steps), _drain(plan, steps)
    return plan.idle_spikes[steps]


def _silent_step_counts(plan: Plan, samples: int, steps: int, active: Active) -> Iterator[tuple[Planned, Array]]:
    silent = {p.id: SpikeLists.silent(p.shape, samples=samples, steps=steps) for p in plan.inputs}
    for swept in sweep_plan(
        plan, silent, samples=samples, steps=steps, active=active, states=frozenset(), pool=None, threads=1
    ):
        totals = swept.spikes.totals() if swept.spikes is not None else np.zeros((samples, steps), np.int64)
        yield swept.population, totals.sum(axis=0)


def _warm_up(plan: Plan, steps: int) -> dict[str, int]:
    counts = dict.fromkeys([*(p.id for p in plan.inputs), *(p.id for p in plan.populations)], 0)
    for back in range(1, -(-plan.latency // steps) + 1):
        # This stretch covers the local steps -back*steps .. -(back-1)*steps - 1 of every population.
        def born(population: Planned, back: int = back) -> tuple[int, int]:
            return min(max(back * steps - population.depth, 0), steps), steps

        for population, per_step in _silent_step_counts(plan, 1, steps, born):
            counts[population.id] += int(per_step.sum())
    return counts


def _drain(plan: Plan, steps: int) -> dict[str, int]:
    counts = dict.fromkeys([*(p.id for p in plan.inputs), *(p.id for p in plan.populations)], 0)
    if plan.latency:
        # Every stretch between two resets is the same silent sample; all sources outlast their targets.
        for population, per_step in _silent_step_counts(plan, 1, steps, lambda population: (0, steps)):
            whole, rest = divmod(plan.latency - population.depth, steps)
            counts[population.id] = int(whole * per_step.sum() + per_step[:rest].sum())
    return counts
