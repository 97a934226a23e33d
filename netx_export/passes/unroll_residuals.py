"""Unroll real-valued residual currents: what was added up before a layer reaches it as several projections."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from netx_export.float_graph import (
    AddNode,
    BatchNormNode,
    ConcatNode,
    ConvNode,
    FloatGraph,
    LinearNode,
    Node,
    ScaleNode,
    UpsampleNode,
    live_nodes,
)
from netx_export.passes.fold_batch_norm import scaled_layer
from netx_export.passes.merge_convolutions import merge, merge_linear, upsampled
from netx_export.passes.pipeline import require_absent
from netx_export.passes.wires import Travel, travel_of


@dataclass(frozen=True, slots=True)
class UnrollResiduals:
    """f(x + g(s)) = f(x) + f(g(s)) for linear f, until every layer with weights reads spikes.

    The copies of a kernel stay one array. Convolutions that meet on the way are merged where that is exact; what
    cannot be unrolled stays as it is, and the check for binary wires names it.
    """

    name: str = "unroll residuals"

    def requires(self, graph: FloatGraph) -> None:
        """Batch norms are folded: they are layers with weights by now."""
        require_absent(graph, BatchNormNode, self.name, "fold batch norm first.")

    def call(self, graph: FloatGraph) -> FloatGraph:
        """`graph` with sums pushed behind the layers that read them."""
        unroller = _Unroller()
        for node in graph.nodes:
            unroller.visit(node)
        return FloatGraph(nodes=live_nodes(unroller.nodes.values()))

    def ensures(self, graph: FloatGraph) -> None:
        """Nothing: what could not be unrolled is named by the check for binary wires."""


class _Unroller:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.travel: dict[str, Travel] = {}

    def visit(self, node: Node) -> None:
        """Add `node`, or the sum that it dissolves into, under its id."""
        if not any(self.travel[name] == "currents" for name in node.inputs):
            self.emit(node)
            return
        match node:
            case ConvNode() | LinearNode() | UpsampleNode() | ScaleNode():
                terms = self.terms(node)
            case ConcatNode():
                terms = self.embedded(node)
            case _:
                terms = [node]
        if len(terms) == 1:
            self.emit(replace(terms[0], id=node.id))
            return
        names = tuple(f"{node.id}.{index}" for index in range(len(terms)))
        for name, term in zip(names, terms, strict=True):
            self.emit(replace(term, id=name))
        self.emit(AddNode(id=node.id, shape=node.shape, source=node.source, inputs=names))

    def emit(self, node: Node) -> None:
        self.nodes[node.id] = node
        self.travel[node.id] = travel_of(node, [self.travel[name] for name in node.inputs])

    def terms(self, node: Node) -> list[Node]:
        """Nodes whose sum equals `node`, which has one input."""
        before = self.nodes[node.inputs[0]]
        if self.travel[before.id] != "currents":
            return [node]
        if isinstance(before, AddNode):
            found: list[Node] = []
            for index, part in enumerate(before.inputs):
                copy = replace(node, inputs=(part,))
                if index and isinstance(copy, ConvNode | LinearNode):
                    copy = replace(copy, bias=None)
                found.extend(self.terms(copy))
            return found
        joined = _joined(node, before)
        return [node] if joined is None else self.terms(joined)

    def embedded(self, node: ConcatNode) -> list[Node]:
        """A concatenation that holds currents, as a sum of 1x1 convolutions onto the channels of each part."""
        found: list[Node] = []
        start = 0
        for part in node.inputs:
            count = self.nodes[part].shape[0]
            weight = np.zeros((node.shape[0], count, 1, 1))
            weight[start : start + count, :, 0, 0] = np.eye(count)
            start += count
            source = self.nodes[part].source
            found.extend(
                self.terms(ConvNode(id=node.id, shape=node.shape, source=source, inputs=(part,), weight=weight))
            )
        return found


def _joined(node: Node, before: Node) -> Node | None:
    """One node equal to `node` after `before`, or None where there is none."""
    match node, before:
        case ConvNode(), ConvNode():
            merged = merge(node, before)
            return None if isinstance(merged, str) else merged
        case LinearNode(), LinearNode():
            return merge_linear(node, before)
        case UpsampleNode(), ConvNode():
            lifted = upsampled(before, node.factor)
            return None if isinstance(lifted, str) else replace(lifted, id=node.id)
        case ScaleNode(), ConvNode() | LinearNode():
            return scaled_layer(before, node, np.full(node.shape[0], node.factor), np.zeros(node.shape[0]))
        case _:
            return None
