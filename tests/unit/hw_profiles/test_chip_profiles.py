"""Chip files: what they hold, and what a wrong one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hw_profiles
from hw_profiles.profile import Quantity
from netx_export.errors import ProfileError
from tests.unit.hw_profiles.chip_networks import SOURCE, chip_text, write_chip


def test_shipped_profiles_load_and_name_their_sources() -> None:
    assert hw_profiles.available() == (
        "algorithmic-45nm",
        "darwin3",
        "loihi1-davies2018",
        "loihi1-fitted",
        "loihi2",
        "loihi2-2024",
        "speck",
        "truenorth",
    )
    for name in hw_profiles.available():
        profile = hw_profiles.load(name)
        assert profile.name == name
        assert profile.sources
        costs = profile.costs
        numbers = [*profile.limits.values(), *profile.packing.values(), *profile.kernel_memories]
        numbers += [*profile.neuron_memories, *costs.barrier_by_tiles.values()]
        numbers += [number for facts in profile.board_facts.values() for number in facts.values()]
        numbers += [*costs.energy.values(), *costs.time.values(), *costs.power.values()]
        numbers += [entry for prices in costs.arithmetic.values() for entry in prices.values()]
        assert numbers
        for number in numbers:
            assert isinstance(number, Quantity)
            assert number.unit
            assert number.source in profile.sources
            assert number.grade in "HML"
            assert 0 <= number.low <= number.high


def test_published_numbers() -> None:
    loihi = hw_profiles.load("loihi1-davies2018")
    assert (loihi.board, loihi.chips, loihi.limit("neurons"), loihi.limit("delay")) == ("Nahuku 32", 32, 1024, 62)
    assert str(loihi.costs.energy["synaptic_operation"]) == "23.6 pJ"
    assert str(loihi.costs.time["barrier"]) == "113-465 ns"
    assert loihi.costs.power["leakage"].grade == "M"
    arithmetic = hw_profiles.load("algorithmic-45nm").costs.arithmetic
    assert arithmetic["fp32"]["multiply_accumulate"].low == 4.6
    assert arithmetic["int8"]["accumulate"].low == 0.03


def test_loihi2_prices_nothing() -> None:
    profile = hw_profiles.load("loihi2")
    assert profile.chips == 8
    assert not profile.costs.energy
    assert not profile.costs.time
    assert not profile.costs.power


def test_other_boards() -> None:
    assert hw_profiles.load("loihi2", board="Oheo Gulch").chips == 1
    with pytest.raises(ProfileError, match=r"'loihi2' has no board 'Nahuku'; choose one of Oheo Gulch, Kapoho Point"):
        hw_profiles.load("loihi2", board="Nahuku")
    large = hw_profiles.load("loihi2", board="Hala Point")
    assert large.topology is not None
    assert large.topology.cores_per_chip * large.chips == 140544
    assert large.board_facts["Hala Point"]["power_max"].low == 2600
    again = large.on_board("Kapoho Point").topology
    assert again is not None
    assert again.cores_per_chip == 120


def test_unknown_names() -> None:
    with pytest.raises(ProfileError, match=r"'loihi3' does not exist; choose one of algorithmic-45nm, .* \.toml file"):
        hw_profiles.load("loihi3")
    with pytest.raises(ProfileError, match="does not exist"):
        hw_profiles.load("../chips/loihi2")


def test_own_chip(tmp_path: Path) -> None:
    profile = hw_profiles.load(write_chip(tmp_path, chip_text(energy={"synaptic_operation": 2.5})))
    assert profile.name == "own-chip"
    assert profile.limit("axon_in") is None
    assert profile.costs.energy["synaptic_operation"].source == "Lab notebook of the test, page 1"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'unit = "neurons/core"',
            'unit = "neurons"',
            r"limits\.neurons\.unit: is 'neurons', it must be 'neurons/core'",
        ),
        ("value = 256", "value = -256", r"limits\.neurons\.value: is -256, the smallest allowed value is 0; leave"),
        ("[limits]", "[limits]\nspeed = 3", r"limits: key speed is unknown; the keys here are .*axon_in"),
        ('value = 256, unit = "neurons/core"', "value = 256", r"limits\.neurons: unit is missing; every number needs"),
        (SOURCE % (64, "bits"), "64", r"packing\.word_bits: is 64, it must be of type object; write"),
        ('grade = "M"', 'grade = "A"', r"grade: is 'A', it must be one of H, M, L"),
        ('source = "s"', 'source = "t"', r"\.source: is 't', which \[sources\] does not list; add it there"),
        ("value = 256", "low = 9, high = 3", r"limits\.neurons: low is 9, above high 3; exchange the two"),
        ("value = 256", "low = 9", r"limits\.neurons: give either value, or low and high"),
        ("value = 256", "value = 2.5", r"limits\.neurons: is 2.5 neurons/core, it must be a whole number"),
        ('default_board = "Small"', 'default_board = "Tiny"', r"default_board: is 'Tiny', the boards are Small, Large"),
        ('kind = "chip"', 'kind = "algorithmic"', r"arithmetic is missing|an algorithmic profile has arithmetic"),
        ("value = 16", "value = 17", r"cores_per_chip: is 17, but the mesh has room for 16; enlarge the mesh"),
        ("[limits]", "[limits", "is not valid TOML"),
        ('title = "A chip of our own"\n', "", r"\(the whole file\): title is missing"),
        ('title = "A chip of our own"', "title = 3", r"title: is 3, it must be of type string; put it in quotes"),
        ("value = 64", "value = nan", r"packing\.word_bits: is nan, it must be a finite number; leave an unpublished"),
        ("value = 64", "value = inf", r"packing\.word_bits: is inf, it must be a finite number"),
        ("value = 64", f"value = 1{400 * '0'}", r"packing\.word_bits: is inf, it must be a finite number"),
        ("[energy]", "[energy]\nneuron_update_active = " + SOURCE % (81, "pJ"), r"energy: neuron_update_active and"),
        ("[time]", "[time]\nneuron_update_inactive = " + SOURCE % (5.3, "ns"), r"time: .* each other; add the missing"),
    ],
)
def test_wrong_files_are_told_where_and_why(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = chip_text()
    assert old in text
    path = write_chip(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ProfileError, match=rf"{re.escape(str(path))}: .*{message}"):
        hw_profiles.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"cannot be read .*; give the path of a chip file"):
        hw_profiles.load(tmp_path / "none.toml")
