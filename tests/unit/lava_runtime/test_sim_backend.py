"""The Lava simulator: the same trace as `fast`, and nothing left behind whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lava.magma.core.run_configs")


import lava_runtime
from lava_runtime import Probes, Trace
from lava_runtime.simulation import frame_neurons
from lava_runtime.simulation.recorder import Recorder
from netx_export.errors import RunError
from netx_export.graph import Conv, Dense, Graph, Input, Lif, Population, Projection, RfIz, SigmaDelta
from tests.unit.lava_runtime.foreign_networks import FOREIGN, foreign_inputs
from tests.unit.lava_runtime.lava_networks import graded, kernel, many_features, spikes

pytestmark = pytest.mark.lava

ROOT = Path(__file__).resolve().parents[3]
EVERYTHING = Probes(rasters="all", states="all")
MODELS = ("compiled", "stock")


@pytest.fixture(autouse=True)
def _nothing_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert multiprocessing.active_children() == []
    assert list(tmp_path.glob("basalt-sim-*")) == []


def check_equal(mine: Trace, theirs: Trace) -> None:
    """Everything two traces recorded is the same, to the type."""
    assert mine.first_difference(theirs) is None
    for kind in ("outputs", "spike_counts", "sample_spikes", "rasters", "u", "v"):
        ours, others = getattr(mine, kind), getattr(theirs, kind)
        assert list(ours) == list(others), kind
        for name in ours:
            np.testing.assert_array_equal(ours[name], others[name], err_msg=f"{kind} {name}")
            assert ours[name].dtype == others[name].dtype, f"{kind} {name}"
    assert (mine.warm_up, mine.drain, mine.schedule) == (theirs.warm_up, theirs.drain, theirs.schedule)


@pytest.mark.parametrize("models", MODELS)
def test_sim_leaves_the_trace_that_fast_leaves(models: str, capfd: pytest.CaptureFixture[str]) -> None:
    graph = many_features()
    inputs = spikes(graph)
    trace = lava_runtime.run(graph, inputs, backend="sim", models=models, probes=EVERYTHING, progress=True)
    check_equal(trace, lava_runtime.run(graph, inputs, probes=EVERYTHING))
    assert trace.total_spikes(graph) > 300
    assert (trace.backend, trace.meta["models"]) == ("sim", models)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"sim ({models}): 100%" in err


@pytest.mark.parametrize("models", MODELS)
def test_graded_messages(models: str) -> None:
    graph, inputs = graded()
    trace = lava_runtime.run(graph, inputs, backend="sim", models=models, probes=EVERYTHING)
    check_equal(trace, lava_runtime.run(graph, inputs, probes=EVERYTHING))


@pytest.mark.parametrize("models", MODELS)
def test_parts_that_are_not_connected(models: str) -> None:
    rng = np.random.default_rng(1)
    part = [
        (
            Population(id=f"in{side}", shape=(1, 4, 4), neuron=Input()),
            Population(id=f"p{side}", shape=(2, 4, 4), neuron=Lif(vth_mant=60, dv=500)),
            Projection(src=f"in{side}", dst=f"p{side}", synapse=Conv(kernel=kernel(rng, 2, 1, 3, 3), padding=(1, 1))),
        )
        for side in range(2)
    ]
    graph = Graph(populations=tuple(p for three in part for p in three[:2]), projections=tuple(t[2] for t in part))
    inputs = {f"in{side}": (rng.random((3, 2, 1, 4, 4)) < 0.3).astype(np.int32) for side in range(2)}
    trace = lava_runtime.run(graph, inputs, backend="sim", models=models)
    check_equal(trace, lava_runtime.run(graph, inputs))
    assert trace.total_spikes(graph) > 10


def test_options_that_do_not_exist() -> None:
    graph = many_features()
    with pytest.raises(RunError, match=r"Backend 'sim' has no models 'mine'; choose one of compiled, stock."):
        lava_runtime.run(graph, spikes(graph), backend="sim", models="mine")
    with pytest.raises(RunError, match=r"Backend 'sim' has no option 'batch'; it takes models."):
        lava_runtime.run(graph, spikes(graph), backend="sim", batch=3)


def test_a_failure_inside_a_process_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def failing(*arguments: object) -> int:
        calls.append(arguments)
        if len(calls) > 3:
            raise ArithmeticError("the fourth step went wrong")
        return 0

    graph = many_features()
    monkeypatch.setattr(frame_neurons, "lif_frame", failing)
    with pytest.raises(
        RunError, match=r"A Lava process failed near step \d+ of 17: ArithmeticError: the fourth step went"
    ):
        lava_runtime.run(graph, spikes(graph), backend="sim")


def test_a_process_that_dies_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def dying(*arguments: object) -> int:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    graph = many_features()
    monkeypatch.setattr(frame_neurons, "lif_frame", dying)
    with pytest.raises(
        RunError, match=r"A Lava process failed near step \d+ of 17: process \d+ ended with exit code -9"
    ):
        lava_runtime.run(graph, spikes(graph), backend="sim")


def test_a_failure_that_leaves_no_neighbour_waiting_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Recorder, step: int, values: object) -> None:
        raise OSError(28, "No space left on device")

    graph = many_features()
    monkeypatch.setattr(Recorder, "values", failing)
    with pytest.raises(
        RunError, match=r"A Lava process failed near step \d+ of 17: OSError: \[Errno 28\] No space left"
    ):
        lava_runtime.run(graph, spikes(graph), backend="sim")


def test_a_process_that_cannot_start_is_one_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def failing(self: Recorder, ledger: object) -> None:
        raise OSError(28, "No space left on device")

    graph = many_features()
    monkeypatch.setattr(Recorder, "__init__", failing)
    with pytest.raises(
        RunError, match=r"could not be started or reached: \[Errno 28\] No space left on device\. They write"
    ):
        lava_runtime.run(graph, spikes(graph), backend="sim")
    assert capfd.readouterr().out == ""


def test_an_input_that_nobody_reads() -> None:
    one = many_features()
    graph = Graph(
        populations=(Population(id="spare", shape=(1, 2, 2), neuron=Input()), *one.populations),
        projections=one.projections,
        steps=4,
    )
    inputs = {"in": spikes(one), "spare": np.ones((4, 3, 1, 2, 2), np.int32)}
    check_equal(lava_runtime.run(graph, inputs, backend="sim"), lava_runtime.run(graph, inputs))


LONG_RUN = """
import sys, numpy as np, lava_runtime
from tests.unit.lava_runtime.foreign_networks import FOREIGN, foreign_inputs
from tests.unit.lava_runtime.lava_networks import many_features, spikes
graph = many_features()
print("start", flush=True)
lava_runtime.run(graph, spikes(graph, samples=100_000), backend="sim", progress=True)
"""


def _descendants(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed] + [deeper for child in listed for deeper in _descendants(int(child))]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the children of a process from /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_orphans(number: signal.Signals, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_RUN],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "start\n"
    seen = ""
    while "sim (compiled):" not in seen or " 0/" in seen.rsplit("\r", 1)[-1]:
        seen += child.stderr.read(1)
        assert len(seen) < 4000
    children = _descendants(child.pid)
    assert len(children) > 10
    # A terminal sends Ctrl-C to the whole group.
    os.killpg(child.pid, number) if number == signal.SIGINT else child.send_signal(number)
    _, rest = child.communicate(timeout=30)
    assert child.returncode == -number, rest
    deadline = time.monotonic() + 5
    while [pid for pid in children if Path(f"/proc/{pid}").exists()] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.glob("basalt-sim-*")) == []


@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_networks_that_only_files_bring(kind: str, models: str) -> None:
    graph = FOREIGN[kind]()
    inputs = foreign_inputs(graph)
    trace = lava_runtime.run(graph, inputs, backend="sim", models=models, probes=EVERYTHING)
    check_equal(trace, lava_runtime.run(graph, inputs, probes=EVERYTHING))
    assert all(0.03 < np.count_nonzero(sent) / sent.size < 0.9 for sent in trace.rasters.values())


@pytest.mark.parametrize("models", MODELS)
def test_samples_as_given_start_from_rest(models: str) -> None:
    graph = FOREIGN["delays"]()
    inputs = foreign_inputs(graph, samples=2)
    inputs[:, 1] = inputs[:, 0]
    trace = lava_runtime.run(graph, inputs, backend="sim", models=models, probes=EVERYTHING)
    for name in ("first", "out", "back"):
        first, second = trace.to_samples(name, trace.rasters[name]).swapaxes(0, 1)
        np.testing.assert_array_equal(second, first)
    assert trace.sample_spikes["out"].tolist() == [trace.sample_spikes["out"][0]] * 2
    check_equal(trace, lava_runtime.run(graph, inputs, probes=EVERYTHING))


def test_compiled_models_reset_what_lava_cannot() -> None:
    rng = np.random.default_rng(4)
    graph = Graph(
        populations=(
            Population(id="in", shape=(4, 1, 1), neuron=Input()),
            Population(id="iz", shape=(5, 1, 1), neuron=RfIz(sin=900, cos=3800, vth_mant=40)),
            Population(id="out", shape=(3, 1, 1), neuron=SigmaDelta(vth=20)),
        ),
        projections=(
            Projection(src="in", dst="iz", synapse=Dense(kernel=kernel(rng, 5, 4)), port="re"),
            Projection(src="iz", dst="out", synapse=Dense(kernel=kernel(rng, 3, 5))),
        ),
        messages="graded",
        steps=6,
    )
    inputs = spikes(graph, steps=6, rate=0.5)
    trace = lava_runtime.run(graph, inputs, backend="sim", probes=EVERYTHING)
    check_equal(trace, lava_runtime.run(graph, inputs, probes=EVERYTHING))
    assert trace.sample_spikes["out"].all()
    with pytest.raises(
        RunError,
        match=r"Population 'iz' is a RfIz; timing 'aligned' resets it with every sample, which no process of Lava",
    ):
        lava_runtime.run(graph, inputs, backend="sim", models="stock")
