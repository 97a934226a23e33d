"""Scripts print one line for a user's mistake and never a traceback."""

from __future__ import annotations

import sys

import pytest

from netx_export import command_line
from netx_export.errors import BackendUnavailableError, NetxError, NotInstalledError


def raise_error(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NetxError("x.net: empty"), 2, "error: x.net: empty\n"),
        (BackendUnavailableError("no Lava"), 3, "error: no Lava\n"),
        (
            PermissionError(13, "Permission denied", "runs/x"),
            2,
            "error: runs/x: Permission denied; check the path, its permissions and free space.\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted; nothing was left half-written.\n"),
        (KeyboardInterrupt("stopped after update 7"), 130, "stopped after update 7\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.exit_code(lambda: raise_error(error)) == code
    assert capsys.readouterr().err == line


def test_defects_of_ours_stay_visible() -> None:
    with pytest.raises(ZeroDivisionError):
        command_line.exit_code(lambda: 1 // 0)


def test_success_passes_through() -> None:
    assert command_line.exit_code(lambda: 0) == 0


def test_provenance_holds_command_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/else/export_netx.py", "--out", "a b"])
    found = command_line.provenance()
    assert found["command"] == "export_netx.py --out 'a b'"
    assert {"python", "numpy", "h5py"} <= set(found)


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    command_line.print_table(("stage", "AP"), [("sim", "0.7"), ("quantised", "0.71")])
    assert capsys.readouterr().out == "stage        AP\nsim         0.7\nquantised  0.71\n"


def test_missing_torch_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"Training needs torch, .* pip install -e '\.\[train\]'") as caught:
        command_line.require_torch("Training")
    assert caught.value.exit_code == 3
