"""Counters, energy and step time against sums made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hw_profiles
from hw_profiles.counters import Counters, count, count_arithmetic, dense_operations
from hw_profiles.energy import arithmetic_energy, price
from hw_profiles.mapping import Mapping
from hw_profiles.quantities import format_count, format_energy, format_time
from hw_profiles.slices import Slice
from lava_runtime.trace import Trace, make_trace
from netx_export.errors import ProfileError, RunError
from netx_export.graph import Dense, Graph, Input, Kernel, Lif, Population, Projection
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, forked, made_up_run, write_chip


def tight(tmp_path: Path, **text: dict[str, float]) -> hw_profiles.HardwareProfile:
    limits = {"neurons": 64, "output_edges": 900}
    return hw_profiles.load(write_chip(tmp_path, chip_text(limits=limits, **text)), board="Large")


def counted(graph: Graph, profile: hw_profiles.HardwareProfile) -> tuple[Trace, Mapping, Counters]:
    trace, mapping = made_up_run(graph), hw_profiles.map(graph, profile)
    return trace, mapping, count(trace, mapping)


def test_cores_add_up_to_the_trace(tmp_path: Path) -> None:
    graph = forked()
    trace, mapping, counters = counted(graph, tight(tmp_path))
    assert mapping.cores > 20
    by_population = dict.fromkeys((p.id for p in graph.populations), 0)
    updates = dict(by_population)
    for entry, operations, steps in zip(
        mapping.slices, counters.by_slice["syn_ops"], counters.by_slice["dendrite_updates"], strict=True
    ):
        by_population[entry.population] += int(operations)
        updates[entry.population] += int(steps)
    assert by_population == trace.synops(graph)
    assert updates == trace.neuron_updates(graph)
    assert counters.syn_ops.sum() == sum(trace.synops(graph).values())
    assert counters.active_updates.sum() == trace.total_spikes(graph)
    assert counters.spikes_in.sum() == counters.axon_out.sum() + counters.host_messages.sum()
    assert counters.graded_ops.sum() == 0
    assert counters.population_of[0] == ("stem",)


def test_any_cut_gives_the_same_totals(tmp_path: Path) -> None:
    graph = forked()
    trace = made_up_run(graph)
    found = []
    for name in ("algorithmic-45nm", "loihi2", "loihi1-davies2018"):
        counters = count(trace, hw_profiles.map(graph, hw_profiles.load(name)))
        found.append((counters.syn_ops.sum(), counters.dendrite_updates.sum(), counters.active_updates.sum()))
    counters = count(trace, hw_profiles.map(graph, tight(tmp_path)))
    found.append((counters.syn_ops.sum(), counters.dendrite_updates.sum(), counters.active_updates.sum()))
    assert len(set(found)) == 1


def test_messages_are_one_per_spike_and_destination_core(tmp_path: Path) -> None:
    """With one spike from every neuron, messages are the output edges that the partition counted."""
    graph = forked()
    mapping = hw_profiles.map(graph, tight(tmp_path))
    ones = {p.id: np.ones(p.shape, np.int64) for p in graph.populations}
    zero = dict.fromkeys(ones, 0)
    trace = make_trace(
        graph,
        backend="made up",
        steps=4,
        samples=1,
        outputs={},
        spike_counts=ones,
        sample_spikes={},
        warm_up=zero,
        drain=zero,
    )
    counters = count(trace, mapping)
    assert counters.axon_out.tolist() == [entry["output_edges"] for entry in mapping.registers]
    assert counters.spikes_in.tolist() == [entry["axon_in"] for entry in mapping.registers]
    assert mapping.placement is not None
    assert counters.hops_ew.sum() > 0
    assert counters.hops_ns.sum() > 0


def two_layers(tmp_path: Path, **text: dict[str, float]) -> tuple[Trace, Mapping, hw_profiles.HardwareProfile]:
    """3 inputs -> 4 neurons on core 0 -> 6 neurons on cores 1..3 (tiles 0 and 1); 2 samples of 5 steps."""
    populations = (
        Population(id="in", shape=(3, 1, 1), neuron=Input()),
        Population(id="a", shape=(4, 1, 1), neuron=Lif(vth_mant=1)),
        Population(id="b", shape=(6, 1, 1), neuron=Lif(vth_mant=1)),
    )
    projections = (
        Projection(src="in", dst="a", synapse=Dense(kernel=Kernel(mantissa=np.ones((4, 3), int)))),
        Projection(src="a", dst="b", synapse=Dense(kernel=Kernel(mantissa=np.ones((6, 4), int)))),
    )
    graph = Graph(populations=populations, projections=projections, steps=5)
    counts = {"in": np.array([1, 2, 3]), "a": np.array([5, 0, 1, 1]), "b": np.array([1, 1, 0, 2, 0, 0])}
    trace = make_trace(
        graph,
        backend="made up",
        steps=5,
        samples=2,
        outputs={},
        spike_counts={name: found.reshape(-1, 1, 1) for name, found in counts.items()},
        sample_spikes={},
        warm_up={},
        drain={},
    )
    limits = {"neurons": 4, "synapse_memory": 4}
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits=limits, **text)))
    runs = [("a", 0, 4), ("b", 0, 3), ("b", 3, 6)]
    slices = [
        Slice(population=name, core=core, box=((start, stop), (0, 1), (0, 1)))
        for core, (name, start, stop) in enumerate(runs)
    ]
    return trace, Mapping.from_slices(graph, profile, slices), profile


PRICES = {
    "synaptic_operation": 10.0,
    "neuron_update_active": 4.0,
    "neuron_update_inactive": 1.0,
    "message_within_tile": 0.5,
    "hop_east_west": 2.0,
    "hop_north_south": 3.0,
}
TIMES = {"synaptic_operation": 3.0, "neuron_update_active": 8.0, "neuron_update_inactive": 5.0, "barrier": 100.0}


def test_energy_by_hand(tmp_path: Path) -> None:
    trace, mapping, profile = two_layers(tmp_path, energy=PRICES, time=TIMES)
    assert [s.size for s in mapping.slices] == [4, 3, 3]
    costing = price(trace, mapping, profile)
    counters = costing.counters
    # 6 input spikes reach 4 synapses each; 7 spikes of a reach 3 synapses on each of 2 cores.
    assert counters.syn_ops.tolist() == [24, 21, 21]
    assert counters.spikes_in.tolist() == [6, 7, 7]
    assert counters.host_messages.tolist() == [6, 0, 0]
    assert counters.axon_out.tolist() == [14, 0, 0]
    assert counters.dendrite_updates.tolist() == [40, 30, 30]
    assert counters.active_updates.tolist() == [7, 2, 2]
    # Cores 0 and 1 share a tile, core 2 is one tile to the east.
    assert counters.within_tile.tolist() == [7, 0, 0]
    assert counters.hops_ew.tolist() == [7, 0, 0]
    estimate = costing.estimates[0]
    energies = {line.term: (line.low, line.high) for line in estimate.lines}
    assert energies["synaptic_operation"] == (660, 660)
    assert energies["neuron_update"] == (11 * 4 + 89, 400)
    assert energies["message_within_tile"] == (3.5, 3.5)
    assert energies["hop_east_west"] == (14, 14)
    assert estimate.total == (660 + 133 + 17.5, 660 + 400 + 17.5)
    assert estimate.grade == "M"
    assert estimate.per_core[0] == (240 + 7 * 4 + 33 + 17.5, 240 + 160 + 17.5)
    assert np.allclose(np.array(estimate.per_core).sum(axis=0), estimate.total)
    assert np.allclose(np.array(list(estimate.per_population.values())).sum(axis=0), estimate.total)
    assert {entry.label for entry in estimate.unpriced} == {
        "messages out of cores",
        "messages into cores",
        "x86 processors",
        "host input and output",
        "leakage",
    }
    # Operations belong to projections, messages to routes, updates to populations: together they are all.
    assert [(entry.projection, entry.syn_ops, entry.energy) for entry in estimate.per_projection] == [
        ("in -> a", 24, (240, 240)),
        ("a -> b", 42, (420, 420)),
    ]
    assert [(r.source, r.target, r.messages, r.within_tile, r.hops_ew, r.energy) for r in estimate.per_route] == [
        ("in", "a", 6, 0, 0, (0, 0)),
        ("a", "b", 14, 7, 7, (17.5, 17.5)),
    ]
    parts = [entry.energy or (0, 0) for entry in (*estimate.per_projection, *estimate.per_route)]
    parts += [terms["neuron_update"] for terms in estimate.population_terms.values()]
    assert np.allclose(np.array(parts).sum(axis=0), estimate.total)
    for name, bounds in estimate.per_population.items():
        assert np.allclose(np.array(list(estimate.population_terms[name].values())).sum(axis=0), bounds)


def test_step_time_by_hand(tmp_path: Path) -> None:
    trace, mapping, profile = two_layers(tmp_path, energy=PRICES, time=TIMES)
    step = price(trace, mapping, profile).step
    # Per step of 10: core 0 updates 4 neurons, of which 0.7 spiked, and makes 2.4 synaptic operations.
    assert step.slowest == 0
    # Low: neurons and messages at once, so the slower of the two; high: one after the other.
    assert step.total == pytest.approx((0.7 * 8 + 3.3 * 5 + 100, 4 * 8 + 2.4 * 3 + 100))
    assert (step.neuron, step.message) == (pytest.approx((22.1, 32)), pytest.approx((7.2, 7.2)))
    assert step.sample == pytest.approx((5 * step.total[0], 5 * step.total[1])) if step.total else False
    assert step.latency == pytest.approx(tuple((5 + 2) * bound for bound in step.total)) if step.total else False
    assert (step.bound_by, step.series) == ({"barrier": 1}, None)
    assert any("mean counts" in line for line in step.assumptions)


def test_no_time_without_prices(tmp_path: Path) -> None:
    for missing, said in (
        ("barrier", "time of a barrier between steps"),
        ("synaptic_operation", "time of a synaptic operation"),
        ("neuron_update", "time of a neuron update"),
    ):
        times = {name: value for name, value in TIMES.items() if not name.startswith(missing)}
        trace, mapping, profile = two_layers(tmp_path, energy=PRICES, time=times)
        step = price(trace, mapping, profile).step
        assert step.total is None
        assert said in step.refusal


def test_total_refused_without_the_main_price(tmp_path: Path) -> None:
    energy = {name: value for name, value in PRICES.items() if name != "synaptic_operation"}
    trace, mapping, profile = two_layers(tmp_path, energy=energy)
    estimate = price(trace, mapping, profile).estimates[0]
    assert estimate.total is None
    assert estimate.per_core == ()
    assert "nobody has published the energy of a synaptic operation" in estimate.refusal
    assert ("synaptic operations", 66.0) in {(entry.label, entry.count) for entry in estimate.unpriced}


def test_loihi2_lists_everything_as_unpriced() -> None:
    graph, profile = forked(), hw_profiles.load("loihi2")
    costing = price(made_up_run(graph), hw_profiles.map(graph, profile), profile)
    estimate = costing.estimates[0]
    assert estimate.lines == ()
    assert estimate.total is None
    assert {"synaptic operations", "neuron updates", "leakage"} <= {entry.label for entry in estimate.unpriced}
    assert costing.step.total is None
    assert "loihi2: nobody has published the time" in costing.step.refusal


def test_loihi1_leakage_is_a_line_of_its_own() -> None:
    graph, profile = forked(), hw_profiles.load("loihi1-davies2018")
    trace = made_up_run(graph, samples=3)
    costing = price(trace, hw_profiles.map(graph, profile), profile)
    estimate, step = costing.estimates[0], costing.step
    assert estimate.static is not None
    assert step.total is not None
    assert estimate.static.low == pytest.approx(104 * step.total[0] * 12)
    assert estimate.static.grade == "M"
    assert "leakage" not in {line.term for line in estimate.lines}
    synapses = estimate.lines[0]
    assert synapses.low == pytest.approx(23.6 * sum(trace.synops(graph).values()))
    assert "Table 2" in synapses.source


def test_several_chips_take_the_longer_barrier() -> None:
    graph, profile = dense_chain(10, 1024 * 129), hw_profiles.load("loihi1-davies2018")
    trace, mapping = made_up_run(graph, samples=1), hw_profiles.map(graph, profile)
    assert mapping.chips == 2
    step = price(trace, mapping, profile).step
    assert step.barrier == (113, 14300)
    assert any("256 chips" in line for line in step.assumptions)


@pytest.mark.parametrize(
    ("ac", "mac", "millijoule"),
    [(0.018e9, 6.13e9, 28.214), (11.65e9, 0, 10.485), (3.44e9, 0, 3.096), (5.55e9, 0, 4.995)],
)
def test_energies_of_the_papers(ac: float, mac: float, millijoule: float) -> None:
    """Source: Spiking CenterNet, teacher and students."""
    low, high = arithmetic_energy(ac, mac, hw_profiles.load("algorithmic-45nm"))
    assert low == high == pytest.approx(millijoule * 1e9, rel=1e-4)


def test_arithmetic_of_spikes_and_of_graded_input() -> None:
    profile = hw_profiles.load("algorithmic-45nm")
    spiking, analog = forked(), forked(message_bits=8)
    trace = made_up_run(spiking)
    fp32, int8 = price(trace, hw_profiles.map(spiking, profile), profile).estimates
    additions = sum(trace.synops(spiking).values())
    assert (fp32.label, int8.label) == ("fp32", "int8")
    assert fp32.total == pytest.approx((0.9 * additions, 0.9 * additions))
    assert int8.total == pytest.approx((0.03 * additions, 0.03 * additions))

    trace = made_up_run(analog)
    fp32 = price(trace, hw_profiles.map(analog, profile), profile).estimates[0]
    first = count_arithmetic(trace, analog)[0]
    # A 3x3 kernel inside 12x20 with a border of one: (3*12 - 2) * (3*20 - 2) taps per channel pair, 12 steps.
    assert (first.ac, first.mac) == (0, 34 * 58 * 2 * 8 * 12)
    assert first.mac_dense == 12 * 20 * 8 * 2 * 9 * 12
    additions = sum(trace.synops(analog).values()) - trace.synops(analog)["stem"]
    assert fp32.total == pytest.approx((0.9 * additions + 4.6 * first.mac,) * 2)
    assert sum(low for low, _ in fp32.per_population.values()) == pytest.approx(fp32.total[0] if fp32.total else 0)


def test_dense_operations_and_rates() -> None:
    graph = forked()
    trace = made_up_run(graph)
    found = {entry.projection: entry for entry in count_arithmetic(trace, graph)}
    assert [dense_operations(p, graph) for p in graph.projections] == [34560, 4320, 138240, 15360, 1920, 2880, 2400]
    head = found["mix -> head"]
    assert head.ac_dense == pytest.approx(3 * int(trace.spike_counts["mix"][2:6].sum()))
    assert head.ac == round(head.ac_dense)


def test_a_network_without_neurons_takes_no_time() -> None:
    graph = Graph(populations=(Population(id="in", shape=(1, 2, 2), neuron=Input()),), projections=())
    profile = hw_profiles.load("loihi1-davies2018")
    costing = price(made_up_run(graph), hw_profiles.map(graph, profile), profile)
    assert costing.step.refusal == "The network has no neurons, so no core takes any time."
    assert costing.estimates[0].total == (0.0, 0.0)


def test_prices_belong_to_the_mapping_and_the_trace(tmp_path: Path) -> None:
    graph = forked()
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi2"))
    with pytest.raises(ProfileError, match=r"'loihi1-davies2018' has other cores than 'loihi2', .*map the network for"):
        price(made_up_run(graph), mapping, hw_profiles.load("loihi1-davies2018"))
    elsewhere = hw_profiles.load("loihi2", board="Hala Point")
    for trace in (None, made_up_run(graph)):
        with pytest.raises(ProfileError, match=r"on board 'Hala Point', the network was mapped on 'Kapoho Point'; map"):
            hw_profiles.report(trace, mapping, elsewhere)
    with pytest.raises(RunError, match="run the network again"):
        price(made_up_run(dense_chain(3, 2)), mapping, mapping.profile)
    with pytest.raises(ProfileError, match="'algorithmic-45nm' has no arithmetic prices for 'fp8'; choose one of fp32"):
        arithmetic_energy(1, 1, hw_profiles.load("algorithmic-45nm"), "fp8")


def test_numbers_as_people_read_them() -> None:
    assert format_energy(0) == "0 pJ"
    assert format_energy(23.6) == "23.6 pJ"
    assert format_energy(1200, 3400) == "1.2-3.4 nJ"
    assert format_energy(1.661e9) == "1.66 mJ"
    assert format_energy(0.4e6, 2.5e6) == "0.4-2.5 uJ"
    assert format_time(152800) == "153 us"
    assert format_count(2_310_000) == "2.31 M"
    assert format_count(12) == "12"


def test_the_fitted_chip_prices_parts_and_kinds() -> None:
    graph, profile = forked(), hw_profiles.load("loihi1-fitted")
    trace = made_up_run(graph)
    costing = price(trace, hw_profiles.map(graph, profile), profile)
    energies = {line.term: (line.low, line.high) for line in costing.estimates[0].lines}
    synops, dense = sum(trace.synops(graph).values()), trace.synops(graph)["class"]
    assert energies["synaptic_operation_dense"] == (pytest.approx(35.5 * dense),) * 2
    assert energies["synaptic_operation_conv"] == (pytest.approx(24.0 * (synops - dense)),) * 2
    updates, spikes = sum(trace.neuron_updates(graph).values()), trace.total_spikes(graph)
    assert energies["neuron_access"] == (pytest.approx(51.2 * updates),) * 2
    assert energies["neuron_compute"] == (pytest.approx(21.6 * spikes), pytest.approx(21.6 * updates))
    assert energies["neuron_spike"] == (pytest.approx(69.3 * spikes),) * 2
    assert "neuron_update" not in energies
    assert energies["message_out"][0] == pytest.approx(111 * costing.counters.axon_out.sum())
    assert costing.step.barrier is not None
    assert any("tiles are in use: the barrier lies between" in line for line in costing.step.assumptions)


def test_a_chip_with_a_clock_and_one_price_for_all() -> None:
    graph, profile = dense_chain(20, 30, 10), hw_profiles.load("truenorth")
    costing = price(made_up_run(graph), hw_profiles.map(graph, profile), profile)
    assert costing.step.total == (1e6, 1e6)
    assert costing.estimates[0].total is not None
    reasons = {entry.label: entry.reason for entry in costing.estimates[0].unpriced}
    assert reasons["neuron updates"] == "inside the price of a synaptic operation"
    assert reasons["x86 processors"] == "not modelled"
