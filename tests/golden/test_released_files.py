"""Files of every released format version give the same networks for ever, and are still written byte for byte.

The files change only by `python -m tests.golden.write_files`, and the diff is read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import netx_export
from tests.golden.write_files import DIGESTS, FOLDER, NETWORKS
from tests.unit.netx.networks import assert_same

FILES = sorted(FOLDER.glob("*.net"))


def test_there_is_a_file_of_each_form_and_version() -> None:
    assert {path.name for path in FILES} == {"version1_netx.net", "version1_extended.net", *NETWORKS}


@pytest.mark.parametrize("form", ["netx", "extended"])
def test_a_migrated_file_is_the_network_of_the_present_version(form: str) -> None:
    assert_same(netx_export.read(FOLDER / f"version1_{form}.net"), netx_export.read(FOLDER / f"version2_{form}.net"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_released_files_give_the_same_network(path: Path) -> None:
    assert netx_export.read(path).digest == json.loads(DIGESTS.read_text())[path.name]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_present_version_writes_the_same_bytes(name: str, tmp_path: Path) -> None:
    netx_export.write(NETWORKS[name](), tmp_path / name)
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
    assert_same(netx_export.read(FOLDER / name), NETWORKS[name]())
