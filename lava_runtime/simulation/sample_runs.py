"""Samples that must not touch one another: each a run of its own, their traces put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lava_runtime.trace import Trace, make_trace
from netx_export.graph import Graph

if TYPE_CHECKING:
    from lava_runtime.backend import Inputs


def run_samples(graph: Graph, inputs: Inputs, run_once: Callable[[Inputs], Trace]) -> Trace:
    """`run_once` on all samples (T,B,C,H,W) at once, or with timing `as_given` on one after the other.

    Aligned samples follow one another through the pipeline. With `as_given` every sample starts from rest with nothing
    under way, which only a new start gives: Lava keeps messages in its channels.
    """
    samples = next(iter(inputs.values())).shape[1]
    if graph.timing == "aligned" or samples == 1:
        return run_once(inputs)
    return join_traces(
        graph, [run_once({name: array[:, b : b + 1] for name, array in inputs.items()}) for b in range(samples)]
    )


def join_traces(graph: Graph, traces: list[Trace]) -> Trace:
    """Runs of one sample each as one trace, recorded one behind the other."""

    def behind(kind: str) -> dict[str, npt.NDArray[Any]]:
        records: list[Mapping[str, npt.NDArray[Any]]] = [getattr(trace, kind) for trace in traces]
        return {name: np.concatenate([record[name] for record in records]) for name in records[0]}

    first = traces[0]
    return make_trace(
        graph,
        backend=first.backend,
        steps=first.schedule.steps,
        samples=len(traces),
        outputs=behind("outputs"),
        spike_counts={
            name: np.sum([trace.spike_counts[name] for trace in traces], axis=0) for name in first.spike_counts
        },
        sample_spikes=behind("sample_spikes"),
        warm_up=first.warm_up,
        drain=first.drain,
        rasters=behind("rasters"),
        u=behind("u"),
        v=behind("v"),
        meta=first.meta,
    )
