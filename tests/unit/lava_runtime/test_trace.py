"""Traces: alignment, counters, comparison, and the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lava_runtime.trace import Trace, make_trace
from netx_export.errors import RunError
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection, Readout

KERNEL = Kernel(mantissa=np.ones((1, 1, 3, 3)))
GRAPH = Graph(
    populations=(
        Population(id="input", shape=(1, 3, 3), neuron=Input()),
        Population(id="enc/one", shape=(1, 3, 3), neuron=Lif(vth_mant=1)),
        Population(id="out", shape=(1, 3, 3), neuron=Readout()),
    ),
    projections=(
        Projection(src="input", dst="enc/one", synapse=Conv(kernel=KERNEL, padding=(1, 1))),
        Projection(src="enc/one", dst="out", synapse=Conv(kernel=KERNEL, padding=(1, 1))),
    ),
    steps=2,
)


def trace(seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    n = 2 * 3 + 2
    raster = np.zeros((n, 1, 3, 3), np.uint8)
    raster[1:7] = rng.integers(0, 2, (6, 1, 3, 3))
    output = np.zeros((n, 1, 3, 3), np.int32)
    output[2:8] = rng.integers(-9, 9, (6, 1, 3, 3))
    corner = np.zeros((1, 3, 3), np.int64)
    corner[0, 0, 0] = 5
    return make_trace(
        GRAPH,
        backend="fast",
        steps=2,
        samples=3,
        outputs={"out": output},
        spike_counts={"out": corner * 0, "input": corner, "enc/one": raster.sum(axis=0, dtype=np.int64)},
        sample_spikes={name: np.zeros(3, np.int64) for name in GRAPH.by_id},
        warm_up={"input": 0, "enc/one": 1, "out": 0},
        drain={"input": 0, "enc/one": 2, "out": 0},
        rasters={"enc/one": raster},
        u={"enc/one": raster.astype(np.int32) * 64},
        v={"enc/one": raster.astype(np.int32) * 32},
        meta={"command": "test"},
    )


def test_aligned_takes_the_latency_out() -> None:
    recorded = trace()
    aligned = recorded.aligned("out")
    assert aligned.shape == (2, 3, 1, 3, 3)
    for sample in range(3):
        for step in range(2):
            assert (aligned[step, sample] == recorded.output[2 + 2 * sample + step]).all()
    assert (recorded.aligned("enc/one")[1, 2] == recorded.rasters["enc/one"][6]).all()
    with pytest.raises(RunError, match=r"Nothing was recorded of 'input'; probe it with Probes\(rasters"):
        recorded.aligned("input")


def test_values_speak_in_the_units_of_training() -> None:
    scaled = dataclasses.replace(GRAPH.populations[2], neuron=Readout(unit=0.25))
    graph = dataclasses.replace(GRAPH, populations=(*GRAPH.populations[:2], scaled))
    recorded = dataclasses.replace(trace(), graph_digest=graph.digest)
    assert list(recorded.values(graph)) == ["out"]
    assert (recorded.values(graph)["out"] == recorded.aligned("out") / 4).all()


def test_counters_follow_the_true_fan_out() -> None:
    recorded = trace()
    # A spike in the corner of a padded 3x3 convolution reaches 4 neurons, not 9.
    assert recorded.synops(GRAPH)["enc/one"] == 5 * 4
    assert recorded.neuron_updates(GRAPH) == {"input": 0, "enc/one": 54, "out": 54}
    assert recorded.total_spikes(GRAPH) == int(recorded.rasters["enc/one"].sum())
    other = dataclasses.replace(GRAPH, steps=3)
    with pytest.raises(RunError, match=r"recorded from network .* run the network again"):
        recorded.synops(other)


def test_mappings_follow_the_order_of_the_network() -> None:
    assert list(trace().spike_counts) == ["input", "enc/one", "out"]


def test_first_difference_names_population_step_neuron_and_states() -> None:
    one, other = trace(), trace()
    assert one.first_difference(other) is None
    raster = other.rasters["enc/one"].copy()
    raster[4, 0, 2, 1] ^= 1
    output = other.outputs["out"].copy()
    output[5] += 1
    changed = dataclasses.replace(other, rasters={"enc/one": raster}, outputs={"out": output})
    found = one.first_difference(changed)
    assert found is not None
    assert (found.population, found.step, found.neuron, found.kind) == ("enc/one", 4, (0, 2, 1), "spikes")
    assert {found.mine, found.theirs} == {0, 1}
    text = str(found)
    assert "population 'enc/one', step 4, neuron (c,y,x) = (0, 2, 1)" in text
    assert "u mine" in text
    assert "v theirs" in text


def test_traces_of_different_runs_are_not_compared() -> None:
    one = trace()
    longer = dataclasses.replace(one, schedule=dataclasses.replace(one.schedule, samples=4))
    with pytest.raises(RunError, match="cannot be compared"):
        one.first_difference(longer)


def test_the_only_output_has_to_be_the_only_one() -> None:
    two = dataclasses.replace(trace(), outputs={"a": np.zeros(1), "b": np.zeros(1)})
    with pytest.raises(RunError, match=r"2 outputs \(a, b\)"):
        _ = two.output


def test_a_trace_survives_the_disk(tmp_path: Path) -> None:
    recorded = trace()
    recorded.save(tmp_path / "trace.h5")
    loaded = Trace.load(tmp_path / "trace.h5")
    assert recorded.first_difference(loaded) is None
    assert list(loaded.spike_counts) == list(recorded.spike_counts)
    assert loaded.schedule == recorded.schedule
    assert (loaded.warm_up, loaded.drain, loaded.meta) == (recorded.warm_up, recorded.drain, recorded.meta)
    assert (loaded.spike_counts["enc/one"] == recorded.spike_counts["enc/one"]).all()
    first = (tmp_path / "trace.h5").read_bytes()
    recorded.save(tmp_path / "trace.h5")
    assert (tmp_path / "trace.h5").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["trace.h5"]


def test_any_name_survives_the_disk(tmp_path: Path) -> None:
    names = ["a/b", "a\\b", "a//b", "/", "\\", ".", "..", "x y", "%2E", "%", "übersee→", "line\nbreak"]
    recorded = trace()
    renamed = {name: np.full((1, 1, 1), index) for index, name in enumerate(names)}
    dataclasses.replace(recorded, spike_counts=renamed).save(tmp_path / "trace.h5")
    loaded = Trace.load(tmp_path / "trace.h5").spike_counts
    assert list(loaded) == names
    assert [int(counts[0, 0, 0]) for counts in loaded.values()] == list(range(len(names)))


def test_counters_belong_to_one_network() -> None:
    other = Graph(populations=(Population(id="x", shape=(1, 1, 1), neuron=Input()),), projections=())
    for counter in (trace().total_spikes, trace().synops, trace().neuron_updates, trace().values):
        with pytest.raises(RunError, match=r"The trace was recorded from network .*; run the network again"):
            counter(other)


@pytest.mark.parametrize("content", [b"", b"no hdf5", None])
def test_files_that_are_no_trace(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"bad\.h5: cannot be read as a trace"):
        Trace.load(path)


def test_a_trace_of_other_parts_is_no_trace(tmp_path: Path) -> None:
    import h5py

    trace().save(tmp_path / "trace.h5")
    with h5py.File(tmp_path / "trace.h5", "a") as file:
        del file["u"]
        file["u"] = 3
    with pytest.raises(RunError, match=r"trace.h5: cannot be read as a trace .*; run run_lava.py again"):
        Trace.load(tmp_path / "trace.h5")


def test_a_foreign_hdf5_file_is_no_trace(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RunError, match="no trace of format 1"):
        Trace.load(tmp_path / "foreign.h5")
