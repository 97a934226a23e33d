"""`loihi2` against a stand-in for Intel's extension: names, arguments and wiring; and what it says without one."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from pathlib import Path

import pytest

pytest.importorskip("lava.magma.core.run_configs")

import lava.magma.core.run_configs as lava_run_configs
from lava.utils import loihi as lava_loihi

import lava_runtime
from lava_runtime import Probes
from netx_export.errors import BackendUnavailableError, RunError
from netx_export.graph import Graph, Input, Lif
from tests.unit.lava_runtime.lava_networks import graded, many_features, spikes
from tests.unit.lava_runtime.test_sim_backend import check_equal

pytestmark = pytest.mark.lava

STANDIN = Path(__file__).resolve().parents[2] / "standins" / "loihi_extension"
ADDED = ("lava.utils.loihi2_profiler", "lava.proc.embedded_io")


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith(ADDED)]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch):
    """The stand-in on the path; what it was asked for afterwards."""
    monkeypatch.syspath_prepend(str(STANDIN))
    _forget()
    # lava-nc's own Loihi2HwCfg looks for this class, which the extension brings; no process here is written in C.
    monkeypatch.setattr(lava_run_configs, "CLoihiProcessModel", type("CLoihiProcessModel", (), {}), raising=False)
    profiler = importlib.import_module("lava.utils.loihi2_profiler")
    adapters = importlib.import_module("lava.proc.embedded_io.spike.process")
    yield profiler.MADE, adapters.MADE
    _forget()
    assert multiprocessing.active_children() == []


def _hardware_configs(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Record what every Loihi2HwCfg is made with."""
    made: list[dict] = []
    original = lava_run_configs.Loihi2HwCfg.__init__

    def noting(self: object, *arguments: object, **options: object) -> None:
        assert not arguments
        made.append(options)
        original(self, **options)

    monkeypatch.setattr(lava_run_configs.Loihi2HwCfg, "__init__", noting)
    return made


def test_the_whole_way_through_the_stand_in(extension, monkeypatch: pytest.MonkeyPatch) -> None:
    profilers, adapters = extension
    configs = _hardware_configs(monkeypatch)
    graph = many_features()
    inputs = spikes(graph)
    trace = lava_runtime.run(graph, inputs, backend="loihi2", probes=Probes(rasters="all"))
    check_equal(trace, lava_runtime.run(graph, inputs, probes=Probes(rasters="all")))

    (config,) = configs
    assert config["select_tag"] == "fixed_pt"
    assert config["callback_fxs"] == profilers
    assert [type(made).__name__ for made in profilers] == [
        "Loihi2Power",
        "Loihi2ExecutionTime",
        "Loihi2Memory",
        "Loihi2Activity",
    ]
    assert profilers[0].num_steps == trace.schedule.hardware_steps

    entering = [made for made in adapters if made[0] == "PyToN3ConvAdapter"]
    assert entering == [("PyToN3ConvAdapter", (10, 12, 2), 0)] * 2, "the input and the same input one step later"
    leaving = {made for made in adapters if made[0] == "NxToPyAdapter"}
    assert ("NxToPyAdapter", (5, 6, 3), 32) in leaving, "the readout"
    assert ("NxToPyAdapter", (4, 6, 4), 0) in leaving, "spikes"

    measured = json.loads(trace.meta["loihi2"])
    assert measured["power_w"]["total_power"] == pytest.approx(2.0)
    assert measured["avg_time_per_step_us"] == pytest.approx(50.0)
    assert measured["energy_per_sample_j"] == pytest.approx(2.0 * 50e-6 * 4)
    assert measured["dynamic_energy_per_sample_j"] == pytest.approx(1.5 * 50e-6 * 4)
    assert measured["total_mpds"] == [100, 200]
    assert measured["cores"] == {"syn_ops": [7, 8], "dendrite_updates": [5, 6], "axon_out": [3, 4], "spikes_in": [1, 2]}


def test_graded_input_into_a_dense_takes_the_flat_adapter(extension) -> None:
    _, adapters = extension
    graph, inputs = graded()
    trace = lava_runtime.run(graph, inputs, backend="loihi2")
    check_equal(trace, lava_runtime.run(graph, inputs))
    assert ("PyToN3ConvAdapter", (4, 5, 2), 6) in adapters
    assert ("PyToNxAdapter", (40,), 6) in adapters


def test_states_are_refused(extension) -> None:
    graph = many_features()
    with pytest.raises(
        RunError, match=r"Backend 'loihi2' records no states, but u and v of a were asked for; leave out"
    ):
        lava_runtime.run(graph, spikes(graph), backend="loihi2", probes=Probes(states=("a",)))


def test_unconnected_parts_are_refused(extension) -> None:
    one, inputs = graded()
    graph = Graph(
        populations=one.populations
        + tuple(type(p)(id=f"{p.id}2", shape=p.shape, neuron=p.neuron) for p in one.populations),
        projections=one.projections
        + tuple(type(p)(src=f"{p.src}2", dst=f"{p.dst}2", synapse=p.synapse, delay=p.delay) for p in one.projections),
    )
    with pytest.raises(RunError, match=r"The network falls into 2 parts that are not connected; a board runs one"):
        lava_runtime.run(graph, {"in": inputs, "in2": inputs}, backend="loihi2")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"partition": "kp"}, ("slurm", {"partition": "kp", "board": None})),
        ({"board": "ncl-og-01"}, ("slurm", {"partition": None, "board": "ncl-og-01"})),
        ({"host_address": "10.0.0.5"}, ("ethernet", {"host_address": "10.0.0.5"})),
    ],
)
def test_where_to_run(extension, monkeypatch: pytest.MonkeyPatch, options: dict, expected: tuple) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(lava_loihi, "use_slurm_host", lambda **given: calls.append(("slurm", given)))
    monkeypatch.setattr(lava_loihi, "use_ethernet_host", lambda **given: calls.append(("ethernet", given)))
    importlib.import_module("lava_runtime.loihi_backend").Backend(**options)
    assert calls == [expected]


def test_options_that_do_not_fit(extension) -> None:
    graph = many_features()
    with pytest.raises(RunError, match=r"Backend 'loihi2' has no option 'models'; it takes partition, board or host"):
        lava_runtime.run(graph, spikes(graph), backend="loihi2", models="stock")
    with pytest.raises(RunError, match=r"Backend 'loihi2' was given 2 places to run \(kp, og\); name one"):
        lava_runtime.run(graph, spikes(graph), backend="loihi2", partition="kp", board="og")


def test_without_the_extension_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget()
    from lava_runtime import loihi_backend

    monkeypatch.setattr(loihi_backend, "lower_portable", lambda *a, **k: pytest.fail("work was done"))
    graph = many_features()
    message = (
        r"Backend 'loihi2' needs the Lava extension for Loihi, of which lava.utils.loihi2_profiler, "
        r"lava.proc.embedded_io.spike is not installed here"
    )
    with pytest.raises(BackendUnavailableError, match=message) as caught:
        lava_runtime.run(graph, spikes(graph), backend="loihi2")
    assert caught.value.exit_code == 3


def test_every_population_has_its_counts(extension) -> None:
    graph = many_features(2)
    trace = lava_runtime.run(graph, spikes(graph, samples=1), backend="loihi2")
    assert set(trace.spike_counts) == set(graph.by_id)
    assert all(trace.spike_counts[p.id].any() for p in graph.populations if isinstance(p.neuron, Lif | Input))
