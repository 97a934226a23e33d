"""The scripts answer a mistake with exit code 2 and one line, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import export_netx  # noqa: E402
import netx_export  # noqa: E402
import run_lava  # noqa: E402
from netx_export.command_line import exit_code  # noqa: E402
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection  # noqa: E402
from training.checkpoints import shipped  # noqa: E402
from training.event_files import EVENT_DTYPE, write_dat  # noqa: E402


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped detector as a file."""
    path = tmp_path_factory.mktemp("network") / "tiny.net"
    netx_export.write(export_netx.export_checkpoint(shipped("tiny")).graph, path)
    return path


def refused(
    script: Callable[[list[str]], int], arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `script` says; it must exit with 2, say one line and create nothing in `folder`."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert exit_code(lambda: script(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.replace("\r", "\n").splitlines() if line.strip() and "it/s" not in line]
    lines = [line for line in lines if not line.startswith("windows:") and "window/s" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.safetensors"], "nothing.safetensors: no such file; give the path of a checkpoint"),
        (["."], ".: no such file; give the path of a checkpoint"),
        (["cut.safetensors"], "cut.safetensors: cut or corrupt"),
        (["--verify", "-1"], "--verify is -1; give a number of windows, at least 0"),
        (["--verify", "1", "--score-windows", "-3"], "--score-windows is -3; give a number of windows"),
        (["--verify", "1", "--stages", "fast,loihi2"], "--stages names 'loihi2'; choose from fast, sim, stock"),
        (["--out", "folder"], "folder: cannot be written (Is a directory)"),
        (["--out", "cut.safetensors/x.net"], "cut.safetensors/x.net: cannot be written"),
    ],
)
def test_export_netx_refuses(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    whole = shipped("tiny").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    out = [] if "--out" in arguments else ["--out", "o.net"]
    assert message in refused(export_netx.main, [*arguments, *out], tmp_path, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--windows", "0"], "windows = 0; run at least 1 window"),
        (["--windows", "-1"], "windows = -1; run at least 1 window"),
        (["--threads", "0"], "Backend 'fast': threads is 0; give a whole number >= 1"),
        (["--probe", "nobody"], "Probe on population 'nobody': the network has no such population; it has input"),
        (["--states", "nobody"], "Probe on population 'nobody'"),
        (["--out", "a_file"], "a_file: cannot be a run folder"),
        (["--data", "nothing"], "nothing: no such file or folder; give recordings (*.dat, *.raw)"),
        (["--data", "folder"], "folder: no recording (*_td.dat with boxes, *.dat or *.raw without) in this folder"),
        (["--data", "empty_td.dat"], "empty_td.dat: the file is empty (0 bytes); copy the recording again"),
        (
            ["--data", "good_td.dat", "--checkpoint", str(shipped("tiny"))],
            "--checkpoint scores against boxes, good_td.dat",
        ),
        (["--checkpoint", "a_file"], "a_file: not a checkpoint of Basalt"),
        (
            ["--data", "a_file"],
            "a_file: the name ends in ''; recordings are *.dat (DAT) or *.raw (EVT2, EVT3), rename it",
        ),
    ],
)
def test_run_lava_refuses(
    arguments: list[str],
    message: str,
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a_file").write_text("mine")
    (tmp_path / "empty_td.dat").touch()
    write_dat(tmp_path / "good_td.dat", np.zeros(1, EVENT_DTYPE))
    out = [] if "--out" in arguments else ["--out", "run"]
    assert message in refused(run_lava.main, [str(network), *arguments, *out], tmp_path, capsys)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: b"", "the file is empty (0 bytes)"),
        (lambda whole: whole[:1000], "the file is cut: its header promises"),
        (lambda whole: b"hello\n", "this is not an HDF5 file"),
        (lambda whole: whole[:200_000] + bytes([whole[200_000] ^ 255]) + whole[200_001:], "bad.net: "),
    ],
)
def test_run_lava_refuses_damaged_networks(
    damage: Callable[[bytes], bytes],
    message: str,
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.net").write_bytes(damage(network.read_bytes()))
    assert message in refused(
        run_lava.main, [str(tmp_path / "bad.net"), "--out", str(tmp_path / "run")], tmp_path, capsys
    )


def test_run_lava_refuses_a_network_without_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Kernel(mantissa=np.ones((1, 2, 1, 1), np.int16), exponent=0)
    graph = Graph(
        populations=(
            Population(id="input", shape=(2, 4, 4), neuron=Input()),
            Population(id="a", shape=(1, 4, 4), neuron=Lif(vth_mant=1)),
        ),
        projections=(Projection(src="input", dst="a", synapse=Conv(kernel=kernel)),),
        meta={"note": json.dumps("no detector")},
    )
    netx_export.write(graph, tmp_path / "plain.net")
    said = refused(run_lava.main, [str(tmp_path / "plain.net"), "--out", str(tmp_path / "run")], tmp_path, capsys)
    assert "plain" in said
