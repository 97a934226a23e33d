"""Runs on disk: complete or not there, and never mixed with another network."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from lava_runtime.run_folder import check_folder, load_run, save_run
from netx_export.errors import RunError
from netx_export.netx.reader import read
from netx_export.netx.writer import write
from tests.unit.lava_runtime.test_trace import GRAPH, trace


def test_a_run_survives_the_disk(tmp_path: Path) -> None:
    save_run(tmp_path / "run", GRAPH, trace(), write_network=write, facts={"windows": 3})
    run = load_run(tmp_path / "run", read_network=read)
    assert run.facts == {"backend": "fast", "windows": 3}
    assert run.graph.digest == GRAPH.digest
    assert run.trace.first_difference(trace()) is None


def test_unfinished_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run: holds no finished run \(run\.json is missing\)"):
        load_run(tmp_path / "run", read_network=read)
    save_run(tmp_path / "run", GRAPH, trace(), write_network=write, facts={})
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json: is no JSON"):
        load_run(tmp_path / "run", read_network=read)


def test_a_trace_of_another_network_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path / "run", dataclasses.replace(GRAPH, steps=3), trace(), write_network=write, facts={})
    with pytest.raises(RunError, match="recorded from network"):
        load_run(tmp_path / "run", read_network=read)


def test_a_folder_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "deeper" / "run"):
        with pytest.raises(RunError, match=r"cannot be a run folder, .*taken is a file; choose another folder"):
            check_folder(folder)
        with pytest.raises(RunError, match="cannot be a run folder"):
            save_run(folder, GRAPH, trace(), write_network=write, facts={})
    assert (tmp_path / "taken").read_text() == "mine"
    check_folder(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_others_own_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(RunError, match=r"cannot be a run folder, .* allows it to others only"):
            check_folder(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_records_of_another_shape_are_named(tmp_path: Path) -> None:
    whole = trace()
    cut = {name: record[:-1] for name, record in whole.rasters.items()}
    counts = {name: record[:, :1] for name, record in whole.spike_counts.items()}
    timing = dataclasses.replace(whole.schedule, samples=0)
    for damaged, message in (
        (
            dataclasses.replace(whole, rasters=cut),
            r"trace\.h5: The trace holds raster of 'enc/one' with shape .* has shape ",
        ),
        (
            dataclasses.replace(whole, spike_counts=counts),
            r"spike counts of 'input' with shape .*; run the network again",
        ),
        (dataclasses.replace(whole, outputs={"lost": whole.output}), "outputs of 'lost' .* it is no population"),
        (dataclasses.replace(whole, schedule=timing), r"schedule Schedule\(.*samples=0.* is none of this network"),
    ):
        save_run(tmp_path, GRAPH, damaged, write_network=write, facts={})
        with pytest.raises(RunError, match=message):
            load_run(tmp_path, read_network=read)


def test_a_run_that_breaks_off_is_no_run(tmp_path: Path) -> None:
    save_run(tmp_path, GRAPH, trace(), write_network=write, facts={})

    def break_off(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_run(tmp_path, GRAPH, trace(), write_network=write, write_results=break_off, facts={})
    with pytest.raises(RunError, match="holds no finished run"):
        load_run(tmp_path, read_network=read)
