"""A network as a table in NetX's own columns, with the constants of its neurons."""

from __future__ import annotations

import os

from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Lif,
    NeuronSpec,
    OneToOne,
    Or,
    Pair,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
    fixedpoint,
)
from netx_export.netx.reader import read

HEADER = "|   Type   |  W  |  H  |  C  | ker | str | pad | dil | grp |delay|"
"""The columns that lava-dl prints for a network; a neuron column follows."""


def describe_file(path: str | os.PathLike[str], *, skip_layers: int = 0, num_layers: int | None = None) -> list[str]:
    """`describe` of the network in a file; arguments and errors as in `read`."""
    return describe(read(path, skip_layers=skip_layers, num_layers=num_layers))


def describe(graph: Graph) -> list[str]:
    """One row per projection into each population, the first with the population's constants; a summary below.

    W, H and C are the size of the population, kernel and stride are (x,y) as lava-dl prints them.
    """
    width = max(len(population.name) for population in graph.populations)
    rows = [f"{'':{width}s} {HEADER} neuron"]
    for population in graph.populations:
        channels, height, across = population.shape
        size = f"{across:5d}|{height:5d}|{channels:5d}|"
        constants = _neuron(population.neuron)
        incoming = graph.incoming[population.id]
        if not incoming:
            rows.append(f"{population.name:{width}s} |{'Input':10s}|{size}{_cells(None)} {constants}")
        for index, projection in enumerate(incoming):
            first = index == 0
            name = population.name if first else ""
            note = constants if first else "the same neurons"
            rows.append(
                f"{name:{width}s} |{_type(projection):10s}|{size}{_cells(projection)} {note}"
                f"{_source(graph, projection, several=len(incoming) > 1)}"
            )
    neurons = sum(population.size for population in graph.populations if not isinstance(population.neuron, Input))
    synapses = [projection.synapse for projection in graph.projections]
    kernels = {id(s.kernel): s.kernel.mantissa.size for s in synapses if not isinstance(s, Wire)}
    graded = ", graded messages" if graph.messages == "graded" else ""
    rows.append(
        f"{len(graph.populations)} populations, {neurons} neurons, {len(graph.projections)} projections, "
        f"{sum(kernels.values())} weights, timing {graph.timing}, {graph.steps} steps per sample{graded}"
    )
    return rows


def _type(projection: Projection) -> str:
    match projection.synapse:
        case Conv(upsample=1):
            return "Conv"
        case Conv(upsample=times):
            return f"Conv up{times}"
        case ConvTranspose():
            return "ConvT"
        case Dense():
            return "Dense"
        case Sparse():
            return "Sparse"
        case OneToOne():
            return "OneToOne"
        case Wire():
            return "Wire"


def _cells(projection: Projection | None) -> str:
    """ker | str | pad | dil | grp | delay; a pair is printed horizontal first."""
    if projection is None:
        return f"{'':5s}|" * 5 + f"{0:5d}|"
    if not isinstance(projection.synapse, Conv | ConvTranspose):
        return f"{'':5s}|" * 5 + f"{delay_words(projection):>5s}|"
    conv = projection.synapse
    taps = conv.kernel.mantissa.shape[2:]
    pairs = ((taps[0], taps[1]), conv.stride, conv.padding, conv.dilation)
    return "".join(_pair(pair) for pair in pairs) + f"{conv.groups:5d}|{delay_words(projection):>5s}|"


def delay_words(projection: Projection) -> str:
    """The delays of a projection: a number, or the least and the most."""
    if projection.delays is None or projection.delays.size == 0:
        return str(projection.delay)
    low = projection.delay + int(projection.delays.min())
    return f"{low}-{projection.longest_delay}"


def _pair(pair: Pair) -> str:
    return f"{pair[1]:2d},{pair[0]:2d}|"


def _neuron(neuron: NeuronSpec) -> str:
    match neuron:
        case Input(message_bits=0):
            return "0/1 spikes"
        case Input(message_bits=bits):
            return f"{bits}-bit messages"
        case Lif():
            leak = f"iDecay {fixedpoint.netx_from_du(neuron.du)} vDecay {neuron.dv}"
            bias = f" bias {neuron.bias_mant.min()}..{neuron.bias_mant.max()} << {neuron.bias_exp}"
            reset = f" reset every {neuron.reset_interval} from {neuron.reset_offset}" if neuron.reset_interval else ""
            return f"LIF vThMant {neuron.vth_mant} {leak}{bias if neuron.bias_mant.any() else ''}{reset}"
        case Or():
            return "OR"
        case Readout():
            return f"readout{f' bias {neuron.bias.min()}..{neuron.bias.max()}' if neuron.bias.any() else ''}"
        case Delta():
            return f"Delta vThMant {neuron.vth} spike_exp {neuron.spike_exp} state_exp {neuron.state_exp}"
        case SigmaDelta():
            exponents = f"spike_exp {neuron.spike_exp} state_exp {neuron.state_exp} {neuron.activation}"
            bias = f" bias {neuron.bias.min()}..{neuron.bias.max()}" if neuron.bias.any() else ""
            return f"SigmaDelta vThMant {neuron.vth} {exponents}{bias}"
        case Sigma():
            return "Sigma"
        case Rf() | RfIz():
            kind = "RF" if isinstance(neuron, Rf) else "RF_IZ"
            return f"{kind} vThMant {neuron.vth_mant} sinDecay {neuron.sin} cosDecay {neuron.cos}"


def _source(graph: Graph, projection: Projection, *, several: bool) -> str:
    """Where the projection starts, where that is not plain from the row above."""
    notes = [f"from {graph.by_id[projection.src].name}"] if several or not _follows(graph, projection) else []
    if projection.port in ("re", "im"):
        notes.append(f"port {projection.port}")
    if projection.src_channels is not None:
        notes.append(f"channels {projection.src_channels[0]}..{projection.src_channels[1] - 1}")
    if not isinstance(projection.synapse, Wire) and projection.synapse.kernel.exponent:
        exponent = projection.synapse.kernel.exponent
        notes.append(f"weights << {exponent}" if exponent > 0 else f"sum >> {-exponent}")
    return f"; {', '.join(notes)}" if notes else ""


def _follows(graph: Graph, projection: Projection) -> bool:
    return graph.rank[projection.dst] == graph.rank[projection.src] + 1
