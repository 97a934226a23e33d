"""The worked example of docs/chips.md, tried from its path; and everything that can be wrong with such a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

import energy_report
import hw_profiles
import netx_export
from hw_profiles.profile import SCHEMA
from netx_export.errors import ProfileError
from tests.unit.hw_profiles.chip_networks import dense_chain, made_up_run

PAGE = Path(__file__).parents[3] / "docs" / "chips.md"


def example() -> str:
    found = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    path = tmp_path / "my_chip.toml"
    path.write_text(example(), encoding="utf-8")
    return path


def test_the_example_is_checked_from_its_path(chip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tmp_path / "my.net"
    netx_export.write(dense_chain(784, 512, 10), network)
    assert energy_report.main(["--check", str(network), "--profile", str(chip)]) == 0
    said = capsys.readouterr().out
    assert "my-chip on Bench: fits" in said
    assert "Rack: 1 of 16 chips (fits)" in said
    assert energy_report.main(["--check", str(network), "--profile", str(chip), "--board", "Rack", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["chips"] == {"used": 1, "max": 16}


def test_the_example_prices_a_run(chip: Path) -> None:
    profile = hw_profiles.load(chip)
    assert profile.board_facts["Rack"]["power_max"].high == 40
    graph = dense_chain(20, 30, 10)
    report = hw_profiles.report(made_up_run(graph), hw_profiles.map(graph, profile), profile)
    assert report.workload is not None
    total = report.workload.estimates[0].total
    assert total is not None
    assert 0 < total[0] < total[1]


def test_the_schema_is_a_schema() -> None:
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    assert "#:schema hw_profiles/chips/profile.schema.json" in example()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "words/core", ', "", r"limits\.synapse_memory: unit is missing; every number needs value"),
        ('source = "bench", ', "", r"energy\.synaptic_operation: source is missing; every number needs"),
        ('source = "bench"', 'source = "hearsay"', r"is 'hearsay', which \[sources\] does not list; add it there"),
        ('bench = "Our laboratory notebook 7, pages 12 to 19"', 'bench = ""', r"sources\.bench: '' .*; see docs/chips"),
        ("value = 21", "value = -21", r"energy\.neuron_update\.value: is -21, the smallest allowed value is 0; leave"),
        ("hop_east_west", "hop_up", r"energy: key hop_up is unknown; the keys here are .*hop_east_west"),
        ('unit = "pJ"', 'unit = "nJ"', r"energy\.synaptic_operation\.unit: is 'nJ', it must be 'pJ'; convert"),
        ("low = 4.1, high = 4.9", "low = 4.9, high = 4.1", r"synaptic_operation: low is 4\.9, above high 4\.1"),
        ("voltage = 0.8", "voltage = 0", r"synaptic_operation\.voltage: is 0, the smallest allowed value is 0; leave"),
        ('basis = "measured"', 'basis = "guessed"', r"is 'guessed', it must be one of measured, simulated, fitted"),
        ("value = 40, unit", "value = 40, source", r"my_chip\.toml: is not valid TOML"),
        ("power_max", "power", r"boards\.Rack: key power is unknown; the keys here are chips, cores, power_max"),
        ("neurons = {", "cells = {", r"limits: (key cells is unknown|neurons is missing)"),
        (
            'value = 64, unit = "bits"',
            'value = 0, unit = "bits"',
            r"word_bits: is 0 bits, it must be a whole number of",
        ),
        ("voltage = 0.8", "voltage = inf", r"synaptic_operation\.voltage: is inf, it must be a finite number; leave"),
        (
            "value = 21",
            f"value = -{10**60}",
            r"neuron_update\.value: is -10+\.\.\.0+, the smallest allowed value is 0;",
        ),
        (
            "[boards.Rack]",
            '[boards.Rack]\ncores = { value = 0, unit = "cores", source = "manual", grade = "H", basis = "measured" }',
            r"boards\.Rack\.cores: is 0 cores, its 16 chips have between 16 and \d+; give the cores of the whole board",
        ),
        (
            'mesh_rows = { value = 8, unit = "tiles"',
            'mesh_rows = { value = 1000000, unit = "tiles"',
            r"topology\.mesh_rows: makes 8000000 .* the most that can be laid out is 65536; check the number",
        ),
        ("[energy]", "[barrier_by_tiles]\nfew = 3\n[energy]", r"barrier_by_tiles: "),
    ],
)
def test_what_is_wrong_is_named(chip: Path, old: str, new: str, message: str) -> None:
    text = example()
    assert old in text
    chip.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ProfileError, match=rf"my_chip\.toml: .*{message}" if "TOML" not in message else message):
        hw_profiles.load(chip)


def test_cores_of_different_sizes_are_listed_one_by_one(chip: Path) -> None:
    entry = '{ value = 9, unit = "words", source = "manual", grade = "H", basis = "architectural" }'
    memories = f"core_kernel_memory = [{entry}]\ncore_neuron_memory = [{entry}]\n"
    chip.write_text(example().replace("[limits]\n", f"[limits]\n{memories}"), encoding="utf-8")
    with pytest.raises(
        ProfileError, match=r"limits\.core_kernel_memory: has 1 entries, the chip has 64 cores; give one"
    ):
        hw_profiles.load(chip)
    only = "\n".join(line for line in example().splitlines() if not line.startswith("neurons = "))
    chip.write_text(only, encoding="utf-8")
    with pytest.raises(
        ProfileError, match="neurons is missing; a chip limits the neurons of a core, or lists core_kernel"
    ):
        hw_profiles.load(chip)


def test_barriers_and_fixed_synapses_are_read(chip: Path) -> None:
    four = '"4" = { value = 900, unit = "ns", source = "manual", grade = "H", basis = "simulated" }'
    fixed = (
        'dense_synapse_bits = { value = 32, unit = "bits", source = "manual", grade = "H", basis = "architectural" }'
    )
    text = example().replace("[packing]\n", f"[packing]\n{fixed}\n") + f"\n[barrier_by_tiles]\n{four}\n"
    chip.write_text(text, encoding="utf-8")
    profile = hw_profiles.load(chip)
    assert profile.costs.barrier_by_tiles[4].low == 900
    mapping = hw_profiles.map(dense_chain(10, 6), profile)
    # Six synapses of 32 bits take three words for each of ten axons.
    assert mapping.registers[0]["synapse_memory"] == 30
