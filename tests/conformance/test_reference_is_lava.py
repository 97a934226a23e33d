"""The interpreter against stock `lava.proc` processes, wired by hand: what defines the truth is itself held to Lava.

Nothing of `lava_runtime` takes part here, so an error in our own lowering cannot hide an error in the interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection
from tests.conformance.stock_processes import compare
from tests.reference import interpret

pytest.importorskip("lava")
pytestmark = pytest.mark.lava


def _conv(rng: np.random.Generator, shape: tuple[int, ...], exponent: int, **geometry: Any) -> Conv:
    return Conv(kernel=Kernel(mantissa=rng.integers(-128, 128, shape, np.int16), exponent=exponent), **geometry)


def _lif(rng: np.random.Generator, bias_shape: tuple[int, ...], **values: Any) -> Lif:
    return Lif(bias_mant=rng.integers(-4096, 4096, bias_shape, np.int32), **values)


def test_convolutions_into_staggered_lifreset_agree_over_three_samples() -> None:
    """Stride, padding, dilation, groups and an oblong kernel; wraps of u and saturation of v; samples back to back."""
    rng = np.random.default_rng(11)
    steps = 3
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 6, 5), neuron=Input()),
            Population(id="a", shape=(4, 6, 5), neuron=_lif(rng, (4,), vth_mant=9000, du=30, dv=40, bias_exp=7)),
            Population(id="b", shape=(2, 3, 3), neuron=_lif(rng, (2, 3, 3), vth_mant=100000, du=0, dv=0, bias_exp=6)),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=_conv(rng, (4, 2, 3, 5), 7, padding=(2, 2), dilation=(2, 1))),
            Projection(src="a", dst="b", synapse=_conv(rng, (2, 2, 3, 3), 7, stride=(2, 2), padding=(1, 1), groups=2)),
        ),
        steps=steps,
    )
    run = compare(graph, {"in": (rng.random((steps, 3, 2, 6, 5)) < 0.5).astype(np.int32)})
    assert run.events["u wraps"] > 0
    assert run.events["v saturates high"] > 0
    assert run.events["v saturates low"] > 0


def test_graded_convolution_wraps_at_24_bits_as_in_lava() -> None:
    """Two inputs, one of 16-bit messages, into one population: the sum wraps per Conv, then the currents add."""
    rng = np.random.default_rng(2)
    graph = Graph(
        populations=(
            Population(id="x", shape=(1, 4, 6), neuron=Input(message_bits=16)),
            Population(id="y", shape=(3, 4, 6), neuron=Input()),
            Population(id="a", shape=(3, 4, 6), neuron=_lif(rng, (3,), vth_mant=50000, du=4095, dv=100, bias_exp=0)),
            Population(id="b", shape=(2, 4, 5), neuron=_lif(rng, (2,), vth_mant=20000, du=4094, dv=4095, bias_exp=7)),
        ),
        projections=(
            Projection(src="x", dst="a", synapse=_conv(rng, (3, 1, 2, 2), 7, padding=(1, 1), dilation=(2, 2))),
            Projection(src="y", dst="a", synapse=_conv(rng, (3, 3, 1, 3), 5, padding=(0, 1))),
            Projection(src="a", dst="b", synapse=_conv(rng, (2, 3, 1, 2), 7)),
        ),
        timing="aligned",
        steps=4,
    )
    inputs = {
        "x": rng.integers(-32768, 32768, (4, 2, 1, 4, 6), dtype=np.int32),
        "y": (rng.random((4, 2, 3, 4, 6)) < 0.4).astype(np.int32),
    }
    run = compare(graph, inputs)
    assert run.events["conv wraps"] > 20


def test_conv_wraps_by_spikes_alone_and_two_convs_overflow_the_current() -> None:
    """600 spikes through weights near 127 << 7 exceed 2**23; six such sums shifted left by 6 leave 32 bits."""
    rng = np.random.default_rng(3)
    kernel = Kernel(
        mantissa=np.concatenate([rng.integers(113, 120, (1, 24, 5, 5)), rng.integers(-128, 128, (1, 24, 5, 5))]),
        exponent=7,
    )
    graph = Graph(
        populations=(
            Population(id="in", shape=(24, 6, 6), neuron=Input()),
            Population(id="a", shape=(2, 2, 2), neuron=_lif(rng, (2,), vth_mant=3000, du=7, dv=9, bias_exp=7)),
        ),
        projections=tuple(Projection(src="in", dst="a", synapse=Conv(kernel=kernel), port=str(k)) for k in range(6)),
        steps=4,
    )
    run = compare(graph, {"in": (rng.random((4, 2, 24, 6, 6)) < 0.985).astype(np.int32)})
    assert run.events["conv wraps by spikes"] > 0
    assert run.events["int32 overflows"] > 0
    assert run.events["u beyond 24 bits"] > 0


@pytest.mark.parametrize("message_bits", [0, 8])
def test_dense_into_lif_agrees_without_resets(message_bits: int) -> None:
    """Dense has no 24-bit wrap; a plain LIF starts at zero and is never reset."""
    rng = np.random.default_rng(4 + message_bits)
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 3, 4), neuron=Input(message_bits=message_bits)),
            Population(id="a", shape=(3, 2, 2), neuron=_lif(rng, (3, 2, 2), vth_mant=40000, du=100, dv=64, bias_exp=7)),
            Population(id="b", shape=(5, 1, 1), neuron=_lif(rng, (5,), vth_mant=8000, du=4095, dv=0, bias_exp=6)),
        ),
        projections=(
            Projection(
                src="in",
                dst="a",
                synapse=Dense(kernel=Kernel(mantissa=rng.integers(-128, 128, (12, 24), np.int16), exponent=7)),
            ),
            Projection(
                src="a",
                dst="b",
                synapse=Dense(kernel=Kernel(mantissa=rng.integers(-128, 128, (5, 12), np.int16), exponent=0)),
            ),
        ),
        timing="as_given",
        steps=12,
    )
    shape = (12, 1, 2, 3, 4)
    data = rng.integers(-128, 128, shape) if message_bits else rng.random(shape) < 0.4
    run = compare(graph, {"in": data.astype(np.int32)})
    assert run.events["u wraps"] > 0


def test_sparse_into_lif_agrees_with_the_same_dense() -> None:
    """Lava's Sparse computes what its Dense computes, so one synapse type of ours may be lowered to either."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF
    from lava.proc.sparse.process import Sparse
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(9)
    mantissa = rng.integers(-128, 128, (9, 14)) * (rng.random((9, 14)) < 0.5)
    neuron = _lif(rng, (9,), vth_mant=30000, du=50, dv=3, bias_exp=5)
    graph = Graph(
        populations=(
            Population(id="in", shape=(14, 1, 1), neuron=Input()),
            Population(id="a", shape=(9, 1, 1), neuron=neuron),
        ),
        projections=(Projection(src="in", dst="a", synapse=Dense(kernel=Kernel(mantissa=mantissa, exponent=6))),),
        timing="as_given",
        steps=15,
    )
    spikes = (rng.random((15, 1, 14, 1, 1)) < 0.4).astype(np.int32)
    reference = interpret(graph, {"in": spikes})

    source = Source(data=spikes[:, 0, :, 0, 0].T)
    sparse = Sparse(weights=csr_matrix(mantissa * 2), weight_exp=5)
    lif = LIF(
        shape=(9,),
        vth=neuron.vth_mant,
        du=neuron.du,
        dv=neuron.dv,
        bias_mant=neuron.bias_mant,
        bias_exp=neuron.bias_exp,
    )
    sink = Sink(shape=(9,), buffer=15)
    source.s_out.connect(sparse.s_in)
    sparse.a_out.connect(lif.a_in)
    lif.s_out.connect(sink.a_in)
    try:
        lif.run(condition=RunSteps(num_steps=15), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        found, v = sink.data.get().T, lif.v.get().copy()
    finally:
        lif.stop()
    np.testing.assert_array_equal(found, reference.raw["a"][:, :, 0, 0])
    np.testing.assert_array_equal(v, reference.v["a"][-1, :, 0, 0])
    assert found.sum() > 0
