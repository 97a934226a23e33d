"""The part of a file that lava-dl's own loader sees: the network as NetX layers, or a layer that stops the loader."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection, fixedpoint
from netx_export.netx.stock import BIAS_EXP, dense_as_loaded
from netx_export.netx.tree import Group

INT8_MAX = 127
"""Lava's Conv model keeps stride, padding, dilation, groups and kernel size in 8 bits."""


def obstacle(graph: Graph) -> str | None:
    """Why stock NetX cannot express `graph`, in one clause; None when it can."""
    head, *rest = graph.populations
    if not isinstance(head.neuron, Input) or not rest or len(graph.projections) != len(rest):
        return "it is not one chain of layers behind one input"
    if head.neuron.message_bits:
        return f"its input carries {head.neuron.message_bits}-bit messages, which NetX has no field for"
    source, flat = head, False
    for population in rest:
        incoming = graph.incoming[population.id]
        if len(incoming) != 1 or incoming[0].src != source.id:
            return f"population {population.id!r} is not fed by the one layer before it alone"
        found = _layer_obstacle(incoming[0], population, flat)
        if found is not None:
            return found
        source, flat = population, isinstance(incoming[0].synapse, Dense)
    return None


def _layer_obstacle(projection: Projection, population: Population, flat: bool) -> str | None:
    neuron, synapse = population.neuron, projection.synapse
    label = f"population {population.id!r}"
    if not isinstance(neuron, Lif):
        return f"{label} is a {type(neuron).__name__}, which NetX has no layer for"
    if projection.delay or projection.src_channels is not None:
        return f"projection {projection.label} has a delay or reads a channel slice"
    bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
    mantissa = bias >> BIAS_EXP
    if bool((mantissa << BIAS_EXP != bias).any()) or mantissa.min() < fixedpoint.BIAS_MANT_MIN:
        return f"the bias of {label} is no multiple of {1 << BIAS_EXP}, the only bias scale of the stock loader"
    if mantissa.max() > fixedpoint.BIAS_MANT_MAX:
        return f"the bias of {label} needs more than 13 bits at the stock loader's scale"
    if isinstance(synapse, Dense):
        weight = _weight(synapse.kernel)
        loaded = dense_as_loaded(weight)
        if loaded is None or not np.array_equal(loaded, weight):
            return f"the stock loader would change the dense weights of projection {projection.label}"
        return None
    if not isinstance(synapse, Conv) or synapse.upsample != 1:
        return f"projection {projection.label} is no plain convolution or dense layer"
    if flat:
        return f"projection {projection.label} is a convolution of a dense layer, which stock NetX takes for flat"
    sizes = (*synapse.stride, *synapse.padding, *synapse.dilation, synapse.groups, *synapse.kernel.mantissa.shape[2:])
    if max(sizes) > INT8_MAX:
        return f"projection {projection.label} has a size of {max(sizes)}, Lava's Conv keeps it in 8 bits"
    return None


def plain(graph: Graph, where: str) -> Group:
    """`/layer` of a graph that stock NetX can express (`obstacle` is None)."""
    root = Group(where=f"{where}: /layer")
    source = graph.populations[0]
    _add(root, "input", source.shape)
    flat = False
    for population in graph.populations[1:]:
        synapse = graph.incoming[population.id][0].synapse
        if isinstance(synapse, Conv):
            _conv(_add(root, "conv", population.shape), synapse, population)
        else:
            if not flat:
                _add(root, "flatten", (source.size, 1, 1))
            layer = _add(root, "dense", population.shape)
            layer.arrays["weight"] = _weight(synapse.kernel)
            layer.arrays["inFeatures"] = np.asarray(source.size, "<i8")
            layer.arrays["outFeatures"] = np.asarray(population.size, "<i8")
            flat = True
        _neuron(root.groups[str(len(root.groups) - 1)], population, flat)
        source = population
    return root


def barrier(graph: Graph, where: str) -> Group:
    """`/layer` of any other graph: a `concat`, for which stock loaders raise NotImplementedError before anything runs."""
    root = Group(where=f"{where}: /layer")
    _add(root, "concat", graph.populations[0].shape).arrays["layers"] = np.zeros(0, "<i8")
    return root


def simulation(graph: Graph, where: str) -> Group:
    """`/simulation`: the length of a sample, as NetX's documentation describes it."""
    root = Group(where=f"{where}: /simulation")
    root.arrays = {"Ts": np.asarray(1, "<i8"), "tSample": np.asarray(graph.steps, "<i8")}
    return root


def _add(root: Group, layer_type: str, shape: tuple[int, int, int]) -> Group:
    layer = root.child(str(len(root.groups)))
    layer.arrays["type"] = (layer_type,)
    layer.arrays["shape"] = np.asarray(shape, "<i8")
    return layer


def _weight(kernel: Kernel) -> npt.NDArray[np.int32]:
    return np.left_shift(kernel.mantissa.astype("<i4"), kernel.exponent)


def _conv(layer: Group, synapse: Conv, population: Population) -> None:
    layer.arrays["weight"] = _weight(synapse.kernel)
    for name, pair in (
        ("stride", synapse.stride),
        ("padding", synapse.padding),
        ("dilation", synapse.dilation),
        ("kernelSize", synapse.kernel.mantissa.shape[2:]),
    ):
        layer.arrays[name] = np.asarray(pair, "<i8")
    layer.arrays["groups"] = np.asarray(synapse.groups, "<i8")
    layer.arrays["inChannels"] = np.asarray(synapse.in_channels, "<i8")
    layer.arrays["outChannels"] = np.asarray(population.shape[0], "<i8")


def _neuron(layer: Group, population: Population, flat: bool) -> None:
    neuron = population.neuron
    if not isinstance(neuron, Lif):
        raise TypeError(f"{layer.where}: `plain` was called for a graph with an obstacle")
    group = layer.child("neuron")
    group.arrays = {
        "type": ("LOIHI",),
        "iDecay": np.asarray(fixedpoint.netx_from_du(neuron.du), "<i8"),
        "vDecay": np.asarray(neuron.dv, "<i8"),
        "vThMant": np.asarray(neuron.vth_mant, "<i8"),
        "refDelay": np.asarray(1, "<i8"),
        "gradedSpike": np.asarray(False),
    }
    mantissa = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp) >> BIAS_EXP
    per_channel = mantissa.reshape(-1, 1, 1) if mantissa.ndim == 1 else mantissa
    if flat:
        layer.arrays["bias"] = np.broadcast_to(per_channel, population.shape).reshape(-1).astype("<i4")
    elif mantissa.ndim == 1:
        layer.arrays["bias"] = np.broadcast_to(mantissa, (population.shape[0],)).astype("<i4")
    else:
        # The stock loader compares a bias per neuron with (W,H,C) and does not reverse its axes.
        layer.arrays["bias"] = np.ascontiguousarray(mantissa.transpose(2, 1, 0), "<i4")
