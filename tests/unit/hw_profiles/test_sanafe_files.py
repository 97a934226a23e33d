"""What leaves for SANA-FE, and what is said where it cannot; nothing here needs SANA-FE."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import hw_profiles
import hw_profiles.sanafe_export as export
from hw_profiles.sanafe_export import SanafeError, Units, architecture_text, write_sanafe
from hw_profiles.sanafe_import import read_public_architecture, run_sanafe
from hw_profiles.synapse_pairs import synapse_pairs
from lava_runtime.trace import Trace, make_trace
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
    Sparse,
    Wire,
)
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, forked, weights, write_chip
from tests.unit.hw_profiles.synapse_lists import synapses_of

A = Population(id="a", shape=(4, 5, 6), neuron=Lif(vth_mant=1))


@pytest.mark.parametrize(
    ("synapse", "shape", "channels"),
    [
        (Conv(kernel=weights(6, 4, 3, 3), padding=(1, 1)), (6, 5, 6), None),
        (Conv(kernel=weights(6, 2, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (6, 3, 4), None),
        (Conv(kernel=weights(3, 2, 3, 3), padding=(1, 1), upsample=2), (3, 10, 12), (1, 3)),
        (ConvTranspose(kernel=weights(4, 3, 3, 3), stride=(2, 2), padding=(1, 1)), (3, 9, 11), None),
        (ConvTranspose(kernel=weights(4, 1, 2, 2), stride=(2, 2), groups=2), (2, 10, 12), None),
        (Dense(kernel=weights(7, 120)), (7, 1, 1), None),
        (OneToOne(kernel=weights(2)), (2, 5, 6), (2, 4)),
        (Sparse(kernel=weights(3), rows=np.array([0, 1, 1]), columns=np.array([5, 2, 119])), (2, 1, 1), None),
        (Wire(), (4, 5, 6), None),
    ],
)
def test_pairs_are_the_synapses_written_out(
    synapse: Conv | Dense, shape: tuple[int, int, int], channels: tuple[int, int] | None
) -> None:
    target = Population(id="b", shape=shape, neuron=Lif(vth_mant=1))
    projection = Projection(src="a", dst="b", synapse=synapse, src_channels=channels)
    sources, targets = synapse_pairs(projection, A, target)
    expected = Counter(
        (int(np.ravel_multi_index(source, A.shape)), int(np.ravel_multi_index(reached, shape)))
        for source, reached in synapses_of(projection, A, target)
    )
    assert Counter(zip(sources.tolist(), targets.tolist(), strict=True)) == expected


def replayed(graph: Graph, *, steps: int = 5, seed: int = 0, rate: float = 0.3) -> Trace:
    """A trace whose counters are those of its random rasters."""
    rng = np.random.default_rng(seed)
    empty = make_trace(
        graph,
        backend="made up",
        steps=steps,
        samples=1,
        outputs={},
        spike_counts={p.id: np.zeros(p.shape, np.int64) for p in graph.populations},
        sample_spikes={},
        warm_up={},
        drain={},
    )
    rows = empty.schedule.hardware_steps
    rasters, counts = {}, {}
    for population in graph.populations:
        raster = np.zeros((rows, *population.shape), np.uint8)
        window = empty.schedule.window(population.id)
        raster[window] = rng.random((steps, *population.shape)) < rate
        rasters[population.id], counts[population.id] = raster, raster.sum(axis=0, dtype=np.int64)
    return dataclasses.replace(empty, rasters=rasters, spike_counts=counts)


def chain() -> Graph:
    """Neurons behind a wire, a convolution, a dense layer."""
    populations = (
        Population(id="host", shape=(2, 6, 6), neuron=Input(message_bits=4)),
        Population(id="input", shape=(2, 6, 6), neuron=Lif(vth_mant=1)),
        Population(id="conv", shape=(4, 6, 6), neuron=Lif(vth_mant=1)),
        Population(id="dense", shape=(5, 1, 1), neuron=Lif(vth_mant=1)),
    )
    projections = (
        Projection(src="host", dst="input", synapse=Wire()),
        Projection(src="input", dst="conv", synapse=Conv(kernel=weights(4, 2, 3, 3), padding=(1, 1))),
        Projection(src="conv", dst="dense", synapse=Dense(kernel=weights(5, 144))),
    )
    return Graph(populations=populations, projections=projections, timing="as_given")


def test_files_name_every_neuron_synapse_and_core(tmp_path: Path) -> None:
    graph = chain()
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi1-fitted"))
    trace = replayed(graph)
    files = write_sanafe(tmp_path, mapping, trace)
    assert files.host == ()
    assert set(files.groups.values()) == {"input", "conv", "dense"}
    text = files.network.read_text()
    edges = [line for line in text.splitlines() if "->" in line]
    assert len(edges) == int(sum((p.fan_out(graph.by_id[p.src])).sum() for p in graph.projections))
    mapped = [line for line in text.splitlines() if "core:" in line]
    assert len(mapped) == 72 + 144 + 5
    assert sum("conv_synapse" in line for line in mapped) == 144
    first = "".join("1" if spike else "0" for spike in trace.rasters["input"][:, 0, 0, 0])
    assert f"- 0: [spikes: [{', '.join(first)}]]" in text
    again = write_sanafe(tmp_path / "again", mapping, trace)
    assert again.network.read_bytes() == files.network.read_bytes()
    assert again.architecture.read_bytes() == files.architecture.read_bytes()


def test_inputs_sit_on_free_cores(tmp_path: Path) -> None:
    graph = dense_chain(12, 8, 3)
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi1-fitted"))
    files = write_sanafe(tmp_path, mapping, replayed(graph), units=Units(replay="unit"))
    assert files.host == ("g0",)
    assert '- g0.0: [core: 31.3, soma: "unit[0]"' in files.network.read_text()


def test_architecture_has_our_prices() -> None:
    text = architecture_text(hw_profiles.load("loihi1-fitted"), 2, 7)
    for line in (
        "width: 16",
        "height: 4",
        "tile[0..63]",
        "core[0..3]",
        "replay[0..6]",
        "energy_east_hop: 3.000000000000e-12",
        "energy_north_hop: 4.200000000000e-12",
        "energy_process_spike: 2.400000000000e-11",
        "energy_message_out: 1.110000000000e-10",
        "latency_sync: { 1: 6.000000000000e-07,",
    ):
        assert line in text
    davies = hw_profiles.load("loihi1-davies2018")
    assert "latency_sync: 1.130000000000e-07" in architecture_text(davies, 1, 1, "low")
    assert "latency_sync: 4.650000000000e-07" in architecture_text(davies, 1, 1, "high")
    assert "energy_message_out: 0.000000000000e+00" in architecture_text(davies, 1, 1)


def test_what_cannot_leave_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain()
    trace = replayed(graph)
    with pytest.raises(SanafeError, match="'algorithmic-45nm' has no cores, so nothing can be placed; choose a chip"):
        write_sanafe(tmp_path, hw_profiles.map(graph, hw_profiles.load("algorithmic-45nm")), trace)
    with pytest.raises(SanafeError, match="'algorithmic-45nm' has no cores; choose a chip"):
        architecture_text(hw_profiles.load("algorithmic-45nm"), 1, 1)
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi1-fitted"))
    with pytest.raises(SanafeError, match=r"spikes of input, conv were not recorded, .*rasters='all'"):
        write_sanafe(tmp_path, mapping, dataclasses.replace(trace, rasters={}))
    mixed = forked()
    large = dense_chain(5000, 3)
    tight = hw_profiles.load(write_chip(tmp_path, chip_text(chips=1)), board="Small")
    full = hw_profiles.map(large, tight)
    with pytest.raises(
        SanafeError, match="No core of 'own-chip' is free for the 5000 neurons of the input 'in'; use a"
    ):
        write_sanafe(tmp_path, full, replayed(large, steps=1))
    two_kinds = Graph(
        populations=(*mixed.populations[:2], Population(id="both", shape=(8, 12, 20), neuron=Lif(vth_mant=1))),
        projections=(
            mixed.projections[0],
            Projection(src="stem", dst="both", synapse=Dense(kernel=weights(1920, 1920))),
            Projection(src="stem", dst="both", synapse=OneToOne(kernel=weights(8))),
        ),
    )
    with pytest.raises(SanafeError, match=r"'both' is reached through synapses of different kinds \(conv_.*, dense_"):
        write_sanafe(tmp_path, hw_profiles.map(two_kinds, mapping.profile), replayed(two_kinds))
    monkeypatch.setattr(export, "MOST_SYNAPSES", 1000)
    with pytest.raises(SanafeError, match=r"input -> conv brings the network to \d+ synapses, the limit is 1000"):
        write_sanafe(tmp_path, mapping, trace)


def test_a_python_without_sanafe(tmp_path: Path) -> None:
    graph = chain()
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi1-fitted"))
    files = write_sanafe(tmp_path, mapping, replayed(graph))
    with pytest.raises(SanafeError, match=r"SANA-FE failed and said: .*pip install sanafe"):
        run_sanafe(files, mapping.profile, sys.executable)
    with pytest.raises(SanafeError, match=r"nowhere: cannot be started \(No such file or directory\); name the Python"):
        run_sanafe(files, mapping.profile, tmp_path / "nowhere")
    with pytest.raises(SanafeError, match=r"holds no SANA-FE with examples/loihi\.yaml"):
        read_public_architecture(sys.executable)
    with pytest.raises(SanafeError, match="nowhere: cannot be started"):
        read_public_architecture(tmp_path / "nowhere")
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    with pytest.raises(SanafeError, match=r"SANA-FE took more than 0\.2 s; use a smaller network"):
        run_sanafe(files, mapping.profile, slow, timeout=0.2)
