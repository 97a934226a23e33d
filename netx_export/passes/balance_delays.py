"""Balance delays, so that what belongs to one time step meets again behind layers of different depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from netx_export.errors import ExportError
from netx_export.graph import Input, Or, fixedpoint
from netx_export.projection_graph import FloatOneToOne, FloatPopulation, FloatProjection, ProjectionGraph


@dataclass(frozen=True, slots=True)
class BalanceDelays:
    """delay = b - a - 1 for a projection from depth a to depth b, depth being the longest path from the input.

    More than `limit` steps are refused by name, or bridged by exact relays when `relays` is set: OR populations that
    repeat their source one step later, shared by all projections of that source. Each relay is one layer deep and so
    takes one step out of the delay.
    """

    relays: bool = False
    limit: int = fixedpoint.DELAY_MAX
    name: str = "balance delays"

    def requires(self, graph: ProjectionGraph) -> None:
        """No projection has a delay of its own yet."""
        for projection in graph.projections:
            if projection.delay:
                raise ExportError(f"Projection {projection.label} already has delay {projection.delay}.")

    def call(self, graph: ProjectionGraph) -> ProjectionGraph:
        """`graph` with delays, and relays where they are needed and allowed."""
        chains: dict[str, list[FloatPopulation]] = {}
        projections: list[FloatProjection] = []
        for projection in graph.projections:
            delay = graph.depth[projection.dst] - graph.depth[projection.src] - 1
            excess = delay - self.limit
            if excess <= 0:
                projections.append(replace(projection, delay=delay))
                continue
            source = graph.by_id[projection.src]
            if not self.relays:
                raise ExportError(
                    f"Projection {projection.label} (module {projection.source!r}) skips {delay + 1} layers and needs a delay "
                    f"of {delay} time steps, the limit is {self.limit}. Shorten the skip, or export with relays=True "
                    f"(--relays), which inserts {excess} relay population{'s' if excess > 1 else ''} of {source.shape}."
                )
            if isinstance(source.neuron, Input) and source.neuron.message_bits:
                raise ExportError(
                    f"Projection {projection.label} needs a delay of {delay} time steps, the limit is {self.limit}, and relays "
                    "repeat 0/1 spikes only while this input is graded. Shorten the skip, or binarise the input."
                )
            chain = chains.setdefault(source.id, [])
            while len(chain) < excess:
                name = f"{source.id}.relay{len(chain) + 1}"
                chain.append(FloatPopulation(id=name, shape=source.shape, neuron=Or(), source=source.source))
            projections.append(replace(projection, src=chain[excess - 1].id, delay=self.limit))
        populations: list[FloatPopulation] = []
        hops: list[FloatProjection] = []
        for population in graph.populations:
            populations.append(population)
            previous = population
            for relay in chains.get(population.id, ()):
                populations.append(relay)
                repeat = FloatOneToOne(weight=np.ones(population.shape[0]))
                hops.append(
                    FloatProjection(src=previous.id, dst=relay.id, synapse=repeat, exact=True, source=population.source)
                )
                previous = relay
        return ProjectionGraph(populations=tuple(populations), projections=(*projections, *hops))

    def ensures(self, graph: ProjectionGraph) -> None:
        """Every projection bridges its gap exactly and within the limit."""
        for projection in graph.projections:
            needed = graph.depth[projection.dst] - graph.depth[projection.src] - 1
            if projection.delay != needed or needed > self.limit:
                raise ExportError(
                    f"Projection {projection.label} has delay {projection.delay}, needs {needed}, the limit is {self.limit}."
                )
