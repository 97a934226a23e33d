"""What is inside a `.net` file, in plain words, and what stock Lava would do differently."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from netx_export.graph import (
    Delta,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    Or,
    Readout,
    Rf,
    RfIz,
    Shape,
    Sigma,
    SigmaDelta,
    Wire,
    fixedpoint,
)
from netx_export.netx import layers_out, tree
from netx_export.netx.describe import delay_words, describe
from netx_export.netx.findings import Finding
from netx_export.netx.layers_in import ReadOptions
from netx_export.netx.reader import graph_of
from netx_export.netx.schema import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """The weights of one projection, mantissa and exponent multiplied out."""

    label: str
    count: int
    low: int
    high: int
    zeros: float
    exponent: int
    delays: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One population: its place, its size, its constants in plain words, and the weights that lead into it."""

    name: str
    depth: int
    shape: Shape
    words: str
    weights: tuple[WeightFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A file read and explained. `form` is None for NetX files from elsewhere."""

    path: str
    form: Form | None
    graph: Graph
    layers: tuple[LayerFacts, ...]
    findings: tuple[Finding, ...]
    stock: str

    @property
    def depth(self) -> int:
        """Layers on the longest way from an input, in time steps."""
        return max(self.graph.depth.values())

    @property
    def longest_delay(self) -> int:
        """The most steps that any spike waits beyond its synapse's own."""
        return max((projection.longest_delay for projection in self.graph.projections), default=0)

    def rows(self) -> list[str]:
        """The whole inspection as lines of text."""
        rows = [*describe(self.graph), "", "neurons"]
        width = max(len(layer.name) for layer in self.layers)
        rows += [f"  {layer.name:{width}s}  depth {layer.depth}: {layer.words}" for layer in self.layers]
        facts = [facts for layer in self.layers for facts in layer.weights]
        if facts:
            wide = max(len(fact.label) for fact in facts)
            rows += ["", f"weights{'':{wide}s}  count     from       to    zero  exp   delay"]
            rows += [
                f"  {fact.label:{wide}s} {fact.count:10d} {fact.low:8d} {fact.high:8d} {100 * fact.zeros:5.0f} % "
                f"{fact.exponent:4d} {fact.delays:>7s}"
                for fact in facts
            ]
        waits = f", delays up to {self.longest_delay} steps" if self.longest_delay else ""
        latency = self._latency()
        answer = "no output" if latency is None else f"the first answer to an input comes {latency} steps after it"
        rows += ["", f"depth {self.depth}: {answer}{waits}"]
        rows += [f"stock Lava: {self.stock}"]
        rows += [str(finding) for finding in self.findings]
        return rows

    def _latency(self) -> int | None:
        """Shortest way from an input to an output, in steps; a Wire costs none."""
        reach = {population.id: 0 for population in self.graph.inputs}
        for population in self.graph.populations:
            found = [
                reach[p.src] + (0 if isinstance(p.synapse, Wire) else 1 + p.delay)
                for p in self.graph.incoming[population.id]
                if p.src in reach and not self.graph.is_recurrent(p)
            ]
            if found:
                reach[population.id] = min(found)
        return min((reach[p.id] for p in self.graph.outputs if p.id in reach), default=None)


def inspect(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Inspection:
    """Read the file at `path` and explain it; errors as in `netx_export.read`."""
    root = tree.load(path)
    graph, form, findings = graph_of(root, options)
    if form is None:
        differing = [finding for finding in findings if finding.effect in ("differs", "fails")]
        stock = (
            "lava-dl's loader runs this file as it is read here"
            if not differing
            else f"lava-dl's loader does not run this file as it is meant ({len(differing)} places, listed below)"
        )
    else:
        stock = _stock(graph, form)
    return inspection_of(graph, path=os.fspath(path), form=form, findings=findings, stock=stock)


def _stock(graph: Graph, form: Form) -> str:
    why = layers_out.obstacle(graph)
    if form == "netx" and why is None:
        return "lava-dl's loader runs this file, with the same spikes"
    return f"lava-dl's loader stops at this file before anything runs: {why or 'it was written extended'}"


def inspection_of(
    graph: Graph, *, path: str = "", form: Form | None = None, findings: tuple[Finding, ...] = (), stock: str = ""
) -> Inspection:
    """The inspection of a graph in memory, of which `stock` is said as of the file it would be written as."""
    stock = stock or _stock(graph, "netx" if layers_out.obstacle(graph) is None else "extended")
    layers = tuple(
        LayerFacts(
            name=population.name,
            depth=graph.depth[population.id],
            shape=population.shape,
            words=neuron_words(population.neuron),
            weights=tuple(
                _weights(projection.label, projection.synapse.kernel, delay_words(projection))
                for projection in graph.incoming[population.id]
                if not isinstance(projection.synapse, Wire)
            ),
        )
        for population in graph.populations
    )
    return Inspection(path=path, form=form, graph=graph, layers=layers, findings=findings, stock=stock)


def _weights(label: str, kernel: Kernel, delays: str) -> WeightFacts:
    mantissa, exponent = kernel.mantissa, kernel.exponent
    scale = 1 << max(exponent, 0)
    return WeightFacts(
        label=label,
        count=mantissa.size,
        low=int(mantissa.min()) * scale,
        high=int(mantissa.max()) * scale,
        zeros=float(np.mean(mantissa == 0)),
        exponent=exponent,
        delays=delays,
    )


def time_constant(decay: int) -> str:
    """Steps until a state that loses decay/4096 per step is down to 1/e."""
    if decay <= 0:
        return "for ever"
    if decay >= fixedpoint.DECAY_ONE:
        return "one step only"
    return f"time constant {-1 / math.log1p(-decay / fixedpoint.DECAY_ONE):.3g} steps"


def neuron_words(neuron: NeuronSpec) -> str:
    """A neuron in one sentence: time constants in steps, thresholds in units of the weights."""
    match neuron:
        case Input(message_bits=0):
            return "the input: 0/1 spikes"
        case Input(message_bits=bits):
            return f"the input: integers below 2**{bits - 1} in magnitude"
        case Lif():
            return _lif_words(neuron)
        case Or():
            return "fires when anything arrives"
        case Readout():
            return f"no spikes: the sum of what arrives in a step, times {neuron.unit:.6g}"
        case Delta():
            return f"sends changes of its input of at least {neuron.vth}, times {1 << neuron.spike_exp}"
        case SigmaDelta():
            act = "max(., 0)" if neuron.activation == "relu" else "no activation"
            bias = f", bias {neuron.bias.min()}..{neuron.bias.max()}" if neuron.bias.any() else ""
            return (
                f"sums what arrives{bias}, {act}, sends changes of at least {neuron.vth}, times {1 << neuron.spike_exp}"
            )
        case Sigma():
            return "sums what arrives and sends the sum"
        case Rf() | RfIz():
            radius = math.hypot(neuron.sin, neuron.cos) / fixedpoint.DECAY_ONE
            angle = math.atan2(neuron.sin, neuron.cos)
            period = f"{2 * math.pi / angle:.3g} steps" if angle else "no rotation"
            where = "on crossing zero phase with a real part" if isinstance(neuron, Rf) else "at an imaginary part"
            fades = "for ever" if radius >= 1 else f"{-1 / math.log(radius):.3g} steps" if radius > 0 else "one step"
            return (
                f"resonates with a period of {period}, fading over {fades}; fires {where} of {neuron.vth_mant} or more"
            )


def _lif_words(neuron: Lif) -> str:
    fires = (
        "never fires"
        if neuron.vth_mant >= fixedpoint.VTH_NEVER
        else f"fires above {neuron.vth_mant} weight units, then starts from 0"
    )
    bias = ""
    if neuron.bias_mant.any():
        scaled = neuron.bias_mant.astype(np.int64) * (1 << neuron.bias_exp) / (1 << fixedpoint.ACTIVATION_SHIFT)
        bias = f"; bias {scaled.min():.4g}..{scaled.max():.4g} weight units per step"
    reset = (
        f"; forgets everything every {neuron.reset_interval} steps, first at step "
        f"{neuron.reset_offset % neuron.reset_interval or neuron.reset_interval}"
        if neuron.reset_interval
        else ""
    )
    return f"current: {time_constant(neuron.du + 1)}; voltage: {time_constant(neuron.dv)}; {fires}{bias}{reset}"
