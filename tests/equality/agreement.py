"""What agreement means, and the tally of what was compared: every count, raster, output and state, to the bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, given, settings

from lava_runtime import Trace
from netx_export.graph import Graph, Input, Readout
from tests.features import EVENTS, FEATURES, features
from tests.foreign_features import FOREIGN_EVENTS, FOREIGN_FEATURES, foreign_features
from tests.reference import ReferenceRun, check_lively, interpret
from tests.strategies import Case, cases


def reproducible(examples: int) -> settings:
    """Hypothesis without chance, clock or memory: the same networks in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(kw_only=True)
class Tally:
    """What one backend was compared on."""

    backend: str
    graphs: set[str] = field(default_factory=set)
    spikes: int = 0
    states: int = 0
    look: Callable[[Graph, dict[str, npt.NDArray[np.int32]]], set[str]] = features
    features: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    feature_names: tuple[str, ...] = FEATURES
    event_names: tuple[str, ...] = EVENTS

    def add(self, case: Case, run: ReferenceRun, *, states: bool = True) -> None:
        """Count one compared network, once however often hypothesis shows it."""
        if case.graph.digest in self.graphs:
            return
        self.graphs.add(case.graph.digest)
        inputs = {p.id for p in case.graph.inputs}
        self.spikes += sum(int(counts.sum()) for name, counts in run.spike_counts.items() if name not in inputs)
        if states:
            self.states += sum(record.size for record in (*run.u.values(), *run.v.values()))
        self.features.update(self.look(case.graph, case.inputs))
        # The number of networks in which an edge is met says more than the number of neurons that meet it.
        self.events.update(event for event, count in run.events.items() if count)

    def require(self, *, graphs: int, each_feature: int, each_event: int, timing: str = "any") -> None:
        """Fail when the networks compared did not exercise everything often enough."""
        assert len(self.graphs) >= graphs, (
            f"{self.backend}: only {len(self.graphs)} different networks, {graphs} needed"
        )
        for names, found, least in (
            (
                [name for name in self.feature_names if timing == "any" or "given" not in name],
                self.features,
                each_feature,
            ),
            (self.event_names, self.events, each_event),
        ):
            rare = {name: found[name] for name in names if found[name] < least}
            assert not rare, f"{self.backend}: met in too few networks (at least {least} needed): {rare}"

    def lines(self) -> list[str]:
        """For the end of the run."""
        head = f"{self.backend}: {len(self.graphs)} networks, {self.spikes} spikes compared, {self.states} states u and v, 0 differences"
        return [
            head,
            "  networks with " + ", ".join(f"{name} {self.features[name]}" for name in self.feature_names),
            "  networks where " + ", ".join(f"{name} {self.events[name]}" for name in self.event_names),
        ]


def foreign_tally(backend: str) -> Tally:
    """A tally that asks for what networks from elsewhere hold."""
    return Tally(backend=backend, feature_names=FOREIGN_FEATURES, event_names=FOREIGN_EVENTS, look=foreign_features)


TALLIES: dict[str, Tally] = {}
"""Of every backend that passed, for the summary at the end of the run."""


def assert_trace_agrees(
    graph: Graph, run: ReferenceRun, trace: Trace, *, rasters: bool = True, states: bool = True
) -> None:
    """Everything in `trace` equals the interpreter's record; what should have been recorded is there."""
    assert trace.graph_digest == graph.digest
    assert trace.schedule.hardware_steps == run.hardware_steps
    if rasters:
        _same("raster", run.rasters, trace.rasters)
    if states:
        _same("u", run.u, trace.u)
        _same("v", run.v, trace.v)
    _same("output", run.outputs, trace.outputs)
    _same("spike count", run.spike_counts, trace.spike_counts)
    _same("sample spikes", run.sample_spikes, trace.sample_spikes)
    spiking = [p.id for p in graph.populations if not isinstance(p.neuron, Input | Readout)]
    for kind, mine, theirs in (("warm-up", run.warm_up, trace.warm_up), ("drain", run.drain, trace.drain)):
        for name in spiking:
            assert mine[name] == theirs[name], (
                f"{kind} spikes of {name}: {theirs[name]}, the reference has {mine[name]}"
            )
        for population in graph.populations:
            if isinstance(population.neuron, Input | Readout):
                assert theirs.get(population.id, 0) == 0, f"{kind} spikes of {population.id}"


def _same(
    kind: str, reference: Mapping[str, npt.NDArray[np.int64]], found: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    missing = set(reference) - set(found)
    assert not missing, f"no {kind} of {sorted(missing)} was recorded"
    for name, truth in reference.items():
        record = np.asarray(found[name])
        assert record.shape == truth.shape, f"{kind} of {name} has shape {record.shape}, it should be {truth.shape}"
        unequal = record != truth
        if unequal.any():
            where = tuple(int(i) for i in np.argwhere(unequal)[0])
            raise AssertionError(
                f"{kind} of {name} at {where} is {record[where]}, the reference has {truth[where]}; "
                f"{int(unequal.sum())} of {truth.size} differ"
            )


@lru_cache(maxsize=2)
def hypothesis_cases(count: int) -> tuple[Case, ...]:
    """`count` different networks from the strategy.

    Few are chosen among 240 so that they meet every feature and event about equally often, and preferring those with few
    processes to start; many are taken as hypothesis mixes them.
    """
    found: dict[str, Case] = {}

    @settings(reproducible(max(300, count + count // 5)), phases=(Phase.generate,))
    @given(cases())
    def collect(case: Case) -> None:
        found.setdefault(case.graph.digest, case)

    collect()
    waiting = list(found.values())
    if count > len(waiting) // 4:
        return tuple(waiting[:count])
    # What each network meets, and what it costs to run: one process for each population and projection.
    merits = [features(c.graph, c.inputs) | {e for e, n in interpreted(c).events.items() if n} for c in waiting]
    costs = [4 + len(c.graph.populations) + len(c.graph.projections) for c in waiting]
    return tuple(waiting[i] for i in spread(merits, costs, {*FEATURES, *EVENTS}, count))


def spread(merits: Sequence[set[str]], costs: Sequence[float], wanted: set[str], count: int) -> list[int]:
    """Places of `count` networks that meet everything in `wanted` about equally often, the cheap ones preferred."""
    met: Counter[str] = Counter()
    chosen: list[int] = []
    for _ in range(min(count, len(merits))):
        worth = {
            i: sum(1 / (1 + met[name]) ** 2 for name in merits[i] & wanted) / costs[i]
            for i in range(len(merits))
            if i not in chosen
        }
        best = max(worth, key=lambda i: (worth[i], -i))
        chosen.append(best)
        met.update(merits[best])
    return chosen


def interpreted(case: Case) -> ReferenceRun:
    """The truth about `case`, which must be lively."""
    run = interpret(case.graph, case.inputs)
    check_lively(case.graph, run)
    return run
