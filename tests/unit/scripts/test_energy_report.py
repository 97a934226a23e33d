"""energy_report.py: what it refuses, in one line and with nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import energy_report
import netx_export
from lava_runtime.run_folder import FACTS, save_run
from netx_export.command_line import exit_code
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, made_up_run, write_chip


def saved(graph: Graph, folder: Path) -> Path:
    save_run(folder, graph, made_up_run(graph), write_network=netx_export.write, facts={})
    return folder


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that it says; exit code 2 and no new file."""
    before = sorted(folder.rglob("*"))
    assert exit_code(lambda: energy_report.main(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sorted(folder.rglob("*")) == before
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("[]", "run.json: holds a list, not the facts of a run; run run_lava.py again"),
        ('{"scores": []}', "the scores in run.json cannot be read; run run_lava.py again"),
        ('{"scores": {"sim": {}}}', "the scores in run.json cannot be read"),
        ('{"scores": {"sim": {"ap50": "high"}}}', "the scores in run.json cannot be read"),
        ("{", "run.json: is no JSON"),
    ],
)
def test_damaged_facts(facts: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(dense_chain(3, 4), tmp_path / "run")
    (run / FACTS).write_text(facts)
    assert message in refused([str(run), "--profile", "loihi2"], tmp_path, capsys)


def test_no_run_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs/ holds no finished run; make one with: python run_lava.py" in refused([], tmp_path, capsys)


@pytest.mark.parametrize("profile", ["loihi2", "loihi1-davies2018"])
def test_a_network_too_large(profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph(
        populations=(
            Population(id="in", shape=(1, 256, 256), neuron=Input()),
            Population(id="wide", shape=(140, 256, 256), neuron=Lif(vth_mant=9), source="net.wide"),
        ),
        projections=(
            Projection(src="in", dst="wide", synapse=Conv(kernel=Kernel(mantissa=np.ones((140, 1, 1, 1), int)))),
        ),
    )
    netx_export.write(graph, tmp_path / "wide.net")
    said = refused([str(saved(graph, tmp_path / "run")), "--profile", profile], tmp_path, capsys)
    assert "Layer 'wide' (torch module net.wide) needs chips " in said
    assert ", the limit is " in said
    assert "use a larger stride or fewer channels there" in said
    assert energy_report.main(["--check", str(tmp_path / "wide.net"), "--profile", profile]) == 2
    assert "does not fit" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    said = refused([str(tmp_path / "run"), "--out", str(tmp_path / "file")], tmp_path, capsys)
    assert "file: cannot be a report folder, " in said
    assert "is a file; choose another --out" in said


def test_a_chip_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(dense_chain(3, 4), tmp_path / "run")
    chip = str(write_chip(tmp_path, chip_text(energy={"synaptic_operation": 2.0})))
    assert energy_report.main([str(run), "--profile", chip, "--summary"]) == 0
    assert "own-chip" in capsys.readouterr().out
    assert {path.name for path in (run / "report").iterdir()} == {"report.json", "cores.csv", "report.html"}
