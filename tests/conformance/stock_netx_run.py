"""lava-dl's own loader running a file, and the same network as a plain loop over the graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate2d

from netx_export.graph import Conv, Graph, Lif, Projection, fixedpoint
from netx_export.graph.synapses import Shape

Spikes = npt.NDArray[np.int32]
"""(T,C,H,W), 0 or 1"""


def stock_spikes(
    path: Path, x: Spikes, *, flat_input: bool = False, skip_layers: int = 0, num_layers: int | None = None
) -> npt.NDArray[np.int64]:
    """Output spikes (T, neurons in C,H,W order) of `lava.lib.dl.netx.hdf5.Network` in Lava's CPU simulator."""
    from lava.lib.dl.netx import hdf5
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    steps = x.shape[0]
    network = hdf5.Network(net_config=str(path), skip_layers=skip_layers, num_layers=num_layers)
    # Lava's axes are (W,H,C), time last.
    data = x.reshape(steps, -1).T if flat_input else x.transpose(3, 2, 1, 0)
    source = io.source.RingBuffer(data=data)
    sink = io.sink.RingBuffer(shape=network.out.shape, buffer=steps)
    source.s_out.connect(network.inp)
    network.out.connect(sink.a_in)
    network.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    out = sink.data.get()
    network.stop()
    return out.transpose(tuple(range(out.ndim))[::-1]).reshape(steps, -1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class StockRun:
    """Output of every step (T, neurons in C,H,W order), and the last layer's states after the last step."""

    output: npt.NDArray[np.int64]
    states: dict[str, npt.NDArray[np.int64]]


def stock_run(path: Path, x: npt.NDArray[Any], *, flat_input: bool = False, **options: Any) -> StockRun:
    """A file in lava-dl's `hdf5.Network` on x (T,C,H,W); where it starts with neurons, they are fed directly.

    `options` are those of `hdf5.Network`, but `input_shape` (C,H,W).
    """
    from lava.lib.dl.netx import hdf5
    from lava.lib.dl.netx.blocks.process import Input as InputBlock
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    steps = x.shape[0]
    network = hdf5.Network(net_config=str(path), **options)
    wired = isinstance(network.in_layer, InputBlock)
    flat = flat_input or len(network.in_layer.neuron.a_in.shape if wired else network.inp.shape) == 1
    data = np.ascontiguousarray(x.reshape(steps, -1).T if flat else x.transpose(3, 2, 1, 0))
    source = io.source.RingBuffer(data=data)
    sink = io.sink.RingBuffer(shape=network.out.shape, buffer=steps)
    source.s_out.connect(network.in_layer.neuron.a_in if wired else network.inp)
    network.out_layer.out.connect(sink.a_in)
    network.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    out = sink.data.get()
    neuron = network.out_layer.neuron
    states = {
        name: getattr(neuron, name).get() for name in ("u", "v", "sigma", "real", "imag") if hasattr(neuron, name)
    }
    network.stop()
    return StockRun(
        output=out.transpose(tuple(range(out.ndim))[::-1]).reshape(steps, -1).astype(np.int64),
        states={name: state.T.reshape(-1).astype(np.int64) for name, state in states.items()},
    )


def graph_spikes(graph: Graph, x: Spikes) -> dict[str, Spikes]:
    """Spikes (T,C,H,W) of every population of a sequential graph, in hardware time."""
    spikes = {graph.populations[0].id: x}
    for population in graph.populations[1:]:
        (projection,) = graph.incoming[population.id]
        neuron = population.neuron
        assert isinstance(neuron, Lif)
        channels = neuron.bias_mant.reshape(-1, 1, 1) if neuron.bias_mant.ndim == 1 else neuron.bias_mant
        bias = np.broadcast_to(fixedpoint.scale_bias(channels, neuron.bias_exp), population.shape)
        u = v = np.zeros(population.shape, np.int32)
        fired = []
        for step in range(x.shape[0]):
            sent = step - 1 - projection.delay
            arriving = spikes[projection.src][sent] if sent >= 0 else np.zeros_like(spikes[projection.src][0])
            a_in = current(projection, arriving, population.shape)
            u, v, s = fixedpoint.lif_step(
                u, v, a_in, du=neuron.du, dv=neuron.dv, bias=bias.astype(np.int32), vth_mant=neuron.vth_mant
            )
            fired.append(s.astype(np.int32))
        spikes[population.id] = np.stack(fired)
    return spikes


def current(projection: Projection, s: Spikes, target: Shape) -> npt.NDArray[np.int32]:
    """What one projection delivers for the spikes `s` (C,H,W)."""
    synapse = projection.synapse
    weight = synapse.kernel.mantissa.astype(np.int64) << synapse.kernel.exponent
    if not isinstance(synapse, Conv):
        return (weight @ s.reshape(-1).astype(np.int64)).reshape(target).astype(np.int32)
    up, (top, left) = synapse.dilation, synapse.padding
    spread = np.zeros(
        (*weight.shape[:2], *((k - 1) * d + 1 for k, d in zip(weight.shape[2:], up, strict=True))), np.int64
    )
    spread[:, :, :: up[0], :: up[1]] = weight
    padded = np.pad(s.astype(np.int64), ((0, 0), (top, top), (left, left)))
    outs, ins = target[0] // synapse.groups, weight.shape[1]
    total = np.stack(
        [
            sum(
                correlate2d(padded[(o // outs) * ins + i], spread[o, i], mode="valid")[
                    :: synapse.stride[0], :: synapse.stride[1]
                ]
                for i in range(ins)
            )
            for o in range(target[0])
        ]
    )
    return fixedpoint.wrap_conv(total)
