"""The slow, obvious interpreter: what a network computes, one neuron and one hardware step at a time.

It is the truth that every backend is held to, so it shares no code with any of them: plain Python integers, a loop
per step, per population, per neuron and per synapse, and the integer rules of Lava 0.10.0 written out once more
(`lava/proc/lif/models.py`, `lava/proc/conv/{models,utils}.py`, `lava/proc/dense/models.py`). It reads the fields of
the graph types and calls none of their methods.

A spike that is sent at hardware step s through a projection of delay d arrives at step s + 1 + d. At `aligned` timing
a population at depth d clears its state at the start of every step s with (s - d) % T == 0, as Lava's LIFReset does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, Graph, Input, Lif, OneToOne, Or, Population, Projection, Readout

Fan = list[list[tuple[int, int]]]
"""Per flat source neuron of the whole population: (flat target neuron, weight with its exponent)."""


def wrap24(x: int) -> int:
    """A 24-bit accumulator: x modulo 2**24 into [-2**23, 2**23)."""
    return (x + 8388608) % 16777216 - 8388608


def wrap32(x: int) -> int:
    """Two's complement with 32 bits."""
    return (x + 2147483648) % 4294967296 - 2147483648


def toward_zero(x: int, bits: int) -> int:
    """sign(x) * (|x| >> bits)."""
    return -((-x) >> bits) if x < 0 else x >> bits


@dataclass(kw_only=True)
class ReferenceRun:
    """All that a Trace can hold, in hardware time (N,C,H,W), and how often each edge of the arithmetic was met.

    `raw` holds what every population sent in every step, warm-up and drain included; `rasters`, `u`, `v` and `outputs`
    are zero outside a population's own window. `events` counts, inside the windows: "u wraps", "u beyond 24 bits",
    "conv wraps", "conv wraps by spikes", "v saturates high", "v saturates low", "int32 overflows".
    """

    steps: int
    samples: int
    depth: dict[str, int]
    latency: int
    raw: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    rasters: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    outputs: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    u: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    v: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    spike_counts: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sample_spikes: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    warm_up: dict[str, int] = field(default_factory=dict)
    drain: dict[str, int] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def hardware_steps(self) -> int:
        return self.samples * self.steps + self.latency

    def in_samples(self, name: str, record: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """An (N,C,H,W) record of population `name` as (T,B,C,H,W)."""
        start = self.depth[name]
        rows = record[start : start + self.samples * self.steps]
        return rows.reshape(self.samples, self.steps, *rows.shape[1:]).swapaxes(0, 1)

    def rates(self, graph: Graph) -> dict[str, float]:
        """Spikes per neuron and step inside the windows, for every spiking population but the inputs."""
        return {
            p.id: float(self.rasters[p.id].sum()) / (self.samples * self.steps * int(np.prod(p.shape)))
            for p in graph.populations
            if isinstance(p.neuron, Lif | Or)
        }


class SilentPopulationError(AssertionError):
    """A population of a test network fires too little or too much to prove anything."""


def check_lively(graph: Graph, run: ReferenceRun, low: float = 0.01, high: float = 0.40) -> None:
    """Fail the test when a spiking population fires outside `low`..`high` of its neuron-steps, or an input is silent."""
    for name, rate in run.rates(graph).items():
        if not low <= rate <= high:
            raise SilentPopulationError(
                f"population {name!r} fires in {rate:.2%} of its neuron-steps, a test network needs {low:.0%}..{high:.0%}"
            )
    for population in graph.populations:
        if isinstance(population.neuron, Input) and not run.rasters[population.id].any():
            raise SilentPopulationError(f"input {population.id!r} is silent")


def fan_of(projection: Projection, source: Population, target: Population) -> Fan:
    """The synapses of `projection`, listed by source neuron."""
    c_all, h, w = source.shape
    first, last = projection.src_channels if projection.src_channels is not None else (0, c_all)
    fan: Fan = [[] for _ in range(c_all * h * w)]
    synapse = projection.synapse
    kernel = synapse.kernel.mantissa.tolist()
    scale = 2**synapse.kernel.exponent
    _, h_out, w_out = target.shape

    match synapse:
        case Dense():
            # Dense weights are scaled after the sum; with exponents >= 0 and a 32-bit wrap the order is immaterial.
            for o, row in enumerate(kernel):
                for i, weight in enumerate(row):
                    fan[first * h * w + i].append((o, weight * scale))
        case OneToOne():
            for c in range(last - first):
                for y in range(h):
                    for x in range(w):
                        fan[((first + c) * h + y) * w + x].append(((c * h + y) * w + x, kernel[c] * scale))
        case Conv():
            c_out, c_group, kh, kw = len(kernel), len(kernel[0]), len(kernel[0][0]), len(kernel[0][0][0])
            out_per_group = c_out // synapse.groups
            up = synapse.upsample
            for o in range(c_out):
                group = o // out_per_group
                for y in range(h_out):
                    for x in range(w_out):
                        for i in range(c_group):
                            for ky in range(kh):
                                yy = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                                if not 0 <= yy < h * up:
                                    continue
                                for kx in range(kw):
                                    xx = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                                    if not 0 <= xx < w * up:
                                        continue
                                    channel = first + group * c_group + i
                                    origin = (channel * h + yy // up) * w + xx // up
                                    fan[origin].append(((o * h_out + y) * w_out + x, kernel[o][i][ky][kx] * scale))
    return fan


def wraps_at_24_bits(projection: Projection) -> bool:
    """Convolutions, and one-to-one projections (a grouped 1x1 convolution in Lava), have 24-bit accumulators."""
    return isinstance(projection.synapse, Conv | OneToOne)


def depths_of(graph: Graph) -> dict[str, int]:
    """Longest path from an input; 0 everywhere when delays are as given."""
    depth: dict[str, int] = {}
    for population in graph.populations:
        before = [depth[p.src] + 1 for p in graph.projections if p.dst == population.id]
        depth[population.id] = max(before, default=0)
    return dict.fromkeys(depth, 0) if graph.timing == "as_given" else depth


def per_neuron(bias: npt.NDArray[np.int32], shape: tuple[int, int, int]) -> list[int]:
    """A bias (1,), (C,) or (C,H,W) as one integer per flat neuron."""
    c, h, w = shape
    if bias.ndim == 3:
        return [int(b) for b in bias.reshape(-1).tolist()]
    values = bias.tolist() * (c if bias.shape[0] == 1 and c > 1 else 1)
    return [int(values[index // (h * w)]) for index in range(c * h * w)]


def lif_step(u: int, v: int, a_in: int, neuron: Lif, bias_mant: int, events: Counter[str]) -> tuple[int, int, int]:
    """One neuron, one step: (u, v, spike) after it."""
    current = toward_zero(u * (4096 - (neuron.du + 1)), 12)
    shifted = wrap32(a_in * 64)
    total = wrap32(current + shifted)
    if shifted != a_in * 64 or total != current + shifted:
        events["int32 overflows"] += 1
    u_new = total
    if total > 8388608:
        u_new = total - 16777216
    elif total <= -8388608:
        u_new = total + 16777216
    if u_new != total:
        events["u wraps"] += 1
        if not -8388608 < u_new <= 8388608:
            events["u beyond 24 bits"] += 1  # one correction does not always suffice, and Lava makes only one
    v_new = toward_zero(v * (4096 - neuron.dv), 12) + u_new + bias_mant * 2**neuron.bias_exp
    if v_new > 8388607:
        v_new = 8388607
        events["v saturates high"] += 1
    elif v_new < -8388607:
        v_new = -8388607
        events["v saturates low"] += 1
    if v_new > neuron.vth_mant * 64:
        return u_new, 0, 1
    return u_new, v_new, 0


def interpret(graph: Graph, inputs: Mapping[str, npt.NDArray[np.int32]]) -> ReferenceRun:
    """Run `graph` on inputs by id (T,B,C,H,W), sample after sample, step by step in hardware time."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    depth = depths_of(graph)
    run = ReferenceRun(steps=steps, samples=samples, depth=depth, latency=max(depth.values()))
    total_steps = run.hardware_steps
    populations = {p.id: p for p in graph.populations}
    size = {p.id: p.shape[0] * p.shape[1] * p.shape[2] for p in graph.populations}
    fans = [fan_of(p, populations[p.src], populations[p.dst]) for p in graph.projections]
    # One delay queue per projection: arrival step -> target neuron -> accumulated current.
    queues: list[dict[int, dict[int, int]]] = [{} for _ in graph.projections]
    sent = {name: [[0] * size[name] for _ in range(total_steps)] for name in populations}
    state_u = {name: [0] * size[name] for name in populations}
    state_v = {name: [0] * size[name] for name in populations}
    record_u = {
        p.id: np.zeros((total_steps, size[p.id]), np.int64) for p in graph.populations if isinstance(p.neuron, Lif)
    }
    record_v = {name: record.copy() for name, record in record_u.items()}
    bias = {
        p.id: per_neuron(p.neuron.bias_mant if isinstance(p.neuron, Lif) else p.neuron.bias, p.shape)
        for p in graph.populations
        if isinstance(p.neuron, Lif | Readout)
    }

    for step in range(total_steps):
        for population in graph.populations:
            name, neuron = population.id, population.neuron
            inside = depth[name] <= step < depth[name] + samples * steps
            events = run.events if inside else Counter()

            if isinstance(neuron, Input):
                if inside:
                    frame = inputs[name][step % steps, step // steps]
                    sent[name][step] = [int(value) for value in frame.reshape(-1).tolist()]
                continue

            a_in = [0] * size[name]
            for index, projection in enumerate(graph.projections):
                if projection.dst != name:
                    continue
                for target, current in queues[index].pop(step, {}).items():
                    wrapped = wrap24(current) if wraps_at_24_bits(projection) else wrap32(current)
                    if wrapped != current:
                        events["conv wraps" if wraps_at_24_bits(projection) else "int32 overflows"] += 1
                        if wraps_at_24_bits(projection) and populations[projection.src].neuron == Input():
                            events["conv wraps by spikes"] += 1
                    added = a_in[target] + wrapped
                    a_in[target] = wrap32(added)
                    if a_in[target] != added:
                        events["int32 overflows"] += 1

            match neuron:
                case Or():
                    sent[name][step] = [1 if current > 0 else 0 for current in a_in]
                case Readout():
                    sent[name][step] = [wrap32(a + b) for a, b in zip(a_in, bias[name], strict=True)]
                case Lif():
                    us, vs = state_u[name], state_v[name]
                    if graph.timing == "aligned" and (step - depth[name]) % steps == 0:
                        us[:] = [0] * size[name]
                        vs[:] = [0] * size[name]
                    spikes = sent[name][step]
                    for k in range(size[name]):
                        us[k], vs[k], spikes[k] = lif_step(us[k], vs[k], a_in[k], neuron, bias[name][k], events)
                    if inside:
                        record_u[name][step], record_v[name][step] = us, vs

        for index, projection in enumerate(graph.projections):
            arrivals: dict[int, int] = {}
            for origin, message in enumerate(sent[projection.src][step]):
                if message:
                    for target, weight in fans[index][origin]:
                        arrivals[target] = arrivals.get(target, 0) + weight * message
            if arrivals:
                queues[index][step + 1 + projection.delay] = arrivals

    _collect(graph, run, sent, record_u, record_v)
    return run


def _collect(
    graph: Graph,
    run: ReferenceRun,
    sent: dict[str, list[list[int]]],
    record_u: dict[str, npt.NDArray[np.int64]],
    record_v: dict[str, npt.NDArray[np.int64]],
) -> None:
    """Cut the records to the windows and count."""
    total_steps = run.hardware_steps
    read = {p.src for p in graph.projections}
    for population in graph.populations:
        name = population.id
        start, stop = run.depth[name], run.depth[name] + run.samples * run.steps
        raw = np.array(sent[name], np.int64).reshape(total_steps, *population.shape)
        windowed = raw.copy()
        windowed[:start] = 0
        windowed[stop:] = 0
        run.raw[name] = raw
        readout = isinstance(population.neuron, Readout)
        if readout or (isinstance(population.neuron, Lif | Or) and name not in read):
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
        if name in record_u:
            run.u[name] = record_u[name].reshape(total_steps, *population.shape)
            run.v[name] = record_v[name].reshape(total_steps, *population.shape)
