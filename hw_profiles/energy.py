"""What a run costs: a pure function of (Trace, Mapping, HardwareProfile).

Chips:        E = sum over operations of count * price, each price with its grade and source; leakage apart.
Algorithmic:  E = E_AC * AC + E_MAC * MAC, additions for projections that read spikes, multiply-additions for graded input.
An operation without a published price is listed as unpriced. A total whose main term, the synaptic operation, has no
price is refused. Operations belong to projections, messages and their hops to routes (pairs of populations), updates to
populations; together they are the total. Energies are in pJ for the whole run; 1 mW * 1 ns = 1 pJ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw_profiles.counters import Counters, count, count_arithmetic
from hw_profiles.latency import StepTime, operation_prices, step_time, update_terms
from hw_profiles.mapping import Mapping
from hw_profiles.probes import StepCounts, count_steps, has_rasters
from hw_profiles.profile import Grade, HardwareProfile, Quantity
from hw_profiles.tally import ROUTE_NAMES, Wiring
from lava_runtime.trace import Trace
from netx_export.errors import ProfileError
from netx_export.graph import Dense, Input, Sparse, Wire

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]

APART = (("x86", "x86 processors"), ("host", "host input and output"))
"""Power that is no part of the cores: its key in a profile, and its name."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Costing:
    """Everything a run costs on a profile: estimates (several precisions for an algorithmic profile), step time.

    `steps` holds the counts of every step, None where the run was not probed.
    """

    counters: Counters
    steps: StepCounts | None
    estimates: tuple[Estimate, ...]
    step: StepTime
    assumptions: tuple[str, ...]


def price(trace: Trace, mapping: Mapping, profile: HardwareProfile, probed: StepCounts | None = None) -> Costing:
    """Counters, energy and step time of `trace` on `mapping` with the prices of `profile`.

    `probed` are the steps of the same run; a trace with all rasters is probed here. ProfileError where the profile's
    cores are not those of the mapping; RunError for a trace of another network, or steps of another run.
    """
    check_profile(mapping, profile)
    wiring = Wiring.of(mapping)
    counters = count(trace, mapping, wiring)
    if probed is None and profile.topology is not None and has_rasters(trace, mapping.graph):
        probed = count_steps(trace, mapping, wiring)
    if probed is not None:
        probed.check(counters)
    step = step_time(counters, mapping, profile, probed, depth=trace.schedule.latency)
    if profile.kind == "algorithmic":
        estimates = tuple(
            _arithmetic_estimate(trace, mapping, profile, precision) for precision in profile.costs.arithmetic
        )
        assumptions: tuple[str, ...] = _ARITHMETIC_ASSUMPTIONS
    else:
        estimates = (_chip_estimate(counters, mapping, profile, step),)
        assumptions = (*_CHIP_ASSUMPTIONS, *_wires(mapping))
    return Costing(counters=counters, steps=probed, estimates=estimates, step=step, assumptions=assumptions)


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
    "x86 processors, host input and output: lines of their own, not modelled unless the profile says so.",
)

_KINDS = (("dense", "dense_ops"), ("sparse", "sparse_ops"), ("conv", "conv_ops"))

_UPDATE_LABELS = {
    "neuron_update": "neuron updates",
    "neuron_access": "neurons read",
    "neuron_compute": "neurons computed",
    "neuron_spike": "spikes made by neurons",
}

_MESSAGE_TERMS = (
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


def _wires(mapping: Mapping) -> tuple[str, ...]:
    """What the host writes into neurons without a synapse in between."""
    names = [p.dst for p in mapping.graph.projections if isinstance(p.synapse, Wire)]
    if not names:
        return ()
    return (f"The host writes values into the neurons of {', '.join(names)} in every step: its work, not modelled.",)


class _Bill:
    """Lines and unpriced operations of one estimate, and the energy of every slice by term."""

    def __init__(self, slices: int) -> None:
        self.lines: list[EnergyLine] = []
        self.unpriced: list[Unpriced] = []
        self.terms: dict[str, tuple[Floats, Floats]] = {}
        self.all_in = False
        self._slices = slices

    def add(self, term: str, label: str, counted: int, low: Floats, high: Floats, used: tuple[Quantity, ...]) -> None:
        self.terms[term] = (low, high)
        self.lines.append(_line(term, label, counted, float(low.sum()), float(high.sum()), used))

    def missing(self, label: str, counted: int) -> None:
        reason = "inside the price of a synaptic operation" if self.all_in else "no published price"
        self.unpriced.append(Unpriced(label=label, count=float(counted), reason=reason))

    @property
    def total(self) -> tuple[Floats, Floats]:
        low = np.sum([bounds[0] for bounds in self.terms.values()] or [np.zeros(self._slices)], axis=0)
        high = np.sum([bounds[1] for bounds in self.terms.values()] or [np.zeros(self._slices)], axis=0)
        return low, high


def _chip_estimate(counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime) -> Estimate:
    bill = _Bill(len(mapping.slices))
    priced = _bill_operations(bill, counters, profile)
    _bill_updates(bill, counters, profile)
    for term, label, name in _MESSAGE_TERMS:
        counted, found = counters.by_slice[name], profile.costs.energy.get(term)
        if found is not None:
            bill.add(term, label, int(counted.sum()), counted * found.low, counted * found.high, (found,))
        elif counted.any():
            bill.missing(label, int(counted.sum()))
    apart, absent = _apart(counters, mapping, profile, step)
    bill.unpriced += absent
    static = _over_time("leakage", f"leakage of {mapping.chips} chip(s)", counters, mapping, profile, step)
    if static is None:
        reason = "no published power" if "leakage" not in profile.costs.power else "needs a step time"
        bill.unpriced.append(Unpriced(label="leakage", count=None, reason=reason))
    low, high = bill.total
    refusal = f"{profile.name}: nobody has published the energy of a synaptic operation, so no total is given."
    return Estimate(
        label="dynamic",
        lines=tuple(bill.lines),
        unpriced=tuple(bill.unpriced),
        total=(float(low.sum()), float(high.sum())) if priced else None,
        refusal="" if priced else refusal,
        grade=_lowest([line.grade for line in bill.lines]) if bill.lines else None,
        static=static,
        apart=apart,
        per_core=_pairs(_by_core(low, mapping), _by_core(high, mapping)) if priced else (),
        per_population=_by_population(low, high, mapping) if priced else {},
        population_terms=_population_terms(bill, mapping) if priced else {},
        per_projection=_projections(counters, mapping, profile),
        per_route=_routes(counters, profile),
    )


def _bill_operations(bill: _Bill, counters: Counters, profile: HardwareProfile) -> bool:
    """Synaptic operations, by kind where the profile prices kinds; False where they have no price."""
    prices, counts = profile.costs.energy, counters.by_slice
    total = counts["syn_ops"]
    by_kind = operation_prices(prices)
    if by_kind is None:
        bill.missing("synaptic operations", int(total.sum()))
        return False
    if "synaptic_operation" in prices and len({id(price) for price in by_kind.values()}) == 1:
        price = prices["synaptic_operation"]
        label = "synaptic operations"
        bill.all_in = price.note.startswith("all-in")
        bill.add("synaptic_operation", label, int(total.sum()), total * price.low, total * price.high, (price,))
        return True
    counts = counts | {"conv_ops": total - counts["dense_ops"] - counts["sparse_ops"]}
    for kind, name in _KINDS:
        if counts[name].any():
            price, label = by_kind[kind], f"synaptic operations, {kind}"
            bill.add(
                f"synaptic_operation_{kind}",
                label,
                int(counts[name].sum()),
                counts[name] * price.low,
                counts[name] * price.high,
                (price,),
            )
    return True


def _bill_updates(bill: _Bill, counters: Counters, profile: HardwareProfile) -> None:
    prices = profile.costs.energy
    counts = {"updates": counters.by_slice["dendrite_updates"], "active_updates": counters.by_slice["active_updates"]}
    counts["none"] = np.zeros_like(counts["updates"])
    found: dict[str, tuple[Floats, Floats]] = {}
    for term, low, high, price_low, price_high in update_terms(prices):
        bounds = (counts[low] * price_low, counts[high] * price_high)
        before = found.get(term)
        found[term] = bounds if before is None else (before[0] + bounds[0], before[1] + bounds[1])
    for term, (energy_low, energy_high) in found.items():
        used = tuple(prices[name] for name in (term, f"{term}_inactive", f"{term}_active") if name in prices)
        counted = counts["active_updates" if term == "neuron_spike" else "updates"]
        bill.add(term, _UPDATE_LABELS[term], int(counted.sum()), energy_low, energy_high, used)
    if not found and counts["updates"].any():
        bill.missing(_UPDATE_LABELS["neuron_update"], int(counts["updates"].sum()))


def _apart(
    counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime
) -> tuple[tuple[EnergyLine, ...], list[Unpriced]]:
    """x86 processors and the host: lines of their own, or not modelled."""
    lines: list[EnergyLine] = []
    absent: list[Unpriced] = []
    for key, label in APART:
        line = _over_time(key, label, counters, mapping, profile, step)
        if line is not None:
            lines.append(line)
            continue
        messages = float(counters.host_messages.sum()) if key == "host" else None
        absent.append(Unpriced(label=label, count=messages, reason="not modelled"))
    return tuple(lines), absent


def _projections(counters: Counters, mapping: Mapping, profile: HardwareProfile) -> tuple[ProjectionEnergy, ...]:
    prices = operation_prices(profile.costs.energy)
    found: list[ProjectionEnergy] = []
    for projection, operations in zip(mapping.graph.projections, counters.by_projection.tolist(), strict=True):
        synapse = projection.synapse
        kind = "dense" if isinstance(synapse, Dense) else "sparse" if isinstance(synapse, Sparse) else "conv"
        price = None if prices is None else prices[kind]
        found.append(
            ProjectionEnergy(
                projection=projection.label,
                source=projection.src,
                target=projection.dst,
                synapse=type(synapse).__name__,
                syn_ops=operations,
                energy=None if price is None else (operations * price.low, operations * price.high),
            )
        )
    return tuple(found)


def _routes(counters: Counters, profile: HardwareProfile) -> tuple[RouteEnergy, ...]:
    """What messages cost between each pair of populations; those from the host only arrive."""
    prices = profile.costs.energy
    found: list[RouteEnergy] = []
    for (source, target), counted in counters.by_route.items():
        low = high = 0.0
        counts = {
            "message_in": counted["messages"],
            "message_out": counted["sent"],
            "message_within_tile": counted["within_tile"],
            "hop_east_west": counted["hops_ew"],
            "hop_north_south": counted["hops_ns"],
            "chip_crossing": counted["chip_crossings"],
        }
        for term, number in counts.items():
            if term in prices:
                low, high = low + number * prices[term].low, high + number * prices[term].high
        priced = not counts.keys().isdisjoint(prices)
        numbers = {name: counted[name] for name in ROUTE_NAMES if name != "sent"}
        found.append(RouteEnergy(source=source, target=target, energy=(low, high) if priced else None, **numbers))
    return tuple(found)


def _population_terms(bill: _Bill, mapping: Mapping) -> dict[str, dict[str, Range]]:
    found: dict[str, dict[str, Range]] = {p.id: {} for p in mapping.graph.populations if mapping.by_population[p.id]}
    for term, (low, high) in bill.terms.items():
        for name, bounds in _by_population(low, high, mapping).items():
            found[name][term] = bounds
    return found


def _over_time(
    term: str, label: str, counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime
) -> EnergyLine | None:
    """Power of every chip in use times the time of the run; None where either is unknown."""
    power = profile.costs.power.get(term)
    if power is None or step.total is None:
        return None
    steps = counters.steps * counters.samples
    low, high = (
        mapping.chips * bound * time * steps for bound, time in zip((power.low, power.high), step.total, strict=True)
    )
    return _line(term, label, mapping.chips, low, high, (power,))


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
    graph = mapping.graph
    found = count_arithmetic(trace, graph)
    prices = profile.costs.arithmetic[precision]
    names = [p.id for p in graph.populations if not isinstance(p.neuron, Input)]
    terms: dict[str, dict[str, Range]] = {name: {} for name in names}
    per_projection: list[ProjectionEnergy] = []
    for projection, entry in zip(graph.projections, found, strict=True):
        for term, counted in (("accumulate", entry.ac), ("multiply_accumulate", entry.mac)):
            if counted:
                so_far = terms[entry.target].get(term, (0.0, 0.0))
                price = prices[term]
                terms[entry.target][term] = (so_far[0] + counted * price.low, so_far[1] + counted * price.high)
        per_projection.append(
            ProjectionEnergy(
                projection=entry.projection,
                source=projection.src,
                target=entry.target,
                synapse=type(projection.synapse).__name__,
                syn_ops=entry.ac + entry.mac,
                energy=arithmetic_energy(entry.ac, entry.mac, profile, precision),
            )
        )
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
                count=float(sum(trace.neuron_updates(graph).values())),
                reason="outside this estimator",
            ),
            Unpriced(label="memory traffic, messages and leakage", count=None, reason="outside this estimator"),
        ),
        total=total,
        refusal="",
        grade=_lowest([line.grade for line in lines]) if lines else None,
        static=None,
        apart=(),
        per_core=(total,),
        per_population={
            name: (sum(low for low, _ in mine.values()), sum(high for _, high in mine.values()))
            for name, mine in terms.items()
        },
        population_terms=terms,
        per_projection=tuple(per_projection),
        per_route=(),
    )
