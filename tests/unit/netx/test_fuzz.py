"""Spoiled files: the same graph, another valid graph, or NetxError; within bounds; nothing else, ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netx_export
from netx_export.errors import NetxError
from netx_export.netx import tree
from netx_export.netx.guard_service import GuardService
from netx_export.netx.reader import graph_of
from tests.golden import mutations
from tests.golden.fuzz_reader import Watch, examine, fuzz
from tests.unit.netx.networks import branched, foreign


def test_a_sample_of_the_fuzzing() -> None:
    """`python -m tests.golden.fuzz_reader --count 20000` is the whole of it."""
    summary = fuzz(300, seed=7)
    print(summary)
    assert summary.failures == []
    assert summary.opened == 0
    assert summary.outcomes["refused"] > 100
    assert summary.outcomes["the same network"] > 20
    assert sum(summary.outcomes.values()) == 300


@pytest.mark.parametrize("ours", [True, False])
def test_random_bytes_through_the_reader_itself(ours: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.net"
    if ours:
        netx_export.write(branched(), path)
    else:
        foreign(path)
    whole, digest = path.read_bytes(), netx_export.read(path).digest
    outcomes = []
    for seed in range(12):
        path.write_bytes(whole)
        mutations.flip_bytes(path, np.random.default_rng(seed), path)
        outcomes.append(examine(path, tree.load, digest, tmp_path / "again.net"))
    print(outcomes)
    # Our own files carry a checksum.
    assert not ours or "another network" not in outcomes
    assert "refused" in outcomes
    assert set(outcomes) <= {"refused", "the same network", "another network"}


def test_the_watch_sees_what_is_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with Watch(tmp_path) as watch:
        assert watch.openings() == 0
        (tmp_path / "secret").read_text()
        assert watch.openings() > 0


def test_the_service_reads_as_the_reader_does(tmp_path: Path) -> None:
    netx_export.write(branched(), tmp_path / "ours.net")
    foreign(tmp_path / "theirs.net")
    (tmp_path / "bad.net").write_bytes((tmp_path / "ours.net").read_bytes()[:3000])
    with GuardService() as service:
        for name in ("ours.net", "theirs.net", "ours.net"):
            assert graph_of(service.load(tmp_path / name))[0].digest == netx_export.read(tmp_path / name).digest
        with pytest.raises(NetxError, match=r"bad\.net: the file is cut"):
            service.load(tmp_path / "bad.net")
        assert 10_000 < service.peak_kib < 500_000
        assert 0 < service.last_seconds < 2
        (tmp_path / "a\nb.net").write_bytes((tmp_path / "ours.net").read_bytes())
        with pytest.raises(NetxError, match="the path has a line break; rename the file"):
            service.load(tmp_path / "a\nb.net")


def test_a_service_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netx_export.write(branched(), tmp_path / "x.net")
    with GuardService() as service:
        whole = tree.guard_command("--serve")
        with monkeypatch.context() as patch:
            patch.setattr(tree, "guard_command", lambda file: ["sleep", "30"])
            patch.setattr(tree, "WALL_SECONDS", 0.2)
            with pytest.raises(NetxError, match=r"x\.net: HDF5 did not finish reading it within 0\.2 s"):
                service.load(tmp_path / "x.net")
        assert tree.guard_command("--serve") == whole
        assert graph_of(service.load(tmp_path / "x.net"))[0].digest == branched().digest
