"""The part of a file that lava-dl's own loader sees: the network as NetX layers, or a layer that stops the loader."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Conv,
    Delta,
    Dense,
    Graph,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    Rf,
    RfIz,
    Shape,
    Sigma,
    SigmaDelta,
    fixedpoint,
)
from netx_export.netx.chain import Link, NotAChainError, bias_mantissa, links, weight_of
from netx_export.netx.tree import Group


def obstacle(graph: Graph, *, as_loaded: bool = True) -> str | None:
    """Why stock NetX cannot express `graph`, in one clause; None when it can.

    Without `as_loaded`, numbers that the stock loader changes are no obstacle.
    """
    try:
        links(graph, as_loaded=as_loaded)
    except NotAChainError as error:
        return str(error)
    return None


def plain(graph: Graph, where: str) -> Group:
    """`/layer` of a graph that stock NetX can express (`obstacle` is None)."""
    root = Group(where=f"{where}: /layer")
    source = graph.populations[0]
    layer = _add(root, "input", source.shape)
    flat = False
    for link in links(graph, as_loaded=False):
        population = link.population
        synapse = link.forward[0].synapse
        if link.wired:
            _neuron(layer, population.neuron)
        elif isinstance(synapse, Conv):
            layer = _add(root, "conv", population.shape)
            _conv(layer, synapse, population)
        else:
            if not flat:
                _add(root, "flatten", (source.size, 1, 1))
            layer = _add(root, "dense" if link.recurrent is None else "dense_rec", population.shape)
            _dense(layer, link, source)
            flat = True
        if not link.wired:
            _neuron(layer, population.neuron)
            _bias(layer, population, flat)
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


def _add(root: Group, layer_type: str, shape: Shape) -> Group:
    layer = root.child(str(len(root.groups)))
    layer.arrays["type"] = (layer_type,)
    layer.arrays["shape"] = np.asarray(shape, "<i8")
    return layer


def _conv(layer: Group, synapse: Conv, population: Population) -> None:
    layer.arrays["weight"] = weight_of(synapse.kernel)
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


def _dense(layer: Group, link: Link, source: Population) -> None:
    target = layer if len(link.forward) == 1 else layer.child("weight")
    names = ("weight",) if len(link.forward) == 1 else ("real", "imag")
    for name, projection in zip(names, link.forward, strict=True):
        target.arrays[name] = _matrix(projection)
    if link.recurrent is not None:
        layer.arrays["weight_rec"] = _matrix(link.recurrent)
    layer.arrays["inFeatures"] = np.asarray(source.size, "<i8")
    layer.arrays["outFeatures"] = np.asarray(link.population.size, "<i8")
    forward = link.forward[0]
    if forward.longest_delay:
        layer.arrays["delay"] = _delay(forward, source.size, link.population.size)


def _matrix(projection: Projection) -> npt.NDArray[np.int32]:
    if not isinstance(projection.synapse, Dense):
        raise TypeError(f"{projection.label}: `plain` was called for a graph with an obstacle")
    return weight_of(projection.synapse.kernel)


def _delay(projection: Projection, sources: int, targets: int) -> npt.NDArray[np.int64]:
    """One number, one per neuron, or one per synapse: what the stock loader cannot take for something else."""
    if projection.delays is None:
        return np.asarray(projection.delay, "<i8")
    total = projection.delays.astype("<i8") + projection.delay
    matrix = np.broadcast_to(total.reshape(1, -1), (targets, sources)) if total.ndim == 3 else total
    if bool((matrix == matrix[:, :1]).all()):
        return np.ascontiguousarray(matrix[:, 0])
    return np.ascontiguousarray(matrix)


def _neuron(layer: Group, neuron: NeuronSpec) -> None:
    group = layer.child("neuron")
    match neuron:
        case Lif():
            group.arrays = {
                "type": ("LOIHI",),
                "iDecay": np.asarray(fixedpoint.netx_from_du(neuron.du), "<i8"),
                "vDecay": np.asarray(neuron.dv, "<i8"),
                "vThMant": np.asarray(neuron.vth_mant, "<i8"),
                "refDelay": np.asarray(1, "<i8"),
                "gradedSpike": np.asarray(False),
            }
        case Delta() | SigmaDelta():
            group.arrays = {
                "type": ("SDNN",),
                "activation": ("relu",),
                "vThMant": np.asarray(neuron.vth, "<i8"),
            }
        case Sigma():
            group.arrays = {
                "type": ("SDNN",),
                "activation": ("relu",),
                "vThMant": np.asarray(0, "<i8"),
                "sigma_output": np.asarray(True),
            }
        case Rf() | RfIz():
            group.arrays = {
                "type": ("RF_PHASE" if isinstance(neuron, Rf) else "RF_IZHIKEVICH",),
                "sinDecay": np.asarray(neuron.sin, "<i8"),
                "cosDecay": np.asarray(neuron.cos, "<i8"),
                "vThMant": np.asarray(neuron.vth_mant, "<i8"),
                "gradedSpike": np.asarray(False),
            }
        case _:
            raise TypeError(f"{layer.where}: `plain` was called for a graph with an obstacle")


def _bias(layer: Group, population: Population, flat: bool) -> None:
    match population.neuron:
        case Lif() as neuron:
            mantissa = bias_mantissa(neuron)
        case SigmaDelta() as neuron:
            mantissa = neuron.bias
        case _:
            return
    per_channel = mantissa.reshape(-1, 1, 1) if mantissa.ndim == 1 else mantissa
    if flat:
        layer.arrays["bias"] = np.broadcast_to(per_channel, population.shape).reshape(-1).astype("<i4")
    elif mantissa.ndim == 1:
        layer.arrays["bias"] = np.broadcast_to(mantissa, (population.shape[0],)).astype("<i4")
    else:
        # The stock loader compares a bias per neuron with (W,H,C) and does not reverse its axes.
        layer.arrays["bias"] = np.ascontiguousarray(mantissa.transpose(2, 1, 0), "<i4")
