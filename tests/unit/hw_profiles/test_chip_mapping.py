"""Partition, mapping and placement: every neuron once, every register within its limit, clear refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import hw_profiles
from hw_profiles.mapping import GapError, Mapping, OverlapError
from hw_profiles.partition import partition
from hw_profiles.placement import place
from hw_profiles.profile import Topology
from hw_profiles.registers import synapse_words
from hw_profiles.slices import Slice
from netx_export.errors import DoesNotFitError, ProfileError
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, OneToOne, Or, Population, Projection
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, forked, weights, write_chip


@pytest.mark.parametrize("name", ["loihi1-davies2018", "loihi2"])
def test_every_register_fits_and_every_neuron_has_a_core(name: str) -> None:
    graph, profile = forked(), hw_profiles.load(name)
    mapping = hw_profiles.map(graph, profile)
    assert sum(s.size for s in mapping.slices) == sum(p.size for p in graph.populations) - 2 * 12 * 20
    for resource, (used, limit) in mapping.utilization().items():
        assert limit is None or used <= limit, resource
    assert mapping.utilization()["chips"] == (1, profile.chips)
    assert mapping.utilization("pool")["delay_slots"] == (8 * 6 * 8, None)


def test_estimator_without_cores_takes_any_network() -> None:
    mapping = hw_profiles.map(forked(), hw_profiles.load("algorithmic-45nm"))
    assert (mapping.cores, mapping.chips, mapping.utilization()) == (1, 0, {})
    found = hw_profiles.check(forked(), mapping.profile)
    assert found.fits
    assert [(layer.population, layer.cores) for layer in found.layers] == [
        ("stem", 0),
        ("pool", 0),
        ("mix", 0),
        ("head", 0),
        ("class", 0),
    ]


def test_tight_limits_are_respected(tmp_path: Path) -> None:
    limits = {"neurons": 64, "synapse_memory": 490, "axon_in": 500, "output_edges": 300}
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits=limits)), board="Large")
    mapping = hw_profiles.map(forked(), profile)
    for entry in mapping.registers:
        assert all(entry[resource] <= limit for resource, limit in limits.items())
    assert mapping.cores > 40


def test_registers_of_a_handmade_mapping_equal_the_partition(tmp_path: Path) -> None:
    profile = hw_profiles.load(
        write_chip(tmp_path, chip_text(limits={"neurons": 64, "output_edges": 300})), board="Large"
    )
    mapping = hw_profiles.map(forked(), profile)
    assert Mapping.from_slices(mapping.graph, profile, mapping.slices).registers == mapping.registers


def test_axons_and_edges_against_brute_force(tmp_path: Path) -> None:
    graph = forked()
    profile = hw_profiles.load(
        write_chip(tmp_path, chip_text(limits={"neurons": 64, "output_edges": 900})), board="Large"
    )
    mapping = hw_profiles.map(graph, profile)
    edges = dict.fromkeys(range(mapping.cores), 0)
    owner = {p.id: np.full(p.shape, -1) for p in graph.populations}
    for entry in mapping.slices:
        c, y, x = (slice(*span) for span in entry.box)
        owner[entry.population][c, y, x] = entry.core
    for entry in mapping.slices:
        reached: set[tuple[str, int, int, int]] = set()
        for projection in graph.incoming[entry.population]:
            reached |= {(projection.src, *neuron) for neuron in _sources(graph, projection, entry)}
        assert mapping.registers[entry.core]["axon_in"] == len(reached)
        for name, *neuron in reached:
            core = int(owner[name][tuple(neuron)])
            if core >= 0:
                edges[core] += 1
    assert [entry["output_edges"] for entry in mapping.registers] == [edges[core] for core in range(mapping.cores)]


def _sources(graph: Graph, projection: Projection, entry: Slice) -> set[tuple[int, int, int]]:
    """Source neurons with a synapse into the slice, one output neuron and one tap at a time."""
    source, target = graph.by_id[projection.src], graph.by_id[projection.dst]
    (c0, c1), (y0, y1), (x0, x1) = entry.box
    first = projection.src_channels[0] if projection.src_channels else 0
    synapse = projection.synapse
    found = set()
    for o in range(c0, c1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                match synapse:
                    case Dense():
                        found |= set(np.ndindex(*source.shape))
                    case OneToOne():
                        found.add((first + o, y, x))
                    case Conv():
                        _, per_group, kh, kw = synapse.kernel.mantissa.shape
                        group = o // (target.shape[0] // synapse.groups)
                        for i, ky, kx in np.ndindex(per_group, kh, kw):
                            row = y * synapse.stride[0] - synapse.padding[0] + ky * synapse.dilation[0]
                            column = x * synapse.stride[1] - synapse.padding[1] + kx * synapse.dilation[1]
                            if 0 <= row < source.shape[1] * synapse.upsample and 0 <= column < (
                                source.shape[2] * synapse.upsample
                            ):
                                channel = first + group * per_group + i
                                found.add((channel, row // synapse.upsample, column // synapse.upsample))
    return found


def test_kernels_are_shared_and_zeros_of_dense_are_not_culled() -> None:
    profile = hw_profiles.load("loihi2")
    kernel = weights(16, 4, 3, 3)
    populations = (
        Population(id="a", shape=(4, 8, 8), neuron=Input()),
        Population(id="b", shape=(4, 8, 8), neuron=Or()),
        Population(id="c", shape=(16, 8, 8), neuron=Lif(vth_mant=1)),
        Population(id="d", shape=(10, 1, 1), neuron=Lif(vth_mant=1)),
    )
    one = OneToOne(kernel=Kernel(mantissa=np.ones(4, int)))
    conv = Conv(kernel=kernel, padding=(1, 1))
    nothing = Dense(kernel=Kernel(mantissa=np.zeros((10, 1024), int)))
    projections = (
        Projection(src="a", dst="b", synapse=one),
        Projection(src="a", dst="c", synapse=conv, delay=1),
        Projection(src="b", dst="c", synapse=conv),
        Projection(src="c", dst="d", synapse=nothing),
    )
    graph = Graph(populations=populations, projections=projections)
    whole = ((0, 16), (0, 8), (0, 8))
    # A header of 48 bits and 16 weights of 8 bits take 3 words of 64 bits, 4 weights 2 words; the kernel lies there once.
    assert synapse_words(graph, profile, graph.by_id["c"], whole) == 4 * 9 * 3
    assert synapse_words(graph, profile, graph.by_id["c"], ((0, 4), (0, 8), (0, 1))) == 4 * 9 * 2
    # A header of 8 bits and 10 synapses of 11 + 2 bits take 3 words for each of 1024 axons.
    assert synapse_words(graph, profile, graph.by_id["d"], ((0, 10), (0, 1), (0, 1))) == 3072


def test_overlap_and_gap_are_named() -> None:
    graph, profile = dense_chain(4, 6), hw_profiles.load("loihi2")
    first = Slice(population="dense1", core=0, box=((0, 4), (0, 1), (0, 1)))
    with pytest.raises(OverlapError, match=r"\(3, 0, 0\) of population 'dense1' sits on cores 0, 1; .*cut the slices"):
        Mapping.from_slices(graph, profile, [first, Slice(population="dense1", core=1, box=((3, 6), (0, 1), (0, 1)))])
    with pytest.raises(GapError, match=r"\(4, 0, 0\) of population 'dense1' sits on no core, with 2 of its neurons"):
        Mapping.from_slices(graph, profile, [first])
    with pytest.raises(OverlapError, match="Core 0 holds slices of 'dense1' and 'dense1'; a core holds one slice"):
        Mapping.from_slices(graph, profile, [first, dataclasses.replace(first, box=((4, 6), (0, 1), (0, 1)))])
    with pytest.raises(ProfileError, match=r"holds .* of 'dense1', whose shape \(C,H,W\) is \(6, 1, 1\); keep"):
        Mapping.from_slices(graph, profile, [dataclasses.replace(first, box=((0, 7), (0, 1), (0, 1)))])
    with pytest.raises(ProfileError, match="slice of 'in', which is no population with neurons; map dense1"):
        Mapping.from_slices(graph, profile, [first, dataclasses.replace(first, core=1, population="in")])
    with pytest.raises(ProfileError, match="'none' does not exist; the network has in, dense1"):
        hw_profiles.map(graph, profile).utilization("none")


def test_a_core_beyond_its_limit_is_refused() -> None:
    graph = dense_chain(4, 5000)
    everything = Slice(population="dense1", core=0, box=((0, 5000), (0, 1), (0, 1)))
    with pytest.raises(DoesNotFitError, match=r"'loihi2' on Kapoho Point: Layer 'dense1' needs neurons 5000, .* 4095"):
        Mapping.from_slices(graph, hw_profiles.load("loihi2"), [everything])


def test_too_many_chips_names_layer_and_larger_board(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"neurons": 20}, chips=2)))
    graph = dense_chain(4, 300, 600)
    with pytest.raises(
        DoesNotFitError,
        match=r"'own-chip' on Small: Layer 'dense2' needs chips 3, the limit is 2; the network takes 45 cores and this "
        r"layer 30 of them: use a larger stride .* larger board \(Large\)",
    ) as caught:
        hw_profiles.map(graph, profile)
    assert caught.value.exit_code == 2
    found = hw_profiles.check(graph, profile)
    assert (found.fits, found.cores, found.chips) == (False, (45, 32), (3, 2))
    assert "larger board" in found.layers[-1].advice
    assert hw_profiles.map(graph, profile.on_board("Large")).chips == 3


def test_a_layer_that_alone_exceeds_the_board(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"neurons": 2}, chips=1)))
    with pytest.raises(
        DoesNotFitError,
        match=r"Layer 'dense1' needs chips 10, the limit is 1; the network takes 150 cores and this layer",
    ):
        hw_profiles.map(dense_chain(4, 300), profile)
    with pytest.raises(
        DoesNotFitError,
        match=r"Layer 'dense1' needs cores 20000, the limit is 16384; dividing it by neurons takes more",
    ):
        hw_profiles.map(dense_chain(1, 40000), profile)


def test_a_register_that_cutting_cannot_help(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"axon_in": 30})), board="Large")
    with pytest.raises(
        DoesNotFitError,
        match="Layer 'dense1' needs axon in 40, the limit is 30; it cannot be divided further; use fewer",
    ):
        hw_profiles.map(dense_chain(40, 3), profile)
    narrow = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"synapse_memory": 8})), board="Large")
    with pytest.raises(
        DoesNotFitError, match=r"Layer 'stem' \(torch module net\.stem\.neuron\) needs synapse memory 18"
    ):
        hw_profiles.map(forked(), narrow)
    edges = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"output_edges": 1, "neurons": 1})), board="Large")
    with pytest.raises(
        DoesNotFitError, match=r"Layer 'dense1' needs output edges 3, the limit is 1; .* fewer layers read"
    ):
        hw_profiles.map(dense_chain(2, 2, 3), edges)


def test_weights_delays_and_biases_beyond_the_chip(tmp_path: Path) -> None:
    small = {"weight_bits": 4, "delay": 2, "vth_bits": 5, "bias_bits": 6}
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits=small)))
    with pytest.raises(
        DoesNotFitError, match=r"'in -> dense1' needs weight bits 8, the limit is 4; quantise to 4 bits"
    ):
        hw_profiles.map(dense_chain(4, 3), profile)
    kernel = Kernel(mantissa=np.full((2, 2), -8))
    lif = Lif(vth_mant=32, bias_mant=np.array([-33, 31]))
    graph = Graph(
        populations=(
            Population(id="in", shape=(2, 1, 1), neuron=Input()),
            Population(id="out", shape=(2, 1, 1), neuron=lif, source="net.out"),
        ),
        projections=(Projection(src="in", dst="out", synapse=Dense(kernel=kernel), delay=3),),
        timing="as_given",
    )
    problems = hw_profiles.check(graph, profile).problems
    assert len(problems) == 3
    assert "'in -> out' (torch module net.out) needs delay 3, the limit is 2; export with relay" in problems[0]
    assert "'out' (torch module net.out) needs vth bits 6, the limit is 5; scale weights" in problems[1]
    assert "needs bias bits 7, the limit is 6; use a larger bias_exp" in problems[2]


def test_check_says_what_binds() -> None:
    found = hw_profiles.check(dense_chain(784, 150, 64, 10), hw_profiles.load("loihi2"))
    assert found.fits
    assert [layer.cores for layer in found.layers] == [3, 1, 1]
    assert found.layers[0].binding == "synapse_memory"
    assert found.layers[0].utilization["synapse_memory"] == (11760, 12000)


def test_placement_is_row_major_and_counts_hops() -> None:
    topology = Topology(cores_per_chip=14, cores_per_tile=2, mesh_columns=4, mesh_rows=2)
    placement = place(16, topology)
    assert placement.chips == 2
    assert (placement.x[9], placement.y[9], placement.tile[9]) == (0, 1, 4)
    start, end = np.array([0, 0, 2, 0]), np.array([1, 9, 11, 15])
    ew, ns, crossings = placement.hops(start, end)
    assert ew.tolist() == [0, 0, 0, 4]
    assert ns.tolist() == [0, 1, 1, 0]
    assert crossings.tolist() == [0, 0, 0, 1]
    assert placement.same_tile(start, end).tolist() == [True, False, False, False]


def test_partition_is_deterministic() -> None:
    profile = hw_profiles.load("loihi1-davies2018")
    assert partition(forked(), profile) == partition(forked(), profile)
