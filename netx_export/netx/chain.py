"""A graph as a chain of NetX layers, where it is one that the stock loader runs as it is meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Conv,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Wire,
    fixedpoint,
)
from netx_export.netx import stock

INT8_MAX = 127
"""Lava's Conv model keeps stride, padding, dilation, groups and kernel size in 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One population with what feeds it: from the layer before, by port, and from itself."""

    population: Population
    forward: tuple[Projection, ...]
    recurrent: Projection | None = None

    @property
    def wired(self) -> bool:
        """True for an input layer with neurons of its own."""
        return isinstance(self.forward[0].synapse, Wire)


class NotAChainError(Exception):
    """Why stock NetX cannot express a graph, in one clause."""


def links(graph: Graph, *, as_loaded: bool = True) -> tuple[Link, ...]:
    """The layers behind the input; NotAChainError where stock NetX has no words for the graph.

    With `as_loaded` also where its loader would change dense weights or a rotation on their way into Lava.
    """
    head, *rest = graph.populations
    if not isinstance(head.neuron, Input) or not rest:
        raise NotAChainError("it is not one chain of layers behind one input")
    made: list[Link] = []
    source, flat = head, False
    for population in rest:
        link = _link(graph, source, population)
        _check(link, flat=flat, first=not made)
        if as_loaded:
            _check_loaded(link)
        made.append(link)
        source, flat = population, isinstance(link.forward[0].synapse, Dense)
    if head.neuron.message_bits and not made[0].wired:
        raise NotAChainError(f"its input carries {head.neuron.message_bits}-bit messages, which NetX has no field for")
    return tuple(made)


def weight_of(kernel: Kernel) -> npt.NDArray[np.int32]:
    """Mantissa and exponent multiplied out."""
    return np.left_shift(kernel.mantissa.astype("<i4"), kernel.exponent)


def bias_mantissa(neuron: Lif) -> npt.NDArray[np.int32]:
    """The bias at the stock loader's exponent."""
    return fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp) >> stock.BIAS_EXP


def _link(graph: Graph, source: Population, population: Population) -> Link:
    incoming = graph.incoming[population.id]
    forward = tuple(projection for projection in incoming if projection.src == source.id)
    recurrent = [projection for projection in incoming if projection.src == population.id]
    if len(forward) + len(recurrent) != len(incoming) or not forward or len(recurrent) > 1:
        raise NotAChainError(
            f"it is not one chain of layers behind one input: population {population.id!r} is not fed by the one layer "
            "before it alone"
        )
    ports = ("re", "im") if isinstance(population.neuron, Rf | RfIz) else (None,)
    if len(forward) != len(ports) or (None not in ports and {p.port for p in forward} != set(ports)):
        raise NotAChainError(
            f"it is not one chain of layers behind one input: population {population.id!r} is fed by {len(forward)} "
            "projections from one layer"
        )
    if len(forward) == 2:
        forward = tuple(sorted(forward, key=lambda projection: projection.port == "im"))
    return Link(population=population, forward=forward, recurrent=recurrent[0] if recurrent else None)


def _check(link: Link, *, flat: bool, first: bool) -> None:
    neuron = link.population.neuron
    label = f"population {link.population.id!r}"
    if link.wired:
        _check_input(link, label, first=first)
        return
    _check_neuron(neuron, label)
    for projection in link.forward:
        if projection.src_channels is not None:
            raise NotAChainError(f"projection {projection.label} reads a channel slice")
        if projection.longest_delay and (
            not isinstance(projection.synapse, Dense) or len(link.forward) > 1 or link.recurrent is not None
        ):
            raise NotAChainError(
                f"projection {projection.label} has a delay, which stock NetX has for plain dense layers"
            )
        if projection.longest_delay > fixedpoint.DELAY_MAX:
            raise NotAChainError(
                f"projection {projection.label} has a delay of {projection.longest_delay} steps, the limit is "
                f"{fixedpoint.DELAY_MAX}"
            )
    synapses = [projection.synapse for projection in link.forward]
    if link.recurrent is not None:
        _check_recurrent(link, link.recurrent, label)
        return
    for projection, synapse in zip(link.forward, synapses, strict=True):
        if isinstance(synapse, Dense):
            continue
        if len(synapses) > 1 or not isinstance(synapse, Conv) or synapse.upsample != 1:
            raise NotAChainError(f"projection {projection.label} is no plain convolution or dense layer")
        if flat:
            raise NotAChainError(
                f"projection {projection.label} is a convolution of a dense layer, which stock NetX takes for flat"
            )
        _check_sizes(projection.label, synapse)


def _check_input(link: Link, label: str, *, first: bool) -> None:
    match link.population.neuron:
        case Lif() as neuron:
            _check_neuron(neuron, label)
            if neuron.bias_mant.any():
                raise NotAChainError(f"the bias of {label}: stock NetX has none for the neurons of an input layer")
        case Delta() as neuron:
            _check_exponents(neuron, label)
        case _:
            raise NotAChainError(f"{label} takes the input directly, which stock NetX has for LIF and Delta alone")
    if not first:
        raise NotAChainError(f"{label} takes the input directly behind other layers")


def _check_neuron(neuron: NeuronSpec, label: str) -> None:
    match neuron:
        case Lif():
            if neuron.reset_interval:
                raise NotAChainError(f"{label} resets every {neuron.reset_interval} steps, which is no field of a file")
            bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
            mantissa = bias_mantissa(neuron)
            if bool((mantissa << stock.BIAS_EXP != bias).any()) or mantissa.min() < fixedpoint.BIAS_MANT_MIN:
                raise NotAChainError(
                    f"the bias of {label} is no multiple of {1 << stock.BIAS_EXP}, the only bias scale of the stock loader"
                )
            if mantissa.max() > fixedpoint.BIAS_MANT_MAX:
                raise NotAChainError(f"the bias of {label} needs more than 13 bits at the stock loader's scale")
        case SigmaDelta():
            _check_exponents(neuron, label)
            if neuron.activation != "relu":
                raise NotAChainError(
                    f"{label} has the activation {neuron.activation!r}, the stock loader has relu alone"
                )
        case Rf() | RfIz():
            if neuron.state_exp != stock.STATE_EXP:
                raise NotAChainError(
                    f"{label} has state_exp {neuron.state_exp}, the stock loader has {stock.STATE_EXP}"
                )
        case Sigma():
            return
        case _:
            raise NotAChainError(f"{label} is a {type(neuron).__name__}, which NetX has no layer for")


def _check_exponents(neuron: Delta | SigmaDelta, label: str) -> None:
    if (neuron.spike_exp, neuron.state_exp) != (stock.SPIKE_EXP, stock.STATE_EXP):
        raise NotAChainError(
            f"{label} has spike_exp {neuron.spike_exp} and state_exp {neuron.state_exp}, the stock loader takes "
            f"{stock.SPIKE_EXP} and {stock.STATE_EXP}"
        )


def _check_recurrent(link: Link, recurrent: Projection, label: str) -> None:
    forward = link.forward[0]
    if (
        len(link.forward) > 1
        or recurrent.longest_delay
        or not isinstance(forward.synapse, Dense)
        or not isinstance(recurrent.synapse, Dense)
        or recurrent.src_channels is not None
    ):
        raise NotAChainError(f"{label} feeds itself through something else than a plain dense layer")
    if isinstance(link.population.neuron, SigmaDelta | Sigma):
        raise NotAChainError(f"{label} sends numbers to itself, which the stock loader may cut to 0 and 1")


def _check_loaded(link: Link) -> None:
    """NotAChainError where numbers would not come out of the stock loader as they went in."""
    projections = (*link.forward, *([link.recurrent] if link.recurrent is not None else []))
    weights = [weight_of(p.synapse.kernel) for p in projections if isinstance(p.synapse, Dense)]
    together = stock.parts_as_loaded(*weights) if link.recurrent is not None else map(stock.dense_as_loaded, weights)
    for projection, weight, loaded in zip(projections, weights, together, strict=False):
        if loaded is None or not np.array_equal(loaded, weight):
            raise NotAChainError(f"the stock loader would change the dense weights of projection {projection.label}")
    neuron = link.population.neuron
    if isinstance(neuron, Rf | RfIz):
        rotation = stock.rotation_as_loaded(neuron.sin, neuron.cos)
        if rotation != (neuron.sin, neuron.cos):
            raise NotAChainError(
                f"the stock loader would turn the rotation {(neuron.sin, neuron.cos)} of population "
                f"{link.population.id!r} into {rotation}"
            )


def _check_sizes(label: str, synapse: Conv) -> None:
    sizes = (*synapse.stride, *synapse.padding, *synapse.dilation, synapse.groups, *synapse.kernel.mantissa.shape[2:])
    if max(sizes) > INT8_MAX:
        raise NotAChainError(f"projection {label} has a size of {max(sizes)}, Lava's Conv keeps it in 8 bits")
