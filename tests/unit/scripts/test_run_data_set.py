"""run_lava.py on whole data sets: workers, interruptions, broken recordings, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import run_lava
from lava_runtime import Trace
from lava_runtime.streaming import TraceFile
from netx_export.command_line import INTERRUPTED, exit_code
from netx_export.netx.writer import write
from tests.unit.lava_runtime.small_detector import detector, events, write_recordings
from training.event_files import EVENT_DTYPE, write_dat

ROOT = Path(__file__).resolve().parents[3]
FILES = ("detections.json", "frames.npz", "network.net", "trace.h5")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "small.net"
    write(detector(), path)
    return path


def run(network: Path, *arguments: object) -> int:
    return exit_code(lambda: run_lava.main([str(network), *map(str, arguments)]))


def contents(folder: Path, names: tuple[str, ...] = FILES) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def test_the_same_bytes_with_one_two_and_no_workers(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    write_recordings(tmp_path / "data", 3, boxes=True)
    asked = ["--data", tmp_path / "data", "--windows", "all", "--out"]
    assert run(network, *asked, tmp_path / "none", "--threads", "1") == 0
    said = capsys.readouterr().out
    assert f"117 windows (0 without objects) from {tmp_path / 'data'} (12,000 events decoded), backend fast" in said
    assert said.splitlines()[-2].startswith("fast ")
    for workers in (1, 2):
        assert run(network, *asked, tmp_path / f"{workers}", "--workers", workers) == 0
        names = (*FILES, "truth.json")
        assert contents(tmp_path / f"{workers}", names) == contents(tmp_path / "none", names)
        assert not (tmp_path / f"{workers}" / "chunks").exists()
    trace = Trace.load(tmp_path / "none/trace.h5")
    assert trace.schedule.samples == 117
    assert trace.spike_counts["stem"].sum() > 1000
    assert list(trace.outputs) == ["heatmap", "offset", "size"]
    assert len(json.loads((tmp_path / "none/detections.json").read_text())) > 117


def test_a_corrupt_recording_is_named_and_the_rest_is_evaluated(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_recordings(tmp_path / "good", 4)
    write_recordings(tmp_path / "mixed", 4)
    cut, empty = tmp_path / "mixed/b_td.dat", tmp_path / "mixed/e_td.dat"
    cut.write_bytes(cut.read_bytes()[:-3])
    empty.touch()
    assert run(network, "--data", tmp_path / "mixed", "--windows", "all", "--out", tmp_path / "run") == 4
    said = capsys.readouterr()
    assert said.out.startswith(f"120 windows from {tmp_path / 'mixed'} (12,000 events decoded)")
    assert f"left out: {cut}: cut, " in said.err
    assert f"left out: {empty}: the file is empty" in said.err
    assert said.err.endswith("2 recordings left out; see above.\n")
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert sorted(facts["left_out"]) == [str(cut), str(empty)]
    rest = [argument for path in (good[0], *good[2:]) for argument in ("--data", path)]
    assert run(network, *rest, "--windows", "all", "--out", tmp_path / "rest") == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "rest")
    # Nothing good at all is a mistake in the input.
    assert run(network, "--data", cut, "--data", empty, "--out", tmp_path / "bad") == 2
    assert "error: none of the 2 recordings can be read; the first: " in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0), (signal.SIGKILL, 2)])
def test_an_interrupted_run_resumes(network: Path, tmp_path: Path, number: signal.Signals, workers: int) -> None:
    """The signal reaches the client, and as in a terminal Ctrl-C its workers too; SIGKILL the client alone."""
    if workers:
        pytest.importorskip("distributed")
    data = tmp_path / "long_td.dat"
    write_dat(data, events(8_000_000, 5), (16, 16))
    arguments = ["--data", str(data), "--windows", "all", "--drop-outputs"]
    place = ["--workers", str(workers)] if workers else ["--threads", "1"]
    out = tmp_path / "run"
    command = [sys.executable, "run_lava.py", str(network), *arguments, *place, "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as client:
        deadline = time.monotonic() + 60
        while len(list((out / "chunks").glob("[0-9a-f]*.h5"))) < 3 and client.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if number == signal.SIGINT:
            os.killpg(client.pid, number)
        else:
            os.kill(client.pid, number)
        _, said = client.communicate(timeout=60)
    finished = len(list((out / "chunks").glob("[0-9a-f]*.h5")))
    assert 3 <= finished < 50
    assert not (out / "run.json").exists()
    if number == signal.SIGKILL:
        assert client.returncode == -number
    else:
        assert client.returncode == INTERRUPTED
        assert "Traceback" not in said
        assert f"chunks are finished in {out / 'chunks'}, and the same command goes on from there." in said
    deadline = time.monotonic() + 10
    while processes_of_group(client.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of_group(client.pid) == []

    refused = subprocess.run(
        [*command, "--seed", "1", "--probe", "stem"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == 2
    assert "holds an unfinished run of another rasters; give --out another folder, or --restart" in refused.stderr
    resumed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith(f"{finished} of 50 chunks were finished before\n800 windows from")
    assert run(network, *arguments, "--out", tmp_path / "whole") == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_a_signal_while_results_are_written_leaves_chunks_and_no_temporary_file(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dat(tmp_path / "some_td.dat", events(200_000, 5), (16, 16))
    arguments = ["--data", tmp_path / "some_td.dat", "--windows", "all", "--out", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(TraceFile, "append", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert run(network, *arguments) == INTERRUPTED
    assert "interrupted; nothing was left half-written." in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["chunks", "network.net"]
    assert run(network, *arguments) == 0
    assert capsys.readouterr().out.startswith("2 of 2 chunks were finished before")


def processes_of_group(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def test_an_unfinished_run_of_another_network_is_refused_or_discarded(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (data,) = write_recordings(tmp_path / "data", 1)
    other = tmp_path / "other.net"
    write(detector(1), other)
    asked = ["--data", data, "--windows", "all", "--out", tmp_path / "run"]
    monkeypatch.setattr(run_lava, "open_run", _full_disk)
    assert run(network, *asked) == 2
    assert "No space left" in capsys.readouterr().err
    assert len(list((tmp_path / "run/chunks").glob("*.h5"))) == 3
    monkeypatch.undo()
    assert run(other, *asked) == 2
    assert "run: holds an unfinished run of another network; give --out another folder" in capsys.readouterr().err
    assert run(other, *asked, "--restart") == 0
    assert "finished before" not in capsys.readouterr().out
    assert json.loads((tmp_path / "run/run.json").read_text())["windows"] == 40


def _full_disk(*arguments: object, **options: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--windows", "all"], "generated recordings never end, give a number or --data"),
        (["--windows", "0"], "windows = 0; run at least 1 window"),
        (["--workers", "0", "--data", "good_td.dat"], "workers is 0; give at least 1"),
        (["--workers", "1", "--scheduler", "tcp://127.0.0.1:1", "--data", "good_td.dat"], "one of them"),
        (["--data", "boxes", "--data", "good_td.dat"], "boxes has boxes and good_td.dat has none; run them separately"),
        (["--backend", "sim", "--workers", "2"], "--workers is for backend fast without --checkpoint, backend sim"),
        (["--backend", "sim", "--windows", "all"], "--windows all is for backend fast without --checkpoint"),
        (
            ["--checkpoint", "x", "--drop-outputs"],
            "--drop-outputs is for backend fast without --checkpoint, --checkpoint",
        ),
    ],
)
def test_wrong_requests_are_refused(
    arguments: list[str],
    message: str,
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--workers" in arguments and "sim" not in arguments:
        pytest.importorskip("distributed")
    if "sim" in arguments:
        pytest.importorskip("lava")
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path / "boxes", 1, boxes=True)
    write_dat(tmp_path / "good_td.dat", np.zeros(1, EVENT_DTYPE), (16, 16))
    assert run(network, *arguments, "--out", "run") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_windows_that_are_no_number_are_refused(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(network, "--windows", "many")
    assert "'many' is neither a whole number nor 'all'" in capsys.readouterr().err
