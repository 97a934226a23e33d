"""Synapse and network terms against SANA-FE's own figures, with our architecture file and with its own.

Needs SANA-FE in a Python of its own: BASALT_SANAFE_PYTHON names one; otherwise it is installed from the registry into
a throw-away environment. `make test-long`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import hw_profiles
from hw_profiles.energy import price
from hw_profiles.sanafe_export import PUBLIC_LOIHI, write_sanafe
from hw_profiles.sanafe_import import Comparison, compare, read_public_architecture, run_sanafe
from netx_export.graph import Graph
from tests.unit.hw_profiles.chip_networks import dense_chain, write_chip
from tests.unit.hw_profiles.test_sanafe_files import chain, replayed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has SANA-FE."""
    if "BASALT_SANAFE_PYTHON" in os.environ:
        return Path(os.environ["BASALT_SANAFE_PYTHON"])
    folder = tmp_path_factory.mktemp("sanafe")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "sanafe"]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("installing sanafe took more than 600 s")
    if done.returncode:
        pytest.skip(f"sanafe cannot be installed for Python {sys.version.split()[0]}: {done.stderr.strip()[-200:]}")
    return found


def opinions(graph: Graph, profile: str, folder: Path, python: Path, *, public: bool, **run: float) -> list[Comparison]:
    mapping = hw_profiles.map(graph, hw_profiles.load(profile))
    trace = replayed(graph, steps=6, **run)  # type: ignore[arg-type]
    files = write_sanafe(folder, mapping, trace, units=PUBLIC_LOIHI if public else None)
    theirs = read_public_architecture(python) if public else None
    opinion = run_sanafe(files, mapping.profile, python, architecture=theirs)
    assert opinion.steps == files.steps
    found = list(compare(price(trace, mapping, mapping.profile), opinion))
    assert all(entry.theirs > 0 for entry in found if entry.term in ("synapse", "network", "messages"))
    return found


@pytest.mark.parametrize("public", [True, False], ids=["their-architecture", "our-architecture"])
@pytest.mark.parametrize("network", [chain(), dense_chain(40, 300, 60, 10)], ids=["conv", "dense"])
def test_synapse_and_network_energy(network: Graph, public: bool, tmp_path: Path, python: Path) -> None:
    """To 1e-6, and counts exactly; the convolution network has no host input, the dense one does."""
    for entry in opinions(network, "loihi1-fitted", tmp_path, python, public=public):
        low, high = entry.ours
        assert low == high, entry
        assert entry.theirs == pytest.approx(low, rel=1e-6), entry
        assert entry.agrees


def test_many_cores_and_hops(tmp_path: Path, python: Path) -> None:
    """Small cores, so that the network spreads over tiles and messages travel."""
    text = (Path(hw_profiles.load.__code__.co_filename).parent / "chips" / "loihi1-fitted.toml").read_text()
    small = write_chip(tmp_path, text.replace("neurons = { value = 1024", "neurons = { value = 16"))
    found = {entry.term: entry for entry in opinions(chain(), str(small), tmp_path, python, public=False)}
    assert found["hops east-west"].theirs > 0
    assert all(entry.agrees for entry in found.values()), found


def test_ranges_hold_their_figure(tmp_path: Path, python: Path) -> None:
    """A chip with one price for all synapses; nobody published a price of its messages, so both count none."""
    graph = chain()
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi1-davies2018"))
    trace = replayed(graph, seed=3)
    opinion = run_sanafe(write_sanafe(tmp_path, mapping, trace), mapping.profile, python)
    found = {entry.term: entry for entry in compare(price(trace, mapping, mapping.profile), opinion)}
    assert found["synapse"].agrees
    assert found["messages"].agrees
