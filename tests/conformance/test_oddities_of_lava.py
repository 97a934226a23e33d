"""Where stock Lava's arithmetic leaves the contract of the graph types: each oddity shown, and what the contract says.

Nothing here is met by networks whose sums stay within 30 bits; `stock_processes.check_expressible` keeps random
networks away. What lava-dl's loader does to files is in `test_stock_defects`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    Population,
    Projection,
    Readout,
    Rf,
    Shape,
    Sigma,
    SynapseSpec,
    Wire,
)
from tests.conformance.stock_processes import run_in_lava
from tests.reference import interpret

pytest.importorskip("lava")
pytestmark = pytest.mark.lava

Array = npt.NDArray[Any]


def _both(synapse: SynapseSpec, messages: Array, shape: Shape, **more: Any) -> tuple[list[int], list[int]]:
    """(Lava, interpreter): what `synapse` delivers to one neuron, step by step, for graded `messages` (T,N)."""
    source = (messages.shape[1], 1, 1)
    graph = Graph(
        populations=(
            Population(id="in", shape=source, neuron=Input(message_bits=32)),
            Population(id="y", shape=shape, neuron=Readout()),
        ),
        projections=(Projection(src="in", dst="y", synapse=synapse, **more),),
        timing="as_given",
    )
    inputs = {"in": messages.astype(np.int32).reshape(len(messages), 1, *source)}
    lava = run_in_lava(graph, inputs, len(messages), every=len(messages))
    return lava["y"]["s"].reshape(-1).tolist(), interpret(graph, inputs).raw["y"].reshape(-1).tolist()


def test_a_convolution_beyond_31_bits_is_cast_from_float() -> None:
    """Lava sums a Conv in float64 and casts to int32 before the 24-bit wrap: beyond 2**31 the sum is lost, not wrapped."""
    conv = Conv(kernel=Kernel(mantissa=np.full((1, 1, 1, 1), 3)))
    lava, contract = _both(conv, np.array([[(1 << 29) + 5], [(1 << 30) + 5], [0], [0]]), (1, 1, 1))
    assert contract == [0, 15, 15, 0]
    assert lava[1] == 15
    assert lava[2] != 15


def test_doubled_mixed_weights_overflow_one_bit_earlier() -> None:
    """Mixed weights are even in Lava, so a sum of theirs has 31 bits: 3 << 29 is lost before the exponent halves it."""
    mixed = Dense(kernel=Kernel(mantissa=np.array([[3, -1]])))
    positive = Dense(kernel=Kernel(mantissa=np.array([[3, 1]])))
    messages = np.array([[1 << 29, 0], [0, 0], [0, 0]])
    lava, contract = _both(mixed, messages, (1, 1, 1))
    assert contract == [0, 3 << 29, 0]
    assert lava == [0, -(1 << 29), 0]
    lava, contract = _both(positive, messages, (1, 1, 1))
    assert lava == contract == [0, 3 << 29, 0]


def test_a_delayed_dense_shifts_before_it_wraps() -> None:
    """DelayDense adds in 64 bits and wraps after the right shift, Dense before it: they differ beyond 2**31 only."""
    synapse = Dense(kernel=Kernel(mantissa=np.array([[1, 1, 1, 1]]), exponent=-2))
    messages = np.array([[1 << 30] * 4, [0] * 4, [0] * 4, [0] * 4])
    lava, contract = _both(synapse, messages, (1, 1, 1))
    assert lava == contract == [0, 0, 0, 0]
    lava, contract = _both(synapse, messages, (1, 1, 1), delay=1)
    assert contract == [0, 0, 0, 0]
    assert lava == [0, 0, 1 << 30, 0]


def test_delays_floor_each_step_sent_by_itself() -> None:
    """Two halves that arrive together by different delays are lost, where one sum would keep them: no oddity to avoid,
    but the contract follows Lava."""
    synapse = Dense(kernel=Kernel(mantissa=np.array([[1, 1]]), exponent=-1))
    messages = np.array([[1, 0], [0, 1], [0, 0], [0, 0]])
    lava, contract = _both(synapse, messages, (1, 1, 1), delays=np.array([[1, 0]]))
    assert lava == contract == [0, 0, 0, 0]
    together, contract = _both(synapse, np.array([[1, 1], [0, 0], [0, 0]]), (1, 1, 1))
    assert together == contract == [0, 1, 0]


def test_narrow_ports_widen_to_what_arrives() -> None:
    """RF and LIF declare int16 ports; a port adds up what arrives in the type of what arrives, so nothing is lost."""
    from lava.proc.lif.models import PyLifModelBitAcc
    from lava.proc.rf.models import PyRFModelFixed

    assert PyRFModelFixed.a_real_in.d_type == PyLifModelBitAcc.a_in.d_type == np.int16
    shape = (1, 1, 1)
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input(message_bits=24)),
            Population(id="rf", shape=shape, neuron=Rf(sin=0, cos=4096, vth_mant=0, state_exp=0)),
            Population(id="lif", shape=shape, neuron=Lif(vth_mant=1 << 17)),
        ),
        projections=(
            Projection(src="in", dst="rf", synapse=Wire(), port="re"),
            Projection(src="in", dst="rf", synapse=Wire(), port="im"),
            Projection(src="in", dst="lif", synapse=Wire()),
        ),
        timing="as_given",
    )
    lava = run_in_lava(graph, {"in": np.full((1, 1, 1, 1, 1), 100_000, np.int32)}, 1)
    assert (lava["rf"]["u"].item(), lava["rf"]["v"].item()) == (100_000, 100_000)
    assert lava["lif"]["v"].item() == 100_000 << 6


@pytest.mark.parametrize(("period", "sin", "cos"), [(3, 3192, -1843), (-3, -3192, -1843), (-12, -1843, 3192)])
def test_rotations_keep_their_sign_in_unsigned_variables(period: float, sin: int, cos: int) -> None:
    """sin and cos of a fixed-point RF are declared uint16, but scalars of a model are taken as they are."""
    from lava.proc.rf.models import PyRFModelFixed
    from lava.proc.rf.process import RF

    made = RF(shape=(1,), period=period, alpha=0.1, decay_bits=12, state_exp=6)
    assert PyRFModelFixed.sin_decay.d_type == PyRFModelFixed.cos_decay.d_type == np.uint16
    assert (int(made.sin_decay.init), int(made.cos_decay.init)) == (sin, cos)


def test_a_sigma_sends_zero_as_well() -> None:
    """Lava's messages are dense: a Sigma that holds 0 sends 0, which is nothing sent."""
    graph = Graph(
        populations=(
            Population(id="in", shape=(1, 1, 1), neuron=Input(message_bits=4)),
            Population(id="y", shape=(1, 1, 1), neuron=Sigma()),
        ),
        projections=(Projection(src="in", dst="y", synapse=Wire()),),
        timing="as_given",
        messages="graded",
    )
    inputs = {"in": np.array([3, -3, 0, 5], np.int32).reshape(4, 1, 1, 1, 1)}
    run = interpret(graph, inputs)
    assert run_in_lava(graph, inputs, 4)["y"]["s"].reshape(-1).tolist() == [3, 0, 0, 5]
    assert run.raw["y"].reshape(-1).tolist() == [3, 0, 0, 5]
    assert int(run.spike_counts["y"].sum()) == 2
