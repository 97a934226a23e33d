"""The integers of a Graph at training's timing, as a tiny loop over `lif_step`."""

from __future__ import annotations

from typing import Any

import numpy as np

from netx_export.float_run import conv2d
from netx_export.graph import Conv, Dense, Graph, Input, Lif, OneToOne, Or, Readout, fixedpoint


def integer_run(graph: Graph, frames: Any) -> dict[str, Any]:
    """Spikes and readouts (T,B,C,H,W) by population for frames (T,B,C,H,W)."""
    sent: dict[str, Any] = {}
    steps, samples = frames.shape[:2]
    for population in graph.populations:
        if isinstance(population.neuron, Input):
            sent[population.id] = np.asarray(frames, np.int64)
            continue
        total = np.zeros((steps, samples, *population.shape), np.int64)
        for projection in graph.incoming[population.id]:
            source = sent[projection.src].astype(np.float64)
            synapse = projection.synapse
            weight = synapse.kernel.mantissa.astype(np.float64) * 2.0**synapse.kernel.exponent
            match synapse:
                case Conv():
                    found = conv2d(
                        source.reshape(-1, *source.shape[2:]),
                        weight,
                        stride=synapse.stride,
                        padding=synapse.padding,
                        dilation=synapse.dilation,
                        groups=synapse.groups,
                        upsample=synapse.upsample,
                    )
                case Dense():
                    found = source.reshape(steps * samples, -1) @ weight.T
                case OneToOne():
                    found = source * weight[:, None, None]
            total += found.reshape(total.shape).astype(np.int64)
        match population.neuron:
            case Or():
                sent[population.id] = (total > 0).astype(np.int64)
            case Readout() as neuron:
                bias = neuron.bias if neuron.bias.ndim == 3 else neuron.bias[:, None, None]
                sent[population.id] = total + bias
            case Lif() as neuron:
                bias = fixedpoint.scale_bias(neuron.bias_mant, neuron.bias_exp)
                bias = bias if bias.ndim == 3 else bias[:, None, None]
                u = np.zeros(total.shape[1:], np.int32)
                v = np.zeros(total.shape[1:], np.int32)
                spikes = np.zeros_like(total)
                for step in range(steps):
                    u, v, spikes[step] = fixedpoint.lif_step(
                        u,
                        v,
                        total[step].astype(np.int32),
                        du=neuron.du,
                        dv=neuron.dv,
                        bias=bias,
                        vth_mant=neuron.vth_mant,
                    )
                sent[population.id] = spikes
    return sent
