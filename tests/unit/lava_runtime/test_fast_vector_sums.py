"""Packed weight rows and the vector kernels under the engine, against plain numpy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from lava_runtime.engine.neuron_kernels import lif_tile, lif_tile_without_u, or_tile, readout_tile
from lava_runtime.engine.synapse_kernels import add_plain
from lava_runtime.engine.vector_sums import (
    LANES,
    ROWS_PER_FLUSH,
    append_active,
    copy_shifted,
    pack_rows,
    padded,
    units,
)
from netx_export.graph import fixedpoint


@numba.njit  # type: ignore[misc]
def total_of(weights: Any, row_length: int, rows: Any, count: int, total: Any) -> None:
    add_plain(weights, 0, row_length, rows, count, total)


@numba.njit  # type: ignore[misc]
def copy_of(source: Any, begin: int, length: int, shift: int, target: Any, at: int) -> None:
    copy_shifted(source, begin, length, shift, target, at)


@numba.njit  # type: ignore[misc]
def lif_of(
    current: Any, u: Any, v: Any, bias: Any, counts: Any, out: Any, mu: int, mv: int, vth: int, with_u: bool
) -> int:
    groups = current.size // 16
    arrays = current.ctypes.data, u.ctypes.data, v.ctypes.data, bias.ctypes.data
    behind = counts.ctypes.data, out.ctypes.data
    if with_u:
        return lif_tile(*arrays, 64, *behind, 20, groups, 6, mu, mv, vth)  # type: ignore[no-any-return]
    return lif_tile_without_u(*arrays, 64, *behind, 20, groups, 6, mu, mv, vth)  # type: ignore[no-any-return]


@numba.njit  # type: ignore[misc]
def or_of(current: Any, counts: Any, out: Any) -> int:
    return or_tile(current.ctypes.data, counts.ctypes.data, out.ctypes.data, 16, current.size // 16)  # type: ignore[no-any-return]


@numba.njit  # type: ignore[misc]
def readout_of(current: Any, bias: Any, out: Any, shift: int) -> None:
    readout_tile(current.ctypes.data, bias.ctypes.data, 0, out.ctypes.data, 64, current.size // 16, shift)


@numba.njit  # type: ignore[misc]
def active_of(source: Any, channels: int, first: int, events: Any, slot: int) -> int:
    return append_active(source.ctypes.data, channels, first, events.ctypes.data, slot)  # type: ignore[no-any-return]


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
        if not wide:
            du = int(rng.choice([du, fixedpoint.NO_CURRENT_STATE]))
            want_u, want_v, want_s = fixedpoint.lif_step(u, v, current, du=du, dv=dv, bias=bias, vth_mant=vth)
        multipliers = fixedpoint.current_multiplier(du), fixedpoint.voltage_multiplier(dv)
        counts, out = np.full(64, 3, np.int32), np.full(80, 9, np.uint8)
        with_u = multipliers[0] != 0
        fired = lif_of(current, u, v, bias, counts, out, *multipliers, vth << 6, with_u)
        if with_u:
            np.testing.assert_array_equal(u, want_u)
        np.testing.assert_array_equal(v, want_v)
        assert fired == want_s.sum()
        np.testing.assert_array_equal(counts, 3 + want_s)
        # Groups of 16 lie 20 bytes apart; what is between them stays.
        np.testing.assert_array_equal(out.reshape(4, 20)[:, :16].reshape(-1), want_s)
        assert (out.reshape(4, 20)[:, 16:] == 9).all()


def test_or_fires_on_positive_currents() -> None:
    current = np.array([5, 0, -1, 1] * 8, np.int32)
    counts, out = np.zeros(32, np.int32), np.full(32, 9, np.uint8)
    assert or_of(current, counts, out) == 16
    np.testing.assert_array_equal(out, current > 0)
    np.testing.assert_array_equal(counts, current > 0)


def test_readouts_wrap_at_32_bits() -> None:
    current = np.array([5, -7, 1 << 30, -(1 << 30)] * 8, np.int32)
    bias, out = np.full(16, 3, np.int32), np.zeros(32, np.int32)
    readout_of(current, bias, out, 2)
    np.testing.assert_array_equal(out, fixedpoint.wrap_int32((current.astype(np.int64) << 2) + 3))


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 64])
def test_active_channels_are_listed(channels: int) -> None:
    source = (np.random.default_rng(channels).random(channels + LANES) < 0.4).astype(np.uint8)
    events = np.full(100, -1, np.int32)
    end = active_of(source, channels, 1000, events, 3)
    np.testing.assert_array_equal(events[3:end], 1000 + np.flatnonzero(source[:channels]))
    # Not a slot before or behind the claimed ones is touched.
    assert (events[:3] == -1).all()
    assert (events[end:] == -1).all()
