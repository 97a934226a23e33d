"""The check before deployment: registers, what binds, boards, and changes that were tried out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import energy_report
import hw_profiles
import netx_export
from hw_profiles.suggestions import suggest
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, OneToOne, Or, Population, Projection, SigmaDelta
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, forked, weights, write_chip


def wide(*, channels: int = 64) -> Graph:
    populations = (
        Population(id="in", shape=(32, 32, 32), neuron=Lif(vth_mant=1)),
        Population(id="wide", shape=(channels, 32, 32), neuron=Lif(vth_mant=1), source="net.wide"),
    )
    host = Population(id="host", shape=(32, 32, 32), neuron=Input())
    one = Projection(src="host", dst="in", synapse=OneToOne(kernel=weights(32)))
    conv = Projection(src="in", dst="wide", synapse=Conv(kernel=weights(channels, 32, 3, 3), padding=(1, 1)))
    return Graph(populations=(host, *populations), projections=(one, conv))


def test_changes_are_tried_out() -> None:
    profile = hw_profiles.load("loihi2")
    graph = wide()
    found = {s.change: s for s in suggest(graph, profile, ["wide"])}
    cores = next(layer.cores for layer in hw_profiles.check(graph, profile).layers if layer.population == "wide")
    half = next(
        layer.cores for layer in hw_profiles.check(wide(channels=32), profile).layers if layer.population == "wide"
    )
    assert found["halving the channels"].before == cores
    assert found["halving the channels"].after == half < cores
    assert found["halving the channels"].saved == cores - half
    assert str(found["halving the channels"]) == f"halving the channels of wide brings {cores} cores to {half}"
    assert found["doubling the stride"].after < half
    ordered = [s.saved for s in suggest(graph, profile, ["wide"])]
    assert ordered == sorted(ordered, key=lambda saved: -(saved or 0))


def test_fewer_bits_and_inputs_of_a_dense_layer() -> None:
    profile = hw_profiles.load("loihi2")
    found = {s.change: s for s in suggest(dense_chain(8, 2560, 100), profile, ["dense2"])}
    assert found["4-bit weights in place of those"].after < (found["4-bit weights in place of those"].before or 0)
    assert found["halving the input channels"].after < (found["halving the input channels"].before or 0)


def test_a_layer_that_fits_nowhere_is_told_what_helps(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"axon_in": 200})), board="Large")
    found = hw_profiles.check(wide(), profile)
    assert not found.fits
    assert found.boards == ()
    assert "needs axon in 288, the limit is 200; it cannot be divided further" in found.problems[0]
    grouped = next(s for s in found.suggestions if s.change == "two groups in the convolution")
    assert (grouped.before, grouped.saved) == (None, None)
    assert str(grouped).startswith("two groups in the convolution of wide (no number of cores now) takes ")


def test_what_cannot_be_changed_is_left_alone() -> None:
    """Grouped and one-to-one projections, readouts, recurrence: no suggestion, no failure."""
    profile = hw_profiles.load("loihi1-fitted")
    graph = forked()
    suggest(graph, profile, [p.id for p in graph.populations[1:]])
    ring = Graph(
        populations=(
            Population(id="in", shape=(4, 1, 1), neuron=Input()),
            Population(id="ring", shape=(600, 1, 1), neuron=Lif(vth_mant=1, bias_mant=np.arange(600))),
            Population(id="delta", shape=(8, 20, 20), neuron=SigmaDelta(vth=1, bias=np.arange(8))),
            Population(id="pool", shape=(8, 10, 10), neuron=Or()),
        ),
        projections=(
            Projection(src="in", dst="ring", synapse=Dense(kernel=weights(600, 4))),
            Projection(src="ring", dst="ring", synapse=Dense(kernel=weights(600, 600))),
            Projection(src="ring", dst="delta", synapse=Dense(kernel=weights(3200, 600))),
            Projection(src="ring", dst="pool", synapse=Dense(kernel=Kernel(mantissa=np.ones((800, 600), int)))),
        ),
        timing="as_given",
        messages="graded",
    )
    found = suggest(ring, hw_profiles.load("loihi2"), ["ring", "delta", "pool"])
    assert {s.layer for s in found} <= {"delta", "pool"}


def test_boards_and_text() -> None:
    found = hw_profiles.check(wide(), hw_profiles.load("loihi2", board="Oheo Gulch"))
    assert [(board.board, board.chips) for board in found.boards] == [
        ("Oheo Gulch", 1),
        ("Kapoho Point", 8),
        ("Hala Point", 1152),
    ]
    assert all(board.fits for board in found.boards)
    out = io.StringIO()
    hw_profiles.print_check(found, Console(file=out, width=120))
    text = out.getvalue()
    assert "loihi2 on Oheo Gulch: fits" in text
    assert "/12000" in text
    assert "boards: Oheo Gulch: 1 of 1 (fits)" in text
    assert "halving the channels of wide brings" in text


def test_cores_of_a_network_with_a_layer_that_fits_nowhere_are_a_lower_bound() -> None:
    profile = hw_profiles.load("loihi1-fitted", board="Kapoho Bay")
    populations = (
        Population(id="in", shape=(1, 512, 512), neuron=Input()),
        Population(id="wide", shape=(8, 512, 512), neuron=Lif(vth_mant=9)),
        Population(id="narrow", shape=(3, 1, 1), neuron=Lif(vth_mant=9)),
    )
    projections = (
        Projection(src="in", dst="wide", synapse=Conv(kernel=Kernel(mantissa=np.ones((8, 1, 1, 1), int)))),
        Projection(
            src="wide",
            dst="narrow",
            synapse=Conv(kernel=Kernel(mantissa=np.ones((3, 8, 512, 512), int)), stride=(512, 512)),
        ),
    )
    found = hw_profiles.check(
        Graph(populations=populations, projections=projections, timing="as_given", messages="binary"), profile
    )
    assert found.boards == ()
    out = io.StringIO()
    hw_profiles.print_check(found, Console(file=out, width=160))
    assert f"cores at least {found.cores[0]} of 256, chips at least {found.chips[0]} of 2" in out.getvalue()
    (large,) = [problem for problem in found.problems if "needs chips" in problem]
    assert f"the network takes at least {found.cores[0]} cores" in large
    # Nahuku 8 has more chips than this board; named are the boards with chips enough.
    assert "choose a larger board (Nahuku 32, Pohoiki Springs)" in large


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tmp_path / "net.net"
    netx_export.write(wide(), network)
    assert energy_report.main(["--check", str(network), "--profile", "loihi2", "--board", "Hala Point", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["profile"], found["board"], found["fits"]) == ("loihi2", "Hala Point", True)
    layer = next(entry for entry in found["layers"] if entry["population"] == "wide")
    assert layer["utilization"]["synapse_memory"] == {
        "used": layer["utilization"]["synapse_memory"]["used"],
        "max": 12000,
    }
    assert set(layer["tile"]) == {"width", "height", "channels"}
    assert found["suggestions"][0]["saved"] > 0
    assert found["boards"][2]["fits"]
    tight = write_chip(tmp_path, chip_text(limits={"neurons": 100}, chips=1))
    assert energy_report.main(["--check", str(network), "--profile", str(tight), "--json"]) == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert not found["fits"]
    assert "needs chips" in found["problems"][0]
    assert found["cores"]["used"] > found["cores"]["max"] == 16


def test_speck_gives_every_layer_a_core_that_holds_it() -> None:
    profile = hw_profiles.load("speck")
    host = Population(id="host", shape=(2, 128, 128), neuron=Input())
    shapes = [(8, 64, 64), (16, 32, 32), (32, 16, 16), (64, 8, 8)]
    populations, projections = [host], []
    for index, shape in enumerate(shapes):
        before = populations[-1]
        conv = Conv(kernel=weights(shape[0], before.shape[0], 3, 3), stride=(2, 2), padding=(1, 1))
        populations.append(Population(id=f"c{index}", shape=shape, neuron=Lif(vth_mant=1)))
        projections.append(Projection(src=before.id, dst=f"c{index}", synapse=conv))
    graph = Graph(populations=tuple(populations), projections=tuple(projections))
    mapping = hw_profiles.map(graph, profile)
    used = {s.population: (s.core, mapping.registers[s.core]) for s in mapping.slices}
    for core, registers in used.values():
        assert registers["kernel_memory"] <= profile.kernel_memories[core].low
        assert registers["neuron_memory"] <= profile.neuron_memories[core].low
    # 8 channels in, 9 taps in 16 words each, 16 channels out.
    assert used["c1"][1]["kernel_memory"] == 8 * 16 * 16
    assert used["c1"][1]["neuron_memory"] == 16 * 32 * 32
    too_wide = Population(id="c0", shape=(40, 64, 64), neuron=Lif(vth_mant=1), source="net.c0")
    conv = Conv(kernel=weights(40, 2, 3, 3), stride=(2, 2), padding=(1, 1))
    big = Graph(populations=(host, too_wide), projections=(Projection(src="host", dst="c0", synapse=conv),))
    (problem,) = hw_profiles.check(big, profile).problems
    assert "'c0' (torch module net.c0) needs neuron memory 163840, the limit is 65536; no core has both" in problem
    ten = dense_chain(*([8] * 11))
    assert "hold other layers" in hw_profiles.check(ten, profile).problems[0]
