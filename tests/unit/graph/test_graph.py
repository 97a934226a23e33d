"""Graphs refuse to contradict themselves, and say what to change."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from netx_export.errors import GraphError, NotBinaryError
from netx_export.graph import (
    Conv,
    Dense,
    FloatLif,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    accumulator_bound,
    is_spiking,
    schedule,
)


def ones(*shape: int, exponent: int = 0) -> Kernel:
    return Kernel(mantissa=np.ones(shape), exponent=exponent)


def conv(out: int, into: int, size: int = 3, **arguments: Any) -> Conv:
    return Conv(kernel=ones(out, into, size, size), padding=(size // 2, size // 2), **arguments)


INPUT = Population(id="input", shape=(2, 6, 8), neuron=Input())
HIDDEN = Population(id="hidden", shape=(3, 6, 8), neuron=Lif(vth_mant=5))
OUT = Population(id="out", shape=(1, 6, 8), neuron=Readout())
FIRST = Projection(src="input", dst="hidden", synapse=conv(3, 2))
LAST = Projection(src="hidden", dst="out", synapse=conv(1, 3))


def graph(populations: tuple[Population, ...], projections: tuple[Projection, ...], **arguments: Any) -> Graph:
    return Graph(populations=populations, projections=projections, **arguments)


def skip_graph(delay: int = 1) -> Graph:
    skip = Projection(src="input", dst="out", synapse=conv(1, 2), delay=delay, port="skip")
    return graph((INPUT, HIDDEN, OUT), (FIRST, LAST, skip), steps=4)


def test_a_network_with_a_skip_is_aligned_and_scheduled() -> None:
    network = skip_graph()
    assert network.depth == {"input": 0, "hidden": 1, "out": 2}
    assert [p.id for p in network.outputs] == ["out"]
    assert [p.id for p in network.inputs] == ["input"]
    assert [p.label for p in network.incoming["out"]] == ["hidden -> out", "input -> out [skip]"]
    assert [p.label for p in network.outgoing["input"]] == ["input -> hidden", "input -> out [skip]"]
    calendar = schedule(network, steps=4, samples=3)
    assert calendar.hardware_steps == 14
    assert calendar.window("hidden") == slice(1, 13)
    assert (calendar.warm_up("out"), calendar.drain("out"), calendar.drain("input")) == (2, 0, 2)


def test_as_given_networks_have_no_calendar_of_their_own() -> None:
    network = graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, delay=7),), timing="as_given")
    calendar = schedule(network, steps=9, samples=1)
    assert (calendar.hardware_steps, calendar.latency, calendar.window("hidden")) == (9, 0, slice(0, 9))


def test_digest_sees_what_is_computed_and_nothing_else() -> None:
    network = skip_graph()
    assert network.digest == skip_graph().digest
    renamed = dataclasses.replace(network, meta={"seed": "3"})
    assert renamed.digest == network.digest
    louder = dataclasses.replace(HIDDEN, neuron=Lif(vth_mant=6))
    assert dataclasses.replace(network, populations=(INPUT, louder, OUT)).digest != network.digest
    stronger = dataclasses.replace(FIRST, synapse=dataclasses.replace(conv(3, 2), kernel=ones(3, 2, 3, 3, exponent=1)))
    assert dataclasses.replace(network, projections=(stronger, *network.projections[1:])).digest != network.digest


def test_arrays_are_copied_once_and_read_only() -> None:
    mantissa = np.ones((1, 2), np.int16)
    kernel = Kernel(mantissa=mantissa)
    mantissa[:] = 7
    assert kernel.mantissa.tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="read-only"):
        kernel.mantissa[:] = 3
    assert Kernel(mantissa=kernel.mantissa).mantissa is kernel.mantissa


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: graph((), ()), "no populations"),
        (lambda: graph((INPUT, INPUT), ()), "Two populations are called 'input'"),
        (lambda: graph((INPUT, HIDDEN), (LAST,)), "names population 'out', which does not exist"),
        (lambda: graph((HIDDEN,), ()), "no Input population"),
        (lambda: graph((INPUT, HIDDEN), ()), "'hidden' has no incoming projection"),
        (lambda: graph((INPUT, HIDDEN), (FIRST,), steps=0), "at least one time step"),
        (lambda: graph((INPUT, HIDDEN), (FIRST,), timing="later"), "'aligned' or 'as_given'"),
        (lambda: graph((HIDDEN, INPUT), (FIRST,)), "runs against the order of populations"),
        (lambda: skip_graph(delay=0), r"input -> out \[skip\] has delay 0, .* 2 layers apart and need 1"),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, dst="input", src="hidden"),)),
            "ends in an input",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, src_channels=(1, 3)),)),
            r"reads channels 1..3 of 2",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=conv(3, 4)),)),
            "input -> hidden: Conv reads 4 channels, its source offers 2",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=conv(3, 2, stride=(2, 2))),)),
            r"makes \(3, 3, 4\), its target has \(3, 6, 8\)",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=Conv(kernel=ones(3, 2, 9, 9))),)),
            r"empty map \(3, -2, 0\)",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=Dense(kernel=ones(144, 5))),)),
            "Dense reads 5 neurons, its source has 96",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=Dense(kernel=ones(5, 96))),)),
            "Dense feeds 5 neurons",
        ),
        (
            lambda: graph((INPUT, HIDDEN), (dataclasses.replace(FIRST, synapse=OneToOne(kernel=ones(3))),)),
            "OneToOne has 3 weights, its source has 2 channels",
        ),
    ],
)
def test_contradictions_are_named(build: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


def test_only_spikes_travel() -> None:
    late = Population(id="late", shape=(1, 6, 8), neuron=Lif(vth_mant=1))
    with pytest.raises(NotBinaryError, match="starts in the readout 'out', which sends integers"):
        graph(
            (INPUT, HIDDEN, OUT, late),
            (FIRST, LAST, Projection(src="out", dst="late", synapse=OneToOne(kernel=ones(1)))),
        )


def test_or_takes_spikes_through_positive_weights() -> None:
    pool = Population(id="pool", shape=(2, 6, 8), neuron=Or())
    bad = Projection(src="input", dst="pool", synapse=OneToOne(kernel=Kernel(mantissa=np.array([1, -1]))))
    with pytest.raises(GraphError, match="OR population with a negative weight"):
        graph((INPUT, pool), (bad,))
    graded = dataclasses.replace(INPUT, neuron=Input(message_bits=8))
    good = Projection(src="input", dst="pool", synapse=OneToOne(kernel=ones(2)))
    assert graph((INPUT, pool), (good,)).outputs == (pool,)
    with pytest.raises(GraphError, match="graded input"):
        graph((graded, pool), (good,))


def test_or_cannot_reach_the_wrap_of_the_lif_that_stands_for_it() -> None:
    pool = Population(id="pool", shape=(2, 6, 8), neuron=Or())
    heavy = Projection(src="input", dst="pool", synapse=OneToOne(kernel=Kernel(mantissa=np.full(2, 127), exponent=7)))
    several = tuple(dataclasses.replace(heavy, port=str(number)) for number in range(9))
    with pytest.raises(
        GraphError, match="'pool': an OR can receive 146304 in one step, the limit is 131071; use weights of 1"
    ):
        graph((INPUT, pool), several)
    assert graph((INPUT, pool), several[:8]).outputs == (pool,)


def test_upsampling_convolutions_cannot_reach_the_wrap() -> None:
    graded = Population(id="input", shape=(2, 3, 4), neuron=Input(message_bits=12))
    kernel = Kernel(mantissa=np.full((3, 2, 3, 3), 127), exponent=7)
    wide = Projection(src="input", dst="hidden", synapse=Conv(kernel=kernel, padding=(1, 1), upsample=2))
    with pytest.raises(GraphError, match=r"can reach 599261184, the limit is 8388607"):
        graph((graded, HIDDEN), (wide,))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Lif(vth_mant=(1 << 17) + 1), "vth_mant is 131073, the limit is 0..131072"),
        (lambda: Lif(vth_mant=1, du=4096), "du is 4096, the limit is -1..4095"),
        (lambda: Lif(vth_mant=1, dv=-1), "dv is -1"),
        (lambda: Lif(vth_mant=1, bias_exp=8), "bias_exp is 8, the limit is 0..7"),
        (lambda: Lif(vth_mant=1, bias_mant=np.array([4096])), "the limit is -4096..4095"),
        (lambda: Lif(vth_mant=1, bias_mant=np.array([0.5])), "must be integers"),
        (lambda: Lif(vth_mant=1, bias_mant=np.zeros((2, 2))), "has 2 axes"),
        (lambda: Readout(bias=np.zeros((2, 2))), "has 2 axes"),
        (lambda: Readout(bias=np.array([1 << 40])), "use a larger exponent"),
        (lambda: Input(message_bits=33), "message_bits is 33, the limit is 0..32"),
        (lambda: Kernel(mantissa=np.array([128])), "the limit is -128..127"),
        (lambda: Kernel(mantissa=np.zeros((0, 2))), "is empty"),
        (lambda: ones(1, exponent=8), "exponent is 8, the limit is -8..7"),
        (lambda: Conv(kernel=ones(1, 1)), "give \\(C_out, C_in/groups, kh, kw\\)"),
        (lambda: conv(1, 1, stride=(0, 1)), "stride is \\(0, 1\\)"),
        (lambda: conv(3, 1, groups=2), "must divide the 3 output channels"),
        (lambda: conv(3, 1, upsample=0), "upsample is 0"),
        (lambda: Dense(kernel=ones(1)), "give \\(N_out, N_in\\)"),
        (lambda: OneToOne(kernel=ones(1, 1)), "give \\(C,\\)"),
        (lambda: Population(id="", shape=(1, 1, 1), neuron=Or()), "empty id"),
        (lambda: Population(id="p", shape=(1, 0, 1), neuron=Or()), "every side >= 1"),
        (
            lambda: Population(id="p", shape=(2, 1, 1), neuron=Lif(vth_mant=1, bias_mant=np.zeros(3))),
            r"bias has shape \(3,\), it must be \(2,\)",
        ),
        (lambda: dataclasses.replace(FIRST, delay=-1), "cannot arrive before it is sent"),
        (lambda: FloatLif(leak=1.5), "leak is 1.5, the limit is 0..1"),
        (lambda: FloatLif(leak=0.5, gain=0.0), "gain is 0.0"),
        (lambda: FloatLif(leak=0.5, threshold=-1.0), "threshold is -1.0"),
    ],
)
def test_values_outside_their_limits_are_named(build: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


@pytest.mark.parametrize("upsample", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 1, 2), (2, 2, 2, 4), (3, 1, 1, 1)]
)
def test_fan_out_counts_true_synapses(stride: int, padding: int, dilation: int, groups: int, upsample: int) -> None:
    """Against counting, for every source neuron, how many outputs change when it alone fires."""
    synapse = Conv(
        kernel=ones(4, 4 // groups, 3, 2),
        stride=(stride, 1),
        padding=(padding, 1),
        dilation=(dilation, 1),
        groups=groups,
        upsample=upsample,
    )
    source = (4, 5, 4)
    channels, height, width = synapse.output_shape(source)
    counted = np.zeros(source, np.int64)
    for o in range(channels):
        for y in range(height):
            for x in range(width):
                for i in range(4 // groups):
                    for ky in range(3):
                        for kx in range(2):
                            row = y * stride - padding + ky * dilation
                            column = x - 1 + kx
                            if 0 <= row < 5 * upsample and 0 <= column < 4 * upsample:
                                channel = o // (4 // groups) * (4 // groups) + i
                                counted[channel, row // upsample, column // upsample] += 1
    assert (synapse.fan_out(source) == counted).all()


def test_fan_out_of_a_channel_slice_is_zero_elsewhere() -> None:
    projection = Projection(src="input", dst="x", synapse=OneToOne(kernel=ones(1)), src_channels=(1, 2))
    fan_out = projection.fan_out(INPUT)
    assert fan_out.shape == INPUT.shape
    assert (fan_out[0] == 0).all()
    assert (fan_out[1] == 1).all()
    assert Dense(kernel=ones(7, 3)).fan_out((3, 1, 1)).tolist() == [[[7]], [[7]], [[7]]]


def test_accumulator_bounds() -> None:
    kernel = Kernel(mantissa=np.array([[1, -2, 3], [1, 1, 1]]), exponent=2)
    assert accumulator_bound(Dense(kernel=kernel)) == 24
    assert accumulator_bound(conv(2, 2), message_max=3) == 54
    assert accumulator_bound(OneToOne(kernel=Kernel(mantissa=np.array([-5, 4])))) == 5


def test_who_spikes() -> None:
    assert [is_spiking(n) for n in (Input(), Input(message_bits=8), Lif(vth_mant=1), Or(), Readout())] == [
        True,
        False,
        True,
        True,
        False,
    ]
