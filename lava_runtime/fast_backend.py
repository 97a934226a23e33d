"""The `fast` backend: the compiled engine, without Lava, bit-identical to its fixed-point models."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lava_runtime.backend import Inputs, Probes
from lava_runtime.trace import Trace, make_trace
from netx_export.errors import RunError
from netx_export.graph import Graph, Input, NeuronSpec, Readout, has_states, is_spiking, schedule

if TYPE_CHECKING:
    from lava_runtime.engine.execution import Swept
    from lava_runtime.engine.plan import Plan
    from lava_runtime.engine.spike_lists import SpikeLists

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
        from lava_runtime.engine.execution import idle_spikes, sweep_plan
        from lava_runtime.engine.plan import plan_of
        from lava_runtime.engine.spike_lists import SpikeLists

        steps, samples = next(iter(inputs.values())).shape[:2]
        plan = plan_of(graph)
        together = _samples_together(plan, steps, samples)
        record = _Record(graph, probes, steps=steps, samples=samples)
        chunks = range(0, samples, together)
        with (
            ThreadPoolExecutor(self.threads) if self.threads > 1 else nullcontext() as pool,
            tqdm(total=len(chunks) * len(plan.populations), unit="layer", disable=not progress) as bar,
        ):
            for first in chunks:
                chunk = {name: array[:, first : first + together] for name, array in inputs.items()}
                lists = {
                    p.id: SpikeLists.encode(
                        chunk[p.id], graded=isinstance(p.neuron, Input) and not is_spiking(p.neuron)
                    )
                    for p in plan.inputs
                }
                record.add_inputs(first, chunk, lists)
                for swept in sweep_plan(
                    plan,
                    lists,
                    samples=min(together, samples - first),
                    steps=steps,
                    active=lambda population: (0, steps),
                    states=record.states,
                    pool=pool,
                    threads=self.threads,
                ):
                    record.add(first, swept)
                    bar.update()
        warm_up, drain = idle_spikes(plan, steps)
        return record.trace(warm_up, drain)


def _usable_cores() -> int:
    # Linux knows which cores this process may use; elsewhere all of them count.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _samples_together(plan: Plan, steps: int, samples: int) -> int:
    room = SPIKE_MEMORY // max(1, plan.peak_neurons * steps * _BYTES_PER_NEURON_STEP)
    return max(1, min(SAMPLES_TOGETHER, samples, room))


class _Record:
    """Collects what the probes ask for, chunk by chunk, in hardware time."""

    def __init__(self, graph: Graph, probes: Probes, *, steps: int, samples: int) -> None:
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
        self._counts = {p.id: np.zeros(p.shape, np.int64) for p in graph.populations}
        self._sample_spikes = {p.id: np.zeros(samples, np.int64) for p in graph.populations}

    def add_inputs(self, first: int, chunk: Inputs, lists: dict[str, SpikeLists]) -> None:
        """Record a chunk of inputs that begins with sample `first`."""
        for name, array in chunk.items():
            self._count(first, name, lists[name])
            if name in self._rasters:
                self._window(self._rasters[name], name, first, array.shape[1])[:] = array.swapaxes(0, 1)

    def add(self, first: int, swept: Swept) -> None:
        """Record a population of the chunk that begins with sample `first`."""
        from lava_runtime.engine.stepwise import write_messages

        name = swept.population.id
        if swept.spikes is not None:
            self._count(first, name, swept.spikes)
            row = self._calendar.depth[name] + first * self._steps
            for kind in (self._outputs, self._rasters):
                if name in kind and swept.spikes.values.size:
                    write_messages(swept.spikes.start, swept.spikes.events, swept.spikes.values, kind[name][row:])
                elif name in kind:
                    swept.spikes.write_raster(kind[name], first=row)
        else:
            self._store(self._outputs[name], name, first, swept.values)
        if name in self.states:
            self._store(self._u[name], name, first, swept.u)
            self._store(self._v[name], name, first, swept.v)

    def _count(self, first: int, name: str, spikes: SpikeLists) -> None:
        spikes.add_counts(self._counts[name])
        totals = spikes.totals()
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
            spike_counts=self._counts,
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
