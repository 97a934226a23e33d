"""Side by side: a table for each estimator, whatever is put beside what."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import energy_report
import hw_profiles
import netx_export
from hw_profiles.terminal import print_comparison
from lava_runtime.run_folder import save_run
from netx_export.command_line import exit_code
from netx_export.errors import ProfileError
from tests.unit.hw_profiles.chip_networks import dense_chain, made_up_run
from tests.unit.hw_profiles.test_chip_reports import reports


def test_energies_of_two_estimators_never_share_a_table() -> None:
    first = reports()
    named = [("first", report) for report in first] + [("second", report) for report in reports(["loihi1-davies2018"])]
    groups = hw_profiles.compare_reports(named)
    assert [[column.name for column in group.columns] for group in groups] == [
        ["first: loihi1-davies2018 on Nahuku 32", "second: loihi1-davies2018 on Nahuku 32"],
        ["first: loihi2 on Kapoho Point"],
        ["first: algorithmic-45nm"],
        ["first: algorithmic-45nm"],
    ]
    assert [group.estimator.split(", ")[-1] for group in groups[2:]] == ["fp32", "int8"]
    assert all("A table of its own: this estimator includes" in group.reason for group in groups)
    rows = dict(groups[0].rows)
    assert rows["energy"][0] == rows["energy"][1]
    assert rows["AP50"] == ("0.680", "0.680")
    assert dict(groups[1].rows)["energy"] == ("no price",)
    assert "static" not in dict(groups[2].rows)
    stream = io.StringIO()
    print_comparison(groups, Console(file=stream, width=160))
    assert stream.getvalue().count("A table of its own") == 4
    with pytest.raises(ProfileError, match="No report was given to compare; give at least one"):
        hw_profiles.compare_reports([])


def test_runs_and_reports_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = dense_chain(3, 4)
    for name, seed in (("a", 0), ("b", 1)):
        save_run(tmp_path / name, graph, made_up_run(graph, seed=seed), write_network=netx_export.write, facts={})
    assert energy_report.main([str(tmp_path / "a"), "--profile", "loihi1-fitted", "--summary"]) == 0
    capsys.readouterr()
    # One place holds a report, the other a run that is priced now.
    places = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert energy_report.main(["--profile", "loihi1-fitted", "--out", str(tmp_path / "c"), "--compare", *places]) == 0
    assert "a: loihi1-fitted on" in " ".join(capsys.readouterr().out.split())
    document = json.loads((tmp_path / "c/compare.json").read_text())
    assert [column["run"] for column in document["groups"][0]["columns"]] == ["a", "b"]
    rows = list(csv.DictReader((tmp_path / "c/compare.csv").open()))
    assert {row["run"] for row in rows} == {"a", "b"}
    page = (tmp_path / "c/compare.html").read_text()
    assert "b: loihi1-fitted on Nahuku 32" in page
    assert "<script" not in page
    arguments = ["--profile", "loihi2", "--compare", str(tmp_path / "a/report")]
    assert exit_code(lambda: energy_report.main(arguments)) == 2
    assert "has no report on loihi2; give its run folder, or other profiles" in capsys.readouterr().err
    # The run itself is there: it is priced on the chip that its report leaves out.
    assert energy_report.main(["--profile", "loihi2", "--out", str(tmp_path / "d"), "--compare", places[0]]) == 0
    assert "a: loihi2 on" in " ".join(capsys.readouterr().out.split())
