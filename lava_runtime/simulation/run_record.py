"""The record of one Lava run: a ledger for each population before it, a Trace after it."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_longlong
from multiprocessing import Value
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.synapse_blocks import frame_shape
from lava_runtime.simulation.recorder import Counters, Ledger, read_counters, read_rows
from lava_runtime.trace import Trace, make_trace
from netx_export.graph import GRADED, Graph, Input, Population, Readout, Schedule, has_states, schedule

if TYPE_CHECKING:
    from lava_runtime.backend import Inputs, Probes


class RunRecord:
    """What one run of `graph` records, in `folder`. `counter` holds the number of steps done."""

    def __init__(self, *, graph: Graph, inputs: Inputs, probes: Probes, folder: Path) -> None:
        self._graph = graph
        self._inputs = inputs
        self._rasters = probes.select(graph, "rasters")
        self._states = probes.select(graph, "states")
        steps, samples = next(iter(inputs.values())).shape[:2]
        self.schedule: Schedule = schedule(graph, steps=steps, samples=samples)
        self.counter: c_longlong = Value("q", 0, lock=False)
        self.ledgers: dict[str, Ledger] = {
            population.id: self._ledger(population, folder, index)
            for index, population in enumerate(graph.populations)
            if not isinstance(population.neuron, Input)
        }

    def _ledger(self, population: Population, folder: Path, index: int) -> Ledger:
        readout = isinstance(population.neuron, Readout)
        name = population.id
        return Ledger(
            folder=folder,
            stem=str(index),
            shape=frame_shape(population.shape),
            start=self.schedule.depth[name],
            steps=self.schedule.steps,
            samples=self.schedule.samples,
            total_steps=self.schedule.hardware_steps,
            raster=not readout and (name in self._rasters or population in self._graph.outputs),
            states=name in self._states and has_states(population.neuron),
            values=readout,
            graded=isinstance(population.neuron, GRADED),
            progress=self.counter,
        )

    def trace(self, *, backend: str, meta: Mapping[str, str]) -> Trace:
        """Read the files of a finished run."""
        graph = self._graph
        counters = {population.id: self._counters(population) for population in graph.populations}
        outputs = {population.id: self._output(population) for population in graph.outputs}
        return make_trace(
            graph,
            backend=backend,
            steps=self.schedule.steps,
            samples=self.schedule.samples,
            outputs=outputs,
            spike_counts={name: found.spike_counts for name, found in counters.items()},
            sample_spikes={name: found.sample_spikes for name, found in counters.items()},
            warm_up={name: found.warm_up for name, found in counters.items()},
            drain={name: found.drain for name, found in counters.items()},
            rasters=self._raster_rows(),
            u={name: read_rows(self.ledgers[name], "u") for name in self._states if self._has_states(name)},
            v={name: read_rows(self.ledgers[name], "v") for name in self._states if self._has_states(name)},
            meta=meta,
        )

    def largest_messages(self) -> dict[str, int]:
        """Magnitude of the largest message that each sigma-delta population sent, of a finished run."""
        return {name: read_counters(ledger).largest for name, ledger in self.ledgers.items() if ledger.graded}

    def _has_states(self, name: str) -> bool:
        return has_states(self._graph.by_id[name].neuron)

    def _counters(self, population: Population) -> Counters:
        if not isinstance(population.neuron, Input):
            return read_counters(self.ledgers[population.id])
        sent = self._inputs[population.id] != 0
        return Counters(
            largest=0,
            warm_up=0,
            drain=0,
            sample_spikes=sent.sum(axis=(0, 2, 3, 4), dtype=np.int64),
            spike_counts=sent.sum(axis=(0, 1), dtype=np.int64),
        )

    def _output(self, population: Population) -> npt.NDArray[np.int32]:
        """Readout values with their bias, or spikes, zero outside the windows, (N,C,H,W)."""
        ledger = self.ledgers[population.id]
        if not isinstance(population.neuron, Readout):
            return read_rows(ledger, "raster").astype(np.int32)
        bias = population.neuron.bias
        values: npt.NDArray[np.int32] = read_rows(ledger, "values")
        values[self.schedule.window(population.id)] += bias[:, None, None] if bias.ndim == 1 else bias
        return values

    def _raster_rows(self) -> dict[str, npt.NDArray[Any]]:
        rows: dict[str, npt.NDArray[Any]] = {}
        for name in self._rasters:
            population = self._graph.by_id[name]
            if isinstance(population.neuron, Input):
                played = self._inputs[name].swapaxes(0, 1).reshape(-1, *population.shape)
                rows[name] = np.zeros((self.schedule.hardware_steps, *population.shape), np.int32)
                rows[name][self.schedule.window(name)] = played
            elif not isinstance(population.neuron, Readout):
                rows[name] = read_rows(self.ledgers[name], "raster")
        return rows
