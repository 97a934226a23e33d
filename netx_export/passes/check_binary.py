"""Only 0/1 spikes, or the network's input, may cross from one population to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netx_export.errors import NotBinaryError
from netx_export.float_graph import (
    ConcatNode,
    ConvNode,
    FlattenNode,
    FloatGraph,
    LinearNode,
    MaxPoolNode,
    OutputNode,
    ScaleNode,
    UpsampleNode,
)
from netx_export.graph import fixedpoint
from netx_export.passes.pipeline import require_absent
from netx_export.passes.wires import TRAVEL_WORDS, nearest_neuron, travels
from netx_export.projection_graph import ProjectionGraph

_LAYERS = (ConvNode, LinearNode, UpsampleNode, FlattenNode, ConcatNode, ScaleNode)


@dataclass(frozen=True, slots=True)
class CheckBinary:
    """Refuses a layer that reads real-valued currents after everything linear was unrolled: a real-valued skip."""

    name: str = "check binary"

    def requires(self, graph: FloatGraph) -> None:
        """Max-pools are OR populations by now."""
        require_absent(graph, MaxPoolNode, self.name, "turn pools into OR populations first.")

    def call(self, graph: FloatGraph) -> FloatGraph:
        """`graph`, unchanged. Raises NotBinaryError naming the layer and what travels to it."""
        sent = travels(graph)
        for node in graph.nodes:
            if not isinstance(node, _LAYERS):
                continue
            for name in node.inputs:
                if sent[name] == "currents":
                    origin = _origin(graph, name)
                    neuron = nearest_neuron(graph, origin, avoiding=node.id)
                    where = f"take it behind neuron {neuron!r}" if neuron else "put a spiking neuron behind it"
                    raise NotBinaryError(
                        f"{type(node).__name__.removesuffix('Node')} {node.source or node.id!r} reads a real-valued skip: "
                        f"{TRAVEL_WORDS['currents']} of {graph.by_id[origin].source or origin!r} travelled on the wire, and "
                        "they cannot be merged into one projection exactly. Only 0/1 spikes cross layers on hardware. "
                        f"Nearest spiking form: {where}, so that the skip carries spikes."
                    )
        return graph

    def ensures(self, graph: FloatGraph) -> None:
        """Outputs exist, so that the check looked at something."""
        if not any(isinstance(node, OutputNode) for node in graph.nodes):
            raise NotBinaryError("The network has no output; return what is to be read.")


def _origin(graph: FloatGraph, name: str) -> str:
    """The layer with weights whose currents arrive at node `name`."""
    sent = travels(graph)
    while not isinstance(graph.by_id[name], ConvNode | LinearNode):
        name = next(part for part in graph.by_id[name].inputs if sent[part] == "currents")
    return name


@dataclass(frozen=True, slots=True)
class CheckIdentities:
    """Refuses an additive identity of unequal scale.

    In `c*x + f(s)` with spikes x, the factor c is a constant of the network, not a trained weight: nobody may round it.
    All currents into a population share one unit, a power of two (times the neuron's gain, which moves into the
    threshold where an identity arrives). So an identity is held exactly if and only if c = m * 2**e with an 8-bit
    mantissa m in [-128,127]; 1, 0.5 and 0.75 pass, 0.3 and 1/3 do not.
    """

    name: str = "check identities"

    def requires(self, graph: ProjectionGraph) -> None:
        """The network is in projection form."""

    def call(self, graph: ProjectionGraph) -> ProjectionGraph:
        """`graph`, unchanged. Raises NotBinaryError naming the population, the factor and the nearest legal one."""
        for projection in graph.projections:
            if not projection.exact:
                continue
            for value in np.unique(projection.synapse.weight):
                nearest = nearest_mantissa(float(value))
                if nearest != float(value):
                    where = f"module {projection.source!r}" if projection.source else "the exported module itself"
                    raise NotBinaryError(
                        f"Projection {projection.label} (in {where}) is an additive identity of "
                        f"unequal scale: its spikes count {float(value)!r}, and in the unit that all currents into "
                        f"{projection.dst!r} share only m * 2**e with m in {fixedpoint.WEIGHT_MIN}..{fixedpoint.WEIGHT_MAX} "
                        f"can be held exactly. Use {nearest!r}, or make the factor a trained weight (a 1x1 depthwise "
                        "convolution or a batch norm on the skip), which is rounded like any other weight."
                    )
        return graph

    def ensures(self, graph: ProjectionGraph) -> None:
        """Nothing beyond what was checked."""


def nearest_mantissa(value: float) -> float:
    """The number m * 2**e, m an 8-bit mantissa, that is closest to `value`."""
    if value == 0.0 or not np.isfinite(value):
        return 0.0
    exponent = int(np.floor(np.log2(abs(value)))) - 6
    return float(np.floor(value / 2.0**exponent + 0.5) * 2.0**exponent)
