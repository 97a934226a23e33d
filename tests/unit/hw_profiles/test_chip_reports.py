"""Reports on disk and in the terminal: complete, readable back, the same bytes each time."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from rich.console import Console

import hw_profiles
import lava_runtime
from hw_profiles.charts import spike_rates
from hw_profiles.report import Report
from hw_profiles.report_files import from_json, to_json
from hw_profiles.report_schema import SCHEMA, schema
from hw_profiles.static_part import count_parameters
from hw_profiles.terminal import print_report, register_shares
from lava_runtime import Probes
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
    with pytest.raises(ProfileError, match="no report"):
        from_json("[" * 100_000)
    damaged = json.loads(to_json(written))
    damaged["reports"][0]["static"]["cores"] = "many"
    with pytest.raises(ProfileError, match="'many' stands where int is expected"):
        from_json(json.dumps(damaged))
    damaged["reports"][0]["scores"] = []
    with pytest.raises(ProfileError, match="no report"):
        from_json(json.dumps(damaged))


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


def test_files_of_a_run_without_rasters(tmp_path: Path) -> None:
    written = reports()
    paths = hw_profiles.write_report(written, tmp_path / "out")
    assert [path.name for path in paths] == ["report.json", "cores.csv", "report.html", "links.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
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
    assert len(sources) == 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert page.count('<svg class="mesh"') == 4
    assert not re.search(r'(href|src)="(?!data:|#)', page)
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'" in page
    assert "run with --probe all" in page
    for text in (
        "fits Nahuku 32",
        "not priced",
        "unpriced",
        "refused",
        "nobody has published the energy of a synaptic operation",
        "Compare energies within one estimator only",
        "A table of its own: this estimator includes",
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
        title="</title><script>",
        notes=["<script>alert(1)</script>"],
    )
    page = hw_profiles.write_report(report, tmp_path)[2].read_text()
    # The data of the slider and the page's own script.
    assert page.count("<script") == 2
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
    for name in names:
        assert name in page
        assert len(re.findall(rf"^{re.escape(name)} ", stream.getvalue(), re.MULTILINE)) == 1


def test_rates_are_plain_numbers() -> None:
    graph = dense_chain(3, 4)
    counts = {p.id: np.full(p.shape, 8) for p in graph.populations}
    always = dataclasses.replace(made_up_run(graph, samples=1), spike_counts=counts)
    profile = hw_profiles.load("loihi2")
    chart = spike_rates(hw_profiles.report(always, hw_profiles.map(graph, profile), profile))
    assert chart.count(">100 %<") == 2


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


def probed_reports(names: Sequence[str] = ("loihi1-fitted", "loihi2")) -> list[Report]:
    """Reports of a run whose every step was probed."""
    graph = forked()
    inputs = (np.random.default_rng(2).random((4, 3, 2, 12, 20)) < 0.3).astype(int)
    trace = lava_runtime.run(graph, inputs, probes=Probes(rasters="all"), threads=1)
    found = []
    for name in names:
        profile = hw_profiles.load(name)
        mapping = hw_profiles.map(graph, profile)
        found.append(hw_profiles.report(trace, mapping, profile, frames=[frame()], title="a probed run"))
    return found


def test_steps_of_a_probed_run_on_disk(tmp_path: Path) -> None:
    (tmp_path / "steps.csv").write_text("of an earlier report")
    written = probed_reports()
    paths = {path.name: path for path in hw_profiles.write_report(written, tmp_path)}
    assert list(paths)[3:] == ["links.csv", "steps.csv", "core_steps.csv"]
    steps = [row for row in csv.DictReader(io.StringIO(paths["steps.csv"].read_text())) if row["profile"] == "loihi2"]
    priced = [row for row in csv.DictReader(io.StringIO(paths["steps.csv"].read_text())) if row not in steps]
    assert [int(row["sample"]) for row in steps] == [k // 4 for k in range(12)]
    workload = written[1].workload
    assert workload is not None
    assert sum(int(row["syn_ops"]) for row in steps) == workload.syn_ops
    assert sum(int(row["messages"]) for row in steps) == workload.messages
    assert {row["time_high_ns"] for row in steps} == {""}
    assert all(float(row["time_high_ns"]) >= float(row["time_low_ns"]) > 0 for row in priced)
    assert {row["waits_for"] for row in priced} <= {"neurons", "messages", "link", "barrier"}
    cores = list(csv.DictReader(io.StringIO(paths["core_steps.csv"].read_text())))
    assert sum(int(row["syn_ops"]) for row in cores) == 2 * workload.syn_ops
    links = list(csv.DictReader(io.StringIO(paths["links.csv"].read_text())))
    assert sum(int(row["messages"]) for row in links) == sum(int(row["hops"]) for row in steps + priced)
    assert from_json(paths["report.json"].read_text()) == tuple(written)
    hw_profiles.write_report(reports(), tmp_path)
    assert not (tmp_path / "steps.csv").exists()


def test_the_schema_is_that_of_the_types_and_holds() -> None:
    kept = json.loads(SCHEMA.read_text())
    assert kept == schema(), "run: python -m hw_profiles.report_schema"
    validator = jsonschema.Draft202012Validator(kept)
    for written in (reports(), probed_reports()):
        validator.validate(json.loads(to_json(written)))
    broken = json.loads(to_json(reports()))
    broken["reports"][0]["static"]["cores"] = "many"
    assert [error.json_path for error in validator.iter_errors(broken)] == ["$.reports[0].static.cores"]


def test_reports_are_read_back_by_path(tmp_path: Path) -> None:
    path = hw_profiles.write_report(reports(), tmp_path)[0]
    assert hw_profiles.read_report(path) == tuple(reports())
    with pytest.raises(ProfileError, match=r"missing/report\.json: cannot be read .*; give a report\.json"):
        hw_profiles.read_report(tmp_path / "missing/report.json")
    path.write_text("{}")
    with pytest.raises(ProfileError, match=r"report\.json: This is no report\.json of this version"):
        hw_profiles.read_report(path)


def test_terminal_fits_80_columns() -> None:
    stream = io.StringIO()
    for report in reports():
        print_report(report, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines.count("Assumptions") == lines.count("Sources") == len(NAMES)
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
