"""Per-core probes: what every core and link did in every step, from rasters and the mapping, batch after batch.

probe = CoreProbe(mapping)
for trace in lava_runtime.streaming.stream(graph, batches, probes=Probes(rasters="all")): probe.add(trace)
steps = probe.finish()

Steps are those of an endless stream of the run's samples: while the last sample drains from the pipeline the first one
fills it again, so that every step is a full one and the steps add up to the totals of the trace exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.counters import Counters, by_core
from hw_profiles.links import DIRECTIONS, LinkLoads, fold
from hw_profiles.mapping import Mapping
from hw_profiles.tally import STEP_NAMES, Tally, Wiring
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import Graph, Readout

Counts = npt.NDArray[np.int64]

_BLOCK = 1 << 24
"""Raster values counted at once."""

_SHOWN = 12
"""Neurons of each population in the raster picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepCounts:
    """What happened in each of N = samples * steps steps: arrays (cores, N); neurons updated in a step are (cores,).

    `spikes` holds (N,) per population; `shown` a few neurons of each, (K, N) booleans, that spiked in the first batch.
    """

    samples: int
    steps: int
    spikes_in: Counts
    axon_out: Counts
    syn_ops: Counts
    dense_ops: Counts
    sparse_ops: Counts
    active_updates: Counts
    dendrite_updates: Counts
    links: LinkLoads | None
    spikes: dict[str, Counts]
    shown: dict[str, npt.NDArray[np.bool_]]

    @property
    def count(self) -> int:
        """Number of steps."""
        return self.samples * self.steps

    def check(self, counters: Counters) -> None:
        """RunError where the steps do not add up to the totals of the run."""
        for name in STEP_NAMES:
            mine, totals = getattr(self, name).sum(axis=1), getattr(counters, name)
            if not np.array_equal(mine, totals):
                core = int(np.flatnonzero(mine != totals)[0])
                raise RunError(
                    f"The rasters give {name} {mine[core]} on core {core}, the spike counts {totals[core]}; they belong "
                    "to different runs. Probe and count the same samples."
                )


def probed_populations(graph: Graph) -> tuple[str, ...]:
    """The populations whose rasters a CoreProbe needs: all that spike or send."""
    return tuple(p.id for p in graph.populations if not isinstance(p.neuron, Readout))


def has_rasters(trace: Trace, graph: Graph) -> bool:
    """True where the trace holds every raster that a CoreProbe needs."""
    return all(name in trace.rasters for name in probed_populations(graph))


class CoreProbe:
    """Counts batches of one run into cores and links, step by step; rasters are not kept."""

    def __init__(self, mapping: Mapping, *, wiring: Wiring | None = None) -> None:
        self._mapping = mapping
        self._wiring = wiring or Wiring.of(mapping)
        self._samples, self._steps = 0, 0
        self._arrays: dict[str, Counts] = {}
        self._neurons: dict[str, Counts] = {}

    def add(self, trace: Trace) -> None:
        """Count in the samples of `trace`, behind those that came before.

        RunError where the trace is of another network, has other steps per sample, or lacks a raster.
        """
        graph = self._mapping.graph
        trace.check_graph(graph)
        calendar = trace.schedule
        if self._samples and calendar.steps != self._steps:
            raise RunError(
                f"A trace of {calendar.steps} steps per sample follows one of {self._steps}; probe one run at a time."
            )
        for name in probed_populations(graph):
            if name not in trace.rasters:
                raise RunError(f"The trace has no raster of population {name!r}; run with Probes(rasters='all').")
        first = self._samples * calendar.steps
        tally = Tally(wiring=self._wiring, steps=calendar.hardware_steps)
        for name in probed_populations(graph):
            raster = trace.rasters[name]
            rows = max(1, _BLOCK // max(graph.by_id[name].size, 1))
            # Block by block: an open HDF5 dataset does as well as an array, and only a block of it is in memory.
            for start in range(0, len(raster), rows):
                block = (raster[start : start + rows] != 0).astype(np.uint8)
                tally.add(name, block, start)
                if name not in self._neurons:
                    self._neurons[name] = _choose(block)
                flat = block.reshape(len(block), -1)
                self._place(f"spikes {name}", flat.sum(axis=1, dtype=np.int64)[None], first + start)
                self._place(f"shown {name}", flat[:, self._neurons[name]].T.astype(np.int64), first + start)
        for name in STEP_NAMES:
            self._place(name, by_core(tally.per_step[name], self._mapping), first)
        if tally.links is not None:
            for direction, load in tally.links.loads().loads.items():
                self._place(f"link {direction}", load, first)
        self._samples += calendar.samples
        self._steps = calendar.steps

    def _place(self, name: str, values: Counts, first: int) -> None:
        """Add `values` (..., M) at step `first` of the record, which grows as needed."""
        stop = first + values.shape[-1]
        record = self._arrays.get(name)
        if record is None or record.shape[-1] < stop:
            grown = np.zeros((*values.shape[:-1], max(stop, 2 * first)), np.int64)
            if record is not None:
                grown[..., : record.shape[-1]] = record
            record = self._arrays[name] = grown
        record[..., first:stop] += values

    def finish(self) -> StepCounts:
        """Everything counted; RunError where nothing was."""
        if not self._samples:
            raise RunError("The probe has seen no trace; add at least one.")
        total, mapping = self._samples * self._steps, self._mapping
        found = {name: fold(values, total) for name, values in self._arrays.items()}
        sizes = np.array([entry.size for entry in mapping.slices], np.int64)
        links = None
        if mapping.placement is not None:
            links = LinkLoads(
                loads={name: found[f"link {name}"] for name in DIRECTIONS},
                mesh_columns=mapping.placement.topology.mesh_columns,
            )
        return StepCounts(
            samples=self._samples,
            steps=self._steps,
            dendrite_updates=by_core(sizes, mapping),
            links=links,
            spikes={name: found[f"spikes {name}"][0] for name in self._neurons},
            shown={name: found[f"shown {name}"] > 0 for name in self._neurons},
            **{name: found[name] for name in STEP_NAMES},
        )


def _choose(raster: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Neurons for the raster picture: evenly spread over those that spiked."""
    active = np.flatnonzero((raster != 0).any(axis=0).reshape(-1))
    places = np.linspace(0, len(active) - 1, min(_SHOWN, len(active))).round().astype(np.int64)
    return np.asarray(active[places])


def count_steps(trace: Trace, mapping: Mapping, wiring: Wiring | None = None) -> StepCounts:
    """The steps of a trace that holds all rasters; RunError names one that is missing."""
    probe = CoreProbe(mapping, wiring=wiring)
    probe.add(trace)
    return probe.finish()
