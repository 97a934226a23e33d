"""Lava's integer rules on plain Python integers."""

from __future__ import annotations


def wrap24(x: int) -> int:
    """A 24-bit accumulator: x modulo 2**24 into [-2**23, 2**23)."""
    return (x + 8388608) % 16777216 - 8388608


def wrap32(x: int) -> int:
    """Two's complement with 32 bits."""
    return (x + 2147483648) % 4294967296 - 2147483648


def toward_zero(x: int, bits: int) -> int:
    """sign(x) * (|x| >> bits)."""
    return -((-x) >> bits) if x < 0 else x >> bits


def saturated(x: int) -> int:
    """x held within +-(2**23 - 1)."""
    if x > 8388607:
        return 8388607
    if x < -8388607:
        return -8388607
    return x
