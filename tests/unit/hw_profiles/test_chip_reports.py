"""Reports on disk and in the terminal: complete, readable back, the same bytes each time."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import hw_profiles
from hw_profiles.charts import spike_rates
from hw_profiles.report import Report, count_parameters
from hw_profiles.report_files import from_json, to_json
from hw_profiles.terminal import print_check, print_report, register_shares
from netx_export.errors import ProfileError
from netx_export.graph import Dense, Graph, Input, Lif, Population, Projection
from tests.unit.hw_profiles.chip_networks import chip_text, dense_chain, forked, made_up_run, weights, write_chip

NAMES = ("loihi1-davies2018", "loihi2", "algorithmic-45nm")


def frame(title: str = "window 3") -> hw_profiles.Frame:
    bins = np.random.default_rng(1).integers(0, 2, (4, 30, 40))
    return hw_profiles.Frame(
        title=title,
        picture=hw_profiles.picture_of_events(bins),
        detections=(hw_profiles.Box(x=5, y=6, w=9, h=7, label="car", score=0.91),),
        truth=(hw_profiles.Box(x=6, y=6, w=9, h=8, label="car"),),
    )


def reports(names: Sequence[str] = NAMES) -> list[Report]:
    graph = forked()
    trace = made_up_run(graph)
    found = []
    for name in names:
        profile = hw_profiles.load(name)
        mapping = hw_profiles.map(graph, profile)
        found.append(hw_profiles.report(trace, mapping, profile, frames=[frame()], scores={"AP50": 0.68}))
    return found


def test_json_comes_back_as_it_was() -> None:
    written = reports()
    assert from_json(to_json(written)) == tuple(written)
    plain = json.loads(to_json(written))["reports"][0]
    assert plain["profile"]["name"] == "loihi1-davies2018"
    assert "frames" not in plain
    with pytest.raises(ProfileError, match=r"no report\.json of this version .*write it again"):
        from_json('{"reports": [{}]}')
    with pytest.raises(ProfileError, match="no report"):
        from_json("not JSON")


def test_static_part_needs_no_run() -> None:
    graph, profile = forked(), hw_profiles.load("loihi2")
    report = hw_profiles.report(None, hw_profiles.map(graph, profile), profile)
    assert report.workload is None
    static = report.static
    assert (static.populations, static.projections, static.board_chips) == (6, 7, 8)
    # The ones of the OR pool are no parameters; the classifier has 5 x 480 weights.
    sizes = {"stem": 144, "pool": 0, "mix": 576 + 64 + 8, "head": 12, "class": 2400}
    assert {p.id: count_parameters(graph, p) for p in graph.populations if p.id != "in"} == sizes
    assert static.parameters == sum(sizes.values())
    assert {layer.population: layer.source for layer in static.layers}["mix"] == "net.mix.neuron"
    assert static.layers[0].synapses == (3 * 12 - 2) * (3 * 20 - 2) * 2 * 8
    assert {layer.population: layer.delay for layer in static.layers} == {
        "stem": 0,
        "pool": 0,
        "mix": 1,
        "head": 0,
        "class": 0,
    }
    assert from_json(to_json([report])) == (report,)


def test_three_files(tmp_path: Path) -> None:
    written = reports()
    paths = hw_profiles.write_report(written, tmp_path / "out")
    assert [path.name for path in paths] == ["report.json", "cores.csv", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cores.csv", "report.html", "report.json"]
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert len(rows) == sum(len(report.cores) for report in written)
    assert sum(int(row["syn_ops"]) for row in rows if row["profile"] == "loihi2") == sum(
        made_up_run(forked()).synops(forked()).values()
    )
    assert {row["energy_low_pJ"] for row in rows if row["profile"] == "loihi2"} == {""}
    assert all(float(row["energy_low_pJ"]) > 0 for row in rows if row["profile"] == "loihi1-davies2018")
    assert {row["neurons_max"] for row in rows} == {"1024", "4095"}
    assert {row["source"] for row in rows if row["population"] == "stem"} == {"net.stem.neuron"}


def test_page_is_self_contained_and_says_what_matters(tmp_path: Path) -> None:
    page = hw_profiles.write_report(reports(), tmp_path)[2].read_text()
    sources = re.findall(r'<img[^>]*src="([^"]*)"', page)
    assert len(sources) == 4
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,")) for source in sources)
    assert page.count('<svg class="mesh"') == 4
    assert "<script" not in page
    assert not re.search(r'(href|src)="(?!data:)', page)
    for text in (
        "fits Nahuku 32",
        "not priced",
        "unpriced",
        "refused",
        "nobody has published the energy of a synaptic operation",
        "Compare energies within one estimator only",
        "net.mix.neuron",
        "Horowitz",
        "AP50",
        "not modelled",
    ):
        assert text in page, text


def test_same_report_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in hw_profiles.write_report(reports(), tmp_path / "a")]
    second = [path.read_bytes() for path in hw_profiles.write_report(reports(), tmp_path / "b")]
    assert first == second


def test_page_without_a_run(tmp_path: Path) -> None:
    graph, profile = forked(), hw_profiles.load("loihi2")
    report = hw_profiles.report(None, hw_profiles.map(graph, profile), profile)
    page = hw_profiles.write_report(report, tmp_path)[2].read_text()
    assert "static part only" in page
    assert "Energy by operation" not in page


def test_names_are_escaped(tmp_path: Path) -> None:
    report = hw_profiles.report(
        made_up_run(forked()),
        hw_profiles.map(forked(), hw_profiles.load("loihi2")),
        hw_profiles.load("loihi2"),
        frames=[frame("<b>&")],
        scores={"<script>": 1.0},
    )
    page = hw_profiles.write_report(report, tmp_path)[2].read_text()
    assert "<script" not in page
    assert "&lt;b&gt;&amp;" in page


def test_any_layer_name_reaches_page_and_terminal(tmp_path: Path) -> None:
    names = ["[red]stem[/red]", "$\\frac{a$", "a/b\\c", "übersee"]
    populations = [Population(id="in", shape=(2, 1, 1), neuron=Input())]
    populations += [Population(id=name, shape=(2, 1, 1), neuron=Lif(vth_mant=100)) for name in names]
    graph = Graph(
        populations=tuple(populations),
        projections=tuple(
            Projection(src=a.id, dst=b.id, synapse=Dense(kernel=weights(2, 2))) for a, b in pairwise(populations)
        ),
    )
    profile = hw_profiles.load("loihi1-davies2018")
    report = hw_profiles.report(made_up_run(graph), hw_profiles.map(graph, profile), profile)
    page = hw_profiles.write_report(report, tmp_path)[2].read_text(encoding="utf-8")
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=80))
    print_check(hw_profiles.check(graph, profile), Console(file=stream, width=80))
    for name in names:
        assert name in page
        assert len(re.findall(rf"^{re.escape(name)} ", stream.getvalue(), re.MULTILINE)) == 2


def test_rates_are_plain_numbers() -> None:
    graph = dense_chain(3, 4)
    counts = {p.id: np.full(p.shape, 8) for p in graph.populations}
    always = dataclasses.replace(made_up_run(graph, samples=1), spike_counts=counts)
    profile = hw_profiles.load("loihi2")
    chart = spike_rates(hw_profiles.report(always, hw_profiles.map(graph, profile), profile))
    # Matplotlib leaves the text of every label in a comment beside its outlines.
    svg = base64.b64decode(chart.partition(",")[2]).decode("utf-8")
    assert svg.count("<!--  100 % -->") == 2


def test_one_page_is_one_run(tmp_path: Path) -> None:
    one, other = reports(["loihi2"])[0], dense_chain(3, 2)
    profile = hw_profiles.load("loihi2")
    second = hw_profiles.report(made_up_run(other), hw_profiles.map(other, profile), profile)
    with pytest.raises(
        ProfileError, match=r"loihi2, loihi2 describe different networks or runs; .*one folder for each"
    ):
        hw_profiles.write_report([one, second], tmp_path / "out")
    with pytest.raises(ProfileError, match="'loihi2' on 'Kapoho Point' is reported twice"):
        hw_profiles.write_report([one, one], tmp_path / "out")
    with pytest.raises(ProfileError, match=r"No report was given; make one with"):
        hw_profiles.write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_terminal_fits_80_columns() -> None:
    stream = io.StringIO()
    for report in reports():
        print_report(report, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if "AxonIn" in line]
    assert len(heads) == 2
    assert re.search(r"AxonIn NeuronGr Neurons Synapses AxonMap AxonMem Total Cores", heads[0])
    cores = [line.split()[-1] for line in lines if line.startswith(("stem", "pool", "mix", "head", "class"))]
    assert cores == [str(layer.cores) for report in reports(NAMES[:2]) for layer in report.static.layers]
    text = stream.getvalue()
    assert "unpriced" in text
    assert "refused" in text
    assert "total dynamic" in text


def test_prices_that_are_ranges_cut_nothing(tmp_path: Path) -> None:
    prices = {"synaptic_operation": 23.6, "neuron_update_active": 81, "neuron_update_inactive": 52}
    text = chip_text(energy=prices).replace("derived", "architectural")
    for price in prices.values():
        text = text.replace(f"value = {price},", f"low = 12.345, high = 45.6{price:.0f},")
    profile = hw_profiles.load(write_chip(tmp_path, text))
    report = hw_profiles.report(made_up_run(forked()), hw_profiles.map(forked(), profile), profile)
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=80))
    assert "\u2026" not in stream.getvalue()
    assert "neuron updates" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_fit_check_in_the_terminal(tmp_path: Path) -> None:
    narrow = hw_profiles.load(write_chip(tmp_path, chip_text(limits={"neurons": 20, "axon_in": 30}, chips=1)))
    stream = io.StringIO()
    for profile in (hw_profiles.load("loihi2"), hw_profiles.load("algorithmic-45nm"), narrow):
        print_check(hw_profiles.check(forked(), profile), Console(file=stream, width=80))
    text = stream.getvalue()
    assert "loihi2 on Kapoho Point: fits" in text
    assert re.search(r"cores \d+ of 960, chips 1 of 8", text)
    assert "an estimator without cores: nothing to fit" in text
    assert "own-chip on Small: does not fit" in text
    assert "Layer 'class' (torch module net.classify) needs axon in 480, the limit is 30" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_vendor_columns() -> None:
    static = reports(["loihi2"])[0].static
    shares = register_shares(static.layers[0])
    assert shares["AxonMem"] is None
    assert shares["NeuronGr"] == 1 / 8
    assert shares["Total"] == max(share for share in shares.values() if share is not None)


def test_frames_refuse_other_arrays() -> None:
    with pytest.raises(ProfileError, match=r"'x' has a picture of shape \(3, 4\) .*give \(H,W,3\) uint8"):
        hw_profiles.Frame(title="x", picture=np.zeros((3, 4), np.uint8))
    with pytest.raises(ProfileError, match=r"Event bins have shape \(3, 4, 5\); give .* two polarities per bin"):
        hw_profiles.picture_of_events(np.zeros((3, 4, 5)))
    steps = np.zeros((2, 2, 4, 5), int)
    steps[0, 0, 1, 2] = steps[1, 1, 3, 4] = 1
    picture = hw_profiles.picture_of_events(steps)
    assert picture.shape == (4, 5, 3)
    assert picture[1, 2, 0] > picture[1, 2, 2]
    assert picture[3, 4, 2] > picture[3, 4, 0]
