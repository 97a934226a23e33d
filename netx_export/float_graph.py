"""The traced network: one frozen node per operation of the torch module, weights in float64.

Every node has the shape (C,H,W) of one frame of what it sends and the torch module path it came from. Nodes are listed
sources first. Populations-to-be (Input, Neuron, Or, Output) carry their final ids; other ids start with `%`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError
from netx_export.graph import FloatLif, Pair, Shape

FloatArray = npt.NDArray[np.float64]


def frozen_float_array(value: Any) -> FloatArray:
    """A read-only C-ordered float64 copy of `value`; an array that already is one comes back itself, to stay shared."""
    if (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and not value.flags.writeable
        and value.flags.c_contiguous
    ):
        return value
    copy = np.array(value, dtype=np.float64, order="C", copy=True)
    copy.flags.writeable = False
    return copy


def conv_output_shape(
    weight: FloatArray, source: Shape, *, stride: Pair, padding: Pair, dilation: Pair, upsample: int
) -> Shape:
    """(C,H,W) that a convolution with `weight` (C_out, C_in/groups, kh, kw) makes of `source`."""
    size = []
    for axis in range(2):
        extent = source[1 + axis] * upsample + 2 * padding[axis]
        span = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        size.append((extent - span) // stride[axis] + 1)
    return (weight.shape[0], size[0], size[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One operation. `inputs` are node ids; `source` is the torch module path, for messages and reports."""

    id: str
    shape: Shape
    source: str = ""
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputNode(Node):
    """What the host presents; `message_bits` = 0 means 0/1 spikes (see `graph.Input`)."""

    message_bits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvNode(Node):
    """y = conv(up(x)) + bias; weight (C_out, C_in/groups, kh, kw), bias (C,), (C,H,W) or None."""

    weight: FloatArray
    bias: FloatArray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    upsample: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float_array(self.weight))
        if self.bias is not None:
            object.__setattr__(self, "bias", frozen_float_array(self.bias))
            if self.bias.shape not in ((self.shape[0],), self.shape):
                raise GraphError(
                    f"Convolution {self.source!r}: bias has shape {self.bias.shape}, give ({self.shape[0]},) or {self.shape}."
                )

    @property
    def pointwise(self) -> bool:
        """True for an unpadded 1x1 kernel."""
        return self.weight.shape[2:] == (1, 1) and self.padding == (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearNode(Node):
    """y = W x + b; x in C,H,W order, weight (N_out, N_in), shape (N_out,1,1)."""

    weight: FloatArray
    bias: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float_array(self.weight))
        if self.bias is not None:
            object.__setattr__(self, "bias", frozen_float_array(self.bias))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlattenNode(Node):
    """(C,H,W) -> (C*H*W,1,1) in C,H,W order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchNormNode(Node):
    """y = scale*x + shift per channel: scale = gamma/sqrt(var+eps), shift = beta - mean*scale."""

    scale: FloatArray
    shift: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", frozen_float_array(self.scale))
        object.__setattr__(self, "shift", frozen_float_array(self.shift))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScaleNode(Node):
    """y = factor*x with a constant of the network, not a trained weight."""

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConcatNode(Node):
    """The inputs one after the other along the channels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UpsampleNode(Node):
    """Nearest repetition, `factor` times per side."""

    factor: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AddNode(Node):
    """The sum of all inputs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaxPoolNode(Node):
    """Largest value under the window; padding never wins."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrNode(Node):
    """Logical OR of the spikes of `up(x)` under the window: a binary max-pool."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    upsample: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeuronNode(Node):
    """A population of spiking neurons driven by its one input."""

    neuron: FloatLif


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutputNode(Node):
    """A named result of the module's forward."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatGraph:
    """The traced network in node form, before quantisation. Nodes are in topological order."""

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        seen: dict[str, Node] = {}
        for node in self.nodes:
            if node.id in seen:
                raise GraphError(f"Two nodes are called {node.id!r}; give each its own id.")
            for name in node.inputs:
                if name not in seen:
                    raise GraphError(
                        f"Node {node.id!r} reads {name!r}, which is not listed before it; list sources first."
                    )
            self._check_shape(node, [seen[name].shape for name in node.inputs])
            seen[node.id] = node

    @staticmethod
    def _check_shape(node: Node, sources: list[Shape]) -> None:
        expected: Shape = node.shape
        match node:
            case ConvNode():
                if sources[0][0] != node.weight.shape[1] * node.groups:
                    raise GraphError(
                        f"Convolution {node.source!r} reads {node.weight.shape[1] * node.groups} channels, "
                        f"its source offers {sources[0]}."
                    )
                expected = conv_output_shape(
                    node.weight,
                    sources[0],
                    stride=node.stride,
                    padding=node.padding,
                    dilation=node.dilation,
                    upsample=node.upsample,
                )
            case LinearNode():
                if node.weight.shape[1] != int(np.prod(sources[0])):
                    raise GraphError(
                        f"Linear {node.source!r} reads {node.weight.shape[1]} values, its source offers {sources[0]}."
                    )
                expected = (node.weight.shape[0], 1, 1)
            case FlattenNode():
                expected = (int(np.prod(sources[0])), 1, 1)
            case ConcatNode():
                if len({shape[1:] for shape in sources}) != 1:
                    raise GraphError(f"Concatenation {node.source!r} joins maps of different sizes {sources}.")
                expected = (sum(shape[0] for shape in sources), sources[0][1], sources[0][2])
            case UpsampleNode():
                expected = (sources[0][0], sources[0][1] * node.factor, sources[0][2] * node.factor)
            case AddNode():
                if len(set(sources)) != 1:
                    raise GraphError(f"Addition {node.source!r} adds maps of different shapes {sources}.")
                expected = sources[0]
            case BatchNormNode() | ScaleNode() | NeuronNode() | OutputNode():
                expected = sources[0]
        if expected != node.shape:
            raise GraphError(
                f"Node {node.id!r} of {node.source!r} states shape {node.shape}, its inputs make {expected}."
            )

    @cached_property
    def by_id(self) -> dict[str, Node]:
        """Node by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read each node."""
        found: dict[str, list[Node]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(readers) for name, readers in found.items()}


def live_nodes(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """`nodes` without those that no output depends on; inputs stay."""
    listed = tuple(nodes)
    needed = {node.id for node in listed if isinstance(node, OutputNode | InputNode)}
    for node in reversed(listed):
        if node.id in needed:
            needed.update(node.inputs)
    return tuple(node for node in listed if node.id in needed)
