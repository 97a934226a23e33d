"""Dissolve everything linear into projections: concat, nearest upsampling and addition leave no node behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netx_export.errors import ExportError
from netx_export.float_graph import (
    AddNode,
    ConvNode,
    FloatArray,
    FloatGraph,
    InputNode,
    LinearNode,
    NeuronNode,
    Node,
    OrNode,
    OutputNode,
    frozen_float_array,
)
from netx_export.graph import Input, Or
from netx_export.passes.merge_convolutions import add_biases, dense_weight
from netx_export.passes.wires import Piece, pieces, travels
from netx_export.projection_graph import (
    FloatConv,
    FloatDense,
    FloatOneToOne,
    FloatPopulation,
    FloatPopulationNeuron,
    FloatProjection,
    FloatReadout,
    FloatSynapse,
    ProjectionGraph,
)


@dataclass(frozen=True, slots=True)
class DissolveLinear:
    """From nodes to populations and projections.

    conv(cat(a, b)) is two projections with split kernels; conv(up(s)) is Conv.upsample; conv(s1 + s2) is two projections
    that share a kernel; x + f(s) is one more projection into the same population, one to one with weight 1.
    """

    name: str = "dissolve linear"

    def requires(self, graph: FloatGraph) -> None:
        """Every layer with weights reads populations, perhaps through concat, upsampling and addition."""
        sent = travels(graph)
        for node in graph.nodes:
            if isinstance(node, ConvNode | LinearNode) and sent[node.inputs[0]] == "currents":
                raise ExportError(f"Layer {node.source!r} reads currents; run the check for binary wires first.")

    def call(self, graph: FloatGraph) -> ProjectionGraph:
        """`graph` in projection form."""
        return _Dissolver(graph).result()

    def ensures(self, graph: ProjectionGraph) -> None:
        """Every population is driven."""
        for population in graph.populations:
            if not isinstance(population.neuron, Input) and not graph.incoming[population.id]:
                raise ExportError(f"Nothing drives population {population.id!r}; remove it from the module.")


class _Dissolver:
    def __init__(self, graph: FloatGraph) -> None:
        self.graph = graph
        self.populations: list[FloatPopulation] = []
        self.projections: list[FloatProjection] = []
        self._slices: dict[tuple[int, int, int, int, float], FloatArray] = {}

    def result(self) -> ProjectionGraph:
        for node in self.graph.nodes:
            match node:
                case InputNode():
                    self._populate(node, Input(message_bits=node.message_bits), None)
                case NeuronNode():
                    self._populate(node, node.neuron, self._connect(node.inputs[0], node))
                case OrNode():
                    self._populate(node, Or(), None)
                    self._pool(node)
                case OutputNode():
                    if not self._is_population(node):
                        self._populate(node, FloatReadout(), self._connect(node.inputs[0], node))
        return ProjectionGraph(populations=tuple(self.populations), projections=tuple(self.projections))

    def _is_population(self, output: OutputNode) -> bool:
        """True where the output is a spiking population that nobody else reads: it needs no readout."""
        source = self.graph.by_id[output.inputs[0]]
        return isinstance(source, NeuronNode | OrNode) and len(self.graph.readers[source.id]) == 1

    def _populate(self, node: Node, neuron: FloatPopulationNeuron, bias: FloatArray | None) -> None:
        self.populations.append(
            FloatPopulation(id=node.id, shape=node.shape, neuron=neuron, bias=bias, source=node.source)
        )

    def _project(self, src: str, target: Node, synapse: FloatSynapse, source: str, exact: bool = False) -> None:
        self.projections.append(FloatProjection(src=src, dst=target.id, synapse=synapse, source=source, exact=exact))

    def _connect(self, name: str, target: Node) -> FloatArray | None:
        """Add the projections that node `name` sends to `target`; returns the bias that comes with them."""
        node = self.graph.by_id[name]
        match node:
            case AddNode():
                bias = None
                for part in node.inputs:
                    bias = add_biases(bias, self._connect(part, target))
                return bias
            case ConvNode():
                for piece in pieces(self.graph, node.inputs[0]):
                    self._project(piece.source, target, self._split_conv(node, piece), node.source)
                return node.bias
            case LinearNode():
                for piece in pieces(self.graph, node.inputs[0]):
                    self._project(piece.source, target, self._split_linear(node, piece), node.source)
                return node.bias
            case _:
                for piece in pieces(self.graph, name):
                    self._project(piece.source, target, self._identity(piece, node), node.source, exact=True)
                return None

    def _split_conv(self, node: ConvNode, piece: Piece) -> FloatConv:
        whole = piece.offset == 0 and piece.count == node.weight.shape[1] * node.groups
        groups = node.groups if whole else 1
        weight = node.weight if whole else self._columns(dense_weight(node.weight, node.groups), node.weight, piece)
        return FloatConv(
            weight=self._scaled(weight, piece.scale),
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=groups,
            upsample=piece.upsample * node.upsample,
        )

    def _split_linear(self, node: LinearNode, piece: Piece) -> FloatDense:
        weight = self._columns(node.weight, node.weight, piece)
        if piece.flat and piece.upsample > 1:
            # The repeated pixels of one neuron all reach the target: their weights add.
            channels, height, width = self.graph.by_id[piece.source].shape
            factor = piece.upsample
            blocks = weight.reshape(-1, channels, height, factor, width, factor)
            weight = frozen_float_array(blocks.sum(axis=(3, 5)).reshape(weight.shape[0], -1))
        return FloatDense(weight=self._scaled(weight, piece.scale))

    def _columns(self, weight: FloatArray, owner: FloatArray, piece: Piece) -> FloatArray:
        """The part of a kernel that reads `piece`; the same part of the same kernel is the same array every time."""
        if piece.offset == 0 and piece.count == weight.shape[1]:
            return weight
        key = (id(owner), weight.shape[1], piece.offset, piece.count, 1.0)
        if key not in self._slices:
            self._slices[key] = frozen_float_array(weight[:, piece.offset : piece.offset + piece.count])
        return self._slices[key]

    def _scaled(self, weight: FloatArray, scale: float) -> FloatArray:
        if scale == 1.0:
            return weight
        key = (id(weight), weight.shape[1], 0, weight.shape[1], scale)
        if key not in self._slices:
            self._slices[key] = frozen_float_array(weight * scale)
        return self._slices[key]

    def _identity(self, piece: Piece, node: Node) -> FloatSynapse:
        """Spikes that are added as they are: weight `scale` onto the channels of the piece."""
        if piece.flat:
            raise ExportError(
                f"Flattened spikes of {piece.source!r} reach {node.source or node.id!r} without a linear layer; flatten "
                "behind the last neuron instead."
            )
        if piece.offset == 0 and piece.count == node.shape[0]:
            if piece.upsample == 1:
                return FloatOneToOne(weight=np.full(piece.count, piece.scale))
            depthwise = np.full((piece.count, 1, 1, 1), piece.scale)
            return FloatConv(weight=depthwise, groups=piece.count, upsample=piece.upsample)
        onto = np.zeros((node.shape[0], piece.count, 1, 1))
        onto[piece.offset : piece.offset + piece.count, :, 0, 0] = np.eye(piece.count) * piece.scale
        return FloatConv(weight=onto, upsample=piece.upsample)

    def _pool(self, node: OrNode) -> None:
        channels = node.shape[0]
        synapse = FloatConv(
            weight=np.ones((channels, 1, *node.kernel)),
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=channels,
            upsample=node.upsample,
        )
        self._project(node.inputs[0], node, synapse, node.source, exact=True)
