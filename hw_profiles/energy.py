"""What a run costs: a pure function of (Trace, Mapping, HardwareProfile).

Chips:        E = sum over operations of count * price, each price with its grade and source; leakage apart.
Algorithmic:  E = E_AC * AC + E_MAC * MAC, additions for projections that read spikes, multiply-additions for graded input.
An operation without a published price is listed as unpriced. A total whose main term, the synaptic operation, has no
price is refused. Energies are in pJ for the whole run; 1 mW * 1 ns = 1 pJ.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.chip_energy import CHIP_ASSUMPTIONS, chip_estimate, wires
from hw_profiles.counters import Counters, count, count_arithmetic
from hw_profiles.estimate import EnergyLine, Estimate, ProjectionEnergy, Range, Unpriced, lowest_grade, priced_line
from hw_profiles.latency import StepTime, step_time
from hw_profiles.mapping import Mapping
from hw_profiles.probes import StepCounts, count_steps, has_rasters
from hw_profiles.profile import HardwareProfile
from hw_profiles.tally import Wiring
from lava_runtime.trace import Trace
from netx_export.errors import ProfileError
from netx_export.graph import Input


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
        estimates = (chip_estimate(counters, mapping, profile, step),)
        assumptions = (*CHIP_ASSUMPTIONS, *wires(mapping))
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
            lines.append(priced_line(term, label, counted, low, high, (entry_price,)))
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
        grade=lowest_grade([line.grade for line in lines]) if lines else None,
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
