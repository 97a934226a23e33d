"""Random networks on tight chips: every neuron on one core, every register within its limit, counts as by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hw_profiles
from hw_profiles.mapping import Mapping
from hw_profiles.placement import place
from netx_export.errors import DoesNotFitError
from tests.strategies import Case, cases
from tests.unit.hw_profiles.chip_networks import chip_text, write_chip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chips")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(case=cases(), neurons=st.sampled_from((3, 7, 16, 64)), words=st.sampled_from((40, 200, 5000)))
def test_every_register_fits(case: Case, neurons: int, words: int, folder: Path) -> None:
    limits = {"neurons": neurons, "synapse_memory": words, "axon_in": 400, "output_edges": 300}
    profile = hw_profiles.load(write_chip(folder, chip_text(limits=limits)), board="Large")
    found = hw_profiles.check(case.graph, profile)
    if not found.fits:
        with pytest.raises(DoesNotFitError, match=re.escape(found.problems[0])):
            hw_profiles.map(case.graph, profile)
        return
    mapping = hw_profiles.map(case.graph, profile)
    assert found.cores[0] == mapping.cores
    assert Mapping.from_slices(case.graph, profile, mapping.slices).registers == mapping.registers
    assert mapping.placement is not None
    assert profile.topology is not None
    row_major = place(mapping.cores, profile.topology).weighted_hops(mapping.traffic)
    assert mapping.placement.weighted_hops(mapping.traffic) <= row_major


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(case=cases(), name=st.sampled_from(hw_profiles.available()))
def test_every_profile_answers(case: Case, name: str) -> None:
    found = hw_profiles.check(case.graph, hw_profiles.load(name))
    assert found.fits != bool(found.problems)
    hw_profiles.check_to_json(found)
