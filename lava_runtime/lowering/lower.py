"""A graph as Lava processes: `portable` with Lava's own processes alone, `compact` with this project's where they save some.

A synapse process takes one step, a neuron process none, so a chain synapse - neuron is one layer of the graph. In both
lowerings population p at depth d resets at hardware steps s with (s - d) % T == 0; Lava's time_step is s + 1.
"""

from __future__ import annotations

import numpy as np

from lava_runtime.lowering.blocks import (
    Block,
    Branch,
    ConvBlock,
    CurrentBlock,
    FanInBlock,
    LifBlock,
    Lowered,
    SigmaBlock,
    SourceBlock,
    Wire,
)
from lava_runtime.lowering.delay_line import DelayLine, or_block
from lava_runtime.lowering.synapse_blocks import (
    dense_frame_order,
    fits_conv,
    frame_shape,
    one_to_one_conv,
    plain_synapse,
    portable_synapses,
)
from lava_runtime.lowering.taps import frame_conv_of
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    accumulator_bound,
    fixedpoint,
)


def lower_portable(graph: Graph, *, steps: int) -> Lowered:
    """Only processes of `lava.proc`, all of which have hardware models.

    Concatenation is several synapse processes into one neuron process, upsampling is one Sparse per sub-pixel parity,
    a delayed projection reads a delay line of relay neurons, a delayed input is a second source.
    Raises RunError where Lava's processes cannot compute the graph exactly.
    """
    blocks: dict[str, Block] = {}
    wires: list[Wire] = []
    speaker = _add_neurons(graph, steps, blocks, readout=SigmaBlock)
    line = DelayLine(graph=graph, blocks=blocks, wires=wires, speaker=speaker)
    for index, projection in enumerate(graph.projections):
        source = line.tap(projection.src, projection.delay)
        bits = message_bits(graph, projection)
        ends = graph.by_id[projection.src], graph.by_id[projection.dst]
        for synapse in portable_synapses(projection, *ends, f"synapse {index}", bits):
            _wire_synapse(
                graph,
                synapse,
                source=source,
                projection=projection,
                target=speaker[projection.dst],
                blocks=blocks,
                wires=wires,
            )
    return Lowered(blocks=blocks, wires=tuple(wires), speaker=speaker)


def lower_compact(graph: Graph, *, steps: int) -> Lowered:
    """Lava's Conv, Dense, LIF and LIFReset where one plain projection feeds a population, a `FanIn` process elsewhere.

    A FanIn computes all projections into a population at once and holds their delays; readouts send their current
    straight to the sink.
    """
    blocks: dict[str, Block] = {}
    wires: list[Wire] = []
    speaker = _add_neurons(graph, steps, blocks, readout=CurrentBlock)
    for population in graph.populations:
        incoming = graph.incoming[population.id]
        if not incoming:
            continue
        if len(incoming) == 1 and _is_plain(incoming[0]):
            projection = incoming[0]
            bits = message_bits(graph, projection)
            source = graph.by_id[projection.src]
            synapse = plain_synapse(projection, source, population, f"synapse {population.id}", bits)
            _wire_synapse(
                graph,
                synapse,
                source=speaker[projection.src],
                projection=projection,
                target=speaker[population.id],
                blocks=blocks,
                wires=wires,
            )
        else:
            _add_fan_in(graph, population, speaker, blocks, wires)
    return Lowered(blocks=blocks, wires=tuple(wires), speaker=speaker)


def message_bits(graph: Graph, projection: Projection) -> int:
    """Width of the graded messages that travel on `projection`; 0 for spikes."""
    neuron = graph.by_id[projection.src].neuron
    return neuron.message_bits if isinstance(neuron, Input) else 0


def _is_plain(projection: Projection) -> bool:
    """True where one of Lava's Conv or Dense processes computes the projection as it stands."""
    if projection.delay or projection.src_channels is not None:
        return False
    match projection.synapse:
        case Conv() as conv:
            return conv.upsample == 1 and fits_conv(conv)
        case OneToOne() as synapse:
            return fits_conv(one_to_one_conv(synapse))
        case Dense():
            return True


def _add_neurons(
    graph: Graph, steps: int, blocks: dict[str, Block], readout: type[SigmaBlock] | type[CurrentBlock]
) -> dict[str, str]:
    speaker: dict[str, str] = {}
    for population in graph.populations:
        name = f"neurons {population.id}"
        shape = frame_shape(population.shape)
        match population.neuron:
            case Input() as neuron:
                blocks[name] = SourceBlock(
                    name=name, population=population.id, shape=shape, message_bits=neuron.message_bits
                )
            case Lif() as neuron:
                blocks[name] = LifBlock(
                    name=name,
                    shape=shape,
                    vth=neuron.vth_mant,
                    du=neuron.du,
                    dv=neuron.dv,
                    bias_mant=_bias_frame(neuron, population),
                    bias_exp=neuron.bias_exp,
                    reset=(steps, graph.depth[population.id] + 1) if graph.timing == "aligned" else None,
                    population=population.id,
                )
            case Or():
                blocks[name] = or_block(name, shape, population=population.id)
            case Readout():
                blocks[name] = readout(name=name, shape=shape, population=population.id)
        speaker[population.id] = name
    return speaker


def _bias_frame(neuron: Lif, population: Population) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    bias = neuron.bias_mant
    if bias.ndim == 1:
        bias = bias[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(bias, population.shape).transpose(2, 1, 0), np.int32)


def _wire_synapse(
    graph: Graph,
    synapse: Block,
    *,
    source: str,
    projection: Projection,
    target: str,
    blocks: dict[str, Block],
    wires: list[Wire],
) -> None:
    """Put `synapse` between two blocks, reshaping where it is flat."""
    blocks[synapse.name] = synapse
    shapes = [graph.by_id[end].shape for end in (projection.src, projection.dst)]
    flat = not isinstance(synapse, ConvBlock)
    wires.append(Wire(src=source, dst=synapse.name, shape=(int(np.prod(shapes[0])),) if flat else None))
    wires.append(Wire(src=synapse.name, dst=target, shape=frame_shape(shapes[1]) if flat else None))


def _add_fan_in(
    graph: Graph, population: Population, speaker: dict[str, str], blocks: dict[str, Block], wires: list[Wire]
) -> None:
    name = f"fan-in {population.id}"
    incoming = graph.incoming[population.id]
    sources = list(dict.fromkeys(projection.src for projection in incoming))
    blocks[name] = FanInBlock(
        name=name,
        shape=frame_shape(population.shape),
        sources=tuple(frame_shape(graph.by_id[source].shape) for source in sources),
        branches=tuple(_branch(graph, projection, sources.index(projection.src)) for projection in incoming),
    )
    wires.extend(Wire(src=speaker[source], dst=name, port=port) for port, source in enumerate(sources))
    wires.append(Wire(src=name, dst=speaker[population.id]))


def _branch(graph: Graph, projection: Projection, port: int) -> Branch:
    source = graph.by_id[projection.src]
    synapse = projection.synapse
    if isinstance(synapse, Dense):
        matrix = dense_frame_order(projection, source, graph.by_id[projection.dst]).astype(np.int32)
        rows = np.ascontiguousarray((matrix << synapse.kernel.exponent).T)
        return Branch(port=port, delay=projection.delay, rows=rows)
    if isinstance(synapse, OneToOne):
        synapse = one_to_one_conv(synapse)
    bits = message_bits(graph, projection)
    first = projection.src_channels[0] if projection.src_channels else 0
    return Branch(
        port=port,
        delay=projection.delay,
        conv=frame_conv_of(synapse, projection.source_shape(source), first),
        wraps=accumulator_bound(synapse, max(1, 1 << max(bits - 1, 0))) >= fixedpoint.STATE_LIMIT,
    )
