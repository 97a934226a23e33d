"""Numbers as people read them: 3.1 nJ, 152.8 us, 2.3 M, 1.2-1.9 uJ."""

from __future__ import annotations

from collections.abc import Sequence

_ENERGY = ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ"))
_TIME = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))
_COUNT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def _scaled(low: float, high: float, scale: Sequence[tuple[float, str]]) -> str:
    largest = max(abs(low), abs(high))
    factor, unit = next(((f, u) for f, u in scale if largest >= f * 0.9995), scale[-1])
    numbers = [_digits(low / factor)]
    if low != high and _digits(high / factor) != numbers[0]:
        numbers.append(_digits(high / factor))
    return " ".join(part for part in ("-".join(numbers), unit) if part)


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def format_energy(low: float, high: float | None = None) -> str:
    """pJ as text in the unit that fits; a range where low and high differ."""
    return _scaled(low, low if high is None else high, _ENERGY)


def format_time(low: float, high: float | None = None) -> str:
    """ns as text in the unit that fits; a range where low and high differ."""
    return _scaled(low, low if high is None else high, _TIME)


def format_count(value: float) -> str:
    """A count with a thousands prefix: 2.31 M."""
    return _scaled(value, value, _COUNT)
