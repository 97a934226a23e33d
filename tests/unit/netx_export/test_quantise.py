"""From reals to integers: units, exponents, widths, and every number that does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netx_export.errors import QuantisationError
from netx_export.float_run import float_run
from netx_export.graph import Dense, FloatLif, Graph, Input, Lif, OneToOne, Readout, fixedpoint
from netx_export.passes.pipeline import Pipeline
from netx_export.passes.quantise import Quantise, is_chain, quantised_bias, quantised_leak
from netx_export.passes.units import round_half_up
from netx_export.projection_graph import (
    FloatConv,
    FloatDense,
    FloatOneToOne,
    FloatPopulation,
    FloatProjection,
    FloatReadout,
    ProjectionGraph,
)
from tests.unit.netx_export.integer_run import integer_run


def network(
    weights: list[Any],
    *,
    neuron: Any = None,
    bias: Any = None,
    exact: Any = (),
    message_bits: int = 0,
    chain: bool = False,
) -> ProjectionGraph:
    """One population of two neurons fed by one-to-one or dense projections from the input."""
    target = FloatLif(leak=0.5, gain=0.5) if neuron is None else neuron
    populations = [
        FloatPopulation(id="input", shape=(2, 1, 1), neuron=Input(message_bits=message_bits)),
        FloatPopulation(
            id="layer", shape=(2, 1, 1), neuron=target, bias=None if bias is None else np.asarray(bias), source="layer"
        ),
    ]
    projections = []
    for index, weight in enumerate(weights):
        array = np.asarray(weight, np.float64)
        synapse = FloatOneToOne(weight=array) if array.ndim == 1 else FloatDense(weight=array)
        projections.append(
            FloatProjection(src="input", dst="layer", synapse=synapse, exact=index in exact, source=f"conv{index}")
        )
    if not chain and len(weights) == 1:
        # A second output makes the graph no chain, so that the bias exponent is free.
        populations.append(FloatPopulation(id="side", shape=(2, 1, 1), neuron=FloatReadout()))
        projections.append(
            FloatProjection(src="input", dst="side", synapse=FloatOneToOne(weight=np.ones(2)), exact=True)
        )
    return ProjectionGraph(populations=tuple(populations), projections=tuple(projections))


def lif(graph: Graph) -> Lif:
    neuron = graph.by_id["layer"].neuron
    assert isinstance(neuron, Lif)
    return neuron


def test_gain_is_folded_and_the_largest_weight_uses_eight_bits() -> None:
    graph = Quantise(steps=5, meta={"seed": "3"}).call(network([[[0.9, -0.3], [0.2, 0.0]]], bias=[0.4, -0.1]))
    assert (graph.steps, dict(graph.meta), graph.timing) == (5, {"seed": "3"}, "aligned")
    (projection,) = graph.incoming["layer"]
    # unit 2**-8: 0.9 * 0.5 * 256 = 115.2, the next finer one would need 230.
    assert isinstance(projection.synapse, Dense)
    np.testing.assert_array_equal(projection.synapse.kernel.mantissa, [[115, -38], [26, 0]])
    assert projection.synapse.kernel.exponent == 0
    neuron = lif(graph)
    assert (neuron.vth_mant, neuron.du, neuron.dv) == (256, 4095, 2048)
    # 0.4 * 0.5 * 256 * 64 = 3276.8 fits 13 bits as it is.
    np.testing.assert_array_equal(neuron.bias_mant << neuron.bias_exp, [3277, -819])
    assert neuron.unit == 2.0**-8 / 64


def test_projections_of_different_range_share_a_unit() -> None:
    graph = Quantise().call(network([[0.9, 0.8], [6.0, -7.0], [0.1, 0.05]]))
    kernels = [p.synapse.kernel for p in graph.incoming["layer"]]
    unit = lif(graph).unit * 64
    assert [kernel.exponent for kernel in kernels] == [3, 6, 0]
    for kernel, weights in zip(kernels, ([0.9, 0.8], [6.0, -7.0], [0.1, 0.05]), strict=True):
        error = np.abs(kernel.mantissa * 2.0**kernel.exponent * unit - np.asarray(weights) * 0.5)
        assert error.max() <= unit * 2.0**kernel.exponent / 2


def test_a_shared_kernel_stays_one() -> None:
    weight = np.array([[0.5, 0.25], [-0.5, 1.0]])
    weight.flags.writeable = False
    before = network([weight, weight])
    graph = Quantise().call(before)
    first, second = graph.incoming["layer"]
    assert first.synapse.kernel is second.synapse.kernel


@pytest.mark.parametrize("gain", [0.5, 0.3, 0.731])
@pytest.mark.parametrize("factor", [1.0, 0.75, -0.5])
def test_identities_are_exact_whatever_the_gain(gain: float, factor: float) -> None:
    neuron = FloatLif(leak=1 - gain, gain=gain)
    graph = Quantise().call(network([[factor, factor], [[0.9, -0.3], [0.2, 0.11]]], neuron=neuron, exact=(0,)))
    identity, trained = (p.synapse for p in graph.incoming["layer"])
    assert isinstance(identity, OneToOne)
    unit = lif(graph).unit * 64
    weight = identity.kernel.mantissa.astype(np.float64) * 2.0**identity.kernel.exponent
    np.testing.assert_allclose(weight * unit / gain, factor, rtol=1e-15)
    # The other weights are in the same unit, and the threshold carries the gain.
    np.testing.assert_allclose(
        trained.kernel.mantissa * 2.0**trained.kernel.exponent * unit / gain,
        [[0.9, -0.3], [0.2, 0.11]],
        atol=2.0**trained.kernel.exponent * unit / gain / 2,
    )
    assert lif(graph).vth_mant == int(np.floor(1.0 / unit + 0.5))


def test_an_identity_of_unequal_scale_beside_large_weights_is_refused() -> None:
    # 2**-9 needs 512 units per 1, and 90 then needs 46080 units: beyond 127 << 7.
    with pytest.raises(
        QuantisationError,
        match=r"Layer 'layer': the identity of 'conv0' is no whole number of units: an additive identity of unequal scale, 0.001953125 "
        r"beside weights up to 90.0 that share its unit. The limit is m << e with m in -128..127 and e in 0..7. Rescale the other",
    ):
        Quantise().call(network([[2.0**-9] * 2, [90.0, 1.0]], exact=(0,)))


def test_half_up_and_leak() -> None:
    np.testing.assert_array_equal(round_half_up(np.array([0.5, -0.5, 1.5, -1.5, 2.4999])), [1, 0, 2, -1, 2])
    assert [quantised_leak(leak) for leak in (1.0, 0.5, 0.0, 1 - 2.5 / 4096)] == [0, 2048, 4095, 3]


def test_without_leak_the_threshold_is_reached_as_in_training() -> None:
    before = network([[0.25, 0.5]], neuron=FloatLif(leak=1.0))
    graph = Quantise().call(before)
    frames = np.ones((8, 1, 2, 1, 1))
    expected = float_run(before, frames).spikes["layer"]
    np.testing.assert_array_equal(integer_run(graph, frames)["layer"], expected)
    assert expected.sum() == 2 + 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-4, 4), min_size=2, max_size=2), min_size=2, max_size=2),
    st.floats(0.05, 0.95),
    st.floats(0.3, 3.0),
    st.lists(st.floats(-2, 2), min_size=2, max_size=2),
)
def test_integers_stay_within_half_a_step(weight: Any, gain: float, threshold: float, bias: Any) -> None:
    weight = np.asarray(weight)
    weight[0, 0] = 1.0
    neuron = FloatLif(leak=1 - gain, gain=gain, threshold=threshold)
    graph = Quantise().call(network([weight], neuron=neuron, bias=bias))
    found, kernel = lif(graph), graph.incoming["layer"][0].synapse.kernel
    unit = found.unit * 64
    assert (
        np.abs(kernel.mantissa * 2.0**kernel.exponent * unit - weight * gain).max()
        <= unit * 2.0**kernel.exponent * 0.5000001
    )
    assert abs(found.vth_mant * unit - threshold) <= unit / 2 * 1.0000001
    step = found.unit * 2.0**found.bias_exp
    assert np.abs((found.bias_mant << found.bias_exp) * found.unit - np.asarray(bias) * gain).max() <= step * 0.5000001
    assert abs(found.dv - 4096 * gain) <= 0.5


def test_chains_use_the_bias_exponent_of_netx() -> None:
    before = network([[0.9, 0.8]], bias=[0.123, 0.5], chain=True)
    assert is_chain(before)
    assert lif(Quantise().call(before)).bias_exp == 6
    assert lif(Quantise(bias_exp=2).call(before)).bias_exp == 2
    free = network([[0.9, 0.8]], bias=[0.123, 0.5])
    assert not is_chain(free)
    assert lif(Quantise().call(free)).bias_exp == 1


def test_readouts_keep_their_unit() -> None:
    graph = Quantise().call(network([[[0.02, -0.01], [0.005, 0.0]]], neuron=FloatReadout(), bias=[-2.19, 0.5]))
    neuron = graph.by_id["layer"].neuron
    assert isinstance(neuron, Readout)
    assert neuron.unit == 2.0**-12
    np.testing.assert_allclose(neuron.bias * neuron.unit, [-2.19, 0.5], atol=neuron.unit / 2)


def test_min_mse_clips_outliers() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 4000)) * 0.01
    weight[0, 0] = 0.0646
    populations = (
        FloatPopulation(id="input", shape=(4000, 1, 1), neuron=Input()),
        FloatPopulation(id="layer", shape=(2, 1, 1), neuron=FloatLif(leak=0.5)),
    )
    graph = ProjectionGraph(
        populations=populations,
        projections=(
            FloatProjection(src="input", dst="layer", synapse=FloatDense(weight=weight)),
            FloatProjection(src="input", dst="layer", synapse=FloatDense(weight=weight * 0.1)),
        ),
    )

    def error(found: Graph) -> float:
        kernel = found.incoming["layer"][0].synapse.kernel
        return float(np.square(kernel.mantissa * 2.0**kernel.exponent * lif(found).unit * 64 - weight).sum())

    best, plain = Quantise(rounding="mse").call(graph), Quantise().call(graph)
    assert error(best) < error(plain)
    assert best.incoming["layer"][0].synapse.kernel.exponent < plain.incoming["layer"][0].synapse.kernel.exponent


def test_min_mse_chooses_a_finer_unit_for_a_single_projection() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 4000)) * 0.01
    weight[0, 0] = 0.0646
    graph = ProjectionGraph(
        populations=(
            FloatPopulation(id="input", shape=(4000, 1, 1), neuron=Input()),
            FloatPopulation(id="layer", shape=(2, 1, 1), neuron=FloatReadout()),
        ),
        projections=(FloatProjection(src="input", dst="layer", synapse=FloatDense(weight=weight)),),
    )
    found = {}
    for rounding in ("maximum", "mse"):
        kernel = (integers := Quantise(rounding=rounding).call(graph)).projections[0].synapse.kernel  # type: ignore[arg-type]
        unit = integers.by_id["layer"].neuron.unit  # type: ignore[union-attr]
        found[rounding] = (unit, float(np.square(kernel.mantissa * 2.0**kernel.exponent * unit - weight).sum()))
    assert found["mse"][0] < found["maximum"][0]
    assert found["mse"][1] < found["maximum"][1]


def test_no_sum_of_currents_can_wrap() -> None:
    count = 3000
    populations = (
        FloatPopulation(id="input", shape=(count, 1, 1), neuron=Input()),
        FloatPopulation(id="layer", shape=(1, 1, 1), neuron=FloatLif(leak=0.5)),
    )
    projection = FloatProjection(src="input", dst="layer", synapse=FloatDense(weight=np.ones((1, count))))
    graph = Quantise().call(ProjectionGraph(populations=populations, projections=(projection,)))
    total = int(graph.incoming["layer"][0].synapse.kernel.mantissa.sum())
    assert total << fixedpoint.ACTIVATION_SHIFT < fixedpoint.STATE_LIMIT
    assert total == 32 * count


def test_graded_input_counts_with_its_largest_message() -> None:
    narrow, wide = (Quantise().call(network([[1.0, 0.9]], message_bits=bits)) for bits in (8, 15))
    assert lif(wide).unit > lif(narrow).unit


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            network([[np.nan, 1.0]]),
            r"Layer 'conv0': weight \(0,\) is nan; 1 of 2 are not finite and no integer stands for them. Load a checkpoint",
        ),
        (network([[1.0, 1.0]], bias=[0.0, np.inf]), r"Layer 'layer': bias \(1,\) is inf; 1 of 2 are not finite"),
        (
            network([[1e6, 1.0]]),
            r"Layer 'conv0': a weight of 1000000.0 \(times gain 0.5\) does not fit: .*The limit is 127 << 7 = 16256 units per weight with "
            r"the threshold 1.0 of 'layer' at least one unit. Scale the layer's weights down",
        ),
        (
            network([[1.0, 1.0], [1e-6, 1e-6], [3e3, 1.0]]),
            r"Layer 'conv1': its largest weight 1e-06 does not fit: it rounds to zero beside the other currents into 'layer', whose "
            r"unit is .*Bring the weights",
        ),
        (
            network([[1.0, 1.0]], bias=[1e6, 0.0]),
            r"Layer 'layer': a bias of 1000000.0 \(times gain 0.5\) does not fit 13 bits << 7 while the threshold 1.0 is at least one "
            r"unit: the bias reaches .*Train with weight decay",
        ),
        (
            network([[1e-12, 1e-12]], neuron=FloatReadout(), bias=[1.0, 1.0]),
            r"Readout 'layer' \('layer'\): a bias of 1.0 does not fit 32 bits in units of .*Add such a constant after the run",
        ),
        (
            network([[1.0, 1.0]], neuron=FloatReadout(), bias=[-1e30, 1.0]),
            r"Readout 'layer' \('layer'\): a bias of 1e\+30 does not fit 32 bits",
        ),
        (
            network([[1.0, 1.0]], neuron=FloatLif(leak=0.5, threshold=1e-10)),
            r"Layer 'conv0': a weight of 1.0 \(times gain 1.0\) does not fit: the weights of 'conv0' reach 1.0. The limit is",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(graph: ProjectionGraph, message: str) -> None:
    with pytest.raises(QuantisationError, match=message):
        Pipeline().apply(Quantise(), graph)


def test_a_fixed_bias_exponent_may_be_too_small() -> None:
    with pytest.raises(QuantisationError, match=r"A bias of 100.0 units does not fit 4095 << 0"):
        quantised_bias(np.array([100.0]), 0)


def test_weights_far_below_the_threshold_coarsen_until_it_fits_or_vanish() -> None:
    graph = Quantise().call(network([[1e-3, 1e-3]], neuron=FloatLif(leak=0.5)))
    assert lif(graph).vth_mant == 65536
    with pytest.raises(
        QuantisationError, match="Layer 'conv0': its largest weight 1e-07 does not fit: it rounds to zero"
    ):
        Quantise().call(network([[1e-7, 1e-7]], neuron=FloatLif(leak=0.5)))


@pytest.mark.parametrize(("weight", "exponent"), [(127.0, 0), (200.0, 7), (250.0, 7)])
def test_weights_of_many_thresholds_take_an_exponent(weight: float, exponent: int) -> None:
    graph = Quantise().call(network([[weight, -weight]], neuron=FloatLif(leak=0.5, threshold=1.0)))
    kernel = graph.projections[0].synapse.kernel
    unit = lif(graph).unit * (1 << fixedpoint.ACTIVATION_SHIFT)
    assert kernel.exponent == exponent
    assert kernel.mantissa[0] * 2.0**exponent * unit == pytest.approx(weight, rel=0.01)
    assert lif(graph).vth_mant * unit == 1.0


def test_convolutions_keep_their_geometry() -> None:
    synapse = FloatConv(
        weight=np.ones((2, 1, 3, 3)), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, upsample=2
    )
    graph = ProjectionGraph(
        populations=(
            FloatPopulation(id="input", shape=(2, 4, 4), neuron=Input()),
            FloatPopulation(id="layer", shape=(2, 4, 4), neuron=FloatReadout()),
        ),
        projections=(FloatProjection(src="input", dst="layer", synapse=synapse),),
    )
    found = Quantise().call(graph).projections[0].synapse
    assert (found.stride, found.padding, found.dilation, found.groups, found.upsample) == ((2, 1), (1, 0), (1, 2), 2, 2)
