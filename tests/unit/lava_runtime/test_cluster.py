"""Data sets on Dask: the same bytes whatever the number of workers, and nothing lost when a worker is killed."""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import Client, LocalCluster

from lava_runtime import cluster as cluster_module
from lava_runtime.chunks import ChunkStore, Finished, Settings, compute_here, finish_chunks
from lava_runtime.cluster import cluster
from lava_runtime.trace import Trace
from netx_export.errors import NotInstalledError, RunError
from tests.unit.lava_runtime.noise_jobs import NoiseJob
from tests.unit.lava_runtime.small_detector import detector

GRAPH = detector()
SETTINGS = Settings()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def run_all(folder: Path, jobs: list[NoiseJob], **place: Any) -> tuple[ChunkStore, Finished]:
    store = ChunkStore(folder)
    store.open(SETTINGS.identity(GRAPH))
    if not place:
        return store, finish_chunks(GRAPH, jobs, store, SETTINGS, compute_here(GRAPH, SETTINGS))
    with cluster(GRAPH, SETTINGS, **place) as compute:
        return store, finish_chunks(GRAPH, jobs, store, SETTINGS, compute)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster that somebody else has started: two worker processes of two threads."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, host="127.0.0.1", scheduler_port=0, dashboard_address="127.0.0.1:0"
    ) as made:
        yield made.scheduler_address


def test_a_running_cluster_gives_the_bytes_of_this_process(address: str, tmp_path: Path) -> None:
    jobs = [NoiseJob(number) for number in range(12)]
    here, alone = run_all(tmp_path / "here", jobs)
    there, spread = run_all(tmp_path / "there", jobs, scheduler=address)
    assert len(content(here.folder)) == 12
    assert content(here.folder) == content(there.folder)
    assert [job for _, job in spread.jobs] == jobs
    results = [chunk.result for _, chunk in spread.chunks(there)]
    assert results == [chunk.result for _, chunk in alone.chunks(here)]
    assert results[3].startswith("3: ['heatmap', 'offset', 'size']")
    # The client leaves somebody else's cluster running, and nothing of ours on it.
    with Client(address) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
        deadline = time.monotonic() + 10
        while any(client.has_what().values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(client.has_what().values())


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    """Jobs 2 and 5 kill the process that computes them (SIGKILL), and with it what else it holds."""
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    jobs = [NoiseJob(n, deaths if n in (2, 5) else None, times=2, client=os.getpid()) for n in range(8)]
    store, finished = run_all(tmp_path / "run", jobs, workers=2)
    assert len(list(deaths.iterdir())) == 2
    assert finished.failures == {}
    here, _ = run_all(tmp_path / "here", [NoiseJob(n) for n in range(8)])
    assert content(store.folder) == content(here.folder)


def test_a_job_that_kills_every_worker_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    jobs = [NoiseJob(n, deaths if n == 1 else None, times=99, client=os.getpid()) for n in range(3)]
    store, finished = run_all(tmp_path / "run", jobs, workers=1)
    assert list(finished.failures) == ["noise 1"]
    assert finished.failures["noise 1"].startswith(
        "noise 1: 4 workers died while they computed a chunk of it; one worker may"
    )
    assert [job.recording for job, _ in finished.chunks(store)] == ["noise 0", "noise 2"]


def test_no_worker_and_no_scratch_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cluster(GRAPH, SETTINGS, workers=1) as compute:
        # A cluster that is closed before it has computed anything.
        pids = list(Client.current().run(os.getpid).values())
        outcomes = compute([])
        assert list(outcomes) == []
        assert list(tmp_path.glob("basalt-workers-*"))
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert list(tmp_path.glob("basalt-workers-*")) == []


def test_an_address_without_a_scheduler_is_an_error_within_seconds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    message = rf"No Dask scheduler answers at tcp://127.0.0.1:{port} within 5 s .*; start one"
    with pytest.raises(RunError, match=message), cluster(GRAPH, SETTINGS, scheduler=f"tcp://127.0.0.1:{port}"):
        pass
    assert time.monotonic() - started < 15
    with (
        pytest.raises(RunError, match=r"nonsense://x is no address of a Dask scheduler"),
        cluster(GRAPH, SETTINGS, scheduler="nonsense://x"),
    ):
        pass


def test_a_scheduler_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "WORKERS_S", 1)
    message = "has had no worker for 1 s; start some with dask worker tcp://127"
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", scheduler_port=0, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(RunError, match=message),
        cluster(GRAPH, SETTINGS, scheduler=empty.scheduler_address),
    ):
        pass


def test_workers_with_another_version_are_refused(address: str, tmp_path: Path) -> None:
    other = Settings(version="0.0.9")
    store = ChunkStore(tmp_path)
    store.open(other.identity(GRAPH))
    with cluster(GRAPH, other, scheduler=address) as compute:  # noqa: SIM117
        with pytest.raises(RunError, match=r"A worker has Basalt .*, this is 0\.0\.9; install the same version"):
            finish_chunks(GRAPH, [NoiseJob(0)], store, other, compute)


def test_wrong_numbers_and_a_missing_library_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, message in (
        ({"workers": 0}, "workers is 0; give at least 1"),
        ({"workers": 100_000}, r"workers is 100000, the limit on this machine is \d+, 8 for each core"),
        ({"workers": 1, "scheduler": "tcp://127.0.0.1:1"}, "one of them"),
        ({}, "Give a number of workers on this machine or the address of a scheduler"),
    ):
        with pytest.raises(RunError, match=message), cluster(GRAPH, SETTINGS, **place):
            pass
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distributed" else real(name))
    with (
        pytest.raises(NotInstalledError, match=r"needs dask, .*pip install -e '\.\[cluster\]', or leave"),
        cluster(GRAPH, SETTINGS, workers=1),
    ):
        pass


def test_the_trace_of_a_chunk_is_that_of_a_run(tmp_path: Path) -> None:
    store, finished = run_all(tmp_path, [NoiseJob(4)])
    ((key, _),) = finished.jobs
    assert Trace.load(store.path(key)).schedule.samples == 3
