"""Real-valued skips and identities of unequal scale are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.errors import ExportError, NotBinaryError  # noqa: E402
from netx_export.passes.check_binary import CheckBinary, nearest_mantissa  # noqa: E402
from netx_export.tracer import trace  # noqa: E402
from tests.unit.netx_export.networks import Conv, Function, Neuron, Norm, Pool, Up, events, wake  # noqa: E402
from tests.unit.netx_export.passes import up_to  # noqa: E402

X = events((3, 2, 2, 8, 8))


def real_skip() -> nn.Module:
    """A U-shaped network whose skip leaves before the neuron."""

    def forward(m: Any, x: Any) -> Any:
        skip = m.norm1(m.conv1(x))
        deep = m.spike2(m.conv2(m.spike1(skip)))
        return m.spike3(m.conv3(torch.cat([m.up(deep), skip], dim=-3)))

    return wake(
        Function(
            forward,
            conv1=Conv(2, 3, 3, padding=1),
            norm1=Norm(3),
            spike1=Neuron(),
            conv2=Conv(3, 4, 3, stride=2, padding=1),
            spike2=Neuron(),
            up=Up(scale_factor=2),
            conv3=Conv(7, 3, 3, padding=1),
            spike3=Neuron(),
        )
    )


def test_a_real_valued_skip_is_refused() -> None:
    with pytest.raises(
        NotBinaryError,
        match=r"Conv 'conv3' reads a real-valued skip: real-valued currents of 'conv1' travelled on the wire.*Only 0/1 spikes cross "
        r"layers on hardware. Nearest spiking form: take it behind neuron 'spike1', so that the skip carries spikes",
    ):
        up_to("check binary", real_skip(), X)


def test_a_sum_of_currents_before_a_padded_convolution_is_refused() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.conv3(m.conv1(x) + m.conv2(x))

    module = Function(
        forward, conv1=Conv(2, 3, 3, padding=1), conv2=Conv(2, 3, 3, padding=1), conv3=Conv(3, 3, 3, padding=1)
    )
    with pytest.raises(NotBinaryError, match=r"'conv3' reads a real-valued skip.*put a spiking neuron behind it"):
        up_to("check binary", module, X)


def test_flattened_and_upsampled_currents_are_refused() -> None:
    flat = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), Neuron())
    with pytest.raises(
        NotBinaryError,
        match=r"Flatten '1' reads a real-valued skip: real-valued currents of '0'.*put a spiking neuron behind it",
    ):
        up_to("check binary", flat, X[0])
    strided = nn.Sequential(Conv(2, 3, 3, stride=2), Up(scale_factor=2), Neuron())
    with pytest.raises(NotBinaryError, match="Upsample '1' reads a real-valued skip: real-valued currents of '0'"):
        up_to("check binary", strided, X)


def test_pools_must_be_or_populations_by_then() -> None:
    graph = trace(nn.Sequential(Conv(2, 3, 1), Neuron(), Pool(2), Conv(3, 3, 1)), X)
    with pytest.raises(ExportError, match="met the MaxPoolNode '2'; turn pools into OR populations first"):
        CheckBinary().requires(graph)


def identity(factor: float) -> nn.Module:
    def forward(m: Any, x: Any) -> Any:
        s = m.spike1(m.conv1(x))
        return m.spike2(factor * s + m.conv2(s))

    return wake(
        Function(forward, conv1=Conv(2, 3, 1), spike1=Neuron(), conv2=Conv(3, 3, 3, padding=1), spike2=Neuron(0.3))
    )


def test_an_additive_identity_of_unequal_scale_is_refused() -> None:
    with pytest.raises(
        NotBinaryError,
        match=r"Projection spike1 -> spike2 .* is an additive identity of unequal scale: its spikes count 0.3, and in the unit that "
        r"all currents into 'spike2' share only m \* 2\*\*e with m in -128..127 can be held exactly. Use 0.30078125, or make the "
        r"factor a trained weight",
    ):
        up_to("check identities", identity(0.3), X)


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.75, -2.0, 127 / 1024])
def test_equal_scales_pass(factor: float) -> None:
    up_to("check identities", identity(factor), X)


@given(st.integers(-127, 127).filter(bool), st.integers(-20, 20))
def test_every_mantissa_is_its_own_nearest(mantissa: int, exponent: int) -> None:
    assert nearest_mantissa(mantissa * 2.0**exponent) == mantissa * 2.0**exponent


def test_nearest_of_others() -> None:
    assert nearest_mantissa(0.3) == 77 / 256
    assert nearest_mantissa(0.0) == 0.0
    assert nearest_mantissa(float("nan")) == 0.0
