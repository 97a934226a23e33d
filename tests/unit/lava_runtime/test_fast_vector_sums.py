"""Packed weight rows and the vector kernels under the engine, against plain numpy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from lava_runtime.engine.neuron_kernels import lif_pixel, or_pixel
from lava_runtime.engine.synapse_kernels import add_plain
from lava_runtime.engine.vector_sums import LANES, ROWS_PER_FLUSH, copy_shifted, pack_rows, padded, units
from netx_export.graph import fixedpoint


@numba.njit  # type: ignore[misc]
def total_of(weights: Any, row_length: int, rows: Any, count: int, total: Any) -> None:
    add_plain(weights, 0, row_length, rows, count, total)


@numba.njit  # type: ignore[misc]
def copy_of(source: Any, begin: int, length: int, shift: int, target: Any, at: int) -> None:
    copy_shifted(source, begin, length, shift, target, at)


@numba.njit  # type: ignore[misc]
def lif_of(current: Any, u: Any, v: Any, bias: Any, mu: int, mv: int, vth: int, events: Any) -> int:
    return lif_pixel(current, u, v, bias, current.size, mu, mv, vth, events, 3, 1000)  # type: ignore[no-any-return]


@numba.njit  # type: ignore[misc]
def or_of(current: Any, events: Any) -> int:
    return or_pixel(current, current.size, events, 0, 0)  # type: ignore[no-any-return]


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 40, 64, 93, 112, 128, 250, 512, 891])
@pytest.mark.parametrize("count", [0, 1, ROWS_PER_FLUSH - 1, ROWS_PER_FLUSH, 3 * ROWS_PER_FLUSH + 7])
def test_sums_of_packed_rows(channels: int, count: int) -> None:
    rng = np.random.default_rng(channels)
    weights = rng.integers(-128, 128, (50, channels)).astype(np.int16)
    rows = rng.integers(0, 50, count + LANES).astype(np.int32)
    total = np.full(padded(channels), 99, np.int32)
    packed = pack_rows(weights)
    total_of(packed.reshape(-1), packed.shape[1], rows, count, total)
    np.testing.assert_array_equal(total[:channels], weights[rows[:count]].astype(np.int64).sum(axis=0))
    assert not total[channels:].any()


@pytest.mark.parametrize("extreme", [-128, 127])
def test_sums_of_extreme_weights_do_not_overflow_16_bits(extreme: int) -> None:
    packed = pack_rows(np.full((1, 112), extreme, np.int16))
    rows = np.zeros(1000 + LANES, np.int32)
    total = np.empty(112, np.int32)
    total_of(packed.reshape(-1), packed.shape[1], rows, 1000, total)
    assert (total == 1000 * extreme).all()


def test_units_fill_padded_rows() -> None:
    for channels in range(1, 400):
        assert sum(units(channels)) == padded(channels) >= channels


@pytest.mark.parametrize("length", [0, 1, 16, 17, 100])
def test_runs_are_copied_with_a_shift(length: int) -> None:
    source = np.arange(200, dtype=np.int32)
    target = np.zeros(300, np.int32)
    copy_of(source, 7, length, 1000, target, 20)
    np.testing.assert_array_equal(target[20 : 20 + length], np.arange(1007, 1007 + length))
    assert not target[:20].any()
    assert not target[20 + length + LANES :].any()


@pytest.mark.parametrize("wide", [False, True], ids=["24-bit states", "any 32-bit state"])
def test_lif_over_the_whole_range_of_its_states(wide: bool) -> None:
    rng = np.random.default_rng(30)
    limit = 1 << (31 if wide else 23)
    for _ in range(200):
        u = rng.integers(-limit, limit, 64).astype(np.int32)
        v = rng.integers(1 - (1 << 23), 1 << 23, 64).astype(np.int32)
        current = rng.integers(-limit, limit, 64).astype(np.int32) >> (0 if wide else 6)
        bias = rng.integers(-(1 << 19), 1 << 19, 64).astype(np.int32)
        du, dv, vth = (int(rng.integers(0, high)) for high in (4096, 4096, 1 << 17))
        want_u, want_v, want_s = fixedpoint.lif_step(u, v, current, du=du, dv=dv, bias=bias, vth_mant=vth)
        events = np.full(100, -1, np.int32)
        multipliers = fixedpoint.current_multiplier(du), fixedpoint.voltage_multiplier(dv)
        end = lif_of(current, u, v, bias, *multipliers, vth << 6, events)
        np.testing.assert_array_equal(u, want_u)
        np.testing.assert_array_equal(v, want_v)
        np.testing.assert_array_equal(events[3:end], 1000 + np.flatnonzero(want_s))
        # Not a slot before or behind the claimed ones is touched.
        assert (events[:3] == -1).all()
        assert (events[end:] == -1).all()


def test_or_appends_positive_currents() -> None:
    current = np.array([5, 0, -1, 1] * 8, np.int32)
    events = np.full(40, -1, np.int32)
    assert or_of(current, events) == 16
    np.testing.assert_array_equal(events[:16], np.flatnonzero(current > 0))
    assert (events[16:] == -1).all()
