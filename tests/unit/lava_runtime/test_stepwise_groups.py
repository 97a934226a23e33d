"""Cycles, groups, samples and records of the stepwise kernels, against a few lines of numpy per time step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lava_runtime.backend import Probes, run
from netx_export.graph import (
    Conv,
    ConvTranspose,
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
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
    fixedpoint,
)

RNG = np.random.default_rng(11)


def kernel(*shape: int, exponent: int = 0) -> Kernel:
    return Kernel(mantissa=RNG.integers(-100, 120, shape).astype(np.int16), exponent=exponent)


def lif_run(lif: Lif, size: int, current: Any, samples: int, steps: int) -> Any:
    """Spikes (T,B,size) of LIF neurons whose current is current(t, spikes so far)."""
    u = v = np.zeros((samples, size), np.int32)
    spikes = np.zeros((steps, samples, size), np.int32)
    bias = fixedpoint.scale_bias(lif.bias_mant, lif.bias_exp)
    for t in range(steps):
        if lif.reset_interval and (t + 1) % lif.reset_interval == lif.reset_offset % lif.reset_interval:
            u = v = np.zeros((samples, size), np.int32)
        a_in = current(t, spikes).astype(np.int32)
        u, v, fired = fixedpoint.lif_step(u, v, a_in, du=lif.du, dv=lif.dv, bias=bias, vth_mant=lif.vth_mant)
        spikes[t] = fired
    return spikes


@pytest.mark.parametrize("threads", [1, 4])
def test_a_recurrent_layer_starts_every_sample_from_rest(threads: int) -> None:
    steps, samples, size = 30, 37, 23
    lif = Lif(vth_mant=900, du=900, dv=200, bias_mant=np.array([7]), bias_exp=6)
    forward, back = kernel(size, 10), kernel(size, size, exponent=-1)
    graph = Graph(
        populations=(
            Population(id="in", shape=(10, 1, 1), neuron=Input()),
            Population(id="rec", shape=(size, 1, 1), neuron=lif),
        ),
        projections=(
            Projection(src="in", dst="rec", synapse=Dense(kernel=forward)),
            Projection(src="rec", dst="rec", synapse=Dense(kernel=back), delay=2),
        ),
        timing="as_given",
    )
    given = RNG.integers(0, 2, (steps, samples, 10, 1, 1))
    flat = given.reshape(steps, samples, 10)

    def current(t: int, spikes: Any) -> Any:
        a = flat[t - 1] @ forward.mantissa.T.astype(np.int64) if t else np.zeros((samples, size), np.int64)
        return a + (spikes[t - 3] @ back.mantissa.T.astype(np.int64) >> 1) if t >= 3 else a

    expected = lif_run(lif, size, current, samples, steps)
    trace = run(graph, given, backend="fast", threads=threads, probes=Probes(rasters="all"))
    np.testing.assert_array_equal(trace.aligned("rec").reshape(expected.shape), expected)
    assert 0.01 < expected.mean() < 0.6
    np.testing.assert_array_equal(trace.spike_counts["rec"].reshape(-1), expected.sum(axis=(0, 1)))
    np.testing.assert_array_equal(trace.sample_spikes["rec"], expected.sum(axis=(0, 2)))


def test_a_loop_of_populations_with_others_in_front_beside_and_behind() -> None:
    """a -> b -> c -> a is one group; `side` feeds b and stands between them in the file, `after` reads a."""
    steps, samples, shape, size = 25, 3, (2, 3, 4), 24
    lif = Lif(vth_mant=700, du=1500, dv=300)
    names = {
        ("in", "a"): 1,
        ("a", "b"): 1,
        ("side", "b"): 1,
        ("b", "c"): 2,
        ("c", "a"): 4,
        ("in", "side"): 1,
        ("a", "after"): 1,
    }
    kernels = {pair: kernel(size, size) for pair in names}
    order = ("in", "a", "after", "side", "b", "c")
    graph = Graph(
        populations=tuple(Population(id=n, shape=shape, neuron=Input() if n == "in" else lif) for n in order),
        projections=tuple(
            Projection(src=src, dst=dst, synapse=Dense(kernel=kernels[src, dst]), delay=lag - 1)
            for (src, dst), lag in names.items()
        ),
        timing="as_given",
    )
    given = RNG.integers(0, 2, (steps, samples, *shape))
    flat = {"in": given.reshape(steps, samples, size)}
    states = {n: np.zeros((2, samples, size), np.int32) for n in order}
    for n in order[1:]:
        flat[n] = np.zeros((steps, samples, size), np.int64)
    for t in range(steps):
        for n in order[1:]:
            a_in = np.zeros((samples, size), np.int64)
            for (src, dst), lag in names.items():
                if dst == n and t >= lag:
                    a_in += flat[src][t - lag] @ kernels[src, dst].mantissa.T.astype(np.int64)
            u, v, flat[n][t] = fixedpoint.lif_step(
                *states[n],
                a_in.astype(np.int32),
                du=lif.du,
                dv=lif.dv,
                bias=np.zeros(1, np.int32),
                vth_mant=lif.vth_mant,
            )
            states[n] = np.stack([u, v])
    for threads in (1, 2):
        trace = run(graph, given, backend="fast", probes=Probes(rasters="all", states=("a", "after")), threads=threads)
        for n in order[1:]:
            np.testing.assert_array_equal(trace.aligned(n).reshape(flat[n].shape), flat[n], n)
            assert 0.01 < flat[n].mean() < 0.9
        for n in ("a", "after"):
            np.testing.assert_array_equal(trace.to_samples(n, trace.v[n])[-1].reshape(samples, size), states[n][1])


def test_a_recurrent_convolution_with_delays_per_axon() -> None:
    steps, shape = 20, (2, 4, 5)
    lif = Lif(vth_mant=500, du=2000, dv=400)
    back = Conv(kernel=kernel(2, 2, 3, 3), padding=(1, 1))
    delays = RNG.integers(0, 4, shape)
    given = RNG.integers(0, 2, (steps, 1, *shape))
    graph = Graph(
        populations=(Population(id="in", shape=shape, neuron=Input()), Population(id="n", shape=shape, neuron=lif)),
        projections=(
            Projection(src="in", dst="n", synapse=OneToOne(kernel=kernel(2))),
            Projection(src="n", dst="n", synapse=back, delays=delays),
        ),
        timing="as_given",
    )

    def current(t: int, spikes: Any) -> Any:
        weights = graph.projections[0].synapse.kernel.mantissa.reshape(2, 1, 1)  # type: ignore[union-attr]
        a = given[t - 1, 0] * weights.astype(np.int64) if t else np.zeros(shape, np.int64)
        padded = np.zeros((2, 6, 7), np.int64)
        for c, y, x in np.ndindex(shape):
            at = t - 1 - delays[c, y, x]
            padded[c, y + 1, x + 1] = spikes.reshape(steps, *shape)[at, c, y, x] if at >= 0 else 0
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return (a + np.einsum("oikl,iyxkl->oyx", back.kernel.mantissa.astype(np.int64), windows)).reshape(1, -1)

    expected = lif_run(lif, 40, current, 1, steps)
    trace = run(graph, given, backend="fast", probes=Probes(rasters=("n",)))
    np.testing.assert_array_equal(trace.aligned("n").reshape(steps, 1, 40), expected)
    assert 0.01 < expected.mean() < 0.9


def test_graded_messages_go_around_a_loop() -> None:
    """sigma[t] = sigma[t-1] + x[t] + (3*sigma[t-1] - messages) in wrapping 32 bits."""
    steps, shape = 40, (3, 1, 2)
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input(message_bits=8)),
            Population(id="sigma", shape=shape, neuron=Sigma()),
            Population(id="readout", shape=(6, 1, 1), neuron=Readout()),
        ),
        projections=(
            Projection(src="in", dst="sigma", synapse=Wire()),
            Projection(
                src="sigma",
                dst="sigma",
                synapse=Sparse(
                    kernel=Kernel(mantissa=np.full(6, 3, np.int16)), rows=np.arange(6), columns=np.arange(6)
                ),
            ),
            Projection(src="sigma", dst="readout", synapse=Dense(kernel=Kernel(mantissa=np.eye(6, dtype=np.int16)))),
        ),
        timing="as_given",
        messages="graded",
    )
    given = RNG.integers(-128, 128, (steps, 2, *shape)) * (RNG.random((steps, 2, *shape)) < 0.1)
    sigma = np.zeros((2, *shape), np.int64)
    expected = np.zeros((steps, 2, *shape), np.int64)
    for t in range(steps):
        sigma = (sigma + given[t] + 3 * (expected[t - 1] if t else 0)).astype(np.int32).astype(np.int64)
        expected[t] = sigma
    trace = run(graph, given, backend="fast", probes=Probes(rasters="all", states="all"))
    np.testing.assert_array_equal(trace.to_samples("sigma", trace.rasters["sigma"]), expected)
    np.testing.assert_array_equal(trace.u["sigma"], trace.rasters["sigma"])
    assert not trace.v["sigma"].any()
    np.testing.assert_array_equal(
        trace.aligned("readout")[1:].reshape(steps - 1, 2, -1), expected[:-1].reshape(steps - 1, 2, -1)
    )
    assert np.abs(expected).max() > 1 << 30
    assert trace.spike_counts["sigma"].sum() == np.count_nonzero(expected)


def test_aligned_networks_use_sparse_and_transposed_synapses_and_resonators() -> None:
    """Time with T samples in a row equals each sample alone; warm-up and drain are counted from a silent run."""
    shape = (2, 4, 4)
    up = ConvTranspose(kernel=kernel(2, 2, 2, 2), stride=(2, 2))
    pairs = np.sort(RNG.choice(32 * 32, 200, replace=False))
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input()),
            Population(
                id="a", shape=shape, neuron=Lif(vth_mant=100, du=1000, dv=100, bias_mant=np.array([60, 0]), bias_exp=7)
            ),
            Population(id="up", shape=(2, 8, 8), neuron=Lif(vth_mant=90)),
            Population(id="pool", shape=(2, 8, 8), neuron=Or()),
            Population(id="rf", shape=(5, 1, 1), neuron=Rf(sin=1200, cos=3700, vth_mant=100)),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=Sparse(kernel=kernel(200), rows=pairs // 32, columns=pairs % 32)),
            Projection(src="a", dst="up", synapse=up),
            Projection(
                src="up",
                dst="pool",
                synapse=Sparse(
                    kernel=Kernel(mantissa=np.ones(128, np.int16)), rows=np.arange(128), columns=np.arange(128)
                ),
            ),
            Projection(src="pool", dst="rf", synapse=Dense(kernel=kernel(5, 128)), port="re"),
            Projection(src="pool", dst="rf", synapse=Dense(kernel=kernel(5, 128)), port="im"),
        ),
    )
    given = RNG.integers(0, 2, (9, 4, *shape))
    together = run(graph, given, backend="fast", probes=Probes(rasters="all", states="all"))
    for sample in range(4):
        alone = run(graph, given[:, sample : sample + 1], backend="fast", probes=Probes(rasters="all"))
        for name in ("a", "up", "pool", "rf"):
            np.testing.assert_array_equal(together.aligned(name)[:, sample], alone.aligned(name)[:, 0], name)
            assert alone.aligned(name).any()
    # The bias alone makes one channel of `a` fire: in the one step before its window and in the three behind it.
    assert together.warm_up["a"] == 16
    assert together.drain["a"] == 3 * 16
    assert together.warm_up["pool"] == together.warm_up["up"]
    np.testing.assert_array_equal(together.rasters["pool"][1:], together.rasters["up"][:-1])


def test_resting_rows_of_sigma_delta_neurons_are_recorded_too() -> None:
    shape = (3, 5, 4)
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input(message_bits=8)),
            Population(id="n", shape=shape, neuron=SigmaDelta(vth=5, bias=np.array([9, -2, 2]))),
        ),
        projections=(Projection(src="in", dst="n", synapse=Wire()),),
        timing="as_given",
        messages="graded",
    )
    given = np.zeros((6, 1, *shape), np.int32)
    given[2, 0, 1, 3, 2] = 100
    trace = run(graph, given, backend="fast", probes=Probes(rasters="all", states="all"))
    sigma = given[:, 0].cumsum(axis=0)
    np.testing.assert_array_equal(trace.u["n"], sigma)
    np.testing.assert_array_equal(np.unique(trace.v["n"][:, 2]), [2])
    sent = trace.rasters["n"]
    assert [np.count_nonzero(step) for step in sent] == [20, 0, 1, 0, 0, 0]
    assert sent[2, 1, 3, 2] == 98
