"""Batch by batch: the same trace as one run, and memory that does not grow with the recording."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes, Trace
from lava_runtime.streaming import Summary, stream, trace_file
from netx_export.errors import RunError
from netx_export.netx.writer import write
from tests.unit.lava_runtime.small_detector import TASK, detector

ROOT = Path(__file__).resolve().parents[3]
GRAPH = detector()


def cubes(samples: int) -> np.ndarray:
    return (np.random.default_rng(samples).random((TASK.steps, samples, 4, 16, 16)) < 0.2).astype(np.uint8)


def assert_equal(mine: Trace, theirs: Trace) -> None:
    assert mine.first_difference(theirs) is None
    assert (mine.schedule, mine.warm_up, mine.drain) == (theirs.schedule, theirs.warm_up, theirs.drain)
    for kind in ("outputs", "spike_counts", "sample_spikes", "rasters", "u", "v"):
        one, other = getattr(mine, kind), getattr(theirs, kind)
        assert list(one) == list(other)
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("edges", [(0, 7), (0, 3, 7), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_a_file_grown_by_batches_holds_the_trace_of_one_run(tmp_path: Path, edges: tuple[int, ...]) -> None:
    inputs, probes = cubes(7), Probes(rasters="all", states=("stem",))
    whole = lava_runtime.run(GRAPH, inputs, probes=probes, threads=1)
    assert whole.total_spikes(GRAPH) > 500
    batches = (inputs[:, a:b] for a, b in pairwise(edges))
    with trace_file(tmp_path / "trace.h5", GRAPH, meta={"by": "test"}) as file:
        for trace in stream(GRAPH, batches, probes=probes, threads=1):
            file.append(trace)
    found = Trace.load(tmp_path / "trace.h5")
    assert_equal(found, whole)
    assert found.meta == {"by": "test"}
    assert file.summary.samples == 7
    assert file.summary.trace().synops(GRAPH) == whole.synops(GRAPH)


def test_outputs_can_be_left_out_and_failures_leave_no_file(tmp_path: Path) -> None:
    with trace_file(tmp_path / "trace.h5", GRAPH, outputs=False) as file:
        for trace in stream(GRAPH, [cubes(2)], threads=1):
            file.append(trace)
    assert Trace.load(tmp_path / "trace.h5").outputs == {}
    (tmp_path / "trace.h5").unlink()
    with pytest.raises(RunError, match="No trace was added up; run at least one sample"):  # noqa: SIM117
        with trace_file(tmp_path / "trace.h5", GRAPH):
            pass
    assert list(tmp_path.iterdir()) == []


def test_batches_are_taken_when_they_are_needed_and_named_when_they_do_not_fit() -> None:
    taken = 0

    def batches() -> object:
        nonlocal taken
        for _ in range(3):
            taken += 1
            yield cubes(1)
        yield cubes(1)[..., :8]

    traces = stream(GRAPH, batches(), threads=1)
    next(traces)
    assert taken == 1
    with pytest.raises(RunError, match=r"Batch 3: Input 'input' has shape \(5, 1, 4, 16, 8\)"):
        list(traces)
    with pytest.raises(RunError, match="Backend 'nothing' does not exist"):
        stream(GRAPH, [], backend="nothing")


def test_a_summary_refuses_what_cannot_be_added() -> None:
    summary = Summary(GRAPH)
    summary.add(lava_runtime.run(GRAPH, cubes(2), threads=1))
    with pytest.raises(RunError, match="recorded from network"):
        summary.add(lava_runtime.run(detector(1), cubes(2), threads=1))
    with pytest.raises(RunError, match="A trace with steps per sample 4 follows one with 5"):
        summary.add(lava_runtime.run(GRAPH, cubes(2)[:4], threads=1))


PROGRAM = """
import resource, sys
import run_lava
code = run_lava.main([{network!r}, "--data", {data!r}, "--windows", "all", "--threads", "1", "--out", {out!r}])
print("PEAK", code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_long(path: Path, seconds: int) -> None:
    """400,000 events per second, written second by second."""
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        stream.write(b"% Version 2\n% Height 16\n% Width 16\n\x00\x08")
        for second in range(seconds):
            words = np.empty((400_000, 2), "<u4")
            words[:, 0] = np.sort(rng.integers(0, 1_000_000, len(words))) + second * 1_000_000
            words[:, 1] = rng.integers(0, 16, len(words)) | rng.integers(0, 16, len(words)) << 14
            stream.write(words.tobytes())


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Ten times the recording (10 s, 32 MB of file, 90 MB of events in memory) takes the same memory within 10 MB."""
    write(GRAPH, tmp_path / "small.net")
    peaks = []
    for seconds in (1, 10):
        data = tmp_path / f"{seconds}_td.dat"
        write_long(data, seconds)
        program = PROGRAM.format(network=str(tmp_path / "small.net"), data=str(data), out=str(tmp_path / str(seconds)))
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert f"{seconds * 100} windows from" in done.stdout
        code, peak = done.stdout.split("PEAK ")[1].split()
        assert code == "0"
        peaks.append(int(peak) / 1024)
    print(f"peak memory: {peaks[0]:.0f} MB for 1 s, {peaks[1]:.0f} MB for 10 s")
    assert abs(peaks[1] - peaks[0]) < 10
