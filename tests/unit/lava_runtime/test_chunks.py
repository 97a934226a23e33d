"""Chunks on disk: what is finished is not computed again, what is damaged is, and nothing of another run is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lava_runtime import Probes
from lava_runtime.chunks import FOLDER, PLAN, ChunkStore, Settings, compute_here, finish_chunks
from netx_export.errors import RunError
from tests.unit.lava_runtime.noise_jobs import NoiseJob
from tests.unit.lava_runtime.small_detector import detector

GRAPH = detector()
SETTINGS = Settings()
JOBS = [NoiseJob(number) for number in range(5)]


def opened(folder: Path, *, restart: bool = False, settings: Settings = SETTINGS, data: str = "noise") -> ChunkStore:
    store = ChunkStore(folder)
    store.open({**settings.identity(GRAPH), "data set": data}, restart=restart)
    return store


def interrupted_run(folder: Path, chunks: int) -> ChunkStore:
    """A run stopped by Ctrl-C after `chunks` chunks."""
    store = opened(folder)

    def check() -> None:
        if len(list(store.folder.glob("*.h5"))) == chunks:
            raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match=f"interrupted; {chunks} chunks are finished in .*, and the same command"
    ):
        finish_chunks(GRAPH, JOBS, store, SETTINGS, compute_here(GRAPH, SETTINGS), check=check)
    return store


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store = interrupted_run(tmp_path / "run", 2)
    kept = {path: path.stat().st_mtime_ns for path in store.folder.glob("*.h5")}
    assert len(kept) == 2
    store = opened(tmp_path / "run")
    finished = finish_chunks(GRAPH, JOBS, store, SETTINGS, compute_here(GRAPH, SETTINGS))
    assert finished.resumed == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    whole = opened(tmp_path / "whole")
    again = finish_chunks(GRAPH, JOBS, whole, SETTINGS, compute_here(GRAPH, SETTINGS))
    assert [c.result for _, c in finished.chunks(store)] == [c.result for _, c in again.chunks(whole)]
    assert {p.name: p.read_bytes() for p in store.folder.iterdir()} == {
        p.name: p.read_bytes() for p in whole.folder.iterdir()
    }


def test_a_run_of_something_else_is_refused_or_discarded(tmp_path: Path) -> None:
    interrupted_run(tmp_path, 1)
    with pytest.raises(
        RunError, match=r"holds an unfinished run of another data set; give --out another folder, or --res"
    ):
        opened(tmp_path, data="other")
    with pytest.raises(RunError, match="an unfinished run of another outputs and states"):
        opened(tmp_path, settings=Settings(outputs=False, probes=Probes(states="stem")))
    with pytest.raises(RunError, match="an unfinished run of another network"):
        ChunkStore(tmp_path).open({**SETTINGS.identity(detector(1)), "data set": "noise"})
    (tmp_path / FOLDER / PLAN).write_text("[")
    with pytest.raises(RunError, match=r"plan\.json: cannot be read; give --out another folder, or --restart"):
        opened(tmp_path)
    assert list((tmp_path / FOLDER).glob("*.h5"))
    opened(tmp_path, restart=True)
    assert not (tmp_path / FOLDER).exists()


def test_a_damaged_chunk_is_computed_again(tmp_path: Path) -> None:
    store = interrupted_run(tmp_path, 3)
    cut, emptied, _ = sorted(store.folder.glob("*.h5"))
    cut.write_bytes(cut.read_bytes()[:900])
    emptied.write_bytes(b"")
    finished = finish_chunks(GRAPH, JOBS, opened(tmp_path), SETTINGS, compute_here(GRAPH, SETTINGS))
    assert finished.resumed == 1
    assert len(list(finished.chunks(store))) == 5


def test_a_chunk_that_has_gone_is_named(tmp_path: Path) -> None:
    store = opened(tmp_path)
    finished = finish_chunks(GRAPH, JOBS, store, SETTINGS, compute_here(GRAPH, SETTINGS))
    store.path(finished.jobs[3][0]).unlink()
    with pytest.raises(RunError, match=r"\.h5: has gone or cannot be read; run the same command again"):
        list(finished.chunks(store))


def test_a_recording_that_fails_is_left_out_whole(tmp_path: Path) -> None:
    jobs = [*JOBS[:2], NoiseJob(7, broken=True), NoiseJob(8, name="noise 7"), JOBS[3]]
    store = opened(tmp_path)
    finished = finish_chunks(GRAPH, jobs, store, SETTINGS, compute_here(GRAPH, SETTINGS))
    assert finished.failures == {"noise 7": "noise 7: broken on purpose"}
    assert [job.recording for job, _ in finished.chunks(store)] == ["noise 0", "noise 1", "noise 3"]


def test_what_decides_a_chunk_decides_its_name() -> None:
    names = {
        settings.key(graph, job)
        for settings in (
            SETTINGS,
            Settings(outputs=False),
            Settings(probes=Probes(rasters="all")),
            Settings(version="1"),
        )
        for graph in (GRAPH, detector(1))
        for job in JOBS[:2]
    }
    assert len(names) == 16
    assert replace(SETTINGS, threads=7).key(GRAPH, JOBS[0]) == SETTINGS.key(GRAPH, JOBS[0])
