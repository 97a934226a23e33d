"""Small networks that use everything a lowering must know."""

from __future__ import annotations

import numpy as np

from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, OneToOne, Or, Population, Projection, Readout


def kernel(rng: np.random.Generator, *shape: int, exponent: int = 0) -> Kernel:
    """Random mantissas with more excitation than inhibition."""
    return Kernel(mantissa=rng.integers(-60, 80, shape).astype(np.int16), exponent=exponent)


def many_features(seed: int = 0) -> Graph:
    """Skips with delays, upsampling, groups, stride, dilation, a channel slice, Or, Dense, OneToOne, a Readout."""
    rng = np.random.default_rng(seed)
    bias = rng.integers(-200, 200, 4).astype(np.int32)
    ones = Kernel(mantissa=np.ones((4, 1, 2, 2), np.int16))
    populations = (
        Population(id="in", shape=(2, 12, 10), neuron=Input()),
        Population(id="a", shape=(4, 6, 5), neuron=Lif(vth_mant=200, dv=400, du=1000, bias_mant=bias, bias_exp=3)),
        Population(id="b", shape=(4, 6, 5), neuron=Lif(vth_mant=150, dv=400)),
        Population(id="o", shape=(4, 3, 2), neuron=Or()),
        Population(id="c", shape=(4, 6, 4), neuron=Lif(vth_mant=150, dv=400)),
        Population(id="d", shape=(1, 7, 1), neuron=Lif(vth_mant=120, dv=100)),
        Population(id="r", shape=(3, 6, 5), neuron=Readout(bias=np.array([5, -3, 2], np.int32))),
    )
    wide = {"kernel": kernel(rng, 3, 2, 3, 3, exponent=2), "padding": (1, 1)}
    projections = (
        Projection(src="in", dst="a", synapse=Conv(kernel=kernel(rng, 4, 2, 3, 3), stride=(2, 2), padding=(1, 1))),
        Projection(src="a", dst="b", synapse=Conv(kernel=kernel(rng, 4, 2, 3, 3), groups=2, padding=(1, 1))),
        Projection(
            src="in", dst="b", synapse=Conv(kernel=kernel(rng, 4, 2, 3, 3), stride=(2, 2), padding=(1, 1)), delay=1
        ),
        Projection(src="b", dst="o", synapse=Conv(kernel=ones, stride=(2, 2), groups=4)),
        Projection(src="o", dst="c", synapse=Conv(kernel=kernel(rng, 4, 4, 3, 3), upsample=2, padding=(1, 1))),
        Projection(src="o", dst="d", synapse=Dense(kernel=kernel(rng, 7, 12)), src_channels=(1, 3)),
        Projection(src="c", dst="r", synapse=Conv(kernel=kernel(rng, 3, 4, 1, 2, exponent=2), padding=(0, 1))),
        Projection(src="a", dst="r", synapse=Conv(**wide), src_channels=(1, 3), delay=3),
        Projection(src="b", dst="r", synapse=OneToOne(kernel=kernel(rng, 3)), src_channels=(0, 3), delay=2),
        Projection(
            src="b", dst="r", synapse=Conv(kernel=kernel(rng, 3, 4, 3, 3), padding=(2, 2), dilation=(2, 2)), delay=2
        ),
    )
    return Graph(populations=populations, projections=projections, steps=4)


def spikes(graph: Graph, *, steps: int = 4, samples: int = 3, rate: float = 0.2, seed: int = 7) -> np.ndarray:
    """0/1 input (T,B,C,H,W) of the only input of `graph`."""
    rng = np.random.default_rng(seed)
    return (rng.random((steps, samples, *graph.inputs[0].shape)) < rate).astype(np.int32)


def graded(seed: int = 3) -> tuple[Graph, np.ndarray]:
    """A graded input into a Conv and, later, into a Dense."""
    rng = np.random.default_rng(seed)
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 5, 4), neuron=Input(message_bits=6)),
            Population(id="a", shape=(3, 5, 4), neuron=Lif(vth_mant=900, dv=300)),
            Population(id="r", shape=(1, 1, 4), neuron=Readout()),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=Conv(kernel=kernel(rng, 3, 2, 3, 3), padding=(1, 1))),
            Projection(src="a", dst="r", synapse=Dense(kernel=kernel(rng, 4, 60, exponent=3))),
            Projection(src="in", dst="r", synapse=Dense(kernel=kernel(rng, 4, 40)), delay=1),
        ),
        steps=3,
    )
    return graph, rng.integers(-32, 32, (3, 2, 2, 5, 4)).astype(np.int32)
