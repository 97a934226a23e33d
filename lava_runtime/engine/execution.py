"""Running a plan layer by layer over whole samples, in each population's own local time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine import sweep_tables as tables
from lava_runtime.engine import synapse_kernels as column
from lava_runtime.engine import tiling
from lava_runtime.engine.dense_sums import dense_kind, tile_shape
from lava_runtime.engine.plan import Plan
from lava_runtime.engine.population_plan import PopulationPlan
from lava_runtime.engine.sent_spikes import Sent
from lava_runtime.engine.spike_lists import SpikeLists
from lava_runtime.engine.spike_maps import MemoryPool, SpikeMap, encode_rows, list_rows, new_lists, new_map, silent_map
from lava_runtime.engine.stepwise import run_group
from lava_runtime.engine.stepwise_plan import StepwisePopulation
from lava_runtime.engine.sweep import sweep_jobs
from lava_runtime.engine.vector_sums import padded
from netx_export.graph import Lif

Array = npt.NDArray[Any]
Planned = PopulationPlan | StepwisePopulation
Active = Callable[[Planned], tuple[int, int]]

_NOTHING = np.empty((0, 0, 0, 0, 0), np.int32)
_NO_WEIGHTS = np.zeros(1, np.int8)
_BYTE_FRAMES = 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """Spikes of each neuron, (H,W,lanes), channels padded; bytes where they cannot overflow, else int32."""

    channels: int
    array: Array

    def widened(self) -> npt.NDArray[np.int64]:
        """As int64 (C,H,W)."""
        return np.ascontiguousarray(self.array[..., : self.channels].transpose(2, 0, 1), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swept:
    """What one population did in B samples of T local steps; records are channel-last (B,T,H,W,C)."""

    population: Planned
    spikes: SpikeMap | SpikeLists | None
    values: Array
    u: Array
    v: Array

    def step_totals(self) -> npt.NDArray[np.int64]:
        """Spikes per sample and local step, (B,T); nothing where it does not spike."""
        if self.spikes is None:
            return np.zeros((1, 1), np.int64)
        return self.spikes.step_totals() if isinstance(self.spikes, SpikeMap) else self.spikes.totals()


class Workers:
    """Threads and memory of one run."""

    def __init__(self, pool: ThreadPoolExecutor | None, threads: int, memory: MemoryPool) -> None:
        self.pool, self.threads, self.memory = pool, threads, memory

    def everywhere(self, work: Callable[[], None], pieces: int) -> None:
        """`work` once on every thread, this one included; it takes pieces from a counter until none is left."""
        others = [self.pool.submit(work) for _ in range(min(self.threads, pieces) - 1)] if self.pool else []
        work()
        for other in others:
            other.result()

    def split(self, work: Callable[[int, int], None], length: int) -> None:
        """work(first, last) for one stretch of range(length) per thread."""
        edges = [length * n // self.threads for n in range(self.threads + 1)] if self.pool else [0, length]
        others = [self.pool.submit(work, a, b) for a, b in pairwise(edges[1:])] if self.pool else []
        work(edges[0], edges[1])
        for other in others:
            other.result()


@contextmanager
def workers(plan: Plan, threads: int) -> Iterator[Workers]:
    """Threads for one run, and memory that an earlier run of the plan has used."""
    memory = plan.idle_pools.pop() if plan.idle_pools else MemoryPool()
    pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
    try:
        yield Workers(pool, threads, memory)
    finally:
        if pool:
            pool.shutdown()
        plan.idle_pools.append(memory)


def encode(plan: Plan, name: str, given: Array, run: Workers) -> tuple[SpikeMap, Counts]:
    """Messages (T,B,C,H,W) as maps, and how many of each neuron's were not 0."""
    steps, samples = given.shape[:2]
    layout = plan.layouts[name]
    made = new_map(layout, run.memory, samples=samples, steps=steps)
    channels, height, width = layout.shape
    counts = np.zeros((height, width, channels), np.int32)
    native = np.ascontiguousarray(given, given.dtype if given.dtype == np.uint8 else np.int32)
    made.used = _bytes_used(native, layout.planes)
    # Behind the unused bytes comes the sign, so the order of what is left tells each byte's place.
    planes = [plane for plane, used in enumerate(made.used) if used]
    origins = np.array([made.origin(plane) for plane in planes], np.int64)
    signs = np.array([layout.planes > 1 and plane == layout.planes - 1 for plane in planes], np.bool_)

    def piece(first: int, last: int) -> None:
        row, pitch = layout.row, layout.pitch
        encode_rows(first, last, native, origins, signs, row, pitch, layout.left, layout.right, counts, made.totals)

    run.split(piece, height)
    return made, Counts(channels=channels, array=counts)


def _bytes_used(messages: Array, planes: int) -> tuple[bool, ...]:
    """Which bytes of the messages are not 0 everywhere; the last one is the sign."""
    if planes == 1:
        return (True,)
    low, high = int(messages.min(initial=0)), int(messages.max(initial=0))
    # Where there are negative numbers every byte is.
    return (*(plane == 0 or low < 0 or high >= 256**plane for plane in range(planes - 1)), low < 0)


def sweep_plan(
    plan: Plan,
    inputs: Mapping[str, SpikeMap],
    *,
    samples: int,
    steps: int,
    active: Active,
    states: frozenset[str],
    run: Workers,
    counts: Mapping[str, Counts] | None = None,
    add_counts: bool = False,
) -> Iterator[Swept]:
    """Compute population after population; spikes are dropped as soon as nothing later reads them.

    `active` gives the local steps [begin,end) in which a population's neurons exist. `counts` receives the spikes of
    each neuron (added to what is there with `add_counts`). What is yielded is valid until the next one.
    """
    live = {name: Sent(layout=plan.layouts[name], given=given, run_memory=run.memory) for name, given in inputs.items()}
    stepped: dict[str, Swept] = {}
    for index, population in enumerate(plan.populations):
        if population.id in plan.groups:
            group = plan.groups[population.id]
            read = {source for one in group.populations for source in one.sources if source in live}
            # The first of a group computes all of them.
            for one in run_group(
                group,
                {name: live[name].lists() for name in read},
                samples=samples,
                steps=steps,
                active=active(population),
                states=states,
                pool=run.pool,
                threads=run.threads,
            ):
                done = Swept(population=one.population, spikes=one.spikes, values=one.values, u=one.u, v=one.v)
                stepped[one.population.id] = done
        if isinstance(population, StepwisePopulation):
            swept = stepped.pop(population.id)
        else:
            sources = {name: live[name].map() for name in population.sources}
            kept = counts[population.id] if counts else None
            swept = _sweep(
                plan, population, sources, active(population), population.id in states, run, kept, add_counts
            )
        if swept.spikes is not None:
            live[population.id] = Sent(layout=plan.layouts[population.id], given=swept.spikes, run_memory=run.memory)
        yield swept
        for name in [name for name in live if plan.last_reader.get(name, -1) <= index]:
            live.pop(name).release()


def new_counts(population: PopulationPlan, frames: int) -> Counts:
    """Room for the counts of a run over `frames` frames in all."""
    channels, height, width = population.shape
    kind = np.uint8 if frames <= _BYTE_FRAMES else np.int32
    # Readouts do not spike, and nothing writes their counts.
    room = np.zeros if population.kind == tables.READOUT else np.empty
    return Counts(channels=channels, array=room((height, width, padded(channels)), kind))


def _sweep(
    plan: Plan,
    population: PopulationPlan,
    sources: Mapping[str, SpikeMap],
    active: tuple[int, int],
    states: bool,
    run: Workers,
    counts: Counts | None,
    add_counts: bool,
) -> Swept:
    channels, height, width = population.shape
    first = next(iter(sources.values()))
    kind = dense_kind()
    cut = tiling.tiling(population, first.frames, run.threads)
    by_event = tiling.event_rows(population, sources, cut, kind)
    spiking = population.kind != tables.READOUT
    record = (first.frames, height, width, padded(channels))
    made = None
    if spiking:
        layout = plan.layouts[population.id]
        made = new_map(layout, run.memory, samples=first.samples, steps=first.steps, slots=cut.slots)
    values = _NOTHING if spiking else np.zeros(record, np.int32)
    u, v = (np.zeros(record, np.int32), np.zeros(record, np.int32)) if states else (_NOTHING, _NOTHING)
    counts = counts or new_counts(population, first.frames)
    layer = np.zeros(tables.LAYER, np.int64)
    _describe(layer, population, first, active, states, counts)
    layer[tables.PHASES], layer[tables.TIME_TILES] = cut.phases, cut.time_tiles
    layer[tables.TILE_ROWS], layer[tables.GROUP], layer[tables.DENSE_KIND] = cut.rows, cut.group, kind
    layer[tables.COUNTS_KEPT] = add_counts
    if made is not None:
        layer[tables.OUT], layer[tables.OUT_FRAME], layer[tables.OUT_ROW] = made.origin(), layout.frame, layout.row
        layer[tables.OUT_PITCH], layer[tables.OUT_LEFT], layer[tables.OUT_RIGHT] = (
            layout.pitch,
            layout.left,
            layout.right,
        )
    for place, array in ((tables.VALUES_OUT, values), (tables.U_OUT, u), (tables.V_OUT, v)):
        layer[place] = array.ctypes.data if array.size else 0
    blocks, event_weights, column_room, line_room = population.blocks, _NO_WEIGHTS, 0, 0
    layer[tables.DENSE_WEIGHTS], layer[tables.PIXEL_WEIGHTS] = blocks.weights.ctypes.data, blocks.pixel_weights
    dense_table, terms = population.dense_table
    table = dense_table.copy()
    for row, (wiring, plane) in zip(table, terms, strict=True):
        source = sources[population.wirings[wiring].source]
        if source.used[plane]:
            row[column.BASE] = source.origin(plane) - population.wirings[wiring].lag * source.layout.frame
    if by_event.any():
        _make_lists(population, sources, by_event, run)
        rows = population.event_rows
        event_weights, column_room, line_room = rows.weights, rows.column_room, rows.line_room
        layer[tables.ROOM] = rows.room
        event_table = rows.table.copy()
        for row, wiring in zip(event_table, rows.order, strict=True):
            lists = sources[population.wirings[wiring].source].lists
            if lists is not None:
                row[column.START], row[column.EVENTS] = lists.start.ctypes.data, lists.events.ctypes.data
    else:
        event_table = table
    jobs = tiling.jobs_of(population, cut, by_event)
    counter = np.zeros(1, np.int64)
    layer[tables.COUNTER] = counter.ctypes.data
    shape = tile_shape(cut.rows)
    totals = made.totals if made is not None else np.zeros((cut.slots, height, first.frames), np.int32)

    def work() -> None:
        sweep_jobs(
            layer,
            table,
            event_table,
            blocks.lists,
            blocks.segments,
            blocks.entries,
            blocks.steps,
            event_weights,
            column_room,
            line_room,
            shape,
            jobs,
            totals,
        )

    run.everywhere(work, len(jobs))
    shaped = (first.samples, first.steps, height, width, padded(channels))
    values, u, v = (a.reshape(shaped)[..., :channels] if a.size else a for a in (values, u, v))
    return Swept(population=population, spikes=made, values=values, u=u, v=v)


def _describe(
    layer: npt.NDArray[np.int64],
    population: PopulationPlan,
    first: SpikeMap,
    active: tuple[int, int],
    states: bool,
    counts: Counts,
) -> None:
    layer[tables.KIND] = population.kind
    layer[tables.CHANNELS], layer[tables.HEIGHT], layer[tables.WIDTH] = population.shape
    layer[tables.STEPS], layer[tables.FRAME_COUNT] = first.steps, first.frames
    layer[tables.BEGIN], layer[tables.END] = active
    neuron = population.neuron
    if isinstance(neuron, Lif):
        layer[tables.U_MULTIPLIER], layer[tables.V_MULTIPLIER], layer[tables.THRESHOLD] = population.dynamics
        layer[tables.RESET_INTERVAL], layer[tables.RESET_OFFSET] = neuron.reset_interval, neuron.reset_offset
        layer[tables.KEEPS_U] = states or layer[tables.U_MULTIPLIER] != 0
    layer[tables.BIAS], layer[tables.BIAS_PER_PIXEL] = population.bias.ctypes.data, population.bias_per_pixel
    layer[tables.COUNTS], layer[tables.COUNTS_WIDE] = counts.array.ctypes.data, counts.array.dtype == np.int32


def _make_lists(
    population: PopulationPlan, sources: Mapping[str, SpikeMap], rows: npt.NDArray[np.bool_], run: Workers
) -> None:
    """Lists of the source rows that are read and have none yet."""
    for name, needed in tiling.lists_needed(population, sources, rows).items():
        source = sources[name]
        lists = source.lists = source.lists or new_lists(source, run.memory)
        listed = source.listed if source.listed is not None else np.zeros_like(needed)
        missing = np.flatnonzero(needed & ~listed)
        source.listed = listed | needed
        origin = source.origin()
        start_at, events_at = lists.start.ctypes.data, lists.events.ctypes.data

        def piece(
            first: int,
            last: int,
            missing: npt.NDArray[np.int64] = missing,
            source: SpikeMap = source,
            given: tuple[int, int, int] = (origin, start_at, events_at),
        ) -> None:
            layout = source.layout
            list_rows(
                first,
                last,
                missing,
                given[0],
                layout.shape,
                layout.row,
                layout.pitch,
                source.frames,
                given[1],
                given[2],
            )

        if missing.size:
            run.split(piece, missing.size)


def idle_spikes(plan: Plan, steps: int, run: Workers) -> tuple[dict[str, int], dict[str, int]]:
    """Spikes of each population while the pipeline fills (before its first sample) and empties (after its last).

    The input is silent then, so both depend on the network and on the steps per sample alone. A population at depth d
    starts with zero state at local step -d; after the last sample it runs latency - d steps. In both, its state is
    reset where the local step is a multiple of `steps`, as LIFReset does with an offset of d + 1.
    """
    if steps not in plan.idle_spikes:
        plan.idle_spikes[steps] = _warm_up(plan, steps, run), _drain(plan, steps, run)
    return plan.idle_spikes[steps]


def _silent_step_counts(plan: Plan, steps: int, active: Active, run: Workers) -> Iterator[tuple[Planned, Array]]:
    silent = {p.id: silent_map(plan.layouts[p.id], run.memory, samples=1, steps=steps) for p in plan.inputs}
    for swept in sweep_plan(plan, silent, samples=1, steps=steps, active=active, states=frozenset(), run=run):
        yield swept.population, swept.step_totals().sum(axis=0)


def _warm_up(plan: Plan, steps: int, run: Workers) -> dict[str, int]:
    counts = dict.fromkeys([*(p.id for p in plan.inputs), *(p.id for p in plan.populations)], 0)
    for back in range(1, -(-plan.latency // steps) + 1):
        # This stretch covers the local steps -back*steps .. -(back-1)*steps - 1 of every population.
        def born(population: Planned, back: int = back) -> tuple[int, int]:
            return min(max(back * steps - population.depth, 0), steps), steps

        for population, per_step in _silent_step_counts(plan, steps, born, run):
            counts[population.id] += int(per_step.sum())
    return counts


def _drain(plan: Plan, steps: int, run: Workers) -> dict[str, int]:
    counts = dict.fromkeys([*(p.id for p in plan.inputs), *(p.id for p in plan.populations)], 0)
    if plan.latency:
        # Every stretch between two resets is the same silent sample; all sources outlast their targets.
        for population, per_step in _silent_step_counts(plan, steps, lambda population: (0, steps), run):
            whole, rest = divmod(plan.latency - population.depth, steps)
            counts[population.id] = int(whole * per_step.sum() + per_step[:rest].sum())
    return counts
