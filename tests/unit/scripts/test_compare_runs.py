"""run_lava.py --compare: two traces are equal, or the first neuron that differs is named and drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lava_runtime
import netx_export
import run_lava
from lava_runtime import Probes
from lava_runtime.trace import Trace
from netx_export.command_line import exit_code
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection

RNG = np.random.default_rng(0)
INPUTS = (RNG.random((6, 2, 2, 5, 6)) < 0.4).astype(np.uint8)


def graph_of(vth: int = 120) -> Graph:
    rng = np.random.default_rng(1)
    return Graph(
        populations=(
            Population(id="in", shape=(2, 5, 6), neuron=Input()),
            Population(id="map", shape=(3, 5, 6), neuron=Lif(vth_mant=vth, dv=2048)),
            Population(id="out", shape=(4, 1, 1), neuron=Lif(vth_mant=500, dv=1024)),
        ),
        projections=(
            Projection(
                src="in",
                dst="map",
                synapse=Conv(kernel=Kernel(mantissa=rng.integers(-20, 60, (3, 2, 3, 3)), exponent=1), padding=(1, 1)),
            ),
            Projection(
                src="map", dst="out", synapse=Dense(kernel=Kernel(mantissa=rng.integers(-20, 60, (4, 90)), exponent=1))
            ),
        ),
        steps=6,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two equal runs in a.h5 and b.h5, and their network beside them."""
    graph = graph_of()
    netx_export.write(graph, tmp_path / "network.net")
    for name in ("a.h5", "b.h5"):
        record(graph).save(tmp_path / name)
    return tmp_path


def record(graph: Graph, **probes: Any) -> Trace:
    asked = Probes(**{"rasters": "all", "states": "all", **probes})
    return lava_runtime.run(graph, INPUTS, probes=asked, threads=1)


def tamper(path: Path, change: Callable[[Trace], dict[str, Any]]) -> None:
    trace = Trace.load(path)
    dataclasses.replace(trace, **change(trace)).save(path)


def one_spike(trace: Trace) -> dict[str, Any]:
    raster = trace.rasters["map"].copy()
    raster[4, 1, 2, 3] ^= 1
    return {"rasters": {**trace.rasters, "map": raster}}


def ask(*arguments: str | Path) -> int:
    return exit_code(lambda: run_lava.main([str(argument) for argument in arguments]))


def test_equal_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("--compare", folder / "a.h5", folder / "b.h5") == 0
    said = capsys.readouterr().out
    spikes = sum(int(np.count_nonzero(raster)) for raster in Trace.load(folder / "a.h5").rasters.values())
    assert f"with {spikes:,} spikes" in said
    assert said.rstrip().endswith("compared over 14 hardware steps: equal")
    assert not (folder / "divergence.png").exists()


def test_one_spike_is_found_explained_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(folder / "b.h5", one_spike)
    assert ask("--compare", folder / "a.h5", folder / "b.h5", "--picture", folder / "two.png") == 1
    said = capsys.readouterr().out
    mine = Trace.load(folder / "a.h5")
    u, v = (int(state["map"][4, 1, 2, 3]) for state in (mine.u, mine.v))
    for part in (
        "population 'map', step 4, neuron (c,y,x) = (1, 2, 3): spikes",
        f"u mine {u}, v mine {v}, u theirs {u}, v theirs {v}",
        "hardware step 4 is step 3 of sample 0; the pipeline's 1 steps up to this population are taken out",
        "spikes when its state exceeds 7680",
        "in -> map: ",
    ):
        assert part in said
    assert (folder / "two.png").read_bytes().startswith(b"\x89PNG")


def test_run_folders_and_a_network_elsewhere(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / f"{name}.h5").rename(folder / name / "trace.h5")
    (folder / "network.net").rename(folder / "elsewhere.net")
    tamper(folder / "b" / "trace.h5", one_spike)
    assert ask("--compare", folder / "a", folder / "b") == 2
    assert "no network.net lies beside it or beside" in capsys.readouterr().err
    assert ask("--compare", folder / "a", folder / "b", "--network", folder / "elsewhere.net") == 1
    assert (folder / "a" / "divergence.png").exists()


def test_without_states_the_remedy_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(graph_of(), states=()).save(folder / "b.h5")
    tamper(folder / "b.h5", one_spike)
    assert ask("--compare", folder / "b.h5", folder / "a.h5") == 1
    assert "u theirs" in capsys.readouterr().out
    tamper(folder / "a.h5", lambda trace: {"u": {}, "v": {}})
    assert ask("--compare", folder / "b.h5", folder / "a.h5") == 1
    assert "u and v were not recorded; run both with --states map" in capsys.readouterr().out


def test_counters_that_differ_are_no_equality(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.h5", "b.h5"):
        record(graph_of(), rasters=(), states=()).save(folder / name)
    tamper(
        folder / "b.h5", lambda trace: {"spike_counts": {**trace.spike_counts, "map": trace.spike_counts["map"] + 1}}
    )
    assert ask("--compare", folder / "a.h5", folder / "b.h5") == 1
    said = capsys.readouterr().out
    count = int(Trace.load(folder / "a.h5").spike_counts["map"].sum())
    assert f"population 'map': {count} spikes against {count + 90}" in said
    assert "its steps were not recorded in both runs; run both with --probe all" in said


def test_states_without_rasters_have_no_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.h5", "b.h5"):
        record(graph_of(), rasters=()).save(folder / name)
    tamper(folder / "b.h5", lambda trace: {"u": {**trace.u, "map": trace.u["map"] + 1}})
    assert ask("--compare", folder / "a.h5", folder / "b.h5") == 1
    assert "no picture: No raster of population 'map'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--compare", "{0}/a.h5", "{0}/gone.h5"),
            "gone.h5: no such trace; give two trace.h5 files, or the run folders",
        ),
        (("--compare", "{0}/a.h5", "{0}/network.net"), "network.net: no trace of format 1; write it with run_lava.py."),
        (("--compare", "{0}/a.h5", "{0}/other.h5"), "run the same .net file twice."),
        (("--compare", "{0}/a.h5", "{0}/short.h5"), "The traces cover different samples, steps or networks"),
        (("--compare", "{0}/a.h5", "{0}/b.h5", "--network", "{0}/other.net"), "The trace was recorded from network"),
        (("--picture", "{0}/two.png"), "two.png belongs to --compare A.h5 B.h5; give that too, or leave it out"),
        (("--network", "{0}/network.net"), "network.net belongs to --compare A.h5 B.h5"),
    ],
)
def test_refusals(folder: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = graph_of(vth=121)
    netx_export.write(other, folder / "other.net")
    record(other).save(folder / "other.h5")
    lava_runtime.run(graph_of(), INPUTS[:, :1], threads=1).save(folder / "short.h5")
    assert ask(*(argument.format(folder) for argument in arguments)) == 2
    assert said in capsys.readouterr().err
