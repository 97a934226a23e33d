"""What a run leaves behind: outputs, spike counts, rasters and states in hardware time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np
import numpy.typing as npt

from netx_export.errors import RunError
from netx_export.files import replace_file
from netx_export.graph import Graph, Input, Readout, Schedule, schedule

Array = npt.NDArray[Any]

FORMAT = 1
"""Version of the trace file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two traces part, in hardware time."""

    population: str
    step: int
    neuron: tuple[int, int, int]
    kind: str
    mine: int
    theirs: int
    states: Mapping[str, int] = field(default_factory=dict)
    """u and v of that neuron on both sides, where probed: keys `u mine`, `u theirs`, `v mine`, `v theirs`."""

    def __str__(self) -> str:
        states = "".join(f", {name} {value}" for name, value in self.states.items())
        return (
            f"population {self.population!r}, step {self.step}, neuron (c,y,x) = {self.neuron}: "
            f"{self.kind} {self.mine} against {self.theirs}{states}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """The record of one run. Arrays in hardware time have shape (N,C,H,W), N = samples*steps + latency.

    outputs      population id -> int32 (N,C,H,W): readout values (bias included), 0/1 spikes, or the messages of
                 sigma-delta populations; rows outside the samples' own windows are zero.
    spike_counts population id -> int64 (C,H,W): spikes inside the samples' windows, summed over the run; inputs too
                 (where messages are graded: those that are not zero).
    sample_spikes population id -> int64 (B,): the same per sample, summed over neurons.
    warm_up, drain  population id -> spikes before the first and after the last sample's window.
    rasters      population id -> uint8 (N,C,H,W), on request, zero outside the windows (inputs and sigma-delta
                 populations: int32).
    u, v         population id -> int32 (N,C,H,W), on request, where the neuron has states: those after the update
                 (Lif: v is 0 where the neuron spiked; others: see their class), zero outside the windows.
    """

    graph_digest: str
    backend: str
    schedule: Schedule
    outputs: Mapping[str, Array]
    spike_counts: Mapping[str, npt.NDArray[np.int64]]
    sample_spikes: Mapping[str, npt.NDArray[np.int64]]
    warm_up: Mapping[str, int]
    drain: Mapping[str, int]
    rasters: Mapping[str, Array] = field(default_factory=dict)
    u: Mapping[str, Array] = field(default_factory=dict)
    v: Mapping[str, Array] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def output(self) -> Array:
        """The only output; RunError names them where there are several."""
        if len(self.outputs) != 1:
            raise RunError(
                f"The network has {len(self.outputs)} outputs ({', '.join(self.outputs)}); use trace.outputs[name]."
            )
        return next(iter(self.outputs.values()))

    def aligned(self, name: str) -> Array:
        """Output or raster of `name` without the pipeline's latency, (T,B,C,H,W), comparable with training."""
        found = self.outputs.get(name, self.rasters.get(name))
        if found is None:
            raise RunError(f"Nothing was recorded of {name!r}; probe it with Probes(rasters=({name!r},)).")
        return self.to_samples(name, found)

    def to_samples(self, name: str, recorded: Array) -> Array:
        """An (N,C,H,W) record of population `name` as (T,B,C,H,W)."""
        calendar = self.schedule
        rows = recorded[calendar.window(name)]
        return rows.reshape(calendar.samples, calendar.steps, *rows.shape[1:]).swapaxes(0, 1)

    def values(self, graph: Graph) -> dict[str, npt.NDArray[np.float64]]:
        """Every readout in training's real units, without latency: population id -> (T,B,C,H,W)."""
        self.check_graph(graph)
        return {p.id: self.aligned(p.id) * p.neuron.unit for p in graph.outputs if isinstance(p.neuron, Readout)}

    # -- counters ------------------------------------------------------------------------------------------------

    def total_spikes(self, graph: Graph) -> int:
        """Spikes, or messages that are not zero, of the network's neurons inside the samples' windows; inputs do not count."""
        self.check_graph(graph)
        sending = [p.id for p in graph.populations if not isinstance(p.neuron, Input | Readout)]
        return sum(int(self.spike_counts[name].sum()) for name in sending)

    def synops(self, graph: Graph) -> dict[str, int]:
        """Synaptic operations per target population: spikes times their true, border-aware fan-out."""
        self.check_graph(graph)
        return {
            population.id: sum(
                int((self.spike_counts[p.src] * p.fan_out(graph.by_id[p.src])).sum())
                for p in graph.incoming[population.id]
            )
            for population in graph.populations
        }

    def neuron_updates(self, graph: Graph) -> dict[str, int]:
        """State updates per population: neurons times steps times samples (inputs have none)."""
        self.check_graph(graph)
        steps = self.schedule.steps * self.schedule.samples
        inputs = {p.id for p in graph.inputs}
        return {p.id: 0 if p.id in inputs else p.size * steps for p in graph.populations}

    def check_graph(self, graph: Graph) -> None:
        """RunError when this trace belongs to another network."""
        if graph.digest != self.graph_digest:
            raise RunError(
                f"The trace was recorded from network {self.graph_digest[:12]}, this network is {graph.digest[:12]}; "
                "run the network again."
            )

    def check_shapes(self, graph: Graph) -> None:
        """RunError where a record has another shape than the network and the schedule give it: a damaged file."""
        calendar = self.schedule
        if min(calendar.steps, calendar.samples) < 1 or calendar != schedule(
            graph, steps=calendar.steps, samples=calendar.samples
        ):
            raise RunError(f"The trace's schedule {calendar} is none of this network; run the network again.")
        kinds: dict[str, tuple[Mapping[str, Array], tuple[int, ...]]] = {
            "spike counts": (self.spike_counts, ()),
            **{
                kind: (records, (calendar.hardware_steps,))
                for kind, records in (
                    ("outputs", self.outputs),
                    ("raster", self.rasters),
                    ("state u", self.u),
                    ("state v", self.v),
                )
            },
        }
        for kind, (records, steps) in kinds.items():
            for name, record in records.items():
                population = graph.by_id.get(name)
                if population is None or record.shape != (*steps, *population.shape):
                    known = "is no population" if population is None else f"has shape {(*steps, *population.shape)}"
                    raise RunError(
                        f"The trace holds {kind} of {name!r} with shape {record.shape}, in the network it {known}; run the "
                        "network again."
                    )

    # -- comparison ----------------------------------------------------------------------------------------------

    def first_difference(self, other: Trace) -> Difference | None:
        """The earliest disagreement (by hardware step, then population order) in rasters, outputs, u and v of both."""
        if self.schedule != other.schedule:
            raise RunError("The traces cover different samples, steps or networks and cannot be compared.")
        found: list[Difference] = []
        for kind, mine, theirs in (
            ("spikes", self.rasters, other.rasters),
            ("output", self.outputs, other.outputs),
            ("u", self.u, other.u),
            ("v", self.v, other.v),
        ):
            for name in mine:
                if name in theirs:
                    difference = self._compare(other, kind, name, mine[name], theirs[name])
                    if difference is not None:
                        found.append(difference)
        order = {name: rank for rank, name in enumerate(self.spike_counts)}
        return min(found, key=lambda d: (d.step, order[d.population]), default=None)

    def _compare(self, other: Trace, kind: str, name: str, mine: Array, theirs: Array) -> Difference | None:
        unequal = mine != theirs
        if not unequal.any():
            return None
        step, c, y, x = (int(index) for index in np.unravel_index(int(np.argmax(unequal)), mine.shape))
        states = {
            f"{state} {side}": int(record[name][step, c, y, x])
            for side, trace in (("mine", self), ("theirs", other))
            for state, record in (("u", trace.u), ("v", trace.v))
            if name in record
        }
        return Difference(
            population=name,
            step=step,
            neuron=(c, y, x),
            kind=kind,
            mine=int(mine[step, c, y, x]),
            theirs=int(theirs[step, c, y, x]),
            states=states,
        )

    # -- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace as HDF5; the file appears only when it is whole."""
        with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["basalt_trace"] = FORMAT
            file.attrs["graph_digest"] = self.graph_digest
            file.attrs["backend"] = self.backend
            file.attrs["meta"] = json.dumps(dict(self.meta), sort_keys=True)
            calendar = self.schedule
            file.attrs["schedule"] = json.dumps(
                {
                    "steps": calendar.steps,
                    "samples": calendar.samples,
                    "depth": calendar.depth,
                    "latency": calendar.latency,
                }
            )
            file.attrs["warm_up"] = json.dumps(dict(self.warm_up))
            file.attrs["drain"] = json.dumps(dict(self.drain))
            # Creation order keeps the populations in the network's order when the file is read.
            for group_name in ("outputs", "spike_counts", "sample_spikes", "rasters", "u", "v"):
                group = file.create_group(group_name, track_order=True)
                for name, array in getattr(self, group_name).items():
                    group.create_dataset(link_name(name), data=array, compression="gzip", compression_opts=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a trace written by `save`; RunError names a file that is no trace."""
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("basalt_trace") != FORMAT:
                    raise RunError(f"{path}: no trace of format {FORMAT}; write it with run_lava.py.")
                arrays = {
                    group: {unquote(name): dataset[()] for name, dataset in file[group].items()}
                    for group in ("outputs", "spike_counts", "sample_spikes", "rasters", "u", "v")
                }
                return cls(
                    graph_digest=str(file.attrs["graph_digest"]),
                    backend=str(file.attrs["backend"]),
                    schedule=Schedule(**json.loads(file.attrs["schedule"])),
                    warm_up=json.loads(file.attrs["warm_up"]),
                    drain=json.loads(file.attrs["drain"]),
                    meta=json.loads(file.attrs["meta"]),
                    **arrays,
                )
        except (OSError, AttributeError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path}: cannot be read as a trace ({error}); run run_lava.py again.") from None


def link_name(name: str) -> str:
    """`name` as one HDF5 link: there "/" parts groups and "." is the group itself."""
    return "%2E" if name == "." else quote(name, safe=" ")


def make_trace(
    graph: Graph,
    *,
    backend: str,
    steps: int,
    samples: int,
    outputs: Mapping[str, Array],
    spike_counts: Mapping[str, npt.NDArray[np.int64]],
    sample_spikes: Mapping[str, npt.NDArray[np.int64]],
    warm_up: Mapping[str, int],
    drain: Mapping[str, int],
    rasters: Mapping[str, Array] | None = None,
    u: Mapping[str, Array] | None = None,
    v: Mapping[str, Array] | None = None,
    meta: Mapping[str, str] | None = None,
) -> Trace:
    """A Trace of `graph` whose mappings follow the order of the graph's populations."""

    def ordered(record: Mapping[str, Any] | None) -> dict[str, Any]:
        return {p.id: record[p.id] for p in graph.populations if p.id in record} if record else {}

    return Trace(
        graph_digest=graph.digest,
        backend=backend,
        schedule=schedule(graph, steps=steps, samples=samples),
        outputs=ordered(outputs),
        # A mapping in the right order may make its arrays when they are asked for.
        spike_counts=spike_counts if list(spike_counts) == [*graph.by_id] else ordered(spike_counts),
        sample_spikes=ordered(sample_spikes),
        warm_up=ordered(warm_up),
        drain=ordered(drain),
        rasters=ordered(rasters),
        u=ordered(u),
        v=ordered(v),
        meta=dict(meta or {}),
    )
