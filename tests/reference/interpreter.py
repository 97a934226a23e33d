"""The slow, obvious interpreter: what a network computes, one neuron and one hardware step at a time.

It is the truth that every backend is held to, so it shares no code with any of them: plain Python integers, a loop
per step, per population, per neuron and per synapse, and the integer rules of Lava 0.10.0 written out once more
(`lava/proc/{lif,sdn,rf,rf_iz,conv,dense,sparse}/models.py`). It reads the fields of the graph types and calls none of
their methods.

A spike that is sent at hardware step s through a synapse of delay d arrives at step s + 1 + d; what comes through a
Wire arrives in the very step. At `aligned` timing a population at depth d clears its state at the start of every step s
with (s - d) % T == 0, as Lava's LIFReset does. At `as_given` timing every sample is a run of its own: its steps count
from 1, all states are zero before it, and nothing is under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

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
)
from tests.reference import neurons
from tests.reference.arithmetic import wrap32
from tests.reference.record import ReferenceRun
from tests.reference.synapses import Fan, fan_of, per_neuron, scaled, wraps_at_24_bits

Ports = dict[str, list[int]]
"""Per port of a population ("" for all but resonators), the current of every neuron."""


def depths_of(graph: Graph) -> dict[str, int]:
    """Longest path from an input; 0 everywhere when delays are as given."""
    depth: dict[str, int] = {}
    if graph.timing == "as_given":
        return {population.id: 0 for population in graph.populations}
    for population in graph.populations:
        before = [depth[p.src] + 1 for p in graph.projections if p.dst == population.id]
        depth[population.id] = max(before, default=0)
    return depth


class Cells:
    """The neurons of one population: their states, and one step of all of them."""

    def __init__(self, population: Population) -> None:
        self.neuron = population.neuron
        c, h, w = population.shape
        self.count = c * h * w
        self.bias = [0] * self.count
        match population.neuron:
            case Lif() as neuron:
                self.bias = per_neuron(neuron.bias_mant, population.shape)
            case Readout() | SigmaDelta() as neuron:
                self.bias = per_neuron(neuron.bias, population.shape)
        self.rest()

    def rest(self) -> None:
        """All states zero."""
        self.u = [0] * self.count
        self.v = [0] * self.count
        self.act = [0] * self.count

    def step(self, number: int, ports: Ports, events: Counter[str]) -> list[int]:
        """What every neuron sends in step `number` of its sample, counted from 1."""
        neuron, sent = self.neuron, [0] * self.count
        every_n = neuron.reset_interval if isinstance(neuron, Lif) else 0
        if isinstance(neuron, Lif) and every_n and number % every_n == neuron.reset_offset % every_n:
            if any(self.u) or any(self.v):
                events["resets within a sample"] += 1
            self.rest()
        a_in, a_re, a_im = ports[""], ports["re"], ports["im"]
        u, v, act, every = self.u, self.v, self.act, range(self.count)
        match neuron:
            case Or():
                for k in every:
                    sent[k] = 1 if a_in[k] > 0 else 0
            case Readout():
                for k in every:
                    sent[k] = wrap32(a_in[k] + self.bias[k])
            case Lif():
                for k in every:
                    u[k], v[k], sent[k] = neurons.lif_step(u[k], v[k], a_in[k], neuron, self.bias[k], events)
            case Delta():
                for k in every:
                    u[k], v[k], sent[k] = neurons.delta_step(u[k], v[k], a_in[k], neuron, events)
            case SigmaDelta():
                for k in every:
                    u[k], act[k], v[k], sent[k] = neurons.sigma_delta_step(
                        u[k], act[k], v[k], a_in[k], neuron, self.bias[k], events
                    )
            case Sigma():
                for k in every:
                    u[k] = sent[k] = neurons.sigma_step(u[k], a_in[k], events)
            case Rf():
                for k in every:
                    u[k], v[k], sent[k] = neurons.rf_step(u[k], v[k], a_re[k], a_im[k], neuron, events)
            case RfIz():
                for k in every:
                    u[k], v[k], sent[k] = neurons.rf_iz_step(u[k], v[k], a_re[k], a_im[k], neuron, events)
        return sent


class Axons:
    """One projection: what is under way through it."""

    def __init__(self, projection: Projection, fan: Fan, source: Population) -> None:
        self.projection = projection
        self.fan = fan
        self.source = source
        self.rest()

    def rest(self) -> None:
        """Nothing is under way."""
        # Arrival step -> target neuron -> current.
        self.queue: dict[int, dict[int, int]] = {}

    def arriving(self, step: int, sent: list[list[int]]) -> dict[int, int]:
        """Currents by target neuron that arrive at `step`; `sent` holds what the source has sent so far."""
        if isinstance(self.projection.synapse, Wire):
            _, h, w = self.source.shape
            first, last = self.projection.src_channels or (0, self.source.shape[0])
            return {k: wrap32(value) for k, value in enumerate(sent[step][first * h * w : last * h * w])}
        return self.queue.pop(step, {})

    def send(self, step: int, messages: list[int], end: int, events: Counter[str]) -> None:
        """Put what the source sends at `step` on its way; what arrives at `end` or later is lost."""
        # Arrival step -> target neuron -> accumulator; one accumulator for each delay.
        accumulators: dict[int, dict[int, int]] = {}
        for origin, message in enumerate(messages):
            if message:
                for target, weight, delay in self.fan[origin]:
                    cells = accumulators.setdefault(step + 1 + delay, {})
                    cells[target] = cells.get(target, 0) + weight * message
        for arrival, cells in accumulators.items():
            if arrival >= end:
                continue
            waiting = self.queue.setdefault(arrival, {})
            for target, total in cells.items():
                current = scaled(total, self.projection)
                self.note(total, current, events)
                waiting[target] = wrap32(waiting.get(target, 0) + current)

    def note(self, total: int, current: int, events: Counter[str]) -> None:
        synapse = self.projection.synapse
        if isinstance(synapse, Wire):
            return
        exponent = synapse.kernel.exponent
        if exponent < 0:
            if wrap32(total) != total:
                events["int32 overflows"] += 1
            if current * 2**-exponent != wrap32(total) and total < 0:
                events["negative sums floor"] += 1
        elif current != total * 2**exponent:
            if not wraps_at_24_bits(self.projection):
                events["int32 overflows"] += 1
                return
            events["conv wraps"] += 1
            if self.source.neuron == Input():
                events["conv wraps by spikes"] += 1


def interpret(graph: Graph, inputs: Mapping[str, npt.NDArray[np.int32]]) -> ReferenceRun:
    """Run `graph` on inputs by id (T,B,C,H,W), sample after sample, step by step in hardware time."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    depth = depths_of(graph)
    run = ReferenceRun(steps=steps, samples=samples, depth=depth, latency=max(depth.values()))
    populations = {p.id: p for p in graph.populations}
    cells = {p.id: Cells(p) for p in graph.populations}
    axons = [Axons(p, fan_of(p, populations[p.src], populations[p.dst]), populations[p.src]) for p in graph.projections]
    sent: dict[str, list[list[int]]] = {name: [] for name in populations}
    record: dict[str, tuple[list[list[int]], list[list[int]]]] = {name: ([], []) for name in populations}
    nobody: Counter[str] = Counter()

    for step in range(run.hardware_steps):
        if graph.timing == "as_given" and step % steps == 0:
            for item in (*cells.values(), *axons):
                item.rest()
        for population in graph.populations:
            if isinstance(population.neuron, Input):
                frame = [0] * cells[population.id].count
                if step < samples * steps:
                    frame = inputs[population.id][step % steps, step // steps].reshape(-1).tolist()
                sent[population.id].append([int(value) for value in frame])
        for population in graph.populations:
            name = population.id
            if isinstance(population.neuron, Input):
                continue
            inside = depth[name] <= step < depth[name] + samples * steps
            events = run.events if inside else nobody
            if graph.timing == "aligned" and (step - depth[name]) % steps == 0:
                cells[name].rest()
            ports: Ports = {port: [0] * cells[name].count for port in ("", "re", "im")}
            resonator = isinstance(population.neuron, Rf | RfIz)
            for axon in axons:
                if axon.projection.dst != name:
                    continue
                port = ports[axon.projection.port if resonator else ""]
                for target, current in axon.arriving(step, sent[axon.projection.src]).items():
                    if wrap32(port[target] + current) != port[target] + current:
                        events["int32 overflows"] += 1
                    port[target] = wrap32(port[target] + current)
            sent[name].append(cells[name].step(step % steps + 1, ports, events))
            record[name][0].append(cells[name].u if inside else [0] * cells[name].count)
            record[name][1].append(cells[name].v if inside else [0] * cells[name].count)
            cells[name].u, cells[name].v = list(cells[name].u), list(cells[name].v)
        for axon in axons:
            source = axon.projection.src
            inside = depth[source] <= step < depth[source] + samples * steps
            end = (step // steps + 1) * steps if graph.timing == "as_given" else run.hardware_steps
            axon.send(step, sent[source][step], end, run.events if inside else nobody)

    _collect(graph, run, sent, record)
    return run


def _collect(
    graph: Graph,
    run: ReferenceRun,
    sent: dict[str, list[list[int]]],
    record: dict[str, tuple[list[list[int]], list[list[int]]]],
) -> None:
    """Cut the records to the windows and count."""
    total_steps = run.hardware_steps
    read = {p.src for p in graph.projections if p.src != p.dst}
    for population in graph.populations:
        name, shape = population.id, (total_steps, *population.shape)
        start, stop = run.depth[name], run.depth[name] + run.samples * run.steps
        raw = np.array(sent[name], np.int64).reshape(shape)
        windowed = raw.copy()
        windowed[:start] = 0
        windowed[stop:] = 0
        run.raw[name] = raw
        readout = isinstance(population.neuron, Readout)
        if readout or (not isinstance(population.neuron, Input) and name not in read):
            run.outputs[name] = windowed
        if not readout:
            run.rasters[name] = windowed
        spikes = np.zeros_like(raw) if readout else (raw != 0).astype(np.int64)
        run.spike_counts[name] = spikes[start:stop].sum(axis=0)
        run.sample_spikes[name] = np.array(
            [spikes[start + b * run.steps : start + (b + 1) * run.steps].sum() for b in range(run.samples)], np.int64
        )
        run.warm_up[name] = int(spikes[:start].sum())
        run.drain[name] = int(spikes[stop:].sum())
        if isinstance(population.neuron, Lif | Delta | SigmaDelta | Sigma | Rf | RfIz):
            run.u[name] = np.array(record[name][0], np.int64).reshape(shape)
            run.v[name] = np.array(record[name][1], np.int64).reshape(shape)
