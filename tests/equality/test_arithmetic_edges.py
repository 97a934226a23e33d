"""The last value before and the first beyond every edge of the arithmetic, which random networks rarely hit exactly.

Two graded inputs, one through coarse and one through fine weights, put any current into any neuron.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lava_runtime
from lava_runtime import Probes
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    OneToOne,
    Population,
    Projection,
    Readout,
    SynapseSpec,
)
from tests.equality.agreement import assert_trace_agrees
from tests.reference import ReferenceRun, interpret

EVERYTHING = Probes(rasters="all", states="all")

BACKENDS: dict[str, dict[str, Any]] = {
    "fast": {"backend": "fast", "threads": 1},
    "sim, compiled models": {"backend": "sim", "models": "compiled"},
    "sim, stock models": {"backend": "sim", "models": "stock"},
}

COLUMNS = 32
STEPS = 3


def _around(*edges: int) -> list[int]:
    return [edge + offset for edge in edges for offset in (-2, -1, 0, 1, 2)]


def _kernel(*values: int, exponent: int = 0, shape: tuple[int, ...] = (1,)) -> Kernel:
    return Kernel(mantissa=np.array(values, np.int16).reshape(shape), exponent=exponent)


def _graph(neurons: dict[str, NeuronSpec], coarse: SynapseSpec, fine: SynapseSpec) -> Graph:
    shape = (1, 1, COLUMNS)
    inputs = {name: Population(id=name, shape=shape, neuron=Input(message_bits=16)) for name in ("coarse", "fine")}
    populations = [Population(id=name, shape=shape, neuron=neuron) for name, neuron in neurons.items()]
    return Graph(
        populations=(*inputs.values(), *populations),
        projections=tuple(
            Projection(src=name, dst=p.id, synapse=synapse)
            for p in populations
            for name, synapse in (("coarse", coarse), ("fine", fine))
        ),
        steps=STEPS,
    )


def _inputs(currents: list[int], unit: int) -> dict[str, npt.NDArray[np.int32]]:
    """Messages with coarse * unit + fine = current, the same in every step, neuron by neuron."""
    assert len(currents) <= COLUMNS
    wanted = np.array(currents + [0] * (COLUMNS - len(currents)), np.int64)
    coarse = np.clip(np.round(wanted / unit), -32768, 32767).astype(np.int64)
    fine = wanted - coarse * unit
    assert np.abs(fine).max() < 32768
    frames = {"coarse": coarse, "fine": fine}
    return {n: np.broadcast_to(f, (STEPS, 1, 1, 1, COLUMNS)).astype(np.int32) for n, f in frames.items()}


def _hold(name: str, graph: Graph, inputs: dict[str, npt.NDArray[np.int32]]) -> ReferenceRun:
    run = interpret(graph, inputs)
    if name == "quantised twin":
        torch = pytest.importorskip("torch")
        from training.quantised_twin import QuantisedTwin

        out = QuantisedTwin(graph)({key: torch.from_numpy(array.copy()) for key, array in inputs.items()})
        for key, values in out.items():
            np.testing.assert_array_equal(values.numpy(), run.in_samples(key, run.raw[key]), err_msg=key)
        return run
    if BACKENDS[name]["backend"] == "sim":
        pytest.importorskip("lava")
    trace = lava_runtime.run(graph, inputs, probes=EVERYTHING, **BACKENDS[name])
    assert_trace_agrees(graph, run, trace)
    return run


everywhere = pytest.mark.parametrize("name", [*BACKENDS, "quantised twin"])


@everywhere
def test_current_wraps_and_threshold_is_strict(name: str) -> None:
    """u at +-2**23 (2**23 itself is kept, -2**23 turns), v at the threshold and one below and above it."""
    graph = _graph(
        {
            # v = u = a_in << 6 in every step: fires when a_in > vth_mant.
            "strict": Lif(vth_mant=1000, dv=4095),
            "slow": Lif(vth_mant=100_000, du=0, dv=0),
            "highest": Lif(vth_mant=131_071, du=4094, dv=1),
            "lowest": Lif(vth_mant=0, du=2048, dv=4095, bias_mant=np.array([-1], np.int32)),
        },
        coarse=OneToOne(kernel=_kernel(1, exponent=7)),
        fine=OneToOne(kernel=_kernel(1)),
    )
    run = _hold(name, graph, _inputs(_around(1 << 17, -(1 << 17), 1000, 0, 100_000, -1), 128))
    assert run.events["u wraps"] > 0
    fired = run.in_samples("strict", run.raw["strict"])[0, 0, 0, 0]
    assert fired[10:15].tolist() == [0, 0, 0, 1, 1], "998..1002 against a threshold of 1000"
    u = run.in_samples("strict", run.u["strict"])[0, 0, 0, 0]
    assert u[2] == 1 << 23
    assert u[7] == 1 << 23, "-2**23 turns into +2**23"


@everywhere
def test_voltage_saturates_one_below_the_wrap(name: str) -> None:
    """v is held at +-(2**23 - 1), with the largest threshold just below it."""
    graph = _graph(
        {
            "high": Lif(vth_mant=131_071, du=0, dv=0, bias_mant=np.array([4095], np.int32), bias_exp=7),
            "low": Lif(vth_mant=5, du=0, dv=0, bias_mant=np.array([-4096], np.int32), bias_exp=7),
            "exact": Lif(vth_mant=131_071, dv=0, bias_mant=np.array([1], np.int32)),
        },
        coarse=OneToOne(kernel=_kernel(1, exponent=7)),
        fine=OneToOne(kernel=_kernel(1)),
    )
    run = _hold(name, graph, _inputs(_around((1 << 17) - 1, -(1 << 17) + 1, 1 << 16, -(1 << 16), 43_690, 8190), 128))
    assert run.events["v saturates high"] > 0
    assert run.events["v saturates low"] > 0


@everywhere
def test_convolution_wraps_at_24_bits(name: str) -> None:
    """A Conv's own sum at +-2**23, before the other projection's current is added."""
    kernel = _kernel(-128, 1, exponent=1, shape=(1, 2, 1, 1))
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 1, COLUMNS), neuron=Input(message_bits=16)),
            Population(id="a", shape=(1, 1, COLUMNS), neuron=Lif(vth_mant=70_000)),
            Population(id="y", shape=(1, 1, COLUMNS), neuron=Readout()),
        ),
        projections=tuple(Projection(src="in", dst=dst, synapse=Conv(kernel=kernel)) for dst in ("a", "y")),
        steps=STEPS,
    )
    # -256 * first + 2 * second reaches 2**23 at first = -32768; the wrap on the other side needs second < 0.
    first = np.array([-32768] * 5 + [32767] * 5 + [0] * (COLUMNS - 10))
    second = np.array([-2, -1, 0, 1, 2, *(-128 + k for k in (-2, -1, 0, 1, 2)), *range(COLUMNS - 10)])
    frame = np.stack([first, second])[:, None, :]
    inputs = {"in": np.broadcast_to(frame, (STEPS, 1, 2, 1, COLUMNS)).astype(np.int32)}
    run = _hold(name, graph, inputs)
    row = run.in_samples("y", run.raw["y"])[0, 0, 0, 0]
    assert row[:5].tolist() == [8388604, 8388606, -8388608, -8388606, -8388604]
    assert row[5:10].tolist() == [8388604, 8388606, -8388608, -8388606, -8388604]


@everywhere
def test_currents_beyond_32_bits_lose_their_upper_bits(name: str) -> None:
    """a_in << 6 and its sum with a decayed u leave 32 bits; a Dense, which does not wrap at 24, can deliver that."""
    eye = np.eye(COLUMNS, dtype=np.int16)
    graph = _graph(
        {
            "fresh": Lif(vth_mant=2000),
            "kept": Lif(vth_mant=90_000, du=1, dv=700),
            "y": Readout(bias=np.array([(1 << 31) - 1], np.int32)),
        },
        coarse=Dense(kernel=Kernel(mantissa=eye * 64, exponent=7)),
        fine=Dense(kernel=Kernel(mantissa=eye)),
    )
    run = _hold(name, graph, _inputs(_around(1 << 25, -(1 << 25), 3 << 24, 1 << 26, (1 << 27) - 7, -5), 64 << 7))
    assert run.events["int32 overflows"] > 0
    assert run.events["u beyond 24 bits"] > 0
