"""The fixed-point rules against plain Python integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netx_export.graph import fixedpoint

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
STATE = st.integers(-(1 << 23), 1 << 23)


def wrap32(x: int) -> int:
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def toward_zero(x: int, bits: int) -> int:
    return abs(x) // (1 << bits) * (1 if x >= 0 else -1)


@given(INT32, st.integers(0, 4096))
def test_decay_truncates_toward_zero(state: int, multiplier: int) -> None:
    assert fixedpoint.decay(np.array([state], np.int32), multiplier)[0] == toward_zero(state * multiplier, 12)


@given(st.integers(-(1 << 40), 1 << 40))
def test_conv_wraps_at_24_bits(total: int) -> None:
    wrapped = int(fixedpoint.wrap_conv(np.array([total]))[0])
    assert -(1 << 23) <= wrapped < 1 << 23
    assert (wrapped - total) % (1 << 24) == 0


@given(INT32)
def test_current_is_corrected_once_and_keeps_plus_two_to_the_23(u: int) -> None:
    expected = u
    if u > 1 << 23:
        expected = u - (1 << 24)
    elif u <= -(1 << 23):
        expected = u + (1 << 24)
    assert fixedpoint.wrap_current(np.array([u], np.int32))[0] == expected


def test_the_edges_of_the_current() -> None:
    edges = np.array([1 << 23, (1 << 23) + 1, -(1 << 23), -(1 << 23) + 1], np.int32)
    assert fixedpoint.wrap_current(edges).tolist() == [1 << 23, -(1 << 23) + 1, 1 << 23, -(1 << 23) + 1]


@given(
    u=STATE,
    v=STATE,
    a_in=st.integers(-(1 << 26), 1 << 26),
    du=st.integers(0, 4095),
    dv=st.integers(0, 4095),
    bias=st.integers(-(1 << 19), 1 << 19),
    vth_mant=st.integers(0, (1 << 17) - 1),
)
def test_lif_step(u: int, v: int, a_in: int, du: int, dv: int, bias: int, vth_mant: int) -> None:
    current = wrap32(toward_zero(u * (4096 - (du + 1)), 12) + wrap32(a_in << 6))
    if current > 1 << 23:
        current -= 1 << 24
    elif current <= -(1 << 23):
        current += 1 << 24
    voltage = wrap32(toward_zero(v * (4096 - dv), 12) + current + bias)
    voltage = max(-(1 << 23) + 1, min((1 << 23) - 1, voltage))
    spike = voltage > vth_mant << 6

    def one(x: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array([x], np.int32)

    got_u, got_v, got_s = fixedpoint.lif_step(
        one(u), one(v), one(a_in), du=du, dv=dv, bias=one(bias), vth_mant=vth_mant
    )
    assert (int(got_u[0]), int(got_v[0]), bool(got_s[0])) == (current, 0 if spike else voltage, spike)


def test_bias_exponents_of_both_signs() -> None:
    mantissa = np.array([-5, 5])
    assert fixedpoint.scale_bias(mantissa, 3).tolist() == [-40, 40]
    assert fixedpoint.scale_bias(mantissa, -1).tolist() == [-3, 2]


def test_netx_decay_convention() -> None:
    assert fixedpoint.du_from_netx(4096) == fixedpoint.NO_CURRENT_STATE
    assert fixedpoint.netx_from_du(fixedpoint.du_from_netx(1024)) == 1024
