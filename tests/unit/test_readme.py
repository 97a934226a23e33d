"""What README, CONTRIBUTING and docs/ show works as written: programs, command lines, make targets, links, pictures."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/chips.md",
    "docs/netx_format.md",
    "docs/reports.md",
    "docs/slayer.md",
)
SCRIPTS = ("train", "export_netx", "run_lava", "energy_report")


def programs(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def command_lines(text: str) -> list[list[str]]:
    """Every `python script.py ...`, without the remark behind it (two spaces, or a word where a flag should be)."""
    found = re.findall(r"^ *python (\w+\.py.*)$", text, re.MULTILINE)
    found += re.findall(r"`python (\w+\.py[^`]*)`", text)
    return [shlex.split(re.split(r"\s{2,}", line)[0].replace("[options]", "")) for line in found]


def test_the_programs_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    shutil.copy(ROOT / "hw_profiles/chips/loihi2.toml", tmp_path / "my/chip.toml")
    space: dict[str, Any] = {"__name__": "readme"}
    blocks = [(page, text) for page in ("README.md", "docs/chips.md") for text in programs(page)]
    assert len(blocks) == 2
    for page, text in blocks:
        exec(compile(text, page, "exec"), space)
    trace = space["trace"]
    assert trace.total_spikes(space["graph"]) > 1000
    assert trace.aligned("heatmap").shape == (8, 4, 1, 16, 16)
    assert trace.aligned("heatmap").any()
    for name in (
        "network.net",
        "report/report.html",
        "report/report.json",
        "report/cores.csv",
        "runs/report/report.html",
    ):
        assert (tmp_path / name).is_file()


def arguments_of(script: str, arguments: list[str]) -> None:
    module = importlib.import_module(script)
    if script == "train" and arguments[:1] == ["slayer"]:
        module.slayer_parser().parse_args(arguments[1:])
    elif script == "train":
        module.parser().parse_args(arguments)
    else:
        module.parse(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_the_command_lines_of_the_pages_are_understood(page: str) -> None:
    for script, *arguments in command_lines((ROOT / page).read_text()):
        arguments_of(script.removesuffix(".py"), arguments)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_command_lines_of_the_help_are_understood(script: str) -> None:
    examples = command_lines(importlib.import_module(script).EXAMPLES)
    assert len(examples) >= 4
    for other, *arguments in examples:
        arguments_of(other.removesuffix(".py"), arguments)


def test_make_knows_the_targets_that_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text()
        named = set(re.findall(r"^make ([a-z-]+) ", text, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)`", text))
        assert named <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        found = (ROOT / page).parent / target
        assert found.exists() or found.with_suffix(".md").exists(), target
    for target in re.findall(
        r"`((?:netx_export|lava_runtime|hw_profiles|training|tests|docs|benchmarks)/[\w./]*)`", text
    ):
        assert (ROOT / target).exists(), target
