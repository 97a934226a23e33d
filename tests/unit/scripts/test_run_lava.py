"""run_lava.py on a recording from the disk: what it says and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import export_netx
import netx_export
import run_lava
from netx_export.command_line import exit_code
from netx_export.errors import NotInstalledError
from training.checkpoints import shipped
from training.recordings import generate_recording, write_recording

NCARS = Path(__file__).resolve().parents[4] / "shared/data/events/NCARS_obj_004397_td.dat"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped detector as a file."""
    path = tmp_path_factory.mktemp("network") / "tiny.net"
    netx_export.write(export_netx.export_checkpoint(shipped("tiny")).graph, path)
    return path


def test_a_real_recording(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not NCARS.exists():
        pytest.skip(f"{NCARS.name} is not on this machine")
    asked = [str(network), "--data", str(NCARS), "--threads", "1", "--out", str(tmp_path)]
    assert exit_code(lambda: run_lava.main(asked)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"1 window from {NCARS} (4,407 events decoded), backend fast")
    assert "no boxes to score against" in said
    facts = json.loads((tmp_path / "run.json").read_text())
    assert (facts["events_decoded"], facts["labelled"], facts["empty_windows"]) == (4407, False, None)
    assert not (tmp_path / "truth.json").exists()


def test_a_folder_is_scored_beside_its_checkpoint(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = generate_recording(2_000_003, duration_s=0.6, annotation_hz=4.0)
    write_recording(tmp_path / "data", "street", recording)
    asked = [str(network), "--data", str(tmp_path / "data"), "--threads", "1", "--out", str(tmp_path / "run")]
    asked += ["--checkpoint", str(shipped("tiny"))]
    assert exit_code(lambda: run_lava.main(asked)) == 0
    said = capsys.readouterr().out
    assert f"({recording.events.size:,} events decoded)" in said
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("float", "quantised", "fast"))] == [
        "float",
        "quantised",
        "fast",
    ]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"Scoring a checkpoint \(--checkpoint\) needs torch"):
        run_lava.main(asked)
