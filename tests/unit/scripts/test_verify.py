"""`export_netx.py --verify`: zero mismatches as it is, and the exact place where a network was changed behind its back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import export_netx  # noqa: E402
import lava_runtime  # noqa: E402
from netx_export.graph import Graph, Lif  # noqa: E402

TAMPERED = "encoder.stage2.spike1"


def test_every_stage_gives_the_spikes_of_the_twin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--verify", "1", "--score-windows", "0", "--stages", "fast", "--out", str(tmp_path / "tiny.net")]
    assert export_netx.main(arguments) == 0
    rows = re.findall(
        r"^(torch float|folded|quantised twin|fast) .* ([\d,]+) +([\d,]+)$", capsys.readouterr().out, re.M
    )
    assert [row[0] for row in rows] == ["torch float", "folded", "quantised twin", "fast"]
    assert all(int(row[1].replace(",", "")) > 100_000 for row in rows)
    assert [row[2] for row in rows[2:]] == ["0", "0"]


def test_a_changed_threshold_is_found_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real engine runs a network in which one population's threshold was raised by one."""
    run = lava_runtime.run

    def tamper(graph: Graph, *arguments: Any, **options: Any) -> Any:
        populations = tuple(
            replace(p, neuron=replace(p.neuron, vth_mant=p.neuron.vth_mant + 1))
            if p.id == TAMPERED and isinstance(p.neuron, Lif)
            else p
            for p in graph.populations
        )
        trace = run(replace(graph, populations=populations), *arguments, **options)
        # An engine that computes wrongly does not know it.
        return replace(trace, graph_digest=graph.digest)

    monkeypatch.setattr(lava_runtime, "run", tamper)
    arguments = ["--verify", "1", "--score-windows", "0", "--stages", "fast", "--out", str(tmp_path / "tiny.net")]
    assert export_netx.main(arguments) == 1
    said = capsys.readouterr().out
    found = re.search(
        rf"first: population '{TAMPERED}', step (\d), sample 0, neuron \(c,y,x\) = \(\d+, \d+, \d+\): 0 against 1, "
        r"u mine (-?\d+), u theirs (-?\d+), v mine (\d+), v theirs 0",
        said,
    )
    assert found is not None
    assert found[2] == found[3], "up to the spike the states are the same"
    explained = said[said.index("fast against quantised twin") :]
    place = re.search(r"First difference: population '([^']+)', step (\d+), neuron \([^)]*\)", explained)
    assert place is not None
    assert place[1] == TAMPERED
    assert re.search(r"steps up to this population are taken out", explained)
    sums = re.findall(r"-> \S+: \d+ messages arrived, sum (-?\d+) against (-?\d+)", explained)
    assert sums
    assert all(mine == theirs for mine, theirs in sums), "what arrived is the same: the neuron differs"
    assert (tmp_path / "divergence.png").read_bytes().startswith(b"\x89PNG")
