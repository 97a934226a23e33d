"""What a newcomer is told about a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import netx_export
from netx_export.graph import Delta, Input, Lif, Or, Readout, Rf, RfIz, Sigma, SigmaDelta
from netx_export.netx.inspection import inspection_of, neuron_words, time_constant
from netx_export.netx.layers_in import ReadOptions
from tests.unit.netx.networks import FLAT, START, branched, chained, conv, dense, foreign, graded, neuron, sequential


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    weight = np.full((4, 27), -4)
    weight[0, 0] = -2
    last = dense(weight=weight, delay=np.array([0, 70, 3, 4]), bias=np.array([1, 2, 3, 4]))
    path = foreign(tmp_path / "x.net", {**START, "neuron": neuron(), "weight": [40.0]}, conv(), FLAT, last)
    found = netx_export.inspect(path)
    assert (found.form, found.depth, found.longest_delay) == (None, 3, 62)
    assert [layer.name for layer in found.layers] == ["input", "layer0_input", "layer1_conv", "layer3_dense"]
    (facts,) = found.layers[3].weights
    assert (facts.count, facts.low, facts.high, facts.exponent, facts.delays) == (108, -4, -2, 0, "0-62")
    assert [(finding.layer, finding.effect) for finding in found.findings] == [
        ("layer 0 (input)", "note"),
        ("layer 3 (dense)", "adopted"),
        ("layer 3 (dense)", "adopted"),
        ("layer 3 (dense)", "differs"),
    ]
    text = "\n".join(found.rows())
    for part in (
        "the file's transform is 40 * x + 0, which the host computes",
        "1 of 4 delays are longer than 62 steps (up to 70) and are taken as 62",
        "the bias acts up to 62 steps earlier than in training",
        "stock Lava differs: weights from -4 to -2 are changed by lava-dl's loader in 107 of 108 places, the first at "
        "(0, 1): -4 acts as -2",
        "current: one step only; voltage: time constant 3.48 steps; fires above 25 weight units, then starts from 0",
        "lava-dl's loader does not run this file as it is meant (1 places, listed below)",
        "depth 3: the first answer to an input comes 2 steps after it, delays up to 62 steps",
    ):
        assert part in text, part
    # The graph carries the findings as provenance.
    assert "are taken as 62" in netx_export.read(path).meta["findings"]


def test_files_of_ours(tmp_path: Path) -> None:
    netx_export.write(sequential(), tmp_path / "a.net")
    assert netx_export.inspect(tmp_path / "a.net").stock == "lava-dl's loader runs this file, with the same spikes"
    netx_export.write(branched(), tmp_path / "b.net")
    found = netx_export.inspect(tmp_path / "b.net")
    assert found.stock.startswith("lava-dl's loader stops at this file before anything runs: it is not one chain")
    assert "the first answer to an input comes 4 steps after it, delays up to 1 steps" in "\n".join(found.rows())


def test_options_are_passed_on(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.net")
    found = netx_export.inspect(path, ReadOptions(reset_interval=5, reset_offset=2))
    assert "forgets everything every 5 steps, first at step 3" in "\n".join(found.rows())
    assert found.stock == "lava-dl's loader runs this file as it is read here"


def test_every_neuron_has_words() -> None:
    texts = {
        "0/1 spikes": Input(),
        "integers below 2**7 in magnitude": Input(message_bits=8),
        "current: for ever; voltage: one step only; never fires": Lif(vth_mant=1 << 17, du=-1, dv=4096),
        "fires above 9 weight units, then starts from 0; bias -2..4 weight units per step": Lif(
            vth_mant=9, bias_mant=[-1, 2], bias_exp=7
        ),
        "fires when anything arrives": Or(),
        "no spikes: the sum of what arrives in a step, times 0.25": Readout(unit=0.25),
        "sends changes of its input of at least 3, times 64": Delta(vth=3, spike_exp=6),
        "sums what arrives, bias -1..2, max(., 0), sends changes of at least 5": SigmaDelta(vth=5, bias=[-1, 2]),
        "no activation": SigmaDelta(vth=5, activation="unit"),
        "sums what arrives and sends the sum": Sigma(),
        "resonates with a period of 11 steps, fading over 19.4 steps; fires on crossing zero phase": Rf(
            sin=2103, cos=3273, vth_mant=25
        ),
        "no rotation, fading over for ever; fires at an imaginary part of 4 or more": RfIz(sin=0, cos=4096, vth_mant=4),
    }
    for text, spec in texts.items():
        assert text in neuron_words(spec)
    assert time_constant(1024) == "time constant 3.48 steps"


def test_every_kind_of_synapse_is_described() -> None:
    for graph in (graded(), chained("resonant"), chained("recurrent")):
        rows = inspection_of(graph).rows()
        assert all(population.name in "\n".join(rows) for population in graph.populations)
    text = "\n".join(inspection_of(graded()).rows())
    for part in (
        "|ConvT ",
        "|Sparse ",
        "|Wire ",
        "sum >> 8",
        "port im",
        "graded messages",
        "reset every 7 from 3",
    ):
        assert part in text, part
