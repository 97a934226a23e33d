"""Energy of a run on a chip: every operation's count times its price, for each slice of the mapping.

Operations belong to projections, messages and their hops to routes (pairs of populations), updates to populations;
together they are the total. Leakage, x86 processors and the host are lines of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hw_profiles.counters import Counters
from hw_profiles.estimate import (
    EnergyLine,
    Estimate,
    ProjectionEnergy,
    Range,
    RouteEnergy,
    Unpriced,
    lowest_grade,
    priced_line,
)
from hw_profiles.latency import StepTime, operation_prices, update_terms
from hw_profiles.mapping import Mapping
from hw_profiles.profile import HardwareProfile, Quantity
from hw_profiles.tally import ROUTE_NAMES
from netx_export.graph import Dense, Sparse, Wire

Floats = npt.NDArray[np.float64]

APART = (("x86", "x86 processors"), ("host", "host input and output"))
"""Power that is no part of the cores: its key in a profile, and its name."""

CHIP_ASSUMPTIONS = (
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


def wires(mapping: Mapping) -> tuple[str, ...]:
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
        self.lines.append(priced_line(term, label, counted, float(low.sum()), float(high.sum()), used))

    def missing(self, label: str, counted: int) -> None:
        reason = "inside the price of a synaptic operation" if self.all_in else "no published price"
        self.unpriced.append(Unpriced(label=label, count=float(counted), reason=reason))

    @property
    def total(self) -> tuple[Floats, Floats]:
        low = np.sum([bounds[0] for bounds in self.terms.values()] or [np.zeros(self._slices)], axis=0)
        high = np.sum([bounds[1] for bounds in self.terms.values()] or [np.zeros(self._slices)], axis=0)
        return low, high


def chip_estimate(counters: Counters, mapping: Mapping, profile: HardwareProfile, step: StepTime) -> Estimate:
    """The dynamic energy of a counted run; its total is refused where synaptic operations have no price."""
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
        grade=lowest_grade([line.grade for line in bill.lines]) if bill.lines else None,
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
    return priced_line(term, label, mapping.chips, low, high, (power,))


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
