"""The `fast` backend: the compiled engine, without Lava, bit-identical to its fixed-point models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lava_runtime.backend import Inputs, Probes
from lava_runtime.trace import Trace, make_trace
from netx_export.errors import RunError
from netx_export.graph import Graph, Input, NeuronSpec, Readout, has_states, is_spiking, schedule

if TYPE_CHECKING:
    from lava_runtime.engine.execution import Counts, Swept
    from lava_runtime.engine.plan import Plan
    from lava_runtime.engine.spike_maps import SpikeMap

Array = npt.NDArray[Any]

SPIKE_MEMORY = 256 * 2**20
"""Bytes that the spikes of the samples computed together may take."""

SAMPLES_TOGETHER = 16
"""Samples computed together at most: enough to hide the cost of starting a layer, few enough for the caches."""

_BYTES_PER_NEURON_STEP = 8


class Backend:
    """Layer by layer over whole samples; `threads` rows at a time (default: every core this process may use)."""

    def __init__(self, *, threads: int | None = None, **unknown: Any) -> None:
        if unknown:
            raise RunError(
                f"Backend 'fast' has no option {sorted(unknown)[0]!r}; it takes threads (a whole number >= 1)."
            )
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise RunError(f"Backend 'fast': threads is {threads!r}; give a whole number >= 1.")
        self.threads = threads or _usable_cores()

    def run(self, graph: Graph, inputs: Inputs, probes: Probes, *, progress: bool) -> Trace:
        """The Trace of `inputs` (T,B,C,H,W), B samples back to back."""
        # numba is loaded here, so that importing the package stays light.
        from lava_runtime.engine.execution import encode, idle_spikes, sweep_plan, workers
        from lava_runtime.engine.plan import plan_of

        steps, samples = next(iter(inputs.values())).shape[:2]
        plan = plan_of(graph)
        together = _samples_together(plan, steps, samples)
        record = _Record(graph, plan, probes, steps=steps, samples=samples)
        chunks = range(0, samples, together)
        with (
            workers(plan, self.threads) as working,
            tqdm(total=len(chunks) * len(plan.populations), unit="layer", disable=not progress) as bar,
        ):
            for first in chunks:
                chunk = {name: array[:, first : first + together] for name, array in inputs.items()}
                maps = {}
                for name, array in chunk.items():
                    maps[name], counts = encode(plan, name, array, working)
                    record.add_input(first, name, array, maps[name], counts)
                for swept in sweep_plan(
                    plan,
                    maps,
                    samples=min(together, samples - first),
                    steps=steps,
                    active=lambda population: (0, steps),
                    states=record.states,
                    run=working,
                    counts=record.swept_counts,
                    add_counts=first > 0,
                ):
                    record.add(first, swept)
                    bar.update()
            warm_up, drain = idle_spikes(plan, steps, working)
        return record.trace(warm_up, drain)


def _usable_cores() -> int:
    # Linux knows which cores this process may use; elsewhere all of them count.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _samples_together(plan: Plan, steps: int, samples: int) -> int:
    if not plan.resets:
        # The dense sums look back over frames that lie one behind the other: recordings must not see each other.
        return 1
    room = SPIKE_MEMORY // max(1, plan.peak_neurons * steps * _BYTES_PER_NEURON_STEP)
    return max(1, min(SAMPLES_TOGETHER, samples, room))


class SpikeCounts(Mapping[str, npt.NDArray[np.int64]]):
    """Spikes of each neuron by population, (C,H,W); narrow counts of large networks become int64 when asked for."""

    def __init__(self, given: Mapping[str, npt.NDArray[np.int64] | Counts]) -> None:
        self._given = dict(given)

    def __getitem__(self, name: str) -> npt.NDArray[np.int64]:
        found = self._given[name]
        if not isinstance(found, np.ndarray):
            found = self._given[name] = found.widened()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


class _Record:
    """Collects what the probes ask for, chunk by chunk, in hardware time."""

    def __init__(self, graph: Graph, plan: Plan, probes: Probes, *, steps: int, samples: int) -> None:
        from lava_runtime.engine.execution import new_counts
        from lava_runtime.engine.population_plan import PopulationPlan

        self._graph = graph
        self._steps, self._samples = steps, samples
        self._calendar = schedule(graph, steps=steps, samples=samples)
        rows = self._calendar.hardware_steps
        by_id = graph.by_id
        self.states = frozenset(name for name in probes.select(graph, "states") if has_states(by_id[name].neuron))
        rasters = [p for p in map(by_id.__getitem__, probes.select(graph, "rasters")) if not _is_readout(graph, p.id)]
        self._outputs = {p.id: np.zeros((rows, *p.shape), np.int32) for p in graph.outputs}
        self._rasters: dict[str, Array] = {
            p.id: np.zeros((rows, *p.shape), np.int32 if _sends_integers(p.neuron) else np.uint8) for p in rasters
        }
        self._u = {name: np.zeros((rows, *by_id[name].shape), np.int32) for name in self.states}
        self._v = {name: np.zeros((rows, *by_id[name].shape), np.int32) for name in self.states}
        self.swept_counts = {
            p.id: new_counts(p, steps * samples) for p in plan.populations if isinstance(p, PopulationPlan)
        }
        self._counts = {p.id: np.zeros(p.shape, np.int64) for p in graph.populations if p.id not in self.swept_counts}
        self._sample_spikes = {p.id: np.zeros(samples, np.int64) for p in graph.populations}

    def add_input(self, first: int, name: str, given: Array, made: SpikeMap, counts: Counts) -> None:
        """Record a chunk of an input (T,B,C,H,W) that begins with sample `first`."""
        self._counts[name] += counts.widened()
        self._add_totals(first, name, made.step_totals())
        if name in self._rasters:
            self._window(self._rasters[name], name, first, given.shape[1])[:] = given.swapaxes(0, 1)

    def add(self, first: int, swept: Swept) -> None:
        """Record a population of the chunk that begins with sample `first`."""
        from lava_runtime.engine.spike_lists import SpikeLists
        from lava_runtime.engine.stepwise import write_messages

        name = swept.population.id
        spikes = swept.spikes
        if spikes is not None:
            if isinstance(spikes, SpikeLists):
                spikes.add_counts(self._counts[name])
            self._add_totals(first, name, swept.step_totals())
            row = self._calendar.depth[name] + first * self._steps
            for kind in (self._outputs, self._rasters):
                if name in kind and isinstance(spikes, SpikeLists) and spikes.values.size:
                    write_messages(spikes.start, spikes.events, spikes.values, kind[name][row:])
                elif name in kind:
                    spikes.write_raster(kind[name], first=row)
        else:
            self._store(self._outputs[name], name, first, swept.values)
        if name in self.states:
            self._store(self._u[name], name, first, swept.u)
            self._store(self._v[name], name, first, swept.v)

    def _add_totals(self, first: int, name: str, totals: npt.NDArray[np.int64]) -> None:
        self._sample_spikes[name][first : first + len(totals)] = totals.sum(axis=1)

    def _store(self, record: Array, name: str, first: int, values: Array) -> None:
        """Copy channel-last (B,T,H,W,C) values into hardware time."""
        self._window(record, name, first, len(values))[:] = values.transpose(0, 1, 4, 2, 3)

    def _window(self, record: Array, name: str, first: int, samples: int) -> Array:
        """The rows of `samples` samples as (B,T,C,H,W)."""
        row = self._calendar.depth[name] + first * self._steps
        return record[row : row + samples * self._steps].reshape(samples, self._steps, *record.shape[1:])

    def trace(self, warm_up: dict[str, int], drain: dict[str, int]) -> Trace:
        """Everything that was recorded."""
        return make_trace(
            self._graph,
            backend="fast",
            steps=self._steps,
            samples=self._samples,
            outputs=self._outputs,
            spike_counts=SpikeCounts(
                {
                    p.id: self._counts[p.id] if p.id in self._counts else self.swept_counts[p.id]
                    for p in self._graph.populations
                }
            ),
            sample_spikes=self._sample_spikes,
            warm_up=warm_up,
            drain=drain,
            rasters=self._rasters,
            u=self._u,
            v=self._v,
        )


def _is_readout(graph: Graph, name: str) -> bool:
    return isinstance(graph.by_id[name].neuron, Readout)


def _sends_integers(neuron: NeuronSpec) -> bool:
    return isinstance(neuron, Input) or not is_spiking(neuron)
