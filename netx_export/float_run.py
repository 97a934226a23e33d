"""Running a float network in numpy with training's timing: all layers work on the same step.

Used to check that every pass keeps the function; also the reference for the integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from netx_export.errors import RunError
from netx_export.float_graph import (
    AddNode,
    BatchNormNode,
    ConcatNode,
    ConvNode,
    FlattenNode,
    FloatArray,
    FloatGraph,
    InputNode,
    LinearNode,
    MaxPoolNode,
    NeuronNode,
    Node,
    OrNode,
    OutputNode,
    ScaleNode,
    UpsampleNode,
)
from netx_export.graph import FloatLif, Input, Or, Pair, Shape
from netx_export.projection_graph import (
    FloatConv,
    FloatDense,
    FloatPopulation,
    FloatProjection,
    FloatReadout,
    ProjectionGraph,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatRun:
    """What a float network did: 0/1 spikes per population and real outputs per name, (T,B,C,H,W) float64.

    A spiking population that nobody reads is found in `spikes` under its own id.
    """

    spikes: Mapping[str, FloatArray]
    outputs: Mapping[str, FloatArray]


def repeat_nearest(frames: npt.NDArray[np.float64], factor: int) -> npt.NDArray[np.float64]:
    """Nearest repetition of the last two axes."""
    return frames.repeat(factor, axis=-2).repeat(factor, axis=-1) if factor > 1 else frames


def conv2d(
    frames: FloatArray,
    weight: FloatArray,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int = 1,
    upsample: int = 1,
) -> FloatArray:
    """Cross-correlation of frames (N,C,H,W) with weight (C_out, C_in/groups, kh, kw), zero-padded."""
    frames = repeat_nearest(frames, upsample)
    rows, columns = (
        (frames.shape[2 + a] + 2 * padding[a] - dilation[a] * (weight.shape[2 + a] - 1) - 1) // stride[a] + 1
        for a in range(2)
    )
    padded = np.pad(frames, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])))
    count, in_channels = frames.shape[:2]
    out_channels = weight.shape[0]
    depthwise = weight.shape[1] == 1 and groups == in_channels == out_channels
    total = np.zeros((count, out_channels, rows, columns))
    for ky in range(weight.shape[2]):
        for kx in range(weight.shape[3]):
            top, left = ky * dilation[0], kx * dilation[1]
            patch = padded[
                :,
                :,
                top : top + (rows - 1) * stride[0] + 1 : stride[0],
                left : left + (columns - 1) * stride[1] + 1 : stride[1],
            ]
            if depthwise:
                total += patch * weight[:, 0, ky, kx][:, None, None]
                continue
            grouped = patch.reshape(count, groups, in_channels // groups, rows * columns)
            taps = weight[:, :, ky, kx].reshape(groups, out_channels // groups, in_channels // groups)
            total += np.matmul(taps, grouped).reshape(total.shape)
    return total


def max_pool2d(frames: FloatArray, *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> FloatArray:
    """Maximum under each window of frames (N,C,H,W); padding is minus infinity."""
    rows, columns = (
        (frames.shape[2 + a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(2)
    )
    margin = ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1]))
    padded = np.pad(frames, margin, constant_values=-np.inf)
    result = np.full((*frames.shape[:2], rows, columns), -np.inf)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            top, left = ky * dilation[0], kx * dilation[1]
            patch = padded[
                :,
                :,
                top : top + (rows - 1) * stride[0] + 1 : stride[0],
                left : left + (columns - 1) * stride[1] + 1 : stride[1],
            ]
            np.maximum(result, patch, out=result)
    return result


def fire(neuron: FloatLif, currents: FloatArray) -> FloatArray:
    """v[t] = leak*v[t-1] + gain*x[t]; s[t] = v[t] >= threshold; v[t] = 0 where s[t]. Currents (T,B,C,H,W)."""
    spikes = np.zeros_like(currents)
    voltage = np.zeros(currents.shape[1:])
    for step in range(currents.shape[0]):
        voltage = neuron.leak * voltage + neuron.gain * currents[step]
        fired = voltage >= neuron.threshold
        spikes[step] = fired
        voltage[fired] = 0.0
    return spikes


def float_run(graph: FloatGraph | ProjectionGraph, inputs: npt.ArrayLike) -> FloatRun:
    """Run `graph` on inputs (T,B,C,H,W). Raises RunError when the inputs have another shape than the network's."""
    frames = np.asarray(inputs, np.float64)
    shape = _input_shape(graph)
    if frames.ndim != 5 or frames.shape[2:] != shape:
        raise RunError(f"The inputs have shape {frames.shape}, the network takes (T,B,{', '.join(map(str, shape))}).")
    return _run_nodes(graph, frames) if isinstance(graph, FloatGraph) else _run_projections(graph, frames)


def _input_shape(graph: FloatGraph | ProjectionGraph) -> Shape:
    if isinstance(graph, FloatGraph):
        shapes = [node.shape for node in graph.nodes if isinstance(node, InputNode)]
    else:
        shapes = [p.shape for p in graph.populations if isinstance(p.neuron, Input)]
    if len(shapes) != 1:
        raise RunError(f"The network has {len(shapes)} inputs; this runner takes networks with one.")
    return shapes[0]


def _fold(frames: FloatArray) -> FloatArray:
    return frames.reshape(-1, *frames.shape[2:])


def _add_bias(values: FloatArray, bias: FloatArray | None) -> FloatArray:
    if bias is None:
        return values
    return values + (bias[:, None, None] if bias.ndim == 1 else bias)


def _run_nodes(graph: FloatGraph, frames: FloatArray) -> FloatRun:
    values: dict[str, FloatArray] = {}
    spikes: dict[str, FloatArray] = {}
    outputs: dict[str, FloatArray] = {}
    last_use = {name: node.id for node in graph.nodes for name in node.inputs}
    for node in graph.nodes:
        value = frames if isinstance(node, InputNode) else _evaluate(node, [values[name] for name in node.inputs])
        values[node.id] = value
        if isinstance(node, NeuronNode | OrNode):
            spikes[node.id] = value
        if isinstance(node, OutputNode):
            outputs[node.id] = value
        for name in set(node.inputs):
            if last_use[name] == node.id:
                del values[name]
    return FloatRun(spikes=spikes, outputs=outputs)


def _evaluate(node: Node, sources: list[FloatArray]) -> FloatArray:
    first = sources[0]
    lead = first.shape[:2]
    match node:
        case ConvNode():
            result = conv2d(
                _fold(first),
                node.weight,
                stride=node.stride,
                padding=node.padding,
                dilation=node.dilation,
                groups=node.groups,
                upsample=node.upsample,
            )
            return _add_bias(result, node.bias).reshape(*lead, *node.shape)
        case LinearNode():
            rows = first.reshape(*lead, -1) @ node.weight.T
            if node.bias is not None:
                rows = rows + node.bias
            return cast(FloatArray, rows.reshape(*lead, *node.shape))
        case FlattenNode():
            return first.reshape(*lead, *node.shape)
        case BatchNormNode():
            return cast(FloatArray, first * node.scale[:, None, None] + node.shift[:, None, None])
        case ScaleNode():
            return first * node.factor
        case ConcatNode():
            return np.concatenate(sources, axis=2)
        case UpsampleNode():
            return repeat_nearest(first, node.factor)
        case AddNode():
            total = first.copy()
            for source in sources[1:]:
                total += source
            return total
        case MaxPoolNode() | OrNode():
            frames = repeat_nearest(_fold(first), node.upsample if isinstance(node, OrNode) else 1)
            pooled = max_pool2d(
                frames, kernel=node.kernel, stride=node.stride, padding=node.padding, dilation=node.dilation
            )
            return pooled.reshape(*lead, *node.shape)
        case NeuronNode():
            return fire(node.neuron, first)
        case OutputNode():
            return first
        case _:
            raise RunError(f"Node {node.id!r} is a {type(node).__name__}, which this runner does not know.")


def _run_projections(graph: ProjectionGraph, frames: FloatArray) -> FloatRun:
    values: dict[str, FloatArray] = {}
    spikes: dict[str, FloatArray] = {}
    outputs: dict[str, FloatArray] = {}
    for population in graph.populations:
        if isinstance(population.neuron, Input):
            values[population.id] = frames
            continue
        currents = np.zeros((*frames.shape[:2], *population.shape))
        for projection in graph.incoming[population.id]:
            currents += _project(projection, population, values[projection.src])
        currents = _add_bias(currents, population.bias)
        match population.neuron:
            case FloatLif():
                values[population.id] = spikes[population.id] = fire(population.neuron, currents)
            case Or():
                values[population.id] = spikes[population.id] = (currents > 0).astype(np.float64)
            case FloatReadout():
                outputs[population.id] = currents
    return FloatRun(spikes=spikes, outputs=outputs)


def _project(projection: FloatProjection, target: FloatPopulation, source: FloatArray) -> FloatArray:
    synapse = projection.synapse
    lead = source.shape[:2]
    if isinstance(synapse, FloatConv):
        result = conv2d(
            _fold(source),
            synapse.weight,
            stride=synapse.stride,
            padding=synapse.padding,
            dilation=synapse.dilation,
            groups=synapse.groups,
            upsample=synapse.upsample,
        )
    elif isinstance(synapse, FloatDense):
        result = source.reshape(*lead, -1) @ synapse.weight.T
    else:
        result = source * synapse.weight[:, None, None]
    return result.reshape(*lead, *target.shape)
