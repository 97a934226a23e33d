"""Two traces from the disk, side by side: equal, or where they part first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lava_runtime.divergence import Divergence, first_divergence
from lava_runtime.run_folder import NETWORK, TRACE
from lava_runtime.trace import Trace
from netx_export.errors import RunError
from netx_export.graph import Graph

RECORDS = ("rasters", "outputs", "u", "v")
"""What is compared value by value where both traces hold it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Two traces of one network: `divergence` where recorded values differ, `counts` populations whose counters do.

    `values` and `spikes` were compared one by one; the counters of every population always are.
    """

    graph: Graph
    mine: Trace
    theirs: Trace
    values: int
    spikes: int
    divergence: Divergence | None
    counts: Mapping[str, tuple[int, int]]

    @property
    def equal(self) -> bool:
        """True where nothing differs."""
        return self.divergence is None and not self.counts

    def __str__(self) -> str:
        compared = (
            f"{self.values:,} recorded values with {self.spikes:,} spikes, and the spike counts of "
            f"{len(self.graph.populations)} populations, compared over {self.mine.schedule.hardware_steps:,} hardware steps"
        )
        if self.equal:
            return f"{compared}: equal"
        lines = [f"{compared}: different"]
        if self.divergence is not None:
            lines.append(str(self.divergence))
            if not self.divergence.difference.states:
                lines.append(
                    f"  u and v were not recorded; run both with --states {self.divergence.difference.population}"
                )
        for name, (mine, theirs) in self.counts.items():
            lines.append(f"  population {name!r}: {mine:,} spikes against {theirs:,}")
        if self.divergence is None:
            lines.append("  its steps were not recorded in both runs; run both with --probe all")
        return "\n".join(lines)


def compare_traces(graph: Graph, mine: Trace, theirs: Trace) -> Comparison:
    """Compare what both traces recorded; raises RunError for other networks, samples, or nothing in common."""
    divergence = first_divergence(graph, mine, theirs)
    shared = [(record, name) for record in RECORDS for name in getattr(mine, record) if name in getattr(theirs, record)]
    spiking = {name: mine.rasters[name] for record, name in shared if record == "rasters"}
    return Comparison(
        graph=graph,
        mine=mine,
        theirs=theirs,
        values=sum(getattr(mine, record)[name].size for record, name in shared),
        spikes=sum(int(np.count_nonzero(raster)) for raster in spiking.values()),
        divergence=divergence,
        counts={
            name: (int(counts.sum()), int(theirs.spike_counts[name].sum()))
            for name, counts in mine.spike_counts.items()
            if not np.array_equal(counts, theirs.spike_counts[name])
            or not np.array_equal(mine.sample_spikes[name], theirs.sample_spikes[name])
        },
    )


def load_traces(
    paths: tuple[Path, Path], network: Path | None, *, read_network: Callable[[Path], Graph]
) -> tuple[Graph, Trace, Trace]:
    """Two trace files (or the run folders that hold them) and their network: the one given, or network.net beside them.

    Raises RunError for a file that is no trace, two networks, or none found.
    """
    files = [path / TRACE if path.is_dir() else path for path in paths]
    for path in files:
        if not path.is_file():
            raise RunError(f"{path}: no such trace; give two trace.h5 files, or the run folders of run_lava.py.")
    mine, theirs = (Trace.load(path) for path in files)
    if mine.graph_digest != theirs.graph_digest:
        raise RunError(
            f"{files[0]} was recorded from network {mine.graph_digest[:12]}, {files[1]} from {theirs.graph_digest[:12]}; "
            "run the same .net file twice."
        )
    beside = [path.parent / NETWORK for path in files]
    found = network or next((path for path in beside if path.is_file()), None)
    if found is None:
        raise RunError(f"{files[0]}: no {NETWORK} lies beside it or beside {files[1]}; give it with --network NET.")
    graph = read_network(found)
    mine.check_graph(graph)
    return graph, mine, theirs
