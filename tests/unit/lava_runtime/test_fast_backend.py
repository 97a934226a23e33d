"""The `fast` backend's manners: batches, threads, probes, options, memory, start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes, Trace, fast_backend
from netx_export.errors import RunError
from netx_export.graph import Graph
from tests.unit.lava_runtime.test_fast_equality import EVERYTHING, skip_graph, spikes

ROOT = Path(__file__).parents[3]


@pytest.fixture
def graph() -> Graph:
    return skip_graph(np.random.default_rng(20), steps=3)


def inputs(samples: int) -> Any:
    return spikes(np.random.default_rng(21), 3, samples, 2, 6, 8)


def assert_same(mine: Trace, theirs: Trace) -> None:
    assert mine.first_difference(theirs) is None
    assert mine.schedule == theirs.schedule
    assert dict(mine.warm_up) == dict(theirs.warm_up)
    assert dict(mine.drain) == dict(theirs.drain)
    for name, counts in mine.spike_counts.items():
        np.testing.assert_array_equal(counts, theirs.spike_counts[name])
        np.testing.assert_array_equal(mine.sample_spikes[name], theirs.sample_spikes[name])


def test_a_batch_equals_its_samples(graph: Graph) -> None:
    data = inputs(5)
    whole = lava_runtime.run(graph, data, probes=EVERYTHING, threads=1)
    for b in range(5):
        single = lava_runtime.run(graph, data[:, b : b + 1], probes=EVERYTHING, threads=1)
        for name in ("stem", "pool", "deep", "up", "head", "in"):
            for mine, theirs in ((whole.rasters, single.rasters), (whole.u, single.u), (whole.v, single.v)):
                if name in mine:
                    np.testing.assert_array_equal(
                        whole.to_samples(name, mine[name])[:, b], single.to_samples(name, theirs[name])[:, 0]
                    )
        np.testing.assert_array_equal(whole.aligned("head")[:, b], single.aligned("head")[:, 0])
        assert whole.sample_spikes["up"][b] == single.sample_spikes["up"][0]


@pytest.mark.parametrize("threads", [2, 3, 7, None])
def test_any_number_of_threads_gives_the_same_trace(graph: Graph, threads: int | None) -> None:
    one = lava_runtime.run(graph, inputs(4), probes=EVERYTHING, threads=1)
    assert_same(lava_runtime.run(graph, inputs(4), probes=EVERYTHING, threads=threads), one)


@pytest.mark.parametrize("together", [1, 2, 3])
def test_samples_computed_in_turns_give_the_same_trace(
    graph: Graph, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lava_runtime.run(graph, inputs(5), probes=EVERYTHING, threads=1)
    monkeypatch.setattr(fast_backend, "SAMPLES_TOGETHER", together)
    assert_same(lava_runtime.run(graph, inputs(5), probes=EVERYTHING, threads=1), one)
    monkeypatch.setattr(fast_backend, "SPIKE_MEMORY", 1)
    assert_same(lava_runtime.run(graph, inputs(5), probes=EVERYTHING, threads=1), one)


def test_running_twice_gives_the_same_trace(graph: Graph) -> None:
    assert_same(lava_runtime.run(graph, inputs(2), threads=1), lava_runtime.run(graph, inputs(2), threads=1))


def test_only_what_is_probed_is_recorded(graph: Graph) -> None:
    bare = lava_runtime.run(graph, inputs(1), threads=1)
    assert (dict(bare.rasters), dict(bare.u), dict(bare.v)) == ({}, {}, {})
    assert list(bare.outputs) == ["head"]
    asked = lava_runtime.run(graph, inputs(1), probes=Probes(rasters=("up", "in"), states=("deep",)), threads=1)
    assert set(asked.rasters) == {"up", "in"}
    assert asked.rasters["up"].dtype == np.uint8
    assert asked.rasters["in"].dtype == np.int32
    assert (list(asked.u), list(asked.v)) == (["deep"], ["deep"])
    # An OR, a readout and an input have no states; a readout's values are an output and no raster.
    other = lava_runtime.run(
        graph, inputs(1), probes=Probes(rasters=("head",), states=("pool", "head", "in")), threads=1
    )
    assert (dict(other.rasters), dict(other.u)) == ({}, {})


def test_records_are_zero_outside_the_windows(graph: Graph) -> None:
    trace = lava_runtime.run(graph, inputs(2), probes=EVERYTHING, threads=1)
    assert trace.warm_up["up"] > 0
    for name, raster in trace.rasters.items():
        window = trace.schedule.window(name)
        assert not raster[: window.start].any()
        assert not raster[window.stop :].any()


def test_spike_counts_and_synaptic_operations_agree_with_the_rasters(graph: Graph) -> None:
    trace = lava_runtime.run(graph, inputs(3), probes=EVERYTHING, threads=1)
    for name, raster in trace.rasters.items():
        np.testing.assert_array_equal(trace.spike_counts[name], (raster != 0).sum(axis=0))
    reached = sum(
        int((trace.rasters[p.src].astype(np.int64) * p.fan_out(graph.by_id[p.src])).sum()) for p in graph.projections
    )
    assert sum(trace.synops(graph).values()) == reached


def test_progress_shows_every_layer(graph: Graph, capsys: pytest.CaptureFixture[str]) -> None:
    lava_runtime.run(graph, inputs(2), threads=1, progress=True)
    assert "5/5" in capsys.readouterr().err
    lava_runtime.run(graph, inputs(2), threads=1)
    assert capsys.readouterr().err == ""


def test_an_unknown_option_is_named(graph: Graph) -> None:
    with pytest.raises(RunError, match="Backend 'fast' has no option 'models'; it takes threads"):
        lava_runtime.run(graph, inputs(1), models="stock")


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", True])
def test_threads_must_be_a_whole_number(graph: Graph, threads: Any) -> None:
    with pytest.raises(RunError, match=r"Backend 'fast': threads is .*; give a whole number >= 1"):
        lava_runtime.run(graph, inputs(1), threads=threads)


SCRIPT = """
import sys, numpy as np
import lava_runtime, lava_runtime.fast_backend
assert not {"numba", "llvmlite", "torch", "lava"} & set(sys.modules), "heavy imports"
from netx_export.graph import Graph, Input, Kernel, Lif, OneToOne, Population, Projection
graph = Graph(
    populations=(Population(id="in", shape=(1, 1, 1), neuron=Input()),
                 Population(id="out", shape=(1, 1, 1), neuron=Lif(vth_mant=1))),
    projections=(Projection(src="in", dst="out", synapse=OneToOne(kernel=Kernel(mantissa=np.array([2])))),))
print(int(lava_runtime.run(graph, np.ones((1, 1, 1, 1, 1)), threads=1).output.sum()))
"""


def test_importing_is_light_and_the_kernels_come_from_the_cache() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environment, timeout=60
        )
        assert done.stdout.strip() == "1"


def test_kernels_compile_where_no_cache_can_be_written() -> None:
    from lava_runtime.engine.compiled import compiled

    # A function without a file has no place for a cache, as one in a folder that nobody may write to.
    made: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", made)
    assert compiled(made["double"])(21) == 42
