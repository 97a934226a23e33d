"""A graph as stock `lava.proc` processes, wired by hand and run step by step in Lava's CPU simulator.

Nothing of `lava_runtime` takes part here, so an error in our own lowering cannot hide an error in the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    WeightedSynapse,
    Wire,
    accumulator_bound,
)
from tests.reference import ReferenceRun, fan_of, interpret
from tests.reference.record import is_integrator

Array = npt.NDArray[Any]


class NotExpressibleError(Exception):
    """The graph holds what this plain wiring does not build."""


Records = dict[str, dict[str, Array]]
"""Per population: "s" what it sent, and its states "u" and "v", (N,C,H,W)."""

MESSAGE_BITS = 24
"""What a synapse behind a graded source is told; Lava's CPU models only ask whether it is 0."""

PORTS = {"": "a_in", "re": "a_real_in", "im": "a_imag_in"}

STATES: dict[type, dict[str, str]] = {
    Lif: {"u": "u", "v": "v"},
    Delta: {"u": "act", "v": "residue"},
    SigmaDelta: {"u": "sigma", "v": "residue"},
    Sigma: {"u": "sigma"},
    Rf: {"u": "real", "v": "imag"},
    RfIz: {"u": "real", "v": "imag"},
}
"""Lava's names of the two states that a Trace calls u and v."""


def whc(array: Array) -> Array:
    """(C,H,W,...) as Lava's (W,H,C,...)."""
    return array.transpose(2, 1, 0, *range(3, array.ndim))


def _order(population: Population) -> Array:
    """For each neuron in Lava's flat order, its place in C,H,W order."""
    return whc(np.arange(population.size).reshape(population.shape)).reshape(-1)


def _chw_bias(values: Array) -> Array:
    return values[:, None, None] if values.ndim == 1 else values


def _bias(values: Array, shape: tuple[int, int, int]) -> Array:
    return whc(np.broadcast_to(_chw_bias(values), shape))


def neuron_process(graph: Graph, population: Population) -> Any:
    """The stock process of a population that is no input."""
    from lava.proc.lif.process import LIF, LIFReset
    from lava.proc.sdn.process import ActivationMode
    from lava.proc.sdn.process import Delta as LavaDelta
    from lava.proc.sdn.process import Sigma as LavaSigma
    from lava.proc.sdn.process import SigmaDelta as LavaSigmaDelta

    neuron, shape = population.neuron, population.shape[::-1]
    match neuron:
        case Lif():
            values = {
                "vth": neuron.vth_mant,
                "du": neuron.du,
                "dv": neuron.dv,
                "bias_mant": _bias(neuron.bias_mant, population.shape),
                "bias_exp": neuron.bias_exp,
            }
            interval, offset = neuron.reset_interval, neuron.reset_offset
            if graph.timing == "aligned":
                # Lava's first time step is 1; a population at depth d starts its first sample in time step d + 1.
                interval, offset = graph.steps, graph.depth[population.id] + 1
            if interval:
                return LIFReset(shape=shape, reset_interval=interval, reset_offset=offset, **values)
            return LIF(shape=shape, **values)
        case Delta():
            return LavaDelta(shape=shape, vth=neuron.vth, spike_exp=neuron.spike_exp, state_exp=neuron.state_exp)
        case SigmaDelta():
            return LavaSigmaDelta(
                shape=shape,
                vth=neuron.vth,
                bias=_bias(neuron.bias, population.shape),
                act_mode=ActivationMode.RELU if neuron.activation == "relu" else ActivationMode.UNIT,
                spike_exp=neuron.spike_exp,
                state_exp=neuron.state_exp,
            )
        case Or():
            return LIF(shape=shape, vth=0, du=4095, dv=4095)
        case Sigma() | Readout():
            # A Readout's values are the changes of a Sigma.
            return LavaSigma(shape=shape)
        case Rf() | RfIz():
            return resonator(neuron, shape)
    raise AssertionError(f"no stock process for {neuron}")


def resonator(neuron: Rf | RfIz, shape: tuple[int, ...]) -> Any:
    """RF or RF_IZ with the period and decay whose fixed-point rotation is `neuron`'s."""
    from lava.proc.rf.process import RF
    from lava.proc.rf_iz.process import RF_IZ

    # Half a unit away from zero, because the process truncates what it derives from period and alpha.
    sin, cos = (x + np.sign(x) / 2 for x in (neuron.sin, neuron.cos))
    angle = np.arctan2(sin, cos) % (2 * np.pi) or 2 * np.pi
    made = (RF_IZ if isinstance(neuron, RfIz) else RF)(
        shape=shape,
        period=2 * np.pi / angle,
        alpha=1 - np.hypot(sin, cos) / 4096,
        state_exp=neuron.state_exp,
        decay_bits=12,
        vth=neuron.vth_mant,
    )
    assert (int(made.sin_decay.init), int(made.cos_decay.init)) == (neuron.sin, neuron.cos)
    return made


def _conv(synapse: Conv | OneToOne, source: Population, sliced: tuple[int, int] | None, message_bits: int) -> Any:
    from lava.proc.conv.process import Conv as LavaConv

    channels = source.shape[0]
    first, last = sliced or (0, channels)
    if isinstance(synapse, OneToOne):
        own = synapse.kernel
        mantissa = np.zeros((last - first, channels, 1, 1), np.int16)
        mantissa[np.arange(last - first), np.arange(first, last)] = own.mantissa[:, None, None]
        synapse = Conv(kernel=Kernel(mantissa=mantissa, exponent=own.exponent))
    elif sliced and synapse.groups == 1:
        mantissa = np.zeros((len(synapse.kernel.mantissa), channels, *synapse.kernel.mantissa.shape[2:]), np.int16)
        mantissa[:, first:last] = synapse.kernel.mantissa
        synapse = replace(synapse, kernel=Kernel(mantissa=mantissa, exponent=synapse.kernel.exponent))
    kernel = synapse.kernel.mantissa.astype(np.int32) << synapse.kernel.exponent
    return LavaConv(
        # Lava convolves, we correlate: taps are flipped and axes become (C_out, W, H, C_in).
        weight=kernel[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).copy(),
        input_shape=source.shape[::-1],
        stride=synapse.stride[::-1],
        padding=synapse.padding[::-1],
        dilation=synapse.dilation[::-1],
        groups=synapse.groups,
        num_message_bits=message_bits,
    )


def _matrix(p: Projection, source: Population, target: Population, message_bits: int) -> Any:
    """Dense, Sparse, DelayDense or DelaySparse, with rows and columns in Lava's order of neurons."""
    from lava.proc.dense.process import DelayDense
    from lava.proc.dense.process import Dense as LavaDense
    from lava.proc.sparse.process import DelaySparse
    from lava.proc.sparse.process import Sparse as LavaSparse
    from scipy.sparse import csr_matrix

    synapse = p.synapse
    assert not isinstance(synapse, Wire)
    weights = np.zeros((target.size, source.size), np.int32)
    delays = np.zeros(weights.shape, int)
    read = slice(None)
    if p.src_channels is not None:
        area = source.shape[1] * source.shape[2]
        read = slice(p.src_channels[0] * area, p.src_channels[1] * area)
    if p.delays is not None and p.delays.ndim == 3:
        delays[:, read] = p.delays.reshape(-1)
    match synapse:
        case Dense():
            weights[:, read] = synapse.kernel.mantissa
            if p.delays is not None and p.delays.ndim == 2:
                delays[:, read] = p.delays
        case Sparse():
            weights[:, read][synapse.rows, synapse.columns] = synapse.kernel.mantissa
            if p.delays is not None and p.delays.ndim == 1:
                delays[:, read][synapse.rows, synapse.columns] = p.delays
        case _:
            # No pair of neurons has two synapses, so a convolution that does not upsample is a matrix of 8-bit weights.
            for origin, synapses in enumerate(fan_of(p, source, target)):
                for reached, weight, _ in synapses:
                    weights[reached, origin] = weight
    if not isinstance(synapse, Dense):
        # Lava's DelaySparse knows delays only where there are synapses.
        delays[weights == 0] = 0
    delays[weights != 0] += p.delay
    reorder = np.ix_(_order(target), _order(source))
    weights, delays = weights[reorder], delays[reorder]
    mixed = weights.min() < 0 < weights.max()
    options = {
        # Mixed weights lose their last bit in Lava, so they are doubled and the exponent gives it back.
        "weight_exp": synapse.kernel.exponent - (1 if mixed else 0),
        "num_message_bits": message_bits,
    }
    weights = weights * (2 if mixed else 1)
    late = p.delay or p.delays is not None
    if not isinstance(synapse, Dense):
        if late:
            return DelaySparse(weights=csr_matrix(weights), delays=csr_matrix(delays), **options)
        return LavaSparse(weights=csr_matrix(weights), **options)
    return DelayDense(weights=weights, delays=delays, **options) if late else LavaDense(weights=weights, **options)


def looked_at(steps: int, every: int) -> list[int]:
    """The steps, counted from 0, after which states are read: each `every`-th, and the last."""
    return sorted({*range(every - 1, steps, every), steps - 1})


def run_in_lava(graph: Graph, inputs: Mapping[str, Array], steps: int, every: int = 1) -> Records:
    """Everything that the populations of `graph` sent in `steps` steps, and held after those of `looked_at`.

    `inputs` are (T,B,C,H,W), samples back to back, then silence; with timing `as_given` give one sample.
    """
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    cells: dict[str, Any] = {}
    sinks: dict[str, Any] = {}
    for population in graph.populations:
        if isinstance(population.neuron, Input):
            stream = inputs[population.id].swapaxes(0, 1).reshape(-1, *population.shape)
            padded = np.zeros((steps, *population.shape), np.int32)
            padded[: len(stream)] = stream
            cells[population.id] = Source(data=whc(padded.transpose(1, 2, 3, 0)))
            continue
        cells[population.id] = neuron_process(graph, population)
        sinks[population.id] = Sink(shape=population.shape[::-1], buffer=steps)
        cells[population.id].s_out.connect(sinks[population.id].a_in)
    for p in graph.projections:
        source, target = graph.by_id[p.src], graph.by_id[p.dst]
        match source.neuron:
            case Delta() | SigmaDelta() | Sigma():
                bits = MESSAGE_BITS
            case Input() as neuron:
                bits = neuron.message_bits
            case _:
                bits = 0
        port = getattr(cells[p.dst], PORTS.get(p.port, "a_in"))
        match p.synapse:
            case Wire():
                cells[p.src].s_out.connect(port)
            case (Conv() | OneToOne()) as synapse if not p.delay and p.delays is None:
                conv = _conv(synapse, source, p.src_channels, bits)
                cells[p.src].s_out.connect(conv.s_in)
                conv.a_out.connect(port)
            case _:
                matrix = _matrix(p, source, target, bits)
                cells[p.src].s_out.reshape((source.size,)).connect(matrix.s_in)
                matrix.a_out.reshape(target.shape[::-1]).connect(port)

    found: dict[str, dict[str, list[Array]]] = {
        name: {state: [] for state in STATES.get(type(graph.by_id[name].neuron), {})} for name in sinks
    }
    # Lava runs only what is connected to the process that is told to run.
    leaders: list[Any] = []
    try:
        for before, step in pairwise((-1, *looked_at(steps, every))):
            for cell in (cells[p.id] for p in graph.inputs):
                if cell in leaders or cell.runtime is None:
                    cell.run(condition=RunSteps(num_steps=step - before), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
                    leaders += [cell] if cell not in leaders else []
            for name, record in found.items():
                for state, values in record.items():
                    variable = getattr(cells[name], STATES[type(graph.by_id[name].neuron)][state])
                    values.append(whc(variable.get().copy()))
        sent = {name: sink.data.get().transpose(3, 2, 1, 0).astype(np.int64) for name, sink in sinks.items()}
    finally:
        for cell in leaders:
            cell.stop()
    for population in graph.populations:
        if isinstance(population.neuron, Readout):
            changes = np.diff(sent[population.id], axis=0, prepend=0) + _chw_bias(population.neuron.bias)
            sent[population.id] = changes.astype(np.int32).astype(np.int64)
    return {name: {"s": sent[name], **{k: np.stack(v) for k, v in record.items()}} for name, record in found.items()}


def check_expressible(graph: Graph, reference: ReferenceRun) -> None:
    """NotExpressibleError for what this wiring cannot build, and where a known oddity of Lava's arithmetic would act.

    See `test_oddities_of_lava`: sums of a Conv beyond 2**31, doubled weights beyond 2**31.
    """
    states = (Delta, SigmaDelta, Sigma, Rf, RfIz)
    if graph.timing == "aligned" and any(isinstance(p.neuron, states) for p in graph.populations):
        raise NotExpressibleError("Lava resets LIF only")
    for p in graph.projections:
        synapse = p.synapse
        if isinstance(synapse, Wire):
            if p.src_channels is not None:
                raise NotExpressibleError("wire of a slice")
            continue
        if isinstance(synapse, Conv) and synapse.upsample > 1:
            raise NotExpressibleError("upsampling")
        if isinstance(synapse, Conv) and synapse.groups > 1 and p.src_channels is not None:
            raise NotExpressibleError("groups of a slice")
        loudest = int(np.abs(reference.raw[p.src]).max())
        mantissas = _bound_of_mantissas(synapse, loudest)
        if isinstance(synapse, Dense | Sparse):
            if mantissas >= 1 << 30:
                raise NotExpressibleError("doubled sums beyond 32 bits")
            continue
        bound = mantissas << synapse.kernel.exponent
        if bound >= 1 << 31:
            raise NotExpressibleError("convolution beyond 32 bits")
        if (isinstance(synapse, ConvTranspose) or p.delay or p.delays is not None) and bound >= 1 << 23:
            raise NotExpressibleError("wrap of a convolution that Lava has as a matrix only")


def _bound_of_mantissas(synapse: WeightedSynapse, loudest: int) -> int:
    return accumulator_bound(replace(synapse, kernel=Kernel(mantissa=synapse.kernel.mantissa)), loudest)


def compare(graph: Graph, inputs: Mapping[str, Array], *, every: int = 1) -> ReferenceRun:
    """Hold the interpreter to Lava: every spike or message of the whole run, states of each `every`-th step.

    Reading a state out of Lava takes longer than a step. Outside a population's window its states are not compared.
    """
    reference = interpret(graph, inputs)
    samples = [inputs] if graph.timing == "aligned" else _one_by_one(inputs)
    length = reference.hardware_steps // len(samples)
    runs = [run_in_lava(graph, sample, length, every) for sample in samples]
    rows = np.concatenate([np.array(looked_at(length, every)) + k * length for k in range(len(runs))])
    for name in runs[0]:
        record = {kind: np.concatenate([run[name][kind] for run in runs]) for kind in runs[0][name]}
        np.testing.assert_array_equal(record["s"], reference.raw[name], err_msg=f"what {name} sent")
        start = reference.depth[name]
        inside = (rows >= start) & (rows < start + reference.samples * reference.steps)
        for state, mine in (("u", reference.u), ("v", reference.v)):
            if state in record:
                np.testing.assert_array_equal(
                    record[state][inside], mine[name][rows[inside]], err_msg=f"{state} of {name}"
                )
        if is_integrator(graph.by_id[name]):
            assert np.unique(reference.v[name]).size > 2, f"{name} holds nothing and proves nothing"
        else:
            assert record["s"].any(), f"{name} is silent and proves nothing"
    return reference


def _one_by_one(inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    count = next(iter(inputs.values())).shape[1]
    return [{name: array[:, b : b + 1] for name, array in inputs.items()} for b in range(count)]
