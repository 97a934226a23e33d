"""train.py slayer, export_netx.py --verify and run_lava.py, one after the other, on networks that have learned nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lava.lib.dl.slayer", reason="needs lava-dl (Python 3.10)")

import export_netx
import lava_runtime
import netx_export
import run_lava
import train
from netx_export.command_line import exit_code
from netx_export.graph import Graph
from training.scoring import silence_after, task_of

SMOKE = ["slayer", "--preset", "smoke", "--threads", "1", "--windows", "3", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both networks trained for a few updates."""
    path = tmp_path_factory.mktemp("slayer")
    assert train.main([*SMOKE, "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize(("network", "scored"), [("detector", 3), ("classifier", 2)])
def test_export_gives_the_spikes_of_slayer(
    network: str, scored: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(folder / f"{network}.safetensors")
    assert export_netx.main([checkpoint, "--verify", "2", "--score-windows", str(scored), "--stages", "fast"]) == 0
    said = capsys.readouterr().out
    rows = compared(said)
    assert [row[0] for row in rows] == ["SLAYER, quantised", "fast"]
    assert all(int(row[1].replace(",", "")) > 500 for row in rows)
    assert rows[1][2] == "0"
    assert "SLAYER's step t + 1 is hardware's step t" in said
    scores = re.findall(r"^(?:SLAYER, quantised|fast) .*(\d\.\d{3})$", said, re.M)
    assert len(scores) == 2
    assert len(set(scores)) == 1, "both stages score the same"
    assert netx_export.read(folder / f"{network}.net").timing == "as_given"


def test_lava_gives_them_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(folder / "classifier.safetensors"), "--verify", "1", "--score-windows", "0", "--stages", "sim"]
    assert export_netx.main(asked) == 0
    assert compared(capsys.readouterr().out)[1][::2] == ("sim", "0")


def test_a_stage_that_parts_is_explained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real engine runs a network in which one population's threshold was raised."""
    run = lava_runtime.run

    def tampered(graph: Graph, *arguments: Any, **options: Any) -> Any:
        populations = tuple(
            replace(p, neuron=replace(p.neuron, vth_mant=p.neuron.vth_mant + 4)) if p.id == "blocks.3" else p
            for p in graph.populations
        )
        trace = run(replace(graph, populations=populations), *arguments, **options)
        # An engine that computes wrongly does not know it.
        return replace(trace, graph_digest=graph.digest)

    monkeypatch.setattr(lava_runtime, "run", tampered)
    asked = [str(folder / "classifier.safetensors"), "--verify", "1", "--score-windows", "0", "--stages", "fast"]
    assert export_netx.main([*asked, "--out", str(tmp_path / "classifier.net")]) == 1
    said = capsys.readouterr().out
    explained = said[said.index("fast against SLAYER, quantised\n") :]
    assert re.search(
        r"First difference: population 'blocks\.3', step \d+, neuron .*: spikes 0 against 1, u mine", explained
    )
    assert "no pipeline's steps to take out" in explained
    sums = re.findall(r"blocks\.1 -> blocks\.3: \d+ messages arrived, sum (-?\d+) against (-?\d+)", explained)
    assert len(sums) == 1
    assert sums[0][0] == sums[0][1], "what arrived is the same: the neuron differs"
    assert (tmp_path / "divergence.png").read_bytes().startswith(b"\x89PNG")


def compared(said: str) -> list[tuple[str, str, str]]:
    """(stage, spikes, mismatches) of the table of --verify."""
    return re.findall(r"^(SLAYER, quantised|fast|sim) .* ([\d,]+) +([\d,]+)$", said, re.M)


def test_a_detector_runs_on_recordings(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows are followed by silence until the last block has answered, in chunks and in memory."""
    checkpoint, net = folder / "detector.safetensors", tmp_path / "detector.net"
    assert export_netx.main([str(checkpoint), "--out", str(net)]) == 0
    graph = netx_export.read(net)
    assert silence_after(graph, task_of(graph.meta, "detector")) == 7
    for backend in ("fast", "sim"):
        asked = [str(net), "--windows", "1", "--probe", "all", "--out", str(tmp_path / backend), "--backend", backend]
        assert exit_code(lambda asked=asked: run_lava.main(asked)) == 0
    facts = {name: json.loads((tmp_path / name / "run.json").read_text()) for name in ("fast", "sim")}
    assert facts["fast"]["scores"]["fast"] == facts["sim"]["scores"]["sim"]
    capsys.readouterr()
    assert exit_code(lambda: run_lava.main(["--compare", str(tmp_path / "fast"), str(tmp_path / "sim")])) == 0
    assert "compared over 12 hardware steps: equal" in capsys.readouterr().out


def test_a_classifier_is_no_detector(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "classifier.net"
    assert export_netx.main([str(folder / "classifier.safetensors"), "--out", str(net)]) == 0
    assert exit_code(lambda: run_lava.main([str(net), "--out", str(tmp_path / "run")])) == 2
    assert (
        "tells what a crop of a window shows and finds no boxes; score it beside its checkpoint"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
