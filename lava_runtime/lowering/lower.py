"""A graph as Lava processes: `portable` with Lava's own processes alone, `compact` with this project's where they save some.

A synapse process takes one step, a neuron process none, so a chain synapse - neuron is one layer of the graph. In both
lowerings, with timing `aligned`, population p at depth d resets at hardware steps s with (s - d) % T == 0; Lava's
time_step is s + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.blocks import (
    Block,
    Connection,
    ConvBlock,
    CurrentBlock,
    FanInBlock,
    FrameShape,
    GradedBlock,
    LifBlock,
    Lowered,
    ResonatorBlock,
    SigmaBlock,
    SourceBlock,
)
from lava_runtime.lowering.branches import branch_of
from lava_runtime.lowering.delay_line import DelayLine, or_block
from lava_runtime.lowering.synapse_blocks import (
    SynapseBlock,
    check_sums,
    frame_shape,
    holds_delay,
    plain_synapse,
    portable_synapses,
)
from netx_export.errors import RunError
from netx_export.graph import (
    Delta,
    Graph,
    Input,
    Lif,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Wire,
    is_spiking,
)

GRADED_BITS = 16
"""Width of the messages of sigma-delta neurons, as NetX declares it."""


def lower_portable(graph: Graph, *, steps: int) -> Lowered:
    """Only processes of `lava.proc`, all of which have hardware models.

    Concatenation is several synapse processes into one neuron process, upsampling is one Sparse per sub-pixel parity, a
    transposed convolution one Sparse, a delayed projection reads a delay line of relay neurons, a delayed input is a
    second source, delays of single axons and synapses are DelayDense or DelaySparse.
    Raises RunError where Lava's processes cannot compute the graph exactly.
    """
    for population in graph.populations:
        if graph.timing == "aligned" and isinstance(population.neuron, Delta | SigmaDelta | Sigma | Rf | RfIz):
            raise RunError(
                f"Population {population.id!r} is a {type(population.neuron).__name__}; timing 'aligned' resets it with "
                "every sample, which no process of Lava can do; use models='compiled', the fast backend, or timing "
                "'as_given'."
            )
    wiring = _Wiring(graph, steps, readout=SigmaBlock)
    line = DelayLine(graph=graph, blocks=wiring.blocks, connections=wiring.connections, speaker=wiring.speaker)
    for index, projection in enumerate(graph.projections):
        if isinstance(projection.synapse, Wire):
            wiring.wire(projection)
            continue
        ends = graph.by_id[projection.src], graph.by_id[projection.dst]
        inside = holds_delay(projection, ends[0])
        bits = message_bits(graph, projection)
        made = portable_synapses(projection, *ends, f"synapse {index}", bits)
        source = line.tap(projection.src, 0 if inside else projection.delay)
        for synapse in made:
            wiring.synapse(synapse, source, projection)
    return wiring.lowered()


def lower_compact(graph: Graph, *, steps: int) -> Lowered:
    """Lava's Conv, Dense, Sparse and neurons where one plain projection feeds a current, a `FanIn` process elsewhere.

    A FanIn computes all projections into a current at once and holds their delays; readouts send their current straight
    to the sink.
    """
    wiring = _Wiring(graph, steps, readout=CurrentBlock)
    for population in graph.populations:
        for port in ("", "re", "im"):
            incoming = [projection for projection in graph.incoming[population.id] if projection.port == port]
            for projection in incoming:
                if isinstance(projection.synapse, Wire):
                    wiring.wire(projection)
            incoming = [projection for projection in incoming if not isinstance(projection.synapse, Wire)]
            if not incoming:
                continue
            name = " ".join(word for word in (population.id, port) if word)
            plain = None
            if len(incoming) == 1:
                source = graph.by_id[incoming[0].src]
                bits = message_bits(graph, incoming[0])
                plain = plain_synapse(incoming[0], source, population, f"synapse {name}", bits)
            if plain is not None:
                wiring.synapse(plain, wiring.speaker[incoming[0].src], incoming[0])
            else:
                wiring.fan_in(f"fan-in {name}", population, incoming)
    return wiring.lowered()


def check_messages(graph: Graph, largest: Mapping[str, int]) -> None:
    """RunError where a portable run may have left the range that Lava's processes compute in, by the `largest` messages.

    `largest` holds the magnitude by population, of the sigma-delta neurons; nothing bounds these before a run.
    """
    for projection in graph.projections:
        if projection.src in largest:
            check_sums(projection, graph.by_id[projection.src], largest[projection.src])


def message_bits(graph: Graph, projection: Projection) -> int:
    """Width of the graded messages that travel on `projection`; 0 for spikes."""
    match graph.by_id[projection.src].neuron:
        case Input() as neuron:
            return neuron.message_bits
        case Delta() | SigmaDelta() | Sigma():
            return GRADED_BITS
        case _:
            return 0


class _Wiring:
    """Blocks and connections of one lowering, begun with the neurons of every population."""

    def __init__(self, graph: Graph, steps: int, readout: type[SigmaBlock] | type[CurrentBlock]) -> None:
        self._graph = graph
        self.blocks: dict[str, Block] = {}
        self.connections: list[Connection] = []
        self.speaker: dict[str, str] = {}
        for population in graph.populations:
            block = self._neurons(population, steps, readout)
            self.blocks[block.name] = block
            self.speaker[population.id] = block.name

    def lowered(self) -> Lowered:
        """The finished description."""
        return Lowered(blocks=self.blocks, connections=tuple(self.connections), speaker=self.speaker)

    def _neurons(self, population: Population, steps: int, readout: type[SigmaBlock] | type[CurrentBlock]) -> Block:
        name = f"neurons {population.id}"
        shape = frame_shape(population.shape)
        aligned = self._graph.timing == "aligned"
        reset = (steps, self._graph.depth[population.id] + 1) if aligned else None
        match population.neuron:
            case Input() as neuron:
                return SourceBlock(name=name, population=population.id, shape=shape, message_bits=neuron.message_bits)
            case Lif() as neuron:
                if neuron.reset_interval:
                    reset = (neuron.reset_interval, neuron.reset_offset)
                return LifBlock(
                    name=name,
                    shape=shape,
                    vth=neuron.vth_mant,
                    du=neuron.du,
                    dv=neuron.dv,
                    bias_mant=_bias_frame(neuron.bias_mant, population),
                    bias_exp=neuron.bias_exp,
                    reset=reset,
                    population=population.id,
                )
            case Or():
                return or_block(name, shape, population=population.id)
            case Readout():
                return readout(name=name, shape=shape, population=population.id)
            case Delta() | SigmaDelta() | Sigma() as neuron:
                bias = neuron.bias if isinstance(neuron, SigmaDelta) else np.zeros(1, np.int32)
                return GradedBlock(
                    name=name,
                    shape=shape,
                    neuron=neuron,
                    bias=_bias_frame(bias, population),
                    reset=reset,
                    population=population.id,
                )
            case Rf() | RfIz() as neuron:
                return ResonatorBlock(name=name, shape=shape, neuron=neuron, reset=reset, population=population.id)

    def wire(self, projection: Projection) -> None:
        """Connect an input straight to neurons; a channel slice is a source of its own."""
        source = self.blocks[self.speaker[projection.src]]
        if not isinstance(source, SourceBlock):
            raise RunError(f"Projection {projection.label} is a Wire, but its source is no input.")
        channels = self._graph.by_id[projection.src].shape[0]
        if projection.src_channels is not None and projection.src_channels != (0, channels):
            first, last = projection.src_channels
            shape: FrameShape = (*source.shape[:2], last - first)
            source = replace(source, name=f"{source.name} {first}:{last}", shape=shape, channels=(first, last))
        made = Connection(src=source.name, dst=self.speaker[projection.dst], port=_port(projection))
        while made in self.connections:
            # Lava connects two ports once only.
            source = replace(source, name=f"{source.name} again")
            made = replace(made, src=source.name)
        self.blocks[source.name] = source
        self.connections.append(made)

    def synapse(self, synapse: SynapseBlock, source: str, projection: Projection) -> None:
        """Put `synapse` between block `source` and the target's neurons, reshaping where it is flat."""
        self.blocks[synapse.name] = synapse
        shapes = [self._graph.by_id[end].shape for end in (projection.src, projection.dst)]
        flat = not isinstance(synapse, ConvBlock)
        into = (int(np.prod(shapes[0])),) if flat else None
        self.connections.append(Connection(src=source, dst=synapse.name, shape=into))
        self.connections.append(
            Connection(
                src=synapse.name,
                dst=self.speaker[projection.dst],
                shape=frame_shape(shapes[1]) if flat else None,
                port=_port(projection),
            )
        )

    def fan_in(self, name: str, population: Population, incoming: list[Projection]) -> None:
        """One FanIn for all of `incoming`, which end in the same current of `population`."""
        graph = self._graph
        sources = list(dict.fromkeys(projection.src for projection in incoming))
        self.blocks[name] = FanInBlock(
            name=name,
            shape=frame_shape(population.shape),
            sources=tuple(frame_shape(graph.by_id[source].shape) for source in sources),
            graded=tuple(not is_spiking(graph.by_id[source].neuron) for source in sources),
            branches=tuple(branch_of(graph, p, sources.index(p.src)) for p in incoming),
        )
        for port, source in enumerate(sources):
            self.connections.append(Connection(src=self.speaker[source], dst=name, port=port))
        self.connections.append(Connection(src=name, dst=self.speaker[population.id], port=_port(incoming[0])))


def _port(projection: Projection) -> int:
    return int(projection.port == "im")


def _bias_frame(bias: npt.NDArray[np.int32], population: Population) -> npt.NDArray[np.int32]:
    """A bias (1,), (C,) or (C,H,W) as a frame (W,H,C)."""
    wide = bias[:, None, None] if bias.ndim == 1 else bias
    return np.ascontiguousarray(np.broadcast_to(wide, population.shape).transpose(2, 1, 0), np.int32)
