"""Finding lava-nc, and saying what is missing where it cannot be used."""

from __future__ import annotations

import multiprocessing
import sys
from importlib import import_module
from importlib.util import find_spec

from netx_export.errors import BackendUnavailableError

LAVA_PYTHON = (3, 10)
"""The only Python that the last lava-nc, 0.10.0, supports."""


def import_lava(backend: str) -> None:
    """Import lava-nc's core; BackendUnavailableError says which Python and extra `backend` needs."""
    found = ".".join(str(part) for part in sys.version_info[:2])
    needed = ".".join(str(part) for part in LAVA_PYTHON)
    remedy = f"use Python {needed} and install the extra: pip install -e .[lava]"
    if sys.version_info[:2] != LAVA_PYTHON:
        raise BackendUnavailableError(
            f"Backend {backend!r} needs lava-nc, which runs on Python {needed} only, this is Python {found}; {remedy}. "
            "The fast backend needs neither."
        )
    if find_spec("lava") is None or find_spec("lava.magma") is None:
        raise BackendUnavailableError(
            f"Backend {backend!r} needs lava-nc, which is not installed here (Python {found}); {remedy}. "
            "The fast backend needs neither."
        )
    if "lava.magma.runtime.message_infrastructure.multiprocessing" not in sys.modules:
        # Lava sets the start method while it is imported, which fails when somebody has used multiprocessing before.
        multiprocessing.set_start_method(None, force=True)
    import_module("lava.magma.core.process.process")
