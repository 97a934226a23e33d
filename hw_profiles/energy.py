"""What a run costs: a pure function of (Trace, Mapping, HardwareProfile).

Chips:        E = sum over operations of count * price, each price with its grade and source; leakage apart.
Algorithmic:  E = E_AC * AC + E_MAC * MAC, additions for projections that read spikes, multiply-additions for graded input.
An operation without a published price is listed as unpriced. A total whose main term, the synaptic operation, has no
price is refused. Energies are in pJ for the whole run; 1 mW * 1 ns = 1 pJ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.counters import Counters, count, count_arithmetic
from hw_profiles.latency import StepTime, step_time
from hw_profiles.mapping import Mapping
from hw_profiles.profile import Grade, HardwareProfile, Quantity
from lava_runtime.trace import Trace
from netx_export.errors import ProfileError

Floats = npt.NDArray[np.float64]

HOST = "x86 processors and host input/output"


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
class Estimate:
    """Dynamic energy of a run by one estimator, in pJ, per line, per core and per population.

    `total` is None where it is refused, and `refusal` says why. `static` is leakage over the run's time, a line of its
    own. `grade` is the lowest grade among the lines.
    """

    label: str
    lines: tuple[EnergyLine, ...]
    unpriced: tuple[Unpriced, ...]
    total: tuple[float, float] | None
    refusal: str
    grade: Grade | None
    static: EnergyLine | None
    per_core: tuple[tuple[float, float], ...]
    per_population: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costing:
    """Everything a run costs on a profile: estimates (several precisions for an algorithmic profile), step time."""

    counters: Counters
    estimates: tuple[Estimate, ...]
    step: StepTime
    assumptions: tuple[str, ...]


def price(trace: Trace, mapping: Mapping, profile: HardwareProfile) -> Costing:
    """Counters, energy and step time of `trace` on `mapping` with the prices of `profile`.

    ProfileError where the profile's cores are not those of the mapping; RunError for a trace of another network.
    """
    check_profile(mapping, profile)
    counters = count(trace, mapping)
    step = step_time(counters, mapping, profile)
    if profile.kind == "algorithmic":
        estimates = tuple(
            _arithmetic_estimate(trace, mapping, profile, precision) for precision in profile.costs.arithmetic
        )
        return Costing(counters=counters, estimates=estimates, step=step, assumptions=_ARITHMETIC_ASSUMPTIONS)
    estimate = _chip_estimate(counters, mapping, profile, step)
    return Costing(counters=counters, estimates=(estimate,), step=step, assumptions=_CHIP_ASSUMPTIONS)


def check_profile(mapping: Mapping, profile: HardwareProfile) -> None:
    """ProfileError where `profile` has other cores or sits on another board than the one of the mapping."""
    mapped = mapping.profile
    if profile.name != mapped.name and profile.topology != mapped.topology:
        raise ProfileError(
            f"Profile {profile.name!r} has other cores than {mapped.name!r}, for which the network was mapped; "
            "map the network for the profile you price it with."
        )
    if profile.name == mapped.name and profile.board != mapped.board:
        raise ProfileError(
            f"Profile {profile.name!r} is on board {profile.board!r}, the network was mapped on {mapped.board!r}; "
            "map the network for the board you price it on."
        )


# -- chips ---------------------------------------------------------------------------------------------------------

_CHIP_ASSUMPTIONS = (
    "A spike is one message to each core where it has a synapse; XY routes over the placement of the mapping.",
    "A message inside a tile pays the within-tile price, any other message pays for its hops.",
    "Neuron updates: low prices only neurons that spiked as active, high prices every update as active.",
    "Synaptic operations count the synapses a spike really reaches, borders included; zero weights are not culled.",
    "Spikes outside the samples' windows (pipeline warm-up and drain) are not priced.",
    "Loading the network and resetting states between samples are not modelled.",
    f"{HOST.capitalize()}: not modelled.",
)

_SIMPLE_TERMS = (
    ("synaptic_operation", "synaptic operations", "syn_ops"),
    ("message_out", "messages out of cores", "axon_out"),
    ("message_in", "messages into cores", "spikes_in"),
    ("message_within_tile", "messages within a tile", "within_tile"),
    ("hop_east_west", "hops east-west", "hops_ew"),
    ("hop_north_south", "hops north-south", "hops_ns"),
    ("chip_crossing", "chip borders crossed", "chip_crossings"),
)


def _line(term: str, label: str, counted: float, low: float, high: float, prices: tuple[Quantity, ...]) -> EnergyLine:
    return EnergyLine(
        term=term,
        label=label,
        count=counted,
        low=low,
        high=high,
        price=" / ".join(str(entry) for entry in prices),
        grade=_lowest([entry.grade for entry in prices]),
        basis=" / ".join(dict.fromkeys(entry.basis for entry in prices)),
        source="; ".join(dict.fromkeys(entry.source for entry in prices)),
        note="; ".join(dict.fromkeys(entry.note for entry in prices if entry.note)),
    )


def _lowest(grades: list[Grade]) -> Grade:
    return max(grades, key="HML".index)


def _chip_estimate(counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime) -> Estimate:
    prices = profile.costs.energy
    lines: list[EnergyLine] = []
    unpriced: list[Unpriced] = []
    low, high = np.zeros(len(mapping.slices)), np.zeros(len(mapping.slices))

    def add(
        term: str, label: str, counted: int, energies: tuple[Floats, Floats] | None, used: tuple[Quantity, ...]
    ) -> None:
        if energies is None:
            if counted or term == "synaptic_operation":
                unpriced.append(Unpriced(label=label, count=float(counted), reason="no published price"))
            return
        lines.append(_line(term, label, counted, float(energies[0].sum()), float(energies[1].sum()), used))
        np.add(low, energies[0], out=low)
        np.add(high, energies[1], out=high)

    def add_simple(term: str, label: str, name: str) -> None:
        counted, found = counters.by_slice[name], prices.get(term)
        energies = None if found is None else (counted * found.low, counted * found.high)
        add(term, label, int(counted.sum()), energies, () if found is None else (found,))

    add_simple(*_SIMPLE_TERMS[0])
    updates, spiked = counters.by_slice["dendrite_updates"], counters.by_slice["active_updates"]
    active, inactive = prices.get("neuron_update_active"), prices.get("neuron_update_inactive")
    if active is not None and inactive is not None:
        bounds = (spiked * active.low + (updates - spiked) * inactive.low, updates * active.high)
        add("neuron_update", "neuron updates", int(updates.sum()), bounds, (inactive, active))
    else:
        add_simple("neuron_update", "neuron updates", "dendrite_updates")
    for simple in _SIMPLE_TERMS[1:]:
        add_simple(*simple)
    unpriced.append(Unpriced(label=HOST, count=None, reason="not modelled"))

    static = _leakage(counters, mapping, profile, step)
    if static is None:
        unpriced.append(
            Unpriced(
                label="leakage",
                count=None,
                reason="no published power" if "leakage" not in profile.costs.power else "needs a step time",
            )
        )
    priced = "synaptic_operation" in prices
    return Estimate(
        label="dynamic",
        lines=tuple(lines),
        unpriced=tuple(unpriced),
        total=(float(low.sum()), float(high.sum())) if priced else None,
        refusal=""
        if priced
        else f"{profile.name}: nobody has published the energy of a synaptic operation, so no total is given.",
        grade=_lowest([line.grade for line in lines]) if lines else None,
        static=static,
        per_core=_pairs(_by_core(low, mapping), _by_core(high, mapping)) if priced else (),
        per_population=_by_population(low, high, mapping) if priced else {},
    )


def _leakage(counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime) -> EnergyLine | None:
    power = profile.costs.power.get("leakage")
    if power is None or step.total is None:
        return None
    steps = counters.steps * counters.samples
    low, high = (
        mapping.chips * bound * time * steps for bound, time in zip((power.low, power.high), step.total, strict=True)
    )
    return _line("leakage", f"leakage of {mapping.chips} chip(s)", mapping.chips, low, high, (power,))


def _by_core(values: Floats, mapping: Mapping) -> Floats:
    found = np.zeros(mapping.cores)
    np.add.at(found, [entry.core for entry in mapping.slices], values)
    return found


def _by_population(low: Floats, high: Floats, mapping: Mapping) -> dict[str, tuple[float, float]]:
    found = {p.id: (0.0, 0.0) for p in mapping.graph.populations if mapping.by_population[p.id]}
    for entry, a, b in zip(mapping.slices, low, high, strict=True):
        so_far = found[entry.population]
        found[entry.population] = (so_far[0] + float(a), so_far[1] + float(b))
    return found


def _pairs(low: Floats, high: Floats) -> tuple[tuple[float, float], ...]:
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))


# -- arithmetic ----------------------------------------------------------------------------------------------------

_ARITHMETIC_ASSUMPTIONS = (
    "Arithmetic of synapses only: no neuron updates, no memory traffic, no messages, no leakage, no cores.",
    "AC are event-exact: every spike counts the synapses it really reaches, borders included.",
    "Projections that read graded input count a MAC for every tap inside the borders at every step.",
    "Folded batch norm and merged convolutions count once, as they are exported; delays cost nothing.",
)


def arithmetic_energy(ac: float, mac: float, profile: HardwareProfile, precision: str = "fp32") -> tuple[float, float]:
    """E_AC * ac + E_MAC * mac in pJ, (low, high). Source: the profile; ProfileError where it has no such precision."""
    if precision not in profile.costs.arithmetic:
        raise ProfileError(
            f"Profile {profile.name!r} has no arithmetic prices for {precision!r}; "
            f"choose one of {', '.join(profile.costs.arithmetic) or 'an algorithmic profile'}."
        )
    prices = profile.costs.arithmetic[precision]
    add, multiply = prices["accumulate"], prices["multiply_accumulate"]
    return (ac * add.low + mac * multiply.low, ac * add.high + mac * multiply.high)


def _arithmetic_estimate(trace: Trace, mapping: Mapping, profile: HardwareProfile, precision: str) -> Estimate:
    found = count_arithmetic(trace, mapping.graph)
    prices = profile.costs.arithmetic[precision]
    per_population = {p.id: (0.0, 0.0) for p in mapping.graph.populations if mapping.by_population[p.id]}
    for entry in found:
        low, high = arithmetic_energy(entry.ac, entry.mac, profile, precision)
        so_far = per_population[entry.target]
        per_population[entry.target] = (so_far[0] + low, so_far[1] + high)
    lines: list[EnergyLine] = []
    for term, label, counted in (
        ("accumulate", "additions (AC)", sum(entry.ac for entry in found)),
        ("multiply_accumulate", "multiply-additions (MAC)", sum(entry.mac for entry in found)),
    ):
        entry_price = prices[term]
        if counted:
            low, high = counted * entry_price.low, counted * entry_price.high
            lines.append(_line(term, label, counted, low, high, (entry_price,)))
    total = arithmetic_energy(sum(e.ac for e in found), sum(e.mac for e in found), profile, precision)
    return Estimate(
        label=precision,
        lines=tuple(lines),
        unpriced=(
            Unpriced(
                label="neuron updates",
                count=float(sum(trace.neuron_updates(mapping.graph).values())),
                reason="outside this estimator",
            ),
            Unpriced(label="memory traffic, messages and leakage", count=None, reason="outside this estimator"),
        ),
        total=total,
        refusal="",
        grade=_lowest([line.grade for line in lines]) if lines else None,
        static=None,
        per_core=(total,),
        per_population=per_population,
    )
