"""Delays from Lava's own processes: a line of relay neurons per source, tapped wherever a projection starts.

A DelaySparse of delay d followed by a relay neuron passes a spike on d + 1 steps later: the synapse costs one step and
the neuron none. Lava's synapses hold delays up to 62 steps, longer ones take several relays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lava_runtime.lowering.blocks import Block, Connection, DelayBlock, FrameShape, LifBlock, SourceBlock
from lava_runtime.lowering.synapse_blocks import frame_shape
from netx_export.graph import Graph, fixedpoint

SYNAPSE_DELAY_MAX = fixedpoint.DELAY_MAX
"""Delay of one DelaySparse: what a Loihi synapse holds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DelayLine:
    """Adds relays to `blocks` and `connections` as they are asked for."""

    graph: Graph
    blocks: dict[str, Block]
    connections: list[Connection]
    speaker: dict[str, str]

    def tap(self, population: str, delay: int) -> str:
        """Name of the block that emits the messages of `population`, `delay` steps late.

        An input is played by a second source, which is exact for graded messages too; relays pass on spikes alone.
        """
        first = self.blocks[self.speaker[population]]
        if delay == 0:
            return first.name
        name = f"relays {population} +{delay}"
        if name in self.blocks:
            return name
        if isinstance(first, SourceBlock):
            self.blocks[name] = replace(first, name=name, delay=delay)
            return name
        # The line passes through every delay that some projection of this source asks for.
        asked = {projection.delay for projection in self.graph.outgoing[population]}
        before = max((other for other in asked if other < delay), default=0)
        before = max(before, delay - SYNAPSE_DELAY_MAX - 1)
        source = self.tap(population, before)
        shape = frame_shape(self.graph.by_id[population].shape)
        size = shape[0] * shape[1] * shape[2]
        self.blocks[f"{name} axon"] = DelayBlock(name=f"{name} axon", size=size, delay=delay - before - 1)
        self.blocks[name] = or_block(name, shape)
        self.connections.append(Connection(src=source, dst=f"{name} axon", shape=(size,)))
        self.connections.append(Connection(src=f"{name} axon", dst=name, shape=shape))
        return name


def or_block(name: str, shape: FrameShape, *, population: str = "") -> LifBlock:
    """s = a_in > 0 without state: LIF with vth = 0, du = dv = 4095. Also the relay of a delay line."""
    return LifBlock(
        name=name,
        shape=shape,
        vth=0,
        du=fixedpoint.NO_CURRENT_STATE,
        dv=4095,
        bias_mant=np.zeros(shape, np.int32),
        bias_exp=0,
        reset=None,
        population=population,
    )
