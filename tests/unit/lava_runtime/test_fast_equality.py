"""`fast` against a pipeline stepped one hardware step at a time: every synapse, neuron, delay, counter and edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes, Trace
from netx_export.graph import (
    Conv,
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
    SynapseSpec,
    fixedpoint,
)
from netx_export.graph.synapses import synapse_output_shape
from tests.unit.lava_runtime.stepwise_pipeline import simulate

EVERYTHING = Probes(rasters="all", states="all")


def kernel(rng: np.random.Generator, *shape: int, exponent: int = 0, low: int = -128, high: int = 127) -> Kernel:
    return Kernel(mantissa=rng.integers(low, high, shape, endpoint=True), exponent=exponent)


def spikes(rng: np.random.Generator, *shape: int, rate: float = 0.3) -> Any:
    return (rng.random(shape) < rate).astype(np.int32)


def check(graph: Graph, inputs: Any, *, fires: bool = True, **options: Any) -> Trace:
    """Run both, compare everything there is, and insist that every spiking population takes part."""
    given = inputs if isinstance(inputs, dict) else {graph.inputs[0].id: inputs}
    trace = lava_runtime.run(graph, given, probes=EVERYTHING, **{"threads": 1, **options})
    truth = simulate(graph, given)
    samples = next(iter(given.values())).shape[1]
    assert dict(trace.warm_up) == truth.warm_up
    assert dict(trace.drain) == truth.drain
    for population in graph.populations:
        name = population.id
        readout = isinstance(population.neuron, Readout)
        if name in trace.outputs:
            assert trace.outputs[name].dtype == np.int32
            np.testing.assert_array_equal(trace.outputs[name], truth.sent[name])
        if readout:
            assert not trace.spike_counts[name].any()
            assert not trace.sample_spikes[name].any()
            continue
        np.testing.assert_array_equal(trace.rasters[name], truth.sent[name])
        fired = truth.sent[name] != 0
        np.testing.assert_array_equal(trace.spike_counts[name], fired.sum(axis=0))
        per_sample = fired[trace.schedule.window(name)].reshape(samples, -1).sum(axis=1)
        np.testing.assert_array_equal(trace.sample_spikes[name], per_sample)
        if fires:
            assert fired.any(), f"{name} is silent"
        if isinstance(population.neuron, Lif):
            np.testing.assert_array_equal(trace.u[name], truth.u[name])
            np.testing.assert_array_equal(trace.v[name], truth.v[name])
    assert set(trace.u) == {p.id for p in graph.populations if isinstance(p.neuron, Lif)}
    return trace


def one_layer(
    synapse: SynapseSpec,
    source: tuple[int, int, int],
    neuron: Any,
    *,
    target: tuple[int, int, int] = (1, 1, 1),
    src_channels: tuple[int, int] | None = None,
    message_bits: int = 0,
    steps: int = 4,
    timing: Any = "aligned",
    delay: int = 0,
) -> Graph:
    read = source if src_channels is None else (src_channels[1] - src_channels[0], *source[1:])
    return Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=message_bits)),
            Population(id="out", shape=synapse_output_shape(synapse, read, target), neuron=neuron),
        ),
        projections=(Projection(src="in", dst="out", synapse=synapse, src_channels=src_channels, delay=delay),),
        steps=steps,
        timing=timing,
    )


CONVOLUTIONS = {
    "plain": {},
    "padding": {"padding": (1, 2)},
    "stride": {"stride": (2, 3), "padding": (1, 1)},
    "dilation": {"dilation": (2, 1), "padding": (2, 1)},
    "dilation along rows": {"dilation": (1, 2), "padding": (0, 3)},
    "groups": {"groups": 2, "padding": (1, 1)},
    "depthwise": {"groups": 4, "stride": (2, 2), "padding": (1, 1)},
    "upsample": {"upsample": 2, "padding": (1, 1)},
    "upsample 3, stride, groups": {"upsample": 3, "stride": (2, 1), "padding": (2, 1), "groups": 2},
    "far padding": {"padding": (5, 6), "stride": (1, 2)},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("src_channels", [None, (1, 5)])
def test_convolution_parameters(name: str, size: tuple[int, int], src_channels: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(1)
    options = CONVOLUTIONS[name]
    source = (4 if src_channels is None else 6, 5, 6)
    conv = Conv(kernel=kernel(rng, 8, 4 // options.get("groups", 1), *size, exponent=1), **options)
    graph = one_layer(conv, source, Lif(vth_mant=60, du=2000, dv=700), src_channels=src_channels)
    check(graph, spikes(rng, 4, 2, *source))


@pytest.mark.parametrize("message_bits", [2, 8, 16])
@pytest.mark.parametrize("groups", [1, 2])
def test_graded_input(message_bits: int, groups: int) -> None:
    rng = np.random.default_rng(2)
    limit = 1 << (message_bits - 1)
    inputs = rng.integers(-limit, limit, (4, 2, 4, 5, 4)) * spikes(rng, 4, 2, 4, 5, 4)
    conv = Conv(kernel=kernel(rng, 6, 4 // groups, 3, 3), padding=(1, 1), groups=groups)
    check(one_layer(conv, (4, 5, 4), Lif(vth_mant=50, dv=500), message_bits=message_bits), inputs)


def test_dense_in_channel_order_and_into_a_map() -> None:
    rng = np.random.default_rng(3)
    source = (3, 2, 4)
    inputs = spikes(rng, 4, 2, *source)
    for target in ((10, 1, 1), (2, 3, 4)):
        weights = kernel(rng, int(np.prod(target)), 24, exponent=2)
        check(one_layer(Dense(kernel=weights), source, Lif(vth_mant=200), target=target), inputs)
    sliced = Dense(kernel=kernel(rng, 6, 16))
    check(one_layer(sliced, source, Lif(vth_mant=30), target=(6, 1, 1), src_channels=(1, 3)), inputs)


def test_graded_dense_and_one_to_one() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.integers(-30000, 30000, (3, 2, 3, 2, 2))
    dense = Dense(kernel=kernel(rng, 5, 12, exponent=7))
    check(one_layer(dense, (3, 2, 2), Lif(vth_mant=900), target=(5, 1, 1), message_bits=16, steps=3), inputs)
    twin = OneToOne(kernel=kernel(rng, 3, exponent=7))
    check(one_layer(twin, (3, 2, 2), Lif(vth_mant=900), message_bits=16, steps=3), inputs)


def test_one_to_one_reads_a_slice() -> None:
    rng = np.random.default_rng(5)
    twin = OneToOne(kernel=Kernel(mantissa=np.array([50, 90]), exponent=1))
    check(one_layer(twin, (5, 3, 2), Lif(vth_mant=40), src_channels=(2, 4)), spikes(rng, 4, 2, 5, 3, 2))


def test_readout_with_bias_per_channel_and_per_neuron() -> None:
    rng = np.random.default_rng(6)
    conv = Conv(kernel=kernel(rng, 3, 2, 3, 3, exponent=3), padding=(1, 1))
    for bias in (rng.integers(-9, 9, 3), rng.integers(-(2**31), 2**31 - 1, (3, 4, 5)), np.array([7])):
        check(one_layer(conv, (2, 4, 5), Readout(bias=bias)), spikes(rng, 4, 3, 2, 4, 5))


def test_or_pools_and_relays() -> None:
    rng = np.random.default_rng(7)
    pool = Conv(kernel=Kernel(mantissa=np.ones((3, 1, 3, 3), np.int16)), stride=(2, 2), padding=(1, 1), groups=3)
    check(one_layer(pool, (3, 6, 7), Or()), spikes(rng, 4, 2, 3, 6, 7, rate=0.1))
    relay = OneToOne(kernel=Kernel(mantissa=np.ones(3, np.int16)))
    check(one_layer(relay, (3, 6, 7), Or()), spikes(rng, 4, 2, 3, 6, 7, rate=0.1))


def test_states_saturate_at_24_bits_on_both_sides() -> None:
    rng = np.random.default_rng(8)
    source = (8, 4, 4)
    conv = Conv(kernel=kernel(rng, 6, 8, 3, 3, exponent=7), padding=(1, 1))
    graph = one_layer(conv, source, Lif(vth_mant=fixedpoint.VTH_MANT_MAX, du=100, dv=0), steps=9)
    trace = check(graph, spikes(rng, 9, 2, *source, rate=0.6))
    limit = fixedpoint.STATE_LIMIT - 1
    assert trace.v["out"].min() == -limit
    assert trace.spike_counts["out"].any()


def test_current_wraps_at_24_bits() -> None:
    twin = OneToOne(kernel=Kernel(mantissa=np.array([127, -128]), exponent=7))
    graph = one_layer(twin, (2, 2, 2), Lif(vth_mant=100000, du=0, dv=0), steps=20)
    trace = check(graph, np.ones((20, 1, 2, 2, 2), np.int32))
    jumps = np.abs(np.diff(trace.u["out"].astype(np.int64), axis=0))
    assert jumps.max() > 1 << 23


def test_current_of_exactly_two_to_the_23_is_kept() -> None:
    # 64 * 2^17 = 2^23: on the positive side Lava keeps it, on the negative side it turns into +2^23.
    twin = OneToOne(kernel=Kernel(mantissa=np.array([64, -64]), exponent=4))
    graph = one_layer(twin, (2, 1, 1), Lif(vth_mant=fixedpoint.VTH_MANT_MAX), steps=1, message_bits=9)
    trace = check(graph, np.full((1, 1, 2, 1, 1), 128))
    np.testing.assert_array_equal(trace.u["out"][1].reshape(-1), [1 << 23, 1 << 23])


def test_current_beyond_24_bits_and_int32_overflow() -> None:
    rng = np.random.default_rng(9)
    # A Dense does not wrap at 24 bits.
    dense = Dense(kernel=kernel(rng, 40, 12, exponent=7))
    neuron = Lif(vth_mant=5000, du=3, dv=9)
    graph = one_layer(dense, (3, 2, 2), neuron, message_bits=16, steps=6, target=(10, 2, 2))
    trace = check(graph, rng.integers(-(1 << 15), 1 << 15, (6, 2, 3, 2, 2)))
    assert np.abs(trace.u["out"].astype(np.int64)).max() > 1 << 30


def test_convolution_wraps_at_24_bits_per_projection() -> None:
    rng = np.random.default_rng(10)
    source = (8, 5, 5)
    first = Conv(kernel=kernel(rng, 4, 8, 3, 3, exponent=7, low=100), padding=(1, 1))
    second = Conv(kernel=kernel(rng, 4, 8, 3, 3, exponent=6, high=-90), padding=(1, 1))
    graph = Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=12)),
            Population(id="a", shape=(4, 5, 5), neuron=Readout()),
            Population(id="b", shape=(4, 5, 5), neuron=Readout()),
            Population(id="both", shape=(4, 5, 5), neuron=Readout()),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=first),
            Projection(src="in", dst="b", synapse=second),
            Projection(src="in", dst="both", synapse=first),
            Projection(src="in", dst="both", synapse=second),
        ),
        steps=3,
    )
    trace = check(graph, rng.integers(-2048, 2048, (3, 2, *source)), fires=False)
    total = trace.outputs["a"].astype(np.int64) + trace.outputs["b"]
    np.testing.assert_array_equal(trace.outputs["both"], total)
    assert np.abs(total).max() >= 1 << 23


def test_binary_convolution_wraps_at_24_bits() -> None:
    # 600 spikes of 127 << 7 make 9.8 million, beyond 2^23.
    conv = Conv(kernel=Kernel(mantissa=np.full((2, 600, 1, 1), 127, np.int16), exponent=7))
    trace = check(one_layer(conv, (600, 1, 1), Readout(), steps=1), np.ones((1, 1, 600, 1, 1), np.int32))
    assert int(trace.output[1].max()) == 600 * (127 << 7) - (1 << 24)


@pytest.mark.parametrize("mantissa", [fixedpoint.BIAS_MANT_MIN, fixedpoint.BIAS_MANT_MAX])
@pytest.mark.parametrize("exponent", [0, fixedpoint.BIAS_EXP_MAX])
def test_biases_at_the_edges_of_their_widths(mantissa: int, exponent: int) -> None:
    rng = np.random.default_rng(11)
    conv = Conv(kernel=kernel(rng, 3, 2, 3, 3, exponent=5), padding=(1, 1))
    bias = np.array([mantissa, 0, 17])
    neuron = Lif(vth_mant=1000, dv=50, bias_mant=bias, bias_exp=exponent)
    check(one_layer(conv, (2, 4, 5), neuron), spikes(rng, 4, 3, 2, 4, 5))


@pytest.mark.parametrize(("du", "dv"), [(0, 0), (4095, 4095), (4095, 0), (1, 4095), (2047, 1)])
def test_decays_at_their_edges(du: int, dv: int) -> None:
    rng = np.random.default_rng(12)
    conv = Conv(kernel=kernel(rng, 5, 3, 3, 3, exponent=3), padding=(1, 1))
    check(one_layer(conv, (3, 4, 4), Lif(vth_mant=300, du=du, dv=dv), steps=7), spikes(rng, 7, 2, 3, 4, 4))


def skip_graph(rng: np.random.Generator, *, steps: int, timing: Any = "aligned", extra: int = 0) -> Graph:
    """Depth 5 with skips, split kernels, shared kernels, an OR, upsampling, biases that fire in silence."""
    shared = kernel(rng, 6, 4, 3, 3)
    per_neuron = rng.integers(-500, 900, (6, 6, 8))
    depth = {"in": 0, "stem": 1, "pool": 2, "deep": 3, "up": 4, "head": 5}

    def wire(src: str, dst: str, synapse: SynapseSpec, **options: Any) -> Projection:
        return Projection(src=src, dst=dst, synapse=synapse, delay=depth[dst] - depth[src] - 1 + extra, **options)

    return Graph(
        populations=(
            Population(id="in", shape=(2, 6, 8), neuron=Input()),
            Population(
                id="stem", shape=(4, 6, 8), neuron=Lif(vth_mant=40, dv=900, bias_mant=np.array([2700, 0, 700, -50]))
            ),
            Population(id="pool", shape=(4, 3, 4), neuron=Or()),
            Population(id="deep", shape=(4, 3, 4), neuron=Lif(vth_mant=50, du=1500, dv=400, bias_mant=[300])),
            Population(id="up", shape=(6, 6, 8), neuron=Lif(vth_mant=60, dv=600, bias_mant=per_neuron, bias_exp=3)),
            Population(id="head", shape=(2, 6, 8), neuron=Readout(bias=[5, -5])),
        ),
        projections=(
            wire("in", "stem", Conv(kernel=kernel(rng, 4, 2, 3, 3), padding=(1, 1))),
            wire(
                "stem",
                "pool",
                Conv(kernel=Kernel(mantissa=np.ones((4, 1, 2, 2), np.int16)), stride=(2, 2), groups=4),
            ),
            wire("pool", "deep", Conv(kernel=kernel(rng, 4, 4, 3, 3), padding=(1, 1))),
            wire("deep", "up", Conv(kernel=shared, padding=(1, 1), upsample=2)),
            wire("stem", "up", Conv(kernel=shared, padding=(1, 1))),
            wire("stem", "up", Conv(kernel=kernel(rng, 6, 2, 1, 1, exponent=1)), src_channels=(1, 3)),
            wire("in", "up", Conv(kernel=kernel(rng, 6, 1, 3, 3), groups=2, padding=(1, 1))),
            wire("up", "head", Conv(kernel=kernel(rng, 2, 6, 1, 1))),
            wire("stem", "head", Conv(kernel=kernel(rng, 2, 4, 3, 3), padding=(1, 1))),
        ),
        steps=steps,
        timing=timing,
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
def test_skips_warm_up_drain_and_staggered_resets(steps: int) -> None:
    rng = np.random.default_rng(13)
    trace = check(skip_graph(rng, steps=steps), spikes(rng, steps, 3, 2, 6, 8))
    assert trace.warm_up["up"] > 0
    assert trace.drain["stem"] > 0


@pytest.mark.parametrize("extra", [0, 3])
def test_as_given_timing_runs_one_recording_with_delays(extra: int) -> None:
    rng = np.random.default_rng(14)
    trace = check(skip_graph(rng, steps=5, timing="as_given", extra=extra), spikes(rng, 23, 1, 2, 6, 8))
    assert not any(trace.warm_up.values())
    assert not any(trace.drain.values())


def test_several_inputs() -> None:
    rng = np.random.default_rng(15)
    graph = Graph(
        populations=(
            Population(id="events", shape=(2, 4, 4), neuron=Input()),
            Population(id="image", shape=(1, 4, 4), neuron=Input(message_bits=9)),
            Population(id="out", shape=(3, 4, 4), neuron=Lif(vth_mant=30, dv=200)),
        ),
        projections=(
            Projection(src="events", dst="out", synapse=Conv(kernel=kernel(rng, 3, 2, 3, 3), padding=(1, 1))),
            Projection(src="image", dst="out", synapse=Conv(kernel=kernel(rng, 3, 1, 3, 3), padding=(1, 1))),
        ),
        steps=3,
    )
    check(
        graph,
        {"events": spikes(rng, 3, 2, 2, 4, 4), "image": rng.integers(-256, 256, (3, 2, 1, 4, 4)).astype(np.int32)},
    )
