"""Types that foreign networks need: sigma-delta and resonating neurons, delays, recurrence, wires, sparse synapses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from netx_export.errors import GraphError, NotBinaryError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    OneToOne,
    Or,
    Population,
    Projection,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    SynapseSpec,
    Wire,
    accumulator_bound,
    bias_of,
    has_states,
    is_spiking,
    message_limit,
)

SHAPE = (2, 1, 1)
DENSE = Dense(kernel=Kernel(mantissa=np.array([[1, 2], [3, -4]])))
SPARSE = Sparse(kernel=Kernel(mantissa=np.array([5, -6])), rows=np.array([0, 1]), columns=np.array([1, 0]))


def two(neuron: NeuronSpec, synapse: SynapseSpec = DENSE, **more: Any) -> Graph:
    """An input and one population, joined by one projection."""
    source = more.pop("input", Input())
    fields = {"timing": "as_given", **{k: more.pop(k) for k in ("timing", "messages") if k in more}}
    return Graph(
        populations=(
            Population(id="in", shape=SHAPE, neuron=source),
            Population(id="out", shape=SHAPE, neuron=neuron),
        ),
        projections=(Projection(src="in", dst="out", synapse=synapse, **more),),
        **fields,
    )


def transposed(**more: Any) -> ConvTranspose:
    return ConvTranspose(kernel=Kernel(mantissa=np.ones((2, 3, 2, 2))), **more)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Delta(vth=-1), "Delta vth is -1, the limit is 0"),
        (lambda: Delta(vth=1 << 20, spike_exp=6, state_exp=6), "must fit 32 bits"),
        (lambda: SigmaDelta(vth=1, spike_exp=16), "spike_exp is 16, the limit is 0..15"),
        (lambda: SigmaDelta(vth=1, bias=np.array([1 << 25]), spike_exp=6), "bias reaches from 33554432"),
        (lambda: SigmaDelta(vth=1, activation="tanh"), "activation is 'tanh'; Lava has 'relu' and 'unit'"),
        (lambda: Rf(sin=4097, cos=0, vth_mant=1), "Rf sin is 4097, the limit is -4096..4096"),
        (lambda: RfIz(sin=1, cos=1, vth_mant=1 << 18), "vth_mant << state_exp must stay below"),
        (lambda: Lif(vth_mant=1, reset_interval=-1), "reset_interval is -1"),
        (lambda: Sparse(kernel=SPARSE.kernel, rows=np.array([1, 0]), columns=np.array([0, 0])), "must be sorted"),
        (lambda: Sparse(kernel=SPARSE.kernel, rows=np.array([0]), columns=np.array([0])), "vectors of one length"),
        (lambda: Sparse(kernel=SPARSE.kernel, rows=np.array([-1, 0]), columns=np.array([0, 0])), "numbered from 0"),
        (lambda: Conv(kernel=Kernel(mantissa=np.ones((1, 1, 1, 1)), exponent=-1)), "exponent is -1, it must be >= 0"),
        (lambda: transposed(stride=(0, 1)), "ConvTranspose stride is"),
        (lambda: transposed(output_padding=(1, 0)), "smaller than stride or dilation"),
        (lambda: transposed(groups=3), "must divide the 2 input channels"),
        (lambda: two(Rf(sin=1, cos=1, vth_mant=1)), r"its ports are 're' and 'im'"),
        (lambda: two(Lif(vth_mant=1), delays=np.full(SHAPE, 63)), "delays from 63 to 63 steps, the limit is 0..62"),
        (lambda: two(Lif(vth_mant=1), delays=np.ones(2)), "one per axon"),
        (lambda: two(Lif(vth_mant=1), delays=np.ones((1, 1, 1))), "but reads"),
        (lambda: two(Lif(vth_mant=1), delays=np.ones(SHAPE), timing="aligned"), "needs timing 'as_given'"),
        (
            lambda: two(
                Lif(vth_mant=1),
                OneToOne(kernel=Kernel(mantissa=np.array([100, 1]), exponent=7)),
                delays=np.ones(SHAPE),
                input=Input(message_bits=16),
            ),
            "a OneToOne with delays per axon can reach 419430400",
        ),
        (lambda: two(Lif(vth_mant=1), Wire(), timing="aligned"), "needs timing 'as_given'"),
        (lambda: two(Lif(vth_mant=1), Wire(), delay=1), "without delay"),
        (lambda: two(Or(), Wire()), "weights >= 0"),
        (lambda: two(Lif(vth_mant=1, reset_interval=4), timing="aligned"), "reset_interval 4; with timing 'aligned'"),
        (
            lambda: two(Lif(vth_mant=1), Sparse(kernel=SPARSE.kernel, rows=np.array([0, 2]), columns=np.array([0, 0]))),
            "feeds neuron 2",
        ),
    ],
)
def test_values_outside_their_limits_are_named(build: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


def test_integers_travel_only_where_the_graph_says_so() -> None:
    def chain(**fields: Any) -> Graph:
        return Graph(
            populations=(
                Population(id="in", shape=SHAPE, neuron=Input(message_bits=16)),
                Population(id="mid", shape=SHAPE, neuron=SigmaDelta(vth=3)),
                Population(id="out", shape=SHAPE, neuron=Sigma()),
            ),
            projections=(
                Projection(src="in", dst="mid", synapse=DENSE),
                Projection(src="mid", dst="out", synapse=DENSE),
            ),
            timing="as_given",
            **fields,
        )

    with pytest.raises(NotBinaryError, match=r"'mid', a SigmaDelta population that sends integers.*messages 'graded'"):
        chain()
    assert chain(messages="graded").outputs[0].id == "out"
    with pytest.raises(GraphError, match="it is 'binary' or 'graded'"):
        chain(messages="floats")


def test_recurrent_projections_are_known_as_such_and_need_their_own_timing() -> None:
    graph = two(Lif(vth_mant=1))
    loop = Projection(src="out", dst="out", synapse=SPARSE, delay=2)
    recurrent = dataclasses.replace(graph, projections=(*graph.projections, loop))
    assert [recurrent.is_recurrent(p) for p in recurrent.projections] == [False, True]
    assert recurrent.depth == {"in": 0, "out": 1}
    with pytest.raises(GraphError, match=r"runs against the order.*timing 'as_given'"):
        dataclasses.replace(recurrent, timing="aligned")


def test_everything_that_decides_what_is_computed_decides_the_digest() -> None:
    resonator = Rf(sin=1, cos=2, vth_mant=1)
    variants = [
        two(Lif(vth_mant=1)),
        two(Lif(vth_mant=1, reset_interval=5)),
        two(Lif(vth_mant=1, reset_interval=5, reset_offset=1)),
        two(Lif(vth_mant=1), SPARSE),
        two(Lif(vth_mant=1), dataclasses.replace(SPARSE, columns=np.array([0, 1]))),
        two(Lif(vth_mant=1), Wire()),
        two(Lif(vth_mant=1), delays=np.ones(SHAPE)),
        two(Lif(vth_mant=1), delays=np.ones((2, 2))),
        two(Lif(vth_mant=1), messages="graded"),
        two(resonator, port="re"),
        two(resonator, port="im"),
        two(RfIz(sin=1, cos=2, vth_mant=1), port="im"),
        two(Delta(vth=1)),
        two(SigmaDelta(vth=1)),
        two(SigmaDelta(vth=1, bias=np.array([2]))),
        two(SigmaDelta(vth=1, activation="unit")),
        two(Sigma()),
    ]
    assert len({graph.digest for graph in variants}) == len(variants)


def test_delays_add_up() -> None:
    projection = Projection(src="in", dst="out", synapse=DENSE, delay=3, delays=np.array([[0, 4], [1, 2]]))
    assert projection.longest_delay == 7


def test_a_transposed_convolution_reaches_what_torch_says() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for stride, padding, extra, dilation, groups in [
        (2, 0, 0, 1, 1),
        (2, 1, 1, 1, 2),
        (3, 1, 2, 2, 1),
        (1, 2, 0, 1, 4),
    ]:
        weight = rng.integers(-9, 9, (4, 3, 4, 5))
        synapse = ConvTranspose(
            kernel=Kernel(mantissa=weight),
            stride=(stride, stride),
            padding=(padding, padding),
            output_padding=(extra, extra),
            dilation=(dilation, dilation),
            groups=groups,
        )
        call = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
        ones = torch.ones(1, 4, 6, 7, dtype=torch.float64)
        out = torch.nn.functional.conv_transpose2d(ones, torch.ones(weight.shape, dtype=torch.float64), **call)
        assert synapse.output_shape((4, 6, 7)) == tuple(out.shape[1:])
        assert synapse.fan_out((4, 6, 7)).sum() == int(out.sum())
        worst = torch.nn.functional.conv_transpose2d(ones, torch.tensor(np.abs(weight), dtype=torch.float64), **call)
        assert accumulator_bound(synapse) >= int(worst.max())


def test_what_neurons_send_and_keep() -> None:
    assert [is_spiking(n) for n in (Rf(sin=0, cos=0, vth_mant=1), Delta(vth=1), Sigma())] == [True, False, False]
    assert message_limit(Input(message_bits=16)) == 1 << 15
    assert message_limit(SigmaDelta(vth=1)) == 1 << 31
    assert bias_of(Sigma()) is None
    assert bias_of(SigmaDelta(vth=1)) is not None
    assert has_states(Sigma())
    assert not has_states(Or())


def test_bounds_of_the_other_synapses() -> None:
    assert accumulator_bound(SPARSE) == 6
    assert accumulator_bound(Wire(), 7) == 7
    shifted = Dense(kernel=Kernel(mantissa=np.array([[-3, -4]]), exponent=-1))
    assert accumulator_bound(shifted) == 4  # floor(-7 / 2)
    assert OneToOne(kernel=Kernel(mantissa=np.array([1, 1]))).fan_out(SHAPE).sum() == 2
    assert SPARSE.fan_out(SHAPE).tolist() == [[[1]], [[1]]]
    assert Wire().fan_out(SHAPE).sum() == 0


def test_a_last_layer_that_reads_itself_is_an_output() -> None:
    graph = two(Lif(vth_mant=1))
    loop = Projection(src="out", dst="out", synapse=SPARSE)
    recurrent = dataclasses.replace(graph, projections=(*graph.projections, loop))
    assert [p.id for p in recurrent.outputs] == ["out"]
