"""Block descriptions into Lava processes, wired and ready to run. The only module besides `lava/` that makes processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from lava_runtime.lava.processes import CurrentSink, FanIn, GradedSource, SpikeSink, SpikeSource, StateSink
from lava_runtime.lowering.blocks import (
    Block,
    ConvBlock,
    CurrentBlock,
    DelayBlock,
    DenseBlock,
    FanInBlock,
    GradedBlock,
    LifBlock,
    Lowered,
    NeuronBlock,
    ResonatorBlock,
    SigmaBlock,
    SourceBlock,
    SparseBlock,
)
from lava_runtime.simulation.recorder import Ledger
from netx_export import graph as graph_types
from netx_export.graph import Graph, fixedpoint, is_spiking

Process = Any
"""An `AbstractProcess`; lava-nc ships no types."""


READOUT_BITS = 32
"""Width of a readout's running sum on its way to the host."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assembly:
    """The processes of one run by block name, and the sinks beside them."""

    processes: dict[str, Process]
    sinks: tuple[Process, ...]

    heads: tuple[Process, ...]
    """One process of every connected part; Lava runs what it can reach from the process it is told to run."""


def source_frames(graph: Graph, inputs: Mapping[str, npt.NDArray[np.int32]]) -> dict[str, npt.NDArray[Any]]:
    """Inputs (T,B,C,H,W) as the frames of their sources (B*T,W,H,C), samples back to back."""
    frames: dict[str, npt.NDArray[Any]] = {}
    for population in graph.inputs:
        steps, samples, channels, height, width = inputs[population.id].shape
        played = inputs[population.id].transpose(1, 0, 4, 3, 2)
        dtype = np.uint8 if is_spiking(population.neuron) else np.int32
        frames[population.id] = np.ascontiguousarray(played, dtype).reshape(samples * steps, width, height, channels)
    return frames


def assemble(
    lowered: Lowered,
    frames: Mapping[str, npt.NDArray[Any]],
    ledgers: Mapping[str, Ledger],
    *,
    self_recording: bool,
    edges: BoardEdges | None = None,
) -> Assembly:
    """Make and wire the processes of `lowered`.

    `frames` are the sources' data by input population, `ledgers` say what to record by population. With
    `self_recording` the neuron models record what they send; else each gets a sink. `edges` put an adapter wherever
    messages enter or leave a board.
    """
    processes = {name: make_process(block, frames, ledgers) for name, block in lowered.blocks.items()}
    for link in lowered.connections:
        out, into = out_port(processes[link.src]), in_port(processes[link.dst], link.port)
        block = lowered.blocks[link.src]
        reshaped = out.reshape(link.shape) if link.shape is not None else out
        if edges is not None and isinstance(block, SourceBlock):
            edges.enter(reshaped, into, block.message_bits)
        else:
            reshaped.connect(into)
    sinks: list[Process] = []
    for population, ledger in ledgers.items():
        block = lowered.blocks[lowered.speaker[population]]
        process = processes[block.name]
        if isinstance(block, SigmaBlock):
            sink = CurrentSink(shape=block.shape, ledger=ledger, differences=True, name=f"sink {population}")
            _leave(edges, process.s_out, sink.a_in, READOUT_BITS)
            sinks.append(sink)
        elif isinstance(block, LifBlock | GradedBlock | ResonatorBlock) and self_recording:
            process.proc_params["ledger"] = ledger
        elif isinstance(block, LifBlock | GradedBlock | ResonatorBlock):
            sinks.extend(_neuron_sinks(process, block, ledger, edges))
    heads = tuple(processes[name] for name in connected_heads(lowered))
    return Assembly(processes=processes, sinks=tuple(sinks), heads=heads)


def connected_heads(lowered: Lowered) -> list[str]:
    """The first block of each connected part of the network; an input that nobody reads needs no process."""
    part = {name: name for name in lowered.blocks}
    for link in lowered.connections:
        kept, joined = part[link.src], part[link.dst]
        if kept != joined:
            part = {name: kept if head == joined else head for name, head in part.items()}
    wired = {name for link in lowered.connections for name in (link.src, link.dst)}
    return list(dict.fromkeys(head for name, head in part.items() if name in wired))


def _neuron_sinks(process: Process, block: NeuronBlock, ledger: Ledger, edges: BoardEdges | None) -> list[Process]:
    sends_its_state = isinstance(block, GradedBlock) and isinstance(block.neuron, graph_types.Sigma)
    noted = ledger if sends_its_state else ledger.without_states()
    sink = SpikeSink(shape=block.shape, ledger=noted, name=f"sink {block.population}")
    _leave(edges, process.s_out, sink.a_in, READOUT_BITS if isinstance(block, GradedBlock) else 0)
    if not ledger.states or sends_its_state:
        return [sink]
    probe = StateSink(shape=block.shape, ledger=ledger.only_states(), name=f"probe {block.population}")
    u, v = _states(process, block)
    probe.u.connect_var(u)
    probe.v.connect_var(v)
    return [sink, probe]


def _states(process: Process, block: NeuronBlock) -> tuple[Any, Any]:
    """The Vars that a Trace calls u and v."""
    if isinstance(block, ResonatorBlock):
        return process.real, process.imag
    if isinstance(block, GradedBlock):
        encoder = isinstance(block.neuron, graph_types.Delta)
        return (process.act if encoder else process.sigma), process.residue
    return process.u, process.v


def _leave(edges: BoardEdges | None, out: Any, into: Any, message_bits: int) -> None:
    if edges is None:
        out.connect(into)
    else:
        edges.leave(out, into, message_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEdges:
    """The extension's adapters, which carry messages between the host and a board."""

    conv_adapter: Any
    """PyToN3ConvAdapter: into a convolution, frames (W,H,C)."""
    flat_adapter: Any
    """PyToNxAdapter: into a Dense or Sparse, flat."""
    host_adapter: Any
    """NxToPyAdapter: from the board to the host."""

    def enter(self, out: Any, into: Any, message_bits: int) -> None:
        """Connect a source on the host to a synapse on the board."""
        make = self.conv_adapter if len(into.shape) == 3 else self.flat_adapter
        adapter = make(shape=into.shape, num_message_bits=message_bits)
        out.connect(adapter.inp)
        adapter.out.connect(into)

    def leave(self, out: Any, into: Any, message_bits: int) -> None:
        """Connect neurons on the board to a sink on the host."""
        adapter = self.host_adapter(shape=into.shape, num_message_bits=message_bits)
        out.connect(adapter.inp)
        adapter.out.connect(into)


def board_edges() -> BoardEdges:
    """The adapters of the installed extension."""
    from lava.proc.embedded_io.spike import NxToPyAdapter, PyToN3ConvAdapter, PyToNxAdapter

    return BoardEdges(conv_adapter=PyToN3ConvAdapter, flat_adapter=PyToNxAdapter, host_adapter=NxToPyAdapter)


def out_port(process: Process) -> Any:
    """The output of a synapse, neuron or source process."""
    return process.a_out if hasattr(process, "a_out") else process.s_out


def in_port(process: Process, port: int) -> Any:
    """The input of a synapse, neuron or sink process; `port` counts those of a FanIn or a resonator."""
    if isinstance(process, FanIn):
        return getattr(process, f"s_in_{port}")
    if isinstance(process, RF):
        return process.a_imag_in if port else process.a_real_in
    return process.s_in if hasattr(process, "s_in") else process.a_in


def make_process(block: Block, frames: Mapping[str, npt.NDArray[Any]], ledgers: Mapping[str, Ledger]) -> Process:
    """The Lava process that `block` describes."""
    match block:
        case SourceBlock():
            source = GradedSource if block.message_bits else SpikeSource
            data = frames[block.population]
            if block.channels is not None:
                data = np.ascontiguousarray(data[..., slice(*block.channels)])
            return source(data=data, delay=block.delay, name=block.name)
        case ConvBlock():
            return Conv(
                weight=block.weight,
                input_shape=block.input_shape,
                padding=block.padding,
                stride=block.stride,
                dilation=block.dilation,
                groups=block.groups,
                num_message_bits=block.message_bits,
                name=block.name,
            )
        case DenseBlock():
            matrix = block.mantissa.astype(np.int32) * 2
            if block.delays is None:
                return Dense(weights=matrix, **_matrix_options(block))
            return DelayDense(weights=matrix, delays=block.delays.astype(int), **_matrix_options(block))
        case SparseBlock():
            return _sparse_process(block)
        case DelayBlock():
            return _delay_process(block)
        case LifBlock():
            return _lif_process(block)
        case GradedBlock():
            return _with_reset(_graded_process(block), block.reset)
        case ResonatorBlock():
            return _with_reset(_resonator_process(block), block.reset)
        case SigmaBlock():
            return Sigma(shape=block.shape)
        case CurrentBlock():
            return CurrentSink(shape=block.shape, ledger=ledgers[block.population], differences=False, name=block.name)
        case FanInBlock():
            return FanIn(
                shape=block.shape,
                sources=block.sources,
                graded=block.graded,
                branches=block.branches,
                name=block.name,
            )


def _lif_process(block: LifBlock) -> Process:
    options = {
        "shape": block.shape,
        "vth": block.vth,
        "du": block.du,
        "dv": block.dv,
        "bias_mant": block.bias_mant,
        "bias_exp": block.bias_exp,
        "name": block.name,
    }
    if block.reset is None:
        return LIF(**options)
    interval, offset = block.reset
    return LIFReset(reset_interval=interval, reset_offset=offset, **options)


def _with_reset(process: Process, reset: tuple[int, int] | None) -> Process:
    """`process` with what this project's models read beside Lava's own parameters."""
    if reset is not None:
        process.proc_params["reset_interval"], process.proc_params["reset_offset"] = reset
    return process


def _graded_process(block: GradedBlock) -> Process:
    neuron = block.neuron
    if isinstance(neuron, graph_types.Sigma):
        return Sigma(shape=block.shape)
    options = {"shape": block.shape, "vth": neuron.vth, "spike_exp": neuron.spike_exp, "state_exp": neuron.state_exp}
    if isinstance(neuron, graph_types.Delta):
        return Delta(**options)
    mode = ActivationMode.RELU if neuron.activation == "relu" else ActivationMode.UNIT
    return SigmaDelta(bias=block.bias, act_mode=mode, **options)


def _resonator_process(block: ResonatorBlock) -> Process:
    neuron = block.neuron
    # Lava takes a period and a decay and truncates sine and cosine to integers: aim at the middle of the right ones.
    sin, cos = (value + 0.5 * np.sign(value) for value in (neuron.sin, neuron.cos))
    angle = float(np.arctan2(sin if sin else 0.25, cos))
    process = RF_IZ if isinstance(neuron, graph_types.RfIz) else RF
    return process(
        shape=block.shape,
        period=2 * np.pi / angle,
        alpha=1 - float(np.hypot(sin if sin else 0.25, cos)) / fixedpoint.DECAY_ONE,
        state_exp=neuron.state_exp,
        decay_bits=fixedpoint.DECAY_BITS,
        vth=neuron.vth_mant,
        name=block.name,
    )


def _matrix_options(block: DenseBlock | SparseBlock) -> dict[str, Any]:
    """Mixed-sign weights lose their lowest bit, so they are doubled and the sum is halved."""
    return {
        "weight_exp": block.exponent - 1,
        "num_weight_bits": 8,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": block.message_bits,
        "name": block.name,
    }


def _sparse_process(block: SparseBlock) -> Process:
    places = (block.targets, block.sources)
    matrix = csr_matrix((block.mantissa.astype(np.int32) * 2, places), shape=block.shape, dtype=np.int32)
    if block.delays is None or not block.delays.any():
        return Sparse(weights=matrix, **_matrix_options(block))
    delays = csr_matrix((block.delays.astype(int), places), shape=block.shape)
    return DelaySparse(weights=matrix, delays=delays, **_matrix_options(block))


def _delay_process(block: DelayBlock) -> Process:
    axons = np.arange(block.size, dtype=np.int32)
    weights = csr_matrix((np.full(block.size, 2, np.int32), (axons, axons)), shape=(block.size, block.size))
    options = {
        "weights": weights,
        "weight_exp": -1,
        "num_weight_bits": 8,
        "sign_mode": SignMode.MIXED,
        "num_message_bits": 0,
        "name": block.name,
    }
    if block.delay == 0:
        return Sparse(**options)
    delays = csr_matrix((np.full(block.size, block.delay, np.int64), (axons, axons)), shape=weights.shape)
    return DelaySparse(delays=delays, **options)
