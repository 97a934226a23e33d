"""The command that writes recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from netx_export.errors import ConfigError
from training.make_recordings import main
from training.windows import WindowSet


def test_recordings_are_written_as_pairs_and_are_the_same_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--count", "2", "--seed", "3", "--seconds", "0.5"]
    assert main([str(tmp_path / "a"), *arguments]) == 0
    assert "2 recordings in" in capsys.readouterr().out
    assert main([str(tmp_path / "b"), *arguments]) == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"traffic_00000{seed}_{part}" for seed in (3, 4) for part in ("bbox.npy", "td.dat", "times.npy")]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert len(WindowSet(tmp_path / "a")) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "--count is 0; write at least 1 recording"),
        (["--seed", "-1"], "seed = -1; it must be at least 0"),
        (["--seconds", "0.05"], "duration_s = 0.05"),
        (["--annotation-hz", "99"], "annotation_hz = 99"),
    ],
)
def test_settings_outside_their_limits_are_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        main([str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()
