"""Max-pooling of 0/1 spikes is a logical OR: it becomes a population of its own."""

from __future__ import annotations

from dataclasses import dataclass

from netx_export.errors import NotBinaryError
from netx_export.float_graph import ConcatNode, FloatGraph, MaxPoolNode, Node, OrNode, live_nodes
from netx_export.passes.pipeline import require_absent
from netx_export.passes.wires import TRAVEL_WORDS, nearest_neuron, pieces, travels


@dataclass(frozen=True, slots=True)
class PoolAsOr:
    """max over the window of s in {0,1}  =  OR; one Or population per population pooled.

    Raises NotBinaryError for a max-pool on anything but 0/1 spikes.
    """

    name: str = "pool as OR"

    def requires(self, graph: FloatGraph) -> None:
        """Every max-pool reads 0/1 spikes."""
        sent = travels(graph)
        for node in graph.nodes:
            if isinstance(node, MaxPoolNode) and sent[node.inputs[0]] != "spikes":
                source = graph.by_id[node.inputs[0]]
                neuron = nearest_neuron(graph, node.id)
                remedy = f"neuron {neuron!r}" if neuron else "a spiking neuron"
                raise NotBinaryError(
                    f"Max-pool {node.source!r} works on real values: {TRAVEL_WORDS[sent[source.id]]} of "
                    f"{source.source or source.id!r} travelled on the wire, and only the maximum of 0/1 spikes (a logical "
                    f"OR) exists on hardware. Nearest spiking form: move the pool behind {remedy}, or use a convolution "
                    "with stride 2."
                )

    def call(self, graph: FloatGraph) -> FloatGraph:
        """`graph` with Or nodes in place of max-pools."""
        nodes: dict[str, Node] = {}
        for node in graph.nodes:
            if not isinstance(node, MaxPoolNode):
                nodes[node.id] = node
                continue
            # Repetition, concatenation and OR commute, so the parts of a concatenation are pooled one by one.
            so_far = FloatGraph(nodes=tuple(nodes.values()))
            parts = sorted(pieces(so_far, node.inputs[0]), key=lambda piece: piece.offset)
            names = [node.id] if len(parts) == 1 else [f"{node.id}.{index}" for index in range(len(parts))]
            for name, part in zip(names, parts, strict=True):
                nodes[name] = OrNode(
                    id=name,
                    shape=(part.count, *node.shape[1:]),
                    source=node.source,
                    inputs=(part.source,),
                    kernel=node.kernel,
                    stride=node.stride,
                    padding=node.padding,
                    dilation=node.dilation,
                    upsample=part.upsample,
                )
            if len(parts) > 1:
                nodes[node.id] = ConcatNode(id=node.id, shape=node.shape, source=node.source, inputs=tuple(names))
        return FloatGraph(nodes=live_nodes(nodes.values()))

    def ensures(self, graph: FloatGraph) -> None:
        """No max-pool is left."""
        require_absent(graph, MaxPoolNode, self.name, "it should have become an OR population.")
