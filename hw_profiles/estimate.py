"""What an estimate says: lines with their prices and evidence, what has no price, and who caused what."""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.profile import Grade, Quantity

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyLine:
    """One priced kind of operation: `count` operations of the run cost low..high pJ."""

    term: str
    label: str
    count: float
    low: float
    high: float
    price: str
    grade: Grade
    basis: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """An operation that happened `count` times and whose price nobody published; count is None where not modelled."""

    label: str
    count: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionEnergy:
    """Synaptic operations of one projection over the run, and what they cost in pJ; None without a price."""

    projection: str
    source: str
    target: str
    synapse: str
    syn_ops: int
    energy: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEnergy:
    """Messages from one population to another over the run, their hops, and what both cost in pJ; None without a price."""

    source: str
    target: str
    messages: int
    within_tile: int
    hops_ew: int
    hops_ns: int
    chip_crossings: int
    energy: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Dynamic energy of a run by one estimator, in pJ, per line, core, population, projection and route.

    `total` is None where it is refused, and `refusal` says why. `static` is leakage over the run's time, a line of its
    own; so is what `apart` holds (x86, host). `grade` is the lowest grade among the lines. `population_terms` divides
    each population's energy over the terms of `lines`.
    """

    label: str
    lines: tuple[EnergyLine, ...]
    unpriced: tuple[Unpriced, ...]
    total: tuple[float, float] | None
    refusal: str
    grade: Grade | None
    static: EnergyLine | None
    apart: tuple[EnergyLine, ...]
    per_core: tuple[Range, ...]
    per_population: dict[str, Range]
    population_terms: dict[str, dict[str, Range]]
    per_projection: tuple[ProjectionEnergy, ...]
    per_route: tuple[RouteEnergy, ...]


def priced_line(
    term: str, label: str, counted: float, low: float, high: float, prices: tuple[Quantity, ...]
) -> EnergyLine:
    """A line with the evidence of its prices."""
    return EnergyLine(
        term=term,
        label=label,
        count=counted,
        low=low,
        high=high,
        price=" / ".join(str(entry) for entry in prices),
        grade=lowest_grade([entry.grade for entry in prices]),
        basis=" / ".join(dict.fromkeys(entry.basis for entry in prices)),
        source="; ".join(dict.fromkeys(entry.source for entry in prices)),
        note="; ".join(dict.fromkeys(entry.note for entry in prices if entry.note)),
    )


def lowest_grade(grades: list[Grade]) -> Grade:
    """The worst of some grades."""
    return max(grades, key="HML".index)
