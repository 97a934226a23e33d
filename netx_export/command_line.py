"""What every script shares: one-line errors, exit codes, and provenance for the files it writes."""

from __future__ import annotations

import importlib.util
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from netx_export.errors import BasaltError, NotInstalledError

_LIBRARIES = ("basalt-snn", "numpy", "h5py", "numba", "torch", "lava-nc", "lava-dl")

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""


def exit_code(main: Callable[[], int]) -> int:
    """Run `main`; print a user's mistake as one line and return its exit code (2, or 3 where something is missing).

    Ctrl-C prints what the KeyboardInterrupt says, where it says something.
    """
    try:
        return main()
    except BasaltError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print(interrupt if interrupt.args else "interrupted; nothing was left half-written.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); that is no error of ours.
        sys.stderr.close()
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"error: {place}{error.strerror or error}; check the path, its permissions and free space.", file=sys.stderr
        )
        return BasaltError.exit_code


def require_torch(purpose: str) -> None:
    """Raise NotInstalledError naming the extra when torch is missing; `purpose` says what needs it."""
    if importlib.util.find_spec("torch") is None:
        raise NotInstalledError(
            f"{purpose} needs torch, which is not installed for this Python {platform.python_version()}; install it with "
            "pip install -e '.[train]'. Running a finished .net file needs no torch."
        )


def provenance() -> dict[str, str]:
    """Command line and versions, to be stored in every artefact: {'command': ..., 'python': ..., 'numpy': ..., ...}."""
    found = {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns: the first left, the others right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())
