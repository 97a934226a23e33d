"""Small networks of the kinds that only files bring: sigma-delta, resonators, delays, recurrence, wires, transposed."""

from __future__ import annotations

import numpy as np

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
    Population,
    Projection,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)


def kernel(rng: np.random.Generator, *shape: int, exponent: int = 0, low: int = -60, high: int = 80) -> Kernel:
    """Random mantissas."""
    return Kernel(mantissa=rng.integers(low, high, shape).astype(np.int16), exponent=exponent)


def sparse(rng: np.random.Generator, targets: int, sources: int, exponent: int = 0) -> Sparse:
    """A third of all synapses."""
    rows, columns = np.nonzero(rng.random((targets, sources)) < 0.3)
    return Sparse(kernel=kernel(rng, len(rows), exponent=exponent), rows=rows, columns=columns)


def sigma_delta(seed: int = 0) -> Graph:
    """Wire -> Delta -> Conv -> SigmaDelta -> Dense with delays and a floor -> SigmaDelta -> Sparse, waiting -> Sigma."""
    rng = np.random.default_rng(seed)
    bias = rng.integers(-40, 60, 3).astype(np.int32)
    populations = (
        Population(id="in", shape=(2, 5, 4), neuron=Input(message_bits=8)),
        Population(id="d", shape=(2, 5, 4), neuron=Delta(vth=5, spike_exp=2, state_exp=3)),
        Population(id="a", shape=(3, 5, 4), neuron=SigmaDelta(vth=300, bias=bias, state_exp=2)),
        Population(id="b", shape=(1, 1, 6), neuron=SigmaDelta(vth=2000, activation="unit")),
        Population(id="out", shape=(5, 1, 1), neuron=Sigma()),
    )
    projections = (
        Projection(src="in", dst="d", synapse=Wire()),
        Projection(src="d", dst="a", synapse=Conv(kernel=kernel(rng, 3, 2, 3, 3), padding=(1, 1))),
        Projection(
            src="a",
            dst="b",
            synapse=Dense(kernel=kernel(rng, 6, 60, exponent=-3)),
            delays=rng.integers(0, 5, (6, 60)).astype(np.int32),
        ),
        Projection(src="b", dst="out", synapse=sparse(rng, 5, 6), delay=2),
    )
    return Graph(populations=populations, projections=projections, timing="as_given", messages="graded", steps=12)


def resonators(seed: int = 0) -> Graph:
    """Complex dense layers into RF and RF_IZ."""
    rng = np.random.default_rng(seed)
    populations = (
        Population(id="in", shape=(7, 1, 1), neuron=Input()),
        Population(id="rf", shape=(6, 1, 1), neuron=Rf(sin=1900, cos=-3200, vth_mant=60)),
        Population(id="iz", shape=(2, 1, 2), neuron=RfIz(sin=900, cos=3800, vth_mant=70)),
    )
    projections = tuple(
        Projection(src=src, dst=dst, synapse=Dense(kernel=kernel(rng, n, m, low=-70, high=90)), port=port)
        for src, dst, n, m in (("in", "rf", 6, 7), ("rf", "iz", 4, 6))
        for port in ("re", "im")
    )
    more = Projection(src="in", dst="iz", synapse=Dense(kernel=kernel(rng, 4, 7)), port="im", delay=3)
    return Graph(populations=populations, projections=(*projections, more), timing="as_given", steps=30)


def delayed(seed: int = 0) -> Graph:
    """Recurrence, delays per axon and synapse, sparse and transposed synapses, a wire slice, LIFReset, OneToOne."""
    rng = np.random.default_rng(seed)
    lif = {"dv": 500, "du": 1200}
    populations = (
        Population(id="in", shape=(3, 4, 5), neuron=Input(message_bits=9)),
        Population(id="first", shape=(2, 4, 5), neuron=Lif(vth_mant=150, **lif, reset_interval=7, reset_offset=9)),
        Population(id="up", shape=(2, 9, 10), neuron=Lif(vth_mant=120, **lif)),
        Population(id="hidden", shape=(9, 1, 1), neuron=Lif(vth_mant=200, **lif)),
        Population(id="out", shape=(3, 2, 1), neuron=Lif(vth_mant=100, dv=200)),
        Population(id="back", shape=(2, 4, 5), neuron=Lif(vth_mant=60, dv=900)),
    )
    transposed = ConvTranspose(kernel=kernel(rng, 2, 1, 3, 4), stride=(2, 2), padding=(0, 1), groups=2)
    projections = (
        Projection(src="in", dst="first", synapse=Wire(), src_channels=(1, 3)),
        Projection(src="first", dst="up", synapse=transposed, delay=1),
        Projection(
            src="up", dst="hidden", synapse=sparse(rng, 9, 90), src_channels=(1, 2), delays=axons(rng, (1, 9, 10))
        ),
        Projection(src="hidden", dst="hidden", synapse=Dense(kernel=kernel(rng, 9, 9)), delay=2),
        Projection(
            src="hidden",
            dst="out",
            synapse=Dense(kernel=kernel(rng, 6, 9, exponent=1)),
            delays=rng.integers(0, 9, (6, 9)).astype(np.int32),
        ),
        Projection(
            src="first",
            dst="back",
            synapse=Conv(kernel=kernel(rng, 2, 2, 3, 3), padding=(1, 1)),
            delays=axons(rng, (2, 4, 5)),
        ),
        Projection(src="back", dst="first", synapse=OneToOne(kernel=kernel(rng, 2)), delay=4),
        Projection(src="first", dst="out", synapse=sparse(rng, 6, 40, exponent=-1), delay=1),
    )
    return Graph(populations=populations, projections=projections, timing="as_given", steps=25)


def axons(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """A delay per axon."""
    return rng.integers(0, 7, shape).astype(np.int32)


def foreign_inputs(graph: Graph, *, samples: int = 1, seed: int = 5, density: float = 0.4) -> np.ndarray:
    """Inputs (T,B,C,H,W) for the only input of `graph`."""
    rng = np.random.default_rng(seed)
    population = graph.inputs[0]
    assert isinstance(population.neuron, Input)
    bits = population.neuron.message_bits
    size = (graph.steps, samples, *population.shape)
    values = rng.integers(-(1 << bits - 1), 1 << bits - 1, size) if bits else 1
    return np.where(rng.random(size) < density, values, 0).astype(np.int32)


FOREIGN = {"sigma-delta": sigma_delta, "resonators": resonators, "delays": delayed}
