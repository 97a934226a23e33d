"""Merge convolutions that follow one another without a neuron between (depthwise + pointwise), exact at the borders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from netx_export.errors import ExportError
from netx_export.float_graph import (
    BatchNormNode,
    ConvNode,
    FloatArray,
    FloatGraph,
    LinearNode,
    Node,
    live_nodes,
)
from netx_export.float_run import conv2d, repeat_nearest
from netx_export.graph import Pair
from netx_export.passes.pipeline import require_absent


@dataclass(frozen=True, slots=True)
class MergeConvolutions:
    """conv2(conv1(s)) -> one convolution; linear2(linear1(s)) -> one linear layer.

    K[o,i,t] = sum over m, j + k = t of W2[o,m,j]*W1[m,i,k];  bias = b2 + conv2(b1 as a map)
    With b1 in front of a zero-padded conv2 the bias differs at the borders and becomes one number per neuron (C,H,W).
    Where conv1 would have answered beyond its own map (both are padded and conv1 is larger than 1x1) no single
    convolution is equal, and the pass refuses.
    """

    name: str = "merge convolutions"

    def requires(self, graph: FloatGraph) -> None:
        """Batch norms are folded, so that they do not stand between convolutions."""
        require_absent(graph, BatchNormNode, self.name, "fold batch norm first.")

    def call(self, graph: FloatGraph) -> FloatGraph:
        """`graph` with every direct chain of weighted layers merged into one. Raises ExportError where inexact."""
        nodes: dict[str, Node] = {}
        for node in graph.nodes:
            before = nodes[node.inputs[0]] if node.inputs else None
            if isinstance(node, ConvNode) and isinstance(before, ConvNode):
                merged = merge(node, before)
                if isinstance(merged, str):
                    raise ExportError(
                        f"Convolution {node.source!r} reads real-valued currents of {before.source!r}, no neuron stands "
                        f"between them, and they cannot be merged exactly: {merged}. Put a spiking neuron after "
                        f"{before.source!r}, or set padding=0 in {node.source!r}."
                    )
                nodes[node.id] = merged
            elif isinstance(node, LinearNode) and isinstance(before, LinearNode):
                nodes[node.id] = merge_linear(node, before)
            else:
                nodes[node.id] = node
        return FloatGraph(nodes=live_nodes(nodes.values()))

    def ensures(self, graph: FloatGraph) -> None:
        """No convolution reads a convolution."""
        for node in graph.nodes:
            for name in node.inputs:
                if isinstance(node, ConvNode) and isinstance(graph.by_id[name], ConvNode):
                    raise ExportError(f"Convolutions {name!r} and {node.id!r} were not merged.")


def merge_linear(outer: LinearNode, inner: LinearNode) -> LinearNode:
    """W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)."""
    bias = None if inner.bias is None else outer.weight @ inner.bias
    if outer.bias is not None:
        bias = outer.bias if bias is None else bias + outer.bias
    return replace(outer, inputs=inner.inputs, weight=outer.weight @ inner.weight, bias=bias)


def merge(outer: ConvNode, inner: ConvNode) -> ConvNode | str:
    """One convolution equal to `outer` after `inner`, or the reason why there is none."""
    if outer.upsample > 1:
        lifted = upsampled(inner, outer.upsample)
        if isinstance(lifted, str):
            return lifted
        return merge(replace(outer, upsample=1), lifted)
    for axis in range(2):
        if outer.padding[axis] > 0 and (inner.padding[axis] > 0 or inner.weight.shape[2 + axis] > 1):
            return (
                f"padding {outer.padding} of the second reaches beyond the map of the first, which is not zero there "
                f"(its kernel is {inner.weight.shape[2]}x{inner.weight.shape[3]})"
            )
    weight, dilation, groups = _kernel(outer, inner)
    stride = (outer.stride[0] * inner.stride[0], outer.stride[1] * inner.stride[1])
    padding = (
        inner.padding[0] + outer.padding[0] * inner.stride[0],
        inner.padding[1] + outer.padding[1] * inner.stride[1],
    )
    return replace(
        outer,
        inputs=inner.inputs,
        weight=weight,
        bias=_bias(outer, inner),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        upsample=inner.upsample,
    )


def upsampled(conv: ConvNode, factor: int) -> ConvNode | str:
    """`conv` followed by nearest repetition, as one convolution: up(conv(x)) = conv'(up(x)) with dilation and padding
    times `factor`; or the reason why there is none."""
    if conv.stride != (1, 1):
        return f"its currents are repeated {factor}x{factor} after a stride of {conv.stride}"
    bias = conv.bias
    return replace(
        conv,
        shape=(conv.shape[0], conv.shape[1] * factor, conv.shape[2] * factor),
        bias=repeat_nearest(bias, factor) if bias is not None and bias.ndim == 3 else bias,
        padding=(conv.padding[0] * factor, conv.padding[1] * factor),
        dilation=(conv.dilation[0] * factor, conv.dilation[1] * factor),
        upsample=conv.upsample * factor,
    )


def dense_weight(weight: FloatArray, groups: int) -> FloatArray:
    """A grouped kernel (C_out, C_in/groups, kh, kw) as an ungrouped one (C_out, C_in, kh, kw), zeros between groups."""
    if groups == 1:
        return weight
    outs, ins = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], ins * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outs, (group + 1) * outs)
        dense[rows, group * ins : (group + 1) * ins] = weight[rows]
    return dense


def _kernel(outer: ConvNode, inner: ConvNode) -> tuple[FloatArray, Pair, int]:
    """Merged weight, its dilation, its groups."""
    groups = inner.groups if inner.groups == outer.groups else 1
    second = outer.weight if groups == outer.groups else dense_weight(outer.weight, outer.groups)
    depthwise = groups == 1 and inner.weight.shape[1] == 1 and inner.groups == inner.weight.shape[0]
    first = inner.weight if groups == inner.groups or depthwise else dense_weight(inner.weight, inner.groups)
    # Taps of the second kernel lie `step` source pixels apart, those of the first `dilation`: a grid that holds both.
    step = [outer.dilation[axis] * inner.stride[axis] for axis in range(2)]
    grid = [_grid(step[a], outer.weight.shape[2 + a], inner.dilation[a], inner.weight.shape[2 + a]) for a in range(2)]
    size = [
        (step[a] * (outer.weight.shape[2 + a] - 1) + inner.dilation[a] * (inner.weight.shape[2 + a] - 1)) // grid[a] + 1
        for a in range(2)
    ]
    inputs = first.shape[0] if depthwise else first.shape[1]
    merged = np.zeros((second.shape[0], inputs, *size))
    for jy, jx in np.ndindex(*outer.weight.shape[2:]):
        for iy, ix in np.ndindex(*inner.weight.shape[2:]):
            row = (jy * step[0] + iy * inner.dilation[0]) // grid[0]
            column = (jx * step[1] + ix * inner.dilation[1]) // grid[1]
            left, right = second[:, :, jy, jx], first[:, :, iy, ix]
            if depthwise:
                merged[:, :, row, column] += left * right[:, 0]
            else:
                blocks = left.reshape(groups, -1, left.shape[1]) @ right.reshape(groups, left.shape[1], -1)
                merged[:, :, row, column] += blocks.reshape(left.shape[0], -1)
    return merged, (grid[0], grid[1]), groups


def _grid(step: int, outer_taps: int, dilation: int, inner_taps: int) -> int:
    if outer_taps == 1:
        return dilation if inner_taps > 1 else 1
    return gcd(step, dilation) if inner_taps > 1 else step


def _bias(outer: ConvNode, inner: ConvNode) -> FloatArray | None:
    """b2 + conv2(b1): per channel where it is the same everywhere, else per neuron."""
    if inner.bias is None or not np.any(inner.bias):
        return outer.bias
    if inner.bias.ndim == 1 and outer.padding == (0, 0):
        carried = dense_weight(outer.weight, outer.groups).sum(axis=(2, 3)) @ inner.bias
    else:
        per_neuron = inner.bias if inner.bias.ndim == 3 else inner.bias[:, None, None]
        carried = conv2d(
            np.broadcast_to(per_neuron, inner.shape)[None],
            outer.weight,
            stride=outer.stride,
            padding=outer.padding,
            dilation=outer.dilation,
            groups=outer.groups,
        )[0]
    return add_biases(carried, outer.bias)


def add_biases(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    """The sum of two biases, each (C,), (C,H,W) or None."""
    if first is None or second is None:
        return second if first is None else first
    if first.ndim == second.ndim:
        return first + second
    return (first if first.ndim == 3 else first[:, None, None]) + (
        second if second.ndim == 3 else second[:, None, None]
    )


__all__ = ["MergeConvolutions", "add_biases", "dense_weight", "merge", "merge_linear", "upsampled"]
