"""A pipeline stepped one hardware step at a time with the rules of `fixedpoint`, as the process of a Lava network run.

Nothing is reordered, batched or skipped: every population acts in every hardware step, LIFReset's offset is depth + 1,
a spike sent at step h arrives at step h + 1 + delay. Slow and for small graphs only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, Dense, Graph, Input, Lif, OneToOne, Or, Projection, Readout, fixedpoint, schedule

Array = npt.NDArray[np.int64]


@dataclass
class Run:
    """Records in hardware time, zero outside the samples' windows, and the counters outside them."""

    sent: dict[str, Array] = field(default_factory=dict)
    u: dict[str, Array] = field(default_factory=dict)
    v: dict[str, Array] = field(default_factory=dict)
    warm_up: dict[str, int] = field(default_factory=dict)
    drain: dict[str, int] = field(default_factory=dict)


def project(projection: Projection, message: Array, target: tuple[int, int, int]) -> Array:
    """The current (C,H,W) that one message (C,H,W) causes."""
    if projection.src_channels is not None:
        message = message[slice(*projection.src_channels)]
    synapse = projection.synapse
    weights = synapse.kernel.mantissa.astype(np.int64) << synapse.kernel.exponent
    if isinstance(synapse, OneToOne):
        # A grouped 1x1 Conv in Lava, so it wraps like one.
        return fixedpoint.wrap_conv(weights[:, None, None] * message)
    if isinstance(synapse, Dense):
        return fixedpoint.wrap_int32(weights @ message.reshape(-1)).reshape(target)
    assert isinstance(synapse, Conv)
    message = message.repeat(synapse.upsample, axis=1).repeat(synapse.upsample, axis=2)
    total = np.zeros(target, np.int64)
    per_group = weights.shape[1]
    for o in range(target[0]):
        group = o // (weights.shape[0] // synapse.groups)
        for y in range(target[1]):
            for x in range(target[2]):
                for ky in range(weights.shape[2]):
                    for kx in range(weights.shape[3]):
                        row = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                        column = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                        if 0 <= row < message.shape[1] and 0 <= column < message.shape[2]:
                            read = message[group * per_group : (group + 1) * per_group, row, column]
                            total[o, y, x] += int(weights[o, :, ky, kx] @ read)
    return fixedpoint.wrap_conv(total)


def simulate(graph: Graph, inputs: dict[str, Array]) -> Run:
    """Run (T,B,C,H,W) inputs, samples back to back."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    calendar = schedule(graph, steps=steps, samples=samples)
    total = calendar.hardware_steps
    everything = {p.id: np.zeros((total, *p.shape), np.int64) for p in graph.populations}
    lifs = [p for p in graph.populations if isinstance(p.neuron, Lif)]
    u = {p.id: np.zeros(p.shape, np.int32) for p in lifs}
    v = {p.id: np.zeros(p.shape, np.int32) for p in lifs}
    u_record = {p.id: np.zeros((total, *p.shape), np.int64) for p in lifs}
    v_record = {p.id: np.zeros((total, *p.shape), np.int64) for p in lifs}
    for h in range(total):
        for population in graph.populations:
            name, neuron = population.id, population.neuron
            if isinstance(neuron, Input):
                if h < samples * steps:
                    everything[name][h] = inputs[name][h % steps, h // steps]
                continue
            current = np.zeros(population.shape, np.int32)
            for projection in graph.incoming[name]:
                sent_at = h - 1 - projection.delay
                if sent_at >= 0:
                    arrived = project(projection, everything[projection.src][sent_at], population.shape)
                    current = fixedpoint.wrap_int32(current.astype(np.int64) + arrived)
            if isinstance(neuron, Or):
                everything[name][h] = current > 0
            elif isinstance(neuron, Readout):
                bias = neuron.bias.reshape(-1, 1, 1) if neuron.bias.ndim == 1 else neuron.bias
                everything[name][h] = fixedpoint.wrap_int32(current.astype(np.int64) + bias)
            else:
                assert isinstance(neuron, Lif)
                time_step = h + 1
                if graph.timing == "aligned" and time_step % steps == (graph.depth[name] + 1) % steps:
                    u[name][:] = 0
                    v[name][:] = 0
                mant = neuron.bias_mant.reshape(-1, 1, 1) if neuron.bias_mant.ndim == 1 else neuron.bias_mant
                bias = np.broadcast_to(fixedpoint.scale_bias(mant, neuron.bias_exp), population.shape)
                u[name], v[name], everything[name][h] = fixedpoint.lif_step(
                    u[name], v[name], current, du=neuron.du, dv=neuron.dv, bias=bias, vth_mant=neuron.vth_mant
                )
                u_record[name][h], v_record[name][h] = u[name], v[name]
    run = Run()
    for population in graph.populations:
        name = population.id
        window = calendar.window(name)
        silent = isinstance(population.neuron, Readout)
        run.warm_up[name] = 0 if silent else int(everything[name][: window.start].sum())
        run.drain[name] = 0 if silent else int(everything[name][window.stop :].sum())
        for record, whole in ((run.sent, everything), (run.u, u_record), (run.v, v_record)):
            if name in whole:
                record[name] = np.zeros_like(whole[name])
                record[name][window] = whole[name][window]
    return run
