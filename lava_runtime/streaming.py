"""Runs of any length in the memory of one batch: traces one after the other, counters added up, records appended.

for trace in stream(graph, batches): ...                  each batch is an input of `run`, (T,B,C,H,W)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lava_runtime.backend import Probes, check_inputs, ready
from lava_runtime.trace import FORMAT, Trace, link_name
from netx_export.errors import RunError
from netx_export.files import replace_file
from netx_export.graph import Graph, schedule

Array = npt.NDArray[Any]

_ROWS_BYTES = 1 << 20


def stream(
    graph: Graph,
    batches: Iterable[Array | Mapping[str, Array]],
    *,
    backend: str = "fast",
    probes: Probes | None = None,
    **options: Any,
) -> Iterator[Trace]:
    """The Trace of every batch (T,B,C,H,W), made when it is asked for; only one batch is in memory.

    Every sample starts from rest, so samples may be cut into batches anywhere: counters and records are those of one
    `run` over all of them. `options` go to the backend. Raises what `run` raises, and names the batch.
    """
    probes = probes or Probes()
    made = ready(graph, backend=backend, probes=probes, **options)

    def traces() -> Iterator[Trace]:
        for number, batch in enumerate(batches):
            try:
                inputs = check_inputs(graph, batch)
            except RunError as error:
                raise RunError(f"Batch {number}: {error}") from None
            yield made.run(graph, inputs, probes, progress=False)

    return traces()


class Summary:
    """Spike counts added up over traces of one network; its size does not depend on how many there are."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._total: Trace | None = None

    @property
    def samples(self) -> int:
        """Samples added so far."""
        return self._total.schedule.samples if self._total is not None else 0

    def add(self, trace: Trace) -> None:
        """Count a trace in; RunError where it is of another network, backend, or number of steps per sample."""
        trace.check_graph(self._graph)
        if self._total is None:
            self._total = replace(
                trace,
                outputs={},
                rasters={},
                u={},
                v={},
                sample_spikes={},
                spike_counts={name: counts.copy() for name, counts in trace.spike_counts.items()},
            )
            return
        total = self._total
        for what, mine, theirs in (
            ("backend", total.backend, trace.backend),
            ("steps per sample", total.schedule.steps, trace.schedule.steps),
            ("warm-up", total.warm_up, trace.warm_up),
            ("drain", total.drain, trace.drain),
        ):
            if mine != theirs:
                raise RunError(
                    f"A trace with {what} {theirs} follows one with {mine}; traces of one run are added up, run again."
                )
        for name, counts in trace.spike_counts.items():
            total.spike_counts[name][...] += counts
        calendar = schedule(self._graph, steps=total.schedule.steps, samples=self.samples + trace.schedule.samples)
        self._total = replace(total, schedule=calendar)

    def trace(self) -> Trace:
        """Everything added, as a Trace without outputs, records and spikes per sample; RunError where nothing was."""
        if self._total is None:
            raise RunError("No trace was added up; run at least one sample.")
        return self._total


class TraceFile:
    """An open trace file that takes batch after batch; `trace_file` makes it."""

    def __init__(self, file: Any, graph: Graph, *, outputs: bool) -> None:
        self.summary = Summary(graph)
        self._file, self._outputs = file, outputs
        for kind in ("outputs", "spike_counts", "sample_spikes", "rasters", "u", "v"):
            file.create_group(kind, track_order=True)

    def append(self, trace: Trace) -> None:
        """Add the samples of `trace` behind those that are there."""
        first = self.summary.samples == 0
        self.summary.add(trace)
        for name, spikes in trace.sample_spikes.items():
            self._rows("sample_spikes", name, spikes)
        for kind in ("outputs", "rasters", "u", "v"):
            if kind == "outputs" and not self._outputs:
                continue
            for name, record in getattr(trace, kind).items():
                if first:
                    self._rows(kind, name, np.zeros((trace.schedule.depth[name], *record.shape[1:]), record.dtype))
                self._rows(kind, name, record[trace.schedule.window(name)])

    def _rows(self, kind: str, name: str, rows: Array) -> None:
        group, link = self._file[kind], link_name(name)
        if link not in group:
            row_bytes = max(1, rows.dtype.itemsize * int(np.prod(rows.shape[1:])))
            group.create_dataset(
                link,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                chunks=(max(1, min(1024, _ROWS_BYTES // row_bytes)), *rows.shape[1:]),
                dtype=rows.dtype,
                compression="gzip",
                compression_opts=1,
            )
        dataset = group[link]
        before = dataset.shape[0]
        dataset.resize(before + len(rows), axis=0)
        dataset[before:] = rows

    def complete(self, meta: Mapping[str, str]) -> None:
        """Write what is known at the end only: the counters, the calendar, and what made the run."""
        total = self.summary.trace()
        calendar = total.schedule
        for kind in ("outputs", "rasters", "u", "v"):
            for dataset in self._file[kind].values():
                dataset.resize(calendar.hardware_steps, axis=0)
        for name, counts in total.spike_counts.items():
            self._file["spike_counts"].create_dataset(
                link_name(name), data=counts, compression="gzip", compression_opts=1
            )
        attributes = self._file.attrs
        attributes["basalt_trace"] = FORMAT
        attributes["graph_digest"] = total.graph_digest
        attributes["backend"] = total.backend
        attributes["meta"] = json.dumps({**total.meta, **meta}, sort_keys=True)
        attributes["schedule"] = json.dumps(asdict(calendar))
        attributes["warm_up"] = json.dumps(dict(total.warm_up))
        attributes["drain"] = json.dumps(dict(total.drain))


@contextmanager
def trace_file(
    path: str | os.PathLike[str], graph: Graph, *, outputs: bool = True, meta: Mapping[str, str] | None = None
) -> Iterator[TraceFile]:
    """A trace file that grows by `append` and gets its name when the block ends without an error.

    What `Trace.load` reads from it is what one `run` over all samples would have given, `meta` added. `outputs=False`
    leaves the values of the outputs out: in a long run they take most of the room.
    """
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        growing = TraceFile(file, graph, outputs=outputs)
        yield growing
        growing.complete(meta or {})
