"""Counters: cores, populations and steps add up to the trace, and equal a count that takes every synapse one by one."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings

import hw_profiles
import lava_runtime
from hw_profiles.counters import count
from hw_profiles.energy import price
from hw_profiles.mapping import Mapping
from hw_profiles.probes import CoreProbe, StepCounts, count_steps
from hw_profiles.slices import Slice, tile_boxes
from lava_runtime import Probes
from lava_runtime.trace import Trace, make_trace
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    Input,
    Lif,
    OneToOne,
    Population,
    Projection,
    Readout,
    Sigma,
    SigmaDelta,
    Sparse,
    Wire,
)
from tests.strategies import Case, cases
from tests.unit.hw_profiles.chip_networks import dense_chain, forked, made_up_run, weights
from tests.unit.hw_profiles.synapse_lists import synapses_of

Counts = npt.NDArray[np.int64]


def cut_at_random(graph: Graph, seed: int) -> Mapping:
    """Tiles of random sizes on cores in random order."""
    rng = np.random.default_rng(seed)
    boxes = [
        (p.id, box)
        for p in graph.populations
        if not isinstance(p.neuron, Input)
        for box in tile_boxes(p.shape, tuple(int(rng.integers(-(-n // 3), n + 1)) for n in p.shape))  # type: ignore[arg-type]
    ]
    order = rng.permutation(len(boxes))
    slices = [Slice(population=name, core=int(core), box=box) for (name, box), core in zip(boxes, order, strict=True)]
    # Limits play no part in counting.
    registers: tuple[dict[str, int], ...] = ({},) * len(slices)
    profile = hw_profiles.load("loihi2", board="Hala Point")
    return Mapping(graph=graph, profile=profile, slices=tuple(slices), registers=registers)


def mappings(graph: Graph, seed: int) -> list[Mapping]:
    compiled = hw_profiles.map(graph, hw_profiles.load("loihi2", board="Hala Point"))
    return [compiled, cut_at_random(graph, seed), cut_at_random(graph, seed + 1)]


def rasters_of(trace: Trace) -> dict[str, Counts]:
    """Rasters folded as an endless stream: (samples * steps, neurons)."""
    total = trace.schedule.samples * trace.schedule.steps
    found = {}
    for name, raster in trace.rasters.items():
        found[name] = np.zeros((total, raster[0].size), np.int64)
        for step, row in enumerate(raster):
            found[name][step % total] += (row != 0).reshape(-1)
    return found


def by_hand(trace: Trace, mapping: Mapping) -> dict[str, Counts]:
    """(cores, steps) of each counter: every synapse one by one, every message a set member."""
    graph = mapping.graph
    spikes = rasters_of(trace)
    total = trace.schedule.samples * trace.schedule.steps
    core_of: dict[str, dict[tuple[int, ...], int]] = defaultdict(dict)
    for entry in mapping.slices:
        for neuron in product(*(range(*span) for span in entry.box)):
            core_of[entry.population][neuron] = entry.core
    found = {
        name: np.zeros((mapping.cores, total), np.int64)
        for name in ("syn_ops", "spikes_in", "axon_out", "active_updates")
    }
    messages: set[tuple[str, tuple[int, ...], int]] = set()
    for projection in graph.projections:
        source, target = graph.by_id[projection.src], graph.by_id[projection.dst]
        fan: dict[tuple[tuple[int, ...], int], int] = defaultdict(int)
        for sender, reached in synapses_of(projection, source, target):
            fan[sender, core_of[target.id][reached]] += 1
        for (sender, core), synapses in fan.items():
            found["syn_ops"][core] += synapses * spikes[source.id][:, np.ravel_multi_index(sender, source.shape)]
            # A population's projections into one target population share their messages.
            messages.add((f"{source.id}\0{target.id}", sender, core))
    for key, sender, core in messages:
        name = key.split("\0")[0]
        fired = spikes[name][:, np.ravel_multi_index(sender, graph.by_id[name].shape)]
        found["spikes_in"][core] += fired
        if sender in core_of[name]:
            found["axon_out"][core_of[name][sender]] += fired
    for name, neurons in core_of.items():
        if name in spikes:
            for neuron, core in neurons.items():
                fired = spikes[name][:, np.ravel_multi_index(neuron, graph.by_id[name].shape)]
                found["active_updates"][core] += fired
    return found


def check_sums(trace: Trace, mapping: Mapping) -> StepCounts:
    """Sums over cores, populations, projections, routes and steps equal the trace's totals, for every counter."""
    graph = mapping.graph
    counters, steps = count(trace, mapping), count_steps(trace, mapping)
    steps.check(counters)
    synops, updates = trace.synops(graph), trace.neuron_updates(graph)
    for name, totals in (("syn_ops", synops), ("dendrite_updates", updates)):
        population = dict.fromkeys(totals, 0)
        for entry, value in zip(mapping.slices, counters.by_slice[name], strict=True):
            population[entry.population] += int(value)
        assert population == totals
        assert getattr(counters, name).sum() == sum(totals.values())
    assert steps.dendrite_updates.sum() * steps.count == sum(updates.values())
    spiking = {p.id for p in graph.populations if not isinstance(p.neuron, Input | Readout)}
    emitted = sum(int(trace.spike_counts[name].sum()) for name in spiking)
    assert counters.active_updates.sum() == emitted == sum(int(steps.spikes[name].sum()) for name in spiking)
    assert counters.by_projection.sum() == counters.syn_ops.sum()
    for projection, operations in zip(graph.projections, counters.by_projection, strict=True):
        source = graph.by_id[projection.src]
        assert operations == (trace.spike_counts[source.id] * projection.fan_out(source)).sum()
    assert counters.spikes_in.sum() == counters.axon_out.sum() + counters.host_messages.sum()
    assert sum(route["messages"] for route in counters.by_route.values()) == counters.spikes_in.sum()
    assert counters.links is not None
    assert steps.links is not None
    for links in (counters.links, steps.links):
        assert links.horizontal == counters.hops_ew.sum() == sum(r["hops_ew"] for r in counters.by_route.values())
        assert links.vertical == counters.hops_ns.sum() == sum(r["hops_ns"] for r in counters.by_route.values())
    return steps


def check_by_hand(trace: Trace, mapping: Mapping, steps: StepCounts) -> None:
    for name, expected in by_hand(trace, mapping).items():
        assert np.array_equal(getattr(steps, name), expected), name


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_random_networks_on_three_mappings(case: Case) -> None:
    trace = lava_runtime.run(case.graph, case.inputs, probes=Probes(rasters="all"), threads=1)
    for number, mapping in enumerate(mappings(case.graph, 5)):
        steps = check_sums(trace, mapping)
        if number:
            check_by_hand(trace, mapping, steps)


def graded() -> Graph:
    """A wire, sigma-delta neurons, sparse, transposed and recurrent projections; some with delays of their own."""
    pairs = np.sort(np.random.default_rng(1).choice(32 * 18, 60, replace=False))
    populations = (
        Population(id="in", shape=(2, 3, 3), neuron=Input(message_bits=8)),
        Population(id="first", shape=(2, 3, 3), neuron=SigmaDelta(vth=3)),
        Population(id="up", shape=(2, 7, 7), neuron=SigmaDelta(vth=3)),
        Population(id="few", shape=(2, 4, 4), neuron=Lif(vth_mant=10)),
        Population(id="end", shape=(4, 1, 1), neuron=Sigma()),
    )
    projections = (
        Projection(src="in", dst="first", synapse=Wire()),
        Projection(src="first", dst="up", synapse=ConvTranspose(kernel=weights(2, 2, 3, 3), stride=(2, 2)), delay=2),
        Projection(src="first", dst="few", synapse=Sparse(kernel=weights(60), rows=pairs // 18, columns=pairs % 18)),
        Projection(src="up", dst="few", synapse=Conv(kernel=weights(2, 2, 1, 1), stride=(2, 2))),
        Projection(src="up", dst="few", synapse=Conv(kernel=weights(2, 2, 3, 3), stride=(2, 2), padding=(1, 1))),
        Projection(src="few", dst="few", synapse=OneToOne(kernel=weights(2))),
        Projection(
            src="few", dst="end", synapse=Dense(kernel=weights(4, 32)), delays=np.arange(128).reshape(4, 32) % 5
        ),
    )
    return Graph(populations=populations, projections=projections, timing="as_given", messages="graded", steps=6)


def made_up_rasters(graph: Graph, samples: int, seed: int = 0) -> Trace:
    """A trace of random messages, for neurons that need not be run."""
    rng = np.random.default_rng(seed)
    rasters = {
        p.id: (
            rng.integers(-9, 9, (samples * graph.steps, *p.shape))
            * (rng.random((samples * graph.steps, *p.shape)) < 0.3)
        )
        for p in graph.populations
    }
    counts = {name: (raster != 0).sum(axis=0) for name, raster in rasters.items()}
    return make_trace(
        graph,
        backend="made up",
        steps=graph.steps,
        samples=samples,
        outputs={},
        spike_counts=counts,
        sample_spikes={},
        warm_up={},
        drain={},
        rasters=rasters,
    )


def test_graded_messages_count_once_each() -> None:
    graph = graded()
    trace = made_up_rasters(graph, 2)
    for seed in (0, 1, 2):
        mapping = cut_at_random(graph, seed)
        steps = check_sums(trace, mapping)
        check_by_hand(trace, mapping, steps)
        # The wire carries no messages between cores and has no synapses.
        first = {entry.core for entry in mapping.slices if entry.population == "first"}
        assert steps.spikes_in[sorted(first)].sum() == 0
    found = price(trace, mapping, mapping.profile).assumptions
    assert "The host writes values into the neurons of first in every step: its work, not modelled." in found


def parts(graph: Graph, inputs: Counts, sizes: Sequence[int]) -> list[Trace]:
    edges = np.cumsum([0, *sizes])
    return [
        lava_runtime.run(graph, inputs[:, a:b], probes=Probes(rasters="all"), threads=1) for a, b in pairwise(edges)
    ]


def test_batches_give_what_one_run_gives() -> None:
    graph = forked()
    inputs = (np.random.default_rng(2).random((4, 5, 2, 12, 20)) < 0.3).astype(np.int64)
    whole = count_steps(parts(graph, inputs, [5])[0], cut_at_random(graph, 1))
    probe = CoreProbe(cut_at_random(graph, 1))
    for trace in parts(graph, inputs, [2, 1, 2]):
        probe.add(trace)
    batched = probe.finish()
    assert (batched.samples, batched.steps, batched.count) == (5, 4, 20)
    for name in ("spikes_in", "axon_out", "syn_ops", "active_updates", "dendrite_updates"):
        assert np.array_equal(getattr(batched, name), getattr(whole, name)), name
    assert batched.links is not None
    assert whole.links is not None
    for direction, load in batched.links.loads.items():
        assert np.array_equal(load, whole.links.loads[direction])
    for name, spikes in batched.spikes.items():
        assert np.array_equal(spikes, whole.spikes[name])


def test_rasters_may_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = forked()
    inputs = (np.random.default_rng(2).random((4, 5, 2, 12, 20)) < 0.3).astype(np.int64)
    (trace,) = parts(graph, inputs, [5])
    expected = count_steps(trace, cut_at_random(graph, 1))
    trace.save(tmp_path / "trace.h5")
    # Three rows of the largest population at a time.
    monkeypatch.setattr("hw_profiles.probes._BLOCK", 3 * 8 * 12 * 20)
    with h5py.File(tmp_path / "trace.h5") as file:
        on_disk = dataclasses.replace(trace, rasters=dict(file["rasters"].items()))
        found = count_steps(on_disk, cut_at_random(graph, 1))
    for name in ("spikes_in", "axon_out", "syn_ops", "active_updates"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert all(np.array_equal(found.spikes[name], spikes) for name, spikes in expected.spikes.items())


def test_messages_take_their_row_first_and_then_a_column() -> None:
    # Two layers of one core each, far apart: 120 cores of 8 x 4 tiles with 4 cores each.
    graph = dense_chain(3, 1, 1)
    far = 4 * (8 * 2 + 3)
    slices = [
        Slice(population="dense1", core=0, box=((0, 1),) * 3),
        Slice(population="dense2", core=1, box=((0, 1),) * 3),
    ]
    mapping = Mapping.from_slices(graph, hw_profiles.load("loihi2"), slices)
    assert mapping.placement is not None
    object.__setattr__(mapping.placement, "x", np.array([0, far // 4 % 8]))
    object.__setattr__(mapping.placement, "y", np.array([0, far // 4 // 8]))
    object.__setattr__(mapping.placement, "tile", np.array([0, far // 4]))
    trace = made_up_run(graph, samples=1)
    spikes = int(trace.spike_counts["dense1"].sum())
    links = count(trace, mapping).links
    assert links is not None
    assert links.loads["east"][0, :3, 0].tolist() == [spikes] * 3
    assert links.loads["south"][:2, 3, 0].tolist() == [spikes] * 2
    assert (links.horizontal, links.vertical) == (3 * spikes, 2 * spikes)
    most, which = links.busiest(("east", "west"))
    assert (most[0], str(which[0])) == (spikes, "link from tile (0,0) east")


def test_probes_say_what_is_missing() -> None:
    graph = dense_chain(3, 2)
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi2"))
    with pytest.raises(RunError, match=r"no raster of population 'in'; run with Probes\(rasters='all'\)"):
        count_steps(made_up_run(graph), mapping)
    with pytest.raises(RunError, match="The probe has seen no trace; add at least one"):
        CoreProbe(mapping).finish()
    probe = CoreProbe(mapping)
    probe.add(lava_runtime.run(graph, np.ones((8, 1, 3, 1, 1), int), probes=Probes(rasters="all"), threads=1))
    with pytest.raises(RunError, match="A trace of 4 steps per sample follows one of 8; probe one run at a time"):
        probe.add(lava_runtime.run(graph, np.ones((4, 1, 3, 1, 1), int), probes=Probes(rasters="all"), threads=1))
    other = lava_runtime.run(graph, np.zeros((8, 1, 3, 1, 1), int), threads=1)
    with pytest.raises(RunError, match=r"The rasters give spikes_in 24 on core 0, the spike counts 0; they belong to"):
        probe.finish().check(count(other, mapping))
    silent = make_trace(
        graph,
        backend="made up",
        steps=8,
        samples=1,
        outputs={},
        spike_counts={},
        sample_spikes={},
        warm_up={},
        drain={},
    )
    with pytest.raises(RunError, match=r"no spike counts of population 'in', which sends to 'dense1'; run the network"):
        count(silent, mapping)
