"""The interpreter against stock Lava for what foreign files hold: sigma-delta, resonators, delays, recurrence, resets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from netx_export.graph import (
    Conv,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    Rf,
    RfIz,
    Shape,
    Sigma,
    SigmaDelta,
    Sparse,
    SynapseSpec,
    Wire,
)
from tests.conformance.stock_processes import compare

pytest.importorskip("lava")
pytestmark = pytest.mark.lava

Array = npt.NDArray[Any]


def _dense(rng: np.random.Generator, rows: int, columns: int, exponent: int = 0, low: int = -128) -> Dense:
    return Dense(kernel=Kernel(mantissa=rng.integers(low, 128, (rows, columns)), exponent=exponent))


def _sparse(rng: np.random.Generator, rows: int, columns: int, exponent: int = 0) -> Sparse:
    at = np.flatnonzero(rng.random(rows * columns) < 0.4)
    mantissa = rng.integers(-128, 128, at.size)
    mantissa[mantissa == 0] = 3
    kernel = Kernel(mantissa=mantissa, exponent=exponent)
    return Sparse(kernel=kernel, rows=at // columns, columns=at % columns)


def _network(
    inputs: dict[str, tuple[Shape, int]],
    populations: dict[str, tuple[Shape, NeuronSpec]],
    *projections: Projection,
) -> Graph:
    """Populations by id with shape and neuron, inputs with shape and message bits; timing as given."""
    kinds = [neuron for _, neuron in populations.values()]
    return Graph(
        populations=(
            *(Population(id=n, shape=s, neuron=Input(message_bits=b)) for n, (s, b) in inputs.items()),
            *(Population(id=n, shape=s, neuron=k) for n, (s, k) in populations.items()),
        ),
        projections=projections,
        timing="as_given",
        messages="graded" if any(isinstance(k, Delta | SigmaDelta | Sigma) for k in kinds) else "binary",
    )


def _link(src: str, dst: str, synapse: SynapseSpec, **more: Any) -> Projection:
    return Projection(src=src, dst=dst, synapse=synapse, **more)


def _spikes(rng: np.random.Generator, steps: int, shape: Shape, rate: float = 0.4, samples: int = 1) -> Array:
    return (rng.random((steps, samples, *shape)) < rate).astype(np.int32)


def test_lif_with_extreme_constants_and_two_samples_from_rest() -> None:
    """du = -1 keeps the current, dv = 4096 forgets v, vth = 2**17 never fires, resets at their own offsets."""
    rng = np.random.default_rng(1)
    shape = (6, 1, 1)
    bias = rng.integers(-4096, 4096, 6)
    kinds = {
        "kept": Lif(vth_mant=30_000, du=-1, dv=4096, bias_mant=bias, bias_exp=7),
        "forgets": Lif(vth_mant=9_000, du=4095, dv=4096),
        "integrates": Lif(vth_mant=1 << 17, du=-1, dv=0, bias_mant=bias, bias_exp=0),
        "reset": Lif(vth_mant=60_000, du=100, dv=50, reset_interval=4, reset_offset=2, bias_mant=bias, bias_exp=5),
        "offset": Lif(vth_mant=1 << 17, du=0, dv=4095, reset_interval=3, reset_offset=11),
        "always": Lif(vth_mant=2_000, du=7, dv=9, reset_interval=1, reset_offset=0),
    }
    graph = _network(
        {"in": ((5, 2, 1), 0)},
        {name: (shape, neuron) for name, neuron in kinds.items()},
        *(_link("in", name, _dense(rng, 6, 10, 6)) for name in kinds),
    )
    run = compare(graph, {"in": _spikes(rng, 14, (5, 2, 1), samples=2)})
    assert run.events["u wraps"] > 0
    assert run.events["resets within a sample"] > 0


@pytest.mark.parametrize(("spike_exp", "state_exp"), [(0, 0), (3, 2), (6, 9), (15, 15)])
def test_sigma_delta_chain(spike_exp: int, state_exp: int) -> None:
    """NetX's input layer by a Wire into Delta, then SigmaDelta with both activations, then Sigma; 32 bits wrap."""
    rng = np.random.default_rng(spike_exp + state_exp)
    shift = spike_exp + state_exp
    bias = rng.integers(-40, 41, (4, 2, 3)) if shift < 25 else np.array([1])
    vth = 3 if shift < 25 else 1
    graph = _network(
        {"in": ((2, 2, 3), 10)},
        {
            "delta": ((2, 2, 3), Delta(vth=vth, spike_exp=spike_exp, state_exp=state_exp)),
            "relu": ((4, 2, 3), SigmaDelta(vth=vth, bias=bias, spike_exp=spike_exp, state_exp=state_exp)),
            "unit": ((3, 2, 2), SigmaDelta(vth=2, spike_exp=spike_exp // 2, activation="unit")),
            "sum": ((5, 1, 1), Sigma()),
            "head": ((5, 1, 1), SigmaDelta(vth=0, bias=np.array([2, -2, 0, 1, -1]))),
        },
        _link("in", "delta", Wire()),
        _link("delta", "relu", Conv(kernel=Kernel(mantissa=rng.integers(-9, 10, (4, 2, 3, 3))), padding=(1, 1))),
        _link("relu", "unit", Conv(kernel=Kernel(mantissa=rng.integers(-3, 4, (3, 4, 1, 2))))),
        _link("unit", "sum", _dense(rng, 5, 12)),
        _link("unit", "head", _sparse(rng, 5, 12)),
    )
    run = compare(graph, {"in": rng.integers(-512, 512, (12, 2, 2, 2, 3), dtype=np.int32)}, every=3)
    assert run.events["relu clips"] > 0
    if shift:
        assert run.events["changes held back"] > 0
    if shift > 20:
        assert run.events["changes overflow 32 bits"] > 0


def test_the_change_of_minus_two_to_the_31_is_never_sent() -> None:
    """In 32 bits |-2**31| is -2**31, which reaches no threshold: Lava keeps the change as a residue."""
    graph = _network(
        {"in": ((2, 1, 1), 32)},
        {"delta": ((2, 1, 1), Delta(vth=5)), "unit": ((2, 1, 1), SigmaDelta(vth=0, activation="unit"))},
        _link("in", "delta", Wire()),
        _link("in", "unit", Wire()),
    )
    series = [[-(1 << 31), 7], [0, 6], [5, 20], [-(1 << 31), (1 << 31) - 1], [3, -(1 << 31)]]
    run = compare(graph, {"in": np.array(series, np.int32).reshape(5, 1, 2, 1, 1)})
    assert run.raw["delta"][0].reshape(-1).tolist() == [0, 7]
    assert run.raw["unit"][0].reshape(-1).tolist() == [0, 7]
    assert run.v["delta"][0, 0, 0, 0] == -(1 << 31)
    assert run.events["changes overflow 32 bits"] > 0
    assert run.events["sigma overflows 32 bits"] > 0


@pytest.mark.parametrize(("kind", "state_exp"), [(Rf, 0), (RfIz, 6), (Rf, 6), (RfIz, 12)])
def test_resonators_behind_a_complex_dense(kind: type[Rf] | type[RfIz], state_exp: int) -> None:
    """Two Dense that share their source, one into each port; rotations of every quadrant, undamped and saturating."""
    rng = np.random.default_rng(state_exp)
    rotations = {
        "slow": (400, 4000),
        "fast": (3900, 600),
        "left": (2900, -2800),
        "back": (-1500, -3700),
        "down": (-3000, 2700),
    }
    scale = max(0, 6 - state_exp)
    graph = _network(
        {"in": ((7, 1, 1), 0), "loud": ((3, 1, 1), 18)},
        {
            **{
                name: (
                    (4, 1, 1),
                    kind(sin=s, cos=c, vth_mant=0 if name == "down" else 60 << scale, state_exp=state_exp),
                )
                for name, (s, c) in rotations.items()
            },
            "second": ((3, 1, 2), kind(sin=2000, cos=3400, vth_mant=40 << scale, state_exp=state_exp)),
            "saturates": ((3, 1, 1), kind(sin=1400, cos=3800, vth_mant=511, state_exp=state_exp)),
        },
        *(_link("in", name, _dense(rng, 4, 7, scale + 1), port=port) for name in rotations for port in ("re", "im")),
        *(_link(name, "second", _dense(rng, 6, 4, scale), port=port) for name in rotations for port in ("re", "im")),
        _link("loud", "saturates", Wire(), port="re"),
        _link("in", "saturates", _dense(rng, 3, 7), port="im"),
        _link("loud", "saturates", _sparse(rng, 3, 3), port="im"),
    )
    steps = 24
    inputs = {
        "in": _spikes(rng, steps, (7, 1, 1), 0.25),
        "loud": rng.integers(-(1 << 17), 1 << 17, (steps, 1, 3, 1, 1)),
    }
    run = compare(graph, {name: array.astype(np.int32) for name, array in inputs.items()}, every=3)
    assert run.events["resonator saturates"] > 0
    if state_exp == 12:
        # a << 12 of 18 bits and more does not fit 32.
        assert run.events["resonator input overflows"] > 0


def test_a_resonator_threshold_is_reached_exactly() -> None:
    """re or im at the threshold, one below and one above it; im[t-1] = -1 and 0."""
    shape = (3, 1, 1)
    graph = _network(
        {"re": (shape, 20), "im": (shape, 20)},
        {
            "rf": (shape, Rf(sin=0, cos=4096, vth_mant=100, state_exp=3)),
            "iz": (shape, RfIz(sin=0, cos=4096, vth_mant=100, state_exp=3)),
        },
        *(_link(port, name, Wire(), port=port) for port in ("re", "im") for name in ("rf", "iz")),
    )
    re = np.array([[99, 100, 101], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    im = np.array([[-1, -1, -1], [1, 1, 1], [99, 98, 100], [0, 1, 0]])
    run = compare(
        graph, {"re": re.reshape(4, 1, 3, 1, 1).astype(np.int32), "im": im.reshape(4, 1, 3, 1, 1).astype(np.int32)}
    )
    assert run.raw["rf"][:, :, 0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert run.raw["iz"][:, :, 0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "exponent"), [("spikes", -8), ("spikes", -3), ("messages", -3), ("spikes", 0), ("messages", 4)]
)
def test_delays_per_axon_and_per_synapse(exponent: int, kind: str) -> None:
    """DelayDense and DelaySparse; the floor of a negative exponent is taken for each delay and step sent by itself."""
    rng = np.random.default_rng(exponent + 30)
    bits = 0 if kind == "spikes" else 9
    lif = Lif(vth_mant={-8: 1 << 17, -3: 20, 0: 100, 4: 1000}[exponent], du=2000, dv=100)
    sparse = _sparse(rng, 6, 8, exponent)
    graph = _network(
        {"in": ((2, 2, 2), bits)},
        dict.fromkeys(("axons", "synapses", "sparse axons", "sparse synapses", "all", "none"), ((6, 1, 1), lif)),
        _link("in", "axons", _dense(rng, 6, 8, exponent), delays=rng.integers(0, 6, (2, 2, 2))),
        _link("in", "synapses", _dense(rng, 6, 8, exponent), delays=rng.integers(0, 6, (6, 8)), delay=1),
        _link("in", "sparse axons", sparse, delays=rng.integers(0, 6, (2, 2, 2))),
        _link("in", "sparse synapses", sparse, delays=rng.integers(0, 6, sparse.rows.shape)),
        _link("in", "all", _dense(rng, 6, 8, exponent), delay=4),
        _link("in", "none", sparse),
    )
    data = _spikes(rng, 16, (2, 2, 2)) if kind == "spikes" else rng.integers(-256, 256, (16, 1, 2, 2, 2))
    run = compare(graph, {"in": data.astype(np.int32)}, every=3)
    assert exponent >= 0 or run.events["negative sums floor"] > 0


def test_the_longest_delay() -> None:
    rng = np.random.default_rng(4)
    delays = np.array([[62, 0, 61, 5], [62, 62, 1, 0]])
    graph = _network(
        {"in": ((4, 1, 1), 0)},
        {"a": ((2, 1, 1), Lif(vth_mant=1 << 17, dv=0))},
        _link("in", "a", _dense(rng, 2, 4, 2), delays=delays),
    )
    run = compare(graph, {"in": _spikes(rng, 68, (4, 1, 1), 0.5)}, every=3)
    assert (np.diff(run.v["a"][64:], axis=0) != 0).any()


@pytest.mark.parametrize("exponent", [-8, -2, -1])
def test_negative_exponents_floor(exponent: int) -> None:
    """Sums are shifted right as a whole, towards minus infinity; of one sign, weights keep all of their bits."""
    rng = np.random.default_rng(-exponent)
    positive = Dense(kernel=Kernel(mantissa=rng.integers(0, 128, (5, 9)), exponent=exponent))
    negative = Dense(kernel=Kernel(mantissa=-rng.integers(0, 129, (5, 9)), exponent=exponent))
    graph = _network(
        {"in": ((9, 1, 1), 0), "graded": ((9, 1, 1), 20)},
        {
            "a": ((5, 1, 1), Lif(vth_mant=40 if exponent > -8 else 1 << 17, du=300, dv=9)),
            "b": ((5, 1, 1), Lif(vth_mant=1 << 17, du=4095, dv=0)),
        },
        _link("in", "a", _dense(rng, 5, 9, exponent)),
        _link("in", "a", positive),
        _link("in", "a", negative),
        _link("in", "b", negative),
        _link("graded", "b", positive),
        _link("graded", "b", _sparse(rng, 5, 9, exponent)),
    )
    data = {"in": _spikes(rng, 12, (9, 1, 1)), "graded": rng.integers(-(1 << 19), 1 << 19, (12, 1, 9, 1, 1))}
    run = compare(graph, {name: array.astype(np.int32) for name, array in data.items()}, every=3)
    assert run.events["negative sums floor"] > 0


def test_recurrent_dense_and_feedback() -> None:
    """A population onto itself, and one onto an earlier one; sigma-delta too."""
    rng = np.random.default_rng(12)
    lif = Lif(vth_mant=500, du=1500, dv=300)
    graph = _network(
        {"in": ((6, 1, 1), 0)},
        {
            "a": ((8, 1, 1), lif),
            "b": ((2, 2, 2), lif),
            "sd": ((5, 1, 1), SigmaDelta(vth=20, state_exp=2)),
        },
        _link("in", "a", _dense(rng, 8, 6, 2)),
        _link("a", "a", _dense(rng, 8, 8, 1)),
        _link("a", "b", _dense(rng, 8, 8, 1)),
        _link("b", "a", _sparse(rng, 8, 8, 1), delays=rng.integers(0, 4, (2, 2, 2))),
        _link("b", "sd", _dense(rng, 5, 8)),
        _link("sd", "sd", _dense(rng, 5, 5, -8)),
    )
    run = compare(graph, {"in": _spikes(rng, 25, (6, 1, 1), samples=2)}, every=3)
    assert 0.01 < run.raw["a"].mean() < 0.6


def test_graded_messages_through_strided_and_grouped_convolutions() -> None:
    """Sums beyond 2**23 wrap at 24 bits; a Sigma sends what it holds in every step."""
    rng = np.random.default_rng(21)
    graph = _network(
        {"in": ((2, 5, 6), 16)},
        {
            "delta": ((2, 5, 6), Delta(vth=900, state_exp=4)),
            "sum": ((4, 3, 3), Sigma()),
            "sd": ((2, 2, 2), SigmaDelta(vth=1 << 15, bias=np.array([[[9, -9], [5, 0]]] * 2), spike_exp=3)),
        },
        _link("in", "delta", Wire()),
        _link(
            "delta",
            "sum",
            Conv(
                kernel=Kernel(mantissa=rng.integers(-128, 128, (4, 1, 3, 2)), exponent=3),
                stride=(2, 2),
                padding=(1, 0),
                groups=2,
            ),
        ),
        _link("sum", "sd", Conv(kernel=Kernel(mantissa=rng.integers(-8, 9, (2, 4, 2, 2))))),
    )
    run = compare(graph, {"in": rng.integers(-32768, 32768, (10, 1, 2, 5, 6), dtype=np.int32)}, every=3)
    assert run.events["conv wraps"] > 0
