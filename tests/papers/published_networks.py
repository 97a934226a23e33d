"""Networks whose partition on Loihi 2 has been published, rebuilt from their layers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    SigmaDelta,
    Wire,
)


def pilotnet_lif(path: Path, *, input_layer: bool = True) -> Graph:
    """PilotNet from its NetX file, its input layer included as Lif neurons that the host drives; weights are even."""
    with h5py.File(path, "r") as file:
        layers = [file["layer"][str(index)] for index in range(len(file["layer"]))]
        shape = tuple(int(extent) for extent in layers[0]["shape"][()])
        populations = [Population(id="camera", shape=shape, neuron=Input(message_bits=8))]
        projections = []
        if input_layer:
            populations.append(Population(id="input", shape=shape, neuron=Lif(vth_mant=1)))
            projections.append(Projection(src="camera", dst="input", synapse=Wire()))
        for index, layer in enumerate(layers[1:], start=1):
            kind = np.atleast_1d(layer["type"][()])[0].decode()
            if kind == "flatten":
                continue
            weight = layer["weight"][()].astype(np.int64)
            assert not (weight % 2).any()
            if kind == "conv":
                kernel = Kernel(mantissa=weight // 2, exponent=1)
                stride, padding = (tuple(int(n) for n in layer[name][()]) for name in ("stride", "padding"))
                synapse: Conv | Dense = Conv(kernel=kernel, stride=stride, padding=padding)
                shape = synapse.output_shape(populations[-1].shape)
            else:
                synapse = Dense(kernel=Kernel(mantissa=weight.reshape(-1, populations[-1].size) // 2, exponent=1))
                shape = (synapse.kernel.mantissa.shape[0], 1, 1)
            populations.append(Population(id=f"{kind}{index}", shape=shape, neuron=Lif(vth_mant=1)))
            projections.append(Projection(src=populations[-2].id, dst=populations[-1].id, synapse=synapse))
    return Graph(populations=tuple(populations), projections=tuple(projections), timing="as_given")


def dense_network(*sizes: int, bits: int) -> Graph:
    """Layers of Lif neurons with even random weights of that many bits, sign and lowest bit included."""
    populations = [Population(id="in", shape=(sizes[0], 1, 1), neuron=Input())]
    projections = []
    for index, (before, after) in enumerate(pairwise(sizes), start=1):
        populations.append(Population(id=f"dense{index}", shape=(after, 1, 1), neuron=Lif(vth_mant=1)))
        synapse = Dense(kernel=even_kernel(bits, after, before))
        projections.append(Projection(src=populations[-2].id, dst=populations[-1].id, synapse=synapse))
    return Graph(populations=tuple(populations), projections=tuple(projections), timing="as_given")


def yolo_kp() -> Graph:
    """The sigma-delta detector of lava-dl, 448 x 448 x 3 in; weight bits chosen so that its lists take the words printed."""
    layers = [(16, 2, 3, 5), (32, 2, 3, 6), (64, 2, 3, 5), (128, 2, 3, 5), (256, 1, 3, 5)]
    layers += [(256, 2, 3, 4), (512, 1, 3, 5), (256, 1, 1, 5), (512, 1, 3, 5), (48, 1, 1, 6)]
    neuron: NeuronSpec = SigmaDelta(vth=1)
    populations = [Population(id="frames", shape=(3, 448, 448), neuron=Input(message_bits=16))]
    projections = []
    for index, (channels, stride, size, bits) in enumerate(layers):
        before = populations[-1]
        kernel = even_kernel(bits, channels, before.shape[0], size, size)
        conv = Conv(kernel=kernel, stride=(stride, stride), padding=(size // 2, size // 2))
        populations.append(Population(id=f"conv{index}", shape=conv.output_shape(before.shape), neuron=neuron))
        projections.append(Projection(src=before.id, dst=populations[-1].id, synapse=conv))
    return Graph(populations=tuple(populations), projections=tuple(projections), timing="as_given", messages="graded")


def even_kernel(bits: int, *shape: int) -> Kernel:
    """Even weights whose magnitudes just reach 2**(bits - 1), as SLAYER trains them."""
    largest = 1 << (bits - 2)
    mantissa = np.random.default_rng(bits).integers(-largest, largest, shape)
    mantissa.flat[0] = -largest
    mantissa.flat[1] = 1
    return Kernel(mantissa=mantissa, exponent=1)
