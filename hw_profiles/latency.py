"""How long a time step takes, and what it waits for.

t_step = max(slowest core, busiest link) + barrier
core   low: max(neuron time, message time), both at work at once;  high: neuron time + message time
link   low: 0, messages travel while cores work;  high: messages on the busiest link * time of one hop, one after the other
neuron time  = updates * time of an update (low: only neurons that spiked are active, high: all are)
message time = synaptic operations, messages in and messages out * their times
From the counts of every step where the run was probed, else from mean counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hw_profiles.counters import Counters
from hw_profiles.links import Direction, LinkLoads
from hw_profiles.mapping import Mapping
from hw_profiles.probes import StepCounts
from hw_profiles.profile import HardwareProfile, Quantities, Quantity

Range = tuple[float, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeries:
    """Every step by itself, in ns at the high end: `low` is the other end of `high`.

    `neuron`, `message` belong to the slowest core, `link` to the busiest link. `binding` is what the step waits for
    longest: neurons, messages, link or barrier; `place` the core or link where that is.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    neuron: tuple[float, ...]
    message: tuple[float, ...]
    link: tuple[float, ...]
    core: tuple[int, ...]
    binding: tuple[str, ...]
    place: tuple[str, ...]

    def waits(self, step: int) -> str:
        """What step number `step` waits for longest, in words."""
        kind, place = self.binding[step], self.place[step]
        if kind == "link":
            return place
        return f"{kind} on {place}" if place else f"the {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Mean time of a step in ns, (low, high); `total` is None where it is refused, and `refusal` says why.

    `neuron` and `message` belong to the slowest core, `slowest`, `link` to the busiest link. `steps` are the steps of
    one sample, `depth` the steps that the pipeline adds to the first answer. `bound_by` counts steps by what they wait
    for. `series` is None where the run was not probed step by step.
    """

    steps: int
    depth: int = 0
    total: Range | None = None
    neuron: Range | None = None
    message: Range | None = None
    link: Range | None = None
    barrier: Range | None = None
    slowest: int | None = None
    bound_by: dict[str, int] = field(default_factory=dict)
    series: StepSeries | None = None
    refusal: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def sample(self) -> Range | None:
        """Time of one sample in ns, samples following one another without a gap."""
        return None if self.total is None else (self.total[0] * self.steps, self.total[1] * self.steps)

    @property
    def latency(self) -> Range | None:
        """Time from a sample's first step in to its last step out, in ns."""
        if self.total is None:
            return None
        return (self.total[0] * (self.steps + self.depth), self.total[1] * (self.steps + self.depth))


_ASSUMPTIONS = (
    "Step time = the slower of slowest core and busiest link, plus the barrier.",
    "A core: low, neurons and messages are worked on at once; high, one after the other.",
    "A link: low, messages travel while cores work; high, they pass the busiest link one after the other, a hop's time each.",
)
_WAYS: tuple[tuple[str, tuple[Direction, ...]], ...] = (
    ("hop_east_west", ("east", "west")),
    ("hop_north_south", ("south", "north")),
)
_MEASURED = "Every step by its own counts, as in an endless stream of the run's samples."
_MEAN = "Steps from mean counts: a step with a burst takes longer. Record rasters to see every step."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """Counts of N steps: arrays (cores, N)."""

    spikes_in: Floats
    axon_out: Floats
    syn_ops: Floats
    dense_ops: Floats
    sparse_ops: Floats
    active_updates: Floats
    updates: Floats
    links: LinkLoads | None
    scale: float
    """Links are counted over this many steps."""


def _work(counters: Counters, probed: StepCounts | None) -> _Work:
    names = ("spikes_in", "axon_out", "syn_ops", "dense_ops", "sparse_ops", "active_updates")
    if probed is not None:
        return _Work(
            updates=probed.dendrite_updates[:, None].astype(np.float64),
            links=probed.links,
            scale=1.0,
            **{name: getattr(probed, name).astype(np.float64) for name in names},
        )
    steps = counters.steps * counters.samples
    return _Work(
        updates=counters.dendrite_updates[:, None] / steps,
        links=counters.links,
        scale=1.0 / steps,
        **{name: getattr(counters, name)[:, None] / steps for name in names},
    )


def step_time(
    counters: Counters, mapping: Mapping, profile: HardwareProfile, probed: StepCounts | None = None, *, depth: int = 0
) -> StepTime:
    """The step time of the mapped run; refused where a price that it needs is unpublished."""
    times = profile.costs.time
    if profile.topology is None:
        return StepTime(steps=counters.steps, refusal=f"{profile.name} has no cores, so a step takes no time there.")
    if not mapping.cores:
        return StepTime(steps=counters.steps, refusal="The network has no neurons, so no core takes any time.")
    if "tick" in times:
        return _ticking(times["tick"], counters, probed, depth)
    missing = _missing(times, mapping)
    if missing:
        refusal = f"{profile.name}: nobody has published the time of a {missing}, so none is given."
        return StepTime(steps=counters.steps, refusal=refusal)
    work = _work(counters, probed)
    neuron, message = neuron_time(work, times), _message_time(work, times)
    low = np.maximum(neuron[0], message[0]).max(axis=0)
    core_high = neuron[1] + message[1]
    core = core_high.argmax(axis=0)
    steps = np.arange(core.size)
    link, places = _link_time(work, times)
    barrier, notes = _barrier(times, mapping)
    body = np.maximum(core_high.max(axis=0), link)
    high = body + barrier[1]
    series = _series(
        low + barrier[0], high, neuron[1][core, steps], message[1][core, steps], link, core, places, barrier[1]
    )
    worst = int(high.argmax())
    at = int(core[worst])
    return StepTime(
        steps=counters.steps,
        depth=depth,
        total=(float((low + barrier[0]).mean()), float(high.mean())),
        neuron=(float(neuron[0][core, steps].mean()), float(neuron[1][core, steps].mean())),
        message=(float(message[0][core, steps].mean()), float(message[1][core, steps].mean())),
        link=(0.0, float(link.mean())),
        barrier=barrier,
        slowest=at,
        bound_by=dict(sorted(Counter(series.binding).items(), key=lambda item: (-item[1], item[0]))),
        series=series if probed is not None else None,
        assumptions=(*_ASSUMPTIONS, _MEASURED if probed is not None else _MEAN, *notes),
    )


def _ticking(tick: Quantity, counters: Counters, probed: StepCounts | None, depth: int) -> StepTime:
    """A chip whose steps follow a clock of their own, whatever there is to do."""
    steps = 1 if probed is None else probed.count
    return StepTime(
        steps=counters.steps,
        depth=depth,
        total=(tick.low, tick.high),
        barrier=(tick.low, tick.high),
        bound_by={"barrier": steps},
        assumptions=(f"Every step takes one tick of {tick}; whether the work fits into it is not modelled.",),
    )


def _missing(times: Quantities, mapping: Mapping) -> str:
    """What has no published time and is needed, empty where all is there."""
    if not any(name in times for name in ("neuron_update", "neuron_update_active", "neuron_access")):
        return "neuron update"
    if operation_prices(times) is None:
        return "synaptic operation"
    if "barrier" not in times:
        return "barrier between steps"
    if mapping.chips > 1 and "barrier_multi_chip" not in times:
        return "barrier across chips"
    return ""


def operation_prices(prices: Quantities) -> dict[str, Quantity] | None:
    """Prices of a synaptic operation by kind (conv, dense, sparse); one price stands for all. None where one is missing."""
    found = {
        kind: price
        for kind in ("conv", "dense", "sparse")
        if (price := prices.get(f"synaptic_operation_{kind}", prices.get("synaptic_operation"))) is not None
    }
    return found if len(found) == 3 else None


def neuron_time(work: _Work, times: Quantities) -> tuple[Floats, Floats]:
    """(low, high) ns of each core and step."""
    low, high = np.zeros_like(work.syn_ops), np.zeros_like(work.syn_ops)
    for _, counted_low, counted_high, price_low, price_high in update_terms(times):
        low += _pick(work, counted_low) * price_low
        high += _pick(work, counted_high) * price_high
    return low, high


def update_terms(prices: Quantities) -> list[tuple[str, str, str, float, float]]:
    """(term, counter at the low end, counter at the high end, low price, high price) of what neurons do in a step."""
    terms: list[tuple[str, str, str, float, float]] = []
    active, inactive = prices.get("neuron_update_active"), prices.get("neuron_update_inactive")
    if "neuron_access" in prices:
        # Every neuron is read; at the low end only those that spiked had something to compute.
        for term, counter in (
            ("neuron_access", "updates"),
            ("neuron_compute", "active_updates"),
            ("neuron_spike", "active_updates"),
        ):
            if term in prices:
                highest = "updates" if term == "neuron_compute" else counter
                terms.append((term, counter, highest, prices[term].low, prices[term].high))
    elif active is not None and inactive is not None:
        # low: spiked * active + (updates - spiked) * inactive
        terms.append(("neuron_update", "updates", "updates", inactive.low, active.high))
        terms.append(("neuron_update", "active_updates", "none", active.low - inactive.low, 0.0))
    elif "neuron_update" in prices:
        price = prices["neuron_update"]
        terms.append(("neuron_update", "updates", "updates", price.low, price.high))
    return terms


def _pick(work: _Work, name: str) -> Floats | float:
    if name == "none":
        return 0.0
    return work.updates if name == "updates" else work.active_updates


def _message_time(work: _Work, times: Quantities) -> tuple[Floats, Floats]:
    prices = operation_prices(times) or {}
    counts = {"dense": work.dense_ops, "sparse": work.sparse_ops}
    counts["conv"] = work.syn_ops - work.dense_ops - work.sparse_ops
    low, high = np.zeros_like(work.syn_ops), np.zeros_like(work.syn_ops)
    for kind, price in prices.items():
        low += counts[kind] * price.low
        high += counts[kind] * price.high
    for term, counted in (("message_in", work.spikes_in), ("message_out", work.axon_out)):
        if term in times:
            low += counted * times[term].low
            high += counted * times[term].high
    return low, high


def _link_time(work: _Work, times: Quantities) -> tuple[Floats, list[str]]:
    """(ns, place) of the busiest link of each step, at the high end."""
    steps = work.syn_ops.shape[1]
    found, places = np.zeros(steps), [""] * steps
    if work.links is None:
        return found, places
    for term, directions in _WAYS:
        if term not in times:
            continue
        most, links = work.links.busiest(directions)
        taken = most * work.scale * times[term].high
        for step in np.flatnonzero(taken > found):
            found[step], places[step] = taken[step], str(links[step])
    return found, places


def _barrier(times: Quantities, mapping: Mapping) -> tuple[Range, list[str]]:
    single = times["barrier"]
    notes = [f"Barrier {single} ({single.note or 'as published'})."]
    if mapping.chips <= 1:
        return _barrier_of_tiles(single, mapping, notes), notes
    across = times["barrier_multi_chip"]
    notes.append(f"Across {mapping.chips} chips the barrier is at most {across} ({across.note}).")
    return (min(single.low, across.low), across.high), notes


def _barrier_of_tiles(single: Quantity, mapping: Mapping, notes: list[str]) -> Range:
    """Between the published values for the next smaller and the next larger number of tiles."""
    by_tiles, placement = mapping.profile.costs.barrier_by_tiles, mapping.placement
    if not by_tiles or placement is None:
        return (single.low, single.high)
    tiles = len(np.unique(placement.tile))
    smaller = max((count for count in by_tiles if count <= tiles), default=min(by_tiles))
    larger = min((count for count in by_tiles if count >= tiles), default=max(by_tiles))
    notes.append(f"{tiles} tiles are in use: the barrier lies between its values for {smaller} and {larger} tiles.")
    return (by_tiles[smaller].low, by_tiles[larger].high)


def _series(
    low: Floats,
    high: Floats,
    neuron: Floats,
    message: Floats,
    link: Floats,
    core: npt.NDArray[np.int64],
    places: list[str],
    barrier: float,
) -> StepSeries:
    binding: list[str] = []
    where: list[str] = []
    for step, place in enumerate(places):
        slowest = neuron[step] + message[step]
        if barrier >= max(slowest, link[step]):
            binding.append("barrier")
            where.append("")
        elif link[step] > slowest:
            binding.append("link")
            where.append(place)
        else:
            binding.append("messages" if message[step] >= neuron[step] else "neurons")
            where.append(f"core {core[step]}")

    def numbers(values: Floats) -> tuple[float, ...]:
        return tuple(round(float(value), 3) for value in values)

    return StepSeries(
        low=numbers(low),
        high=numbers(high),
        neuron=numbers(neuron),
        message=numbers(message),
        link=numbers(link),
        core=tuple(int(value) for value in core),
        binding=tuple(binding),
        place=tuple(where),
    )
