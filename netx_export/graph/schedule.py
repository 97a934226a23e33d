"""When each population works on which sample: the pipeline's calendar."""

from __future__ import annotations

from dataclasses import dataclass

from netx_export.graph.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Hardware time of a run of `samples` samples of `steps` steps each, one after the other without a gap.

    Hardware steps count from 0. With `aligned` timing a population at depth d works on step t of sample b in hardware
    step b*steps + t + d and resets its state at the start of each sample; before that it warms up, after the last
    sample it drains. The run lasts until the deepest population has finished. With `as_given` timing
    every sample is a run of its own that starts from rest (states zero, nothing under way), and everything from its
    first step on belongs to it; the runs are recorded one behind the other.
    """

    steps: int
    samples: int
    depth: dict[str, int]
    latency: int

    @property
    def hardware_steps(self) -> int:
        """Length of the run: samples * steps + latency."""
        return self.samples * self.steps + self.latency

    def window(self, population: str) -> slice:
        """The hardware steps in which `population` works on samples."""
        start = self.depth[population]
        return slice(start, start + self.samples * self.steps)

    def warm_up(self, population: str) -> int:
        """Hardware steps before the first sample reaches `population`."""
        return self.depth[population]

    def drain(self, population: str) -> int:
        """Hardware steps after the last sample has left `population`."""
        return self.latency - self.depth[population]


def schedule(graph: Graph, *, steps: int, samples: int) -> Schedule:
    """The calendar of a run of `graph`; see Schedule."""
    if graph.timing == "as_given":
        return Schedule(steps=steps, samples=samples, depth=dict.fromkeys(graph.depth, 0), latency=0)
    return Schedule(steps=steps, samples=samples, depth=graph.depth, latency=max(graph.depth.values()))
