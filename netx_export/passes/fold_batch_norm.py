"""Fold batch norm, and constant factors, into the convolution or linear layer in front of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from netx_export.float_graph import (
    BatchNormNode,
    ConvNode,
    FloatArray,
    FloatGraph,
    LinearNode,
    Node,
    ScaleNode,
    live_nodes,
)
from netx_export.passes.pipeline import require_absent


@dataclass(frozen=True, slots=True)
class FoldBatchNorm:
    """y = scale*(W x + b) + shift  ->  W' = scale*W, b' = scale*b + shift. Exact everywhere.

    A batch norm that no weights precede (over spikes, a concatenation, a sum) becomes a 1x1 depthwise convolution.
    """

    name: str = "fold batch norm"

    def requires(self, graph: FloatGraph) -> None:
        """Any traced graph will do."""

    def call(self, graph: FloatGraph) -> FloatGraph:
        """`graph` without batch norms, and without factors on currents."""
        nodes: dict[str, Node] = {}
        for node in graph.nodes:
            nodes[node.id] = _folded(node, nodes)
        return FloatGraph(nodes=live_nodes(nodes.values()))

    def ensures(self, graph: FloatGraph) -> None:
        """No batch norm is left."""
        require_absent(graph, BatchNormNode, self.name, "it should have been folded.")


def _folded(node: Node, nodes: dict[str, Node]) -> Node:
    if isinstance(node, ScaleNode):
        factor = np.full(node.shape[0], node.factor)
        return scaled_layer(nodes[node.inputs[0]], node, factor, np.zeros(node.shape[0])) or node
    if not isinstance(node, BatchNormNode):
        return node
    folded = scaled_layer(nodes[node.inputs[0]], node, node.scale, node.shift)
    if folded is not None:
        return folded
    return ConvNode(
        id=node.id,
        shape=node.shape,
        source=node.source,
        inputs=node.inputs,
        weight=node.scale.reshape(-1, 1, 1, 1),
        bias=node.shift,
        groups=node.shape[0],
    )


def scaled_layer(layer: Node, after: Node, scale: FloatArray, shift: FloatArray) -> Node | None:
    """`layer` followed by scale*y + shift per channel, under the id of `after`; None when `layer` has no weights.

    `layer` itself stays for its other readers. The folded layer keeps the module path of the weights.
    """
    if not isinstance(layer, ConvNode | LinearNode):
        return None
    weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    if layer.bias is None:
        bias: FloatArray | None = shift if np.any(shift) else None
    elif layer.bias.ndim == 1:
        bias = layer.bias * scale + shift
    else:
        bias = layer.bias * scale[:, None, None] + shift[:, None, None]
    return replace(layer, id=after.id, weight=weight, bias=bias)
