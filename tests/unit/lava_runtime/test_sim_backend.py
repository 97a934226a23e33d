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

from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse as LavaSparse

import lava_runtime
from lava_runtime import Probes, Trace
from lava_runtime.simulation import frame_kernels
from lava_runtime.simulation.recorder import Recorder
from lava_runtime.simulation.run_config import CompiledSimCfg
from netx_export.errors import RunError
from netx_export.graph import Conv, Graph, Input, Lif, Population, Projection
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
    monkeypatch.setattr(frame_kernels, "lif_frame", failing)
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
    monkeypatch.setattr(frame_kernels, "lif_frame", dying)
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


def _run_lavas_own(config: object, signs: str, density: float) -> np.ndarray:
    """Source -> Conv -> LIFReset -> Dense or Sparse -> LIF -> sink, all of lava.proc, without anything of ours in the network."""
    rng = np.random.default_rng(2)
    low, high = {"mixed": (-90, 120), "excitatory": (0, 12)}[signs]
    source = Source(data=(rng.random((6, 5, 2, 30)) < 0.3).astype(np.int32))
    conv = LavaConv(
        weight=rng.integers(-60, 90, (4, 3, 2, 1)),
        input_shape=(6, 5, 2),
        stride=(1, 2),
        padding=(1, 0),
        dilation=(2, 1),
        groups=2,
    )
    first = LIFReset(
        shape=conv.output_shape, vth=60, du=700, dv=300, bias_mant=50, bias_exp=-2, reset_interval=7, reset_offset=3
    )
    count = int(np.prod(conv.output_shape))
    weights = rng.integers(low, high, (9, count)) * (rng.random((9, count)) < density)
    matrix = LavaDense if density == 1 else LavaSparse
    dense = matrix(weights=weights, weight_exp=-2 if density == 1 else 1, num_weight_bits=7)
    second = LIF(shape=(9,), vth=40, du=4095, dv=200)
    sink = Sink(shape=(9,), buffer=30)
    source.s_out.connect(conv.s_in)
    conv.a_out.connect(first.a_in)
    first.s_out.reshape((count,)).connect(dense.s_in)
    dense.a_out.connect(second.a_in)
    second.s_out.connect(sink.a_in)
    source.run(condition=RunSteps(num_steps=30), run_cfg=config)
    found = np.concatenate([sink.data.get(), second.u.get()[:, None], second.v.get()[:, None]], axis=1)
    source.stop()
    return found


@pytest.mark.parametrize(("signs", "density"), [("mixed", 1), ("excitatory", 1), ("mixed", 0.2)])
def test_our_models_serve_any_lava_network(signs: str, density: float) -> None:
    stock = _run_lavas_own(Loihi2SimCfg(select_tag="fixed_pt"), signs, density)
    ours = _run_lavas_own(CompiledSimCfg(), signs, density)
    np.testing.assert_array_equal(ours, stock)
    assert 5 < int(stock[:, :30].sum()) < 250
