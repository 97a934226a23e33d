"""A second `make demo` neither reinstalls nor retrains; finding Python never guesses silently. Nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
VERSION = "{}.{}".format(*sys.version_info)


def find_python(wanted: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools/find_python.sh", wanted],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def plan(folder: Path, *arguments: str) -> str:
    """What `make` would do, without doing it."""
    assert MAKE is not None
    return subprocess.run(
        [MAKE, "-n", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose path has a space, in which a demo was made."""
    if MAKE is None:
        pytest.skip("make is not on this machine")
    folder = tmp_path / "a checkout"
    files = ("pyproject.toml", "constraints.txt", "Makefile", "tools/find_python.sh")
    runs = ("runs/demo/sim/run.json", "runs/demo/steps/run.json")
    made = (".venv/.installed", "runs/demo/model.safetensors", "runs/demo/tiny.net", *runs)
    for age, name in enumerate((*files, *made)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text((ROOT / name).read_text() if name in files else "")
        os.utime(folder / name, (1_000_000 + age, 1_000_000 + age))
    return folder


def test_a_second_demo_only_prints(checkout: Path) -> None:
    again = plan(checkout, "demo")
    assert "energy_report.py" in again
    assert not {"pip", "train.py", "export_netx.py", "run_lava.py"} & set(again.split())


def test_installing_anew_does_not_retrain(checkout: Path) -> None:
    (checkout / "pyproject.toml").touch()
    again = plan(checkout, "demo")
    assert "pip" in again.split()
    assert "train.py" not in again.split()


def test_a_first_demo_does_everything_in_order(checkout: Path) -> None:
    shutil.rmtree(checkout / "runs")
    shutil.rmtree(checkout / ".venv")
    words = plan(checkout, "demo").split()
    places = [words.index(step) for step in ("pip", "train.py", "export_netx.py", "run_lava.py", "energy_report.py")]
    assert places == sorted(places)


def test_the_named_interpreter_is_taken() -> None:
    found = find_python(VERSION, PATH="/usr/bin:/bin", PYTHON=sys.executable)
    assert found.returncode == 0
    assert found.stderr == ""
    assert Path(found.stdout.strip()).exists()


def test_a_version_that_nobody_has_is_named_with_the_remedy() -> None:
    # No HOME either: containers often have none.
    found = find_python("3.99", PATH="/usr/bin:/bin", PYTHON=sys.executable)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"PYTHON={sys.executable} is no Python 3.99 with venv; looking for another.\n")
    assert "No Python 3.99 with venv was found" in found.stderr
    assert "make PYTHON=/path/to/python3.99" in found.stderr
    assert "Lava" not in found.stderr
