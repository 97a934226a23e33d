"""lava-dl's own networks and recorded results, found in its wheel without importing it, and the tally of comparisons."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lava_runtime
from lava_runtime import Probes, Trace
from netx_export.graph import Graph

FOLDER = Path(sysconfig.get_paths()["purelib"]) / "tests/lava/lib/dl/netx"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "nets"


def lava_dl(name: str) -> Path:
    """A file from lava-dl's tests; the test is skipped where the wheel came without them."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"this installation has no lava-dl test data ({name})")
    return path


def truth(name: str) -> npt.NDArray[Any]:
    """A recorded array of `gts`, time first and (C,H,W) behind it; lava-dl records (W,H,C,T) or (N,T)."""
    recorded = np.moveaxis(np.load(lava_dl(f"gts/{name}.npy")), -1, 0)
    return recorded.transpose(0, 3, 2, 1) if recorded.ndim == 4 else recorded[:, :, None, None]


def public(name: str) -> Path:
    """A network from the collection of public files; the test is skipped where it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the collection of public networks is not here ({name})")
    return path


def run_alone(graph: Graph, x: npt.NDArray[Any], backend: str = "fast", *, states: bool = False) -> Trace:
    """One sample x (T,C,H,W) through a backend, everything recorded."""
    options = {"threads": 1} if backend == "fast" else {}
    probes = Probes(rasters="all", states="all" if states else ())
    return lava_runtime.run(graph, x[:, None], backend=backend, probes=probes, **options)


TALLIES: dict[str, Tally] = {}
"""What test modules compared, by what they say it was."""


@dataclass(slots=True)
class Tally:
    """What was compared in a test module; the run ends with a line about it."""

    files: int = 0
    layers: int = 0
    steps: int = 0
    spikes: int = 0
    values: int = 0
    mismatches: int = 0

    def same(self, found: npt.NDArray[Any], wanted: npt.NDArray[Any], what: str, *, spikes: bool = True) -> None:
        """Compare one layer's record (T,...) and count; the test fails at the first that differs."""
        assert found.shape == wanted.shape, what
        wrong = int((found != wanted).sum())
        self.layers += 1
        self.values += wanted.size
        fired = int(np.count_nonzero(wanted)) if spikes else 0
        self.spikes += fired
        self.mismatches += wrong
        print(f"{what}: {len(wanted)} steps, {fired} spikes, {wanted.size} values, {wrong} mismatches")
        assert wrong == 0, what

    def file(self, steps: int) -> None:
        """Count one file and the steps it ran."""
        self.files += 1
        self.steps += steps

    def __str__(self) -> str:
        return (
            f"{self.files} networks, {self.layers} layer records, {self.steps} steps, {self.spikes} spikes or messages, "
            f"{self.values} values, {self.mismatches} mismatches"
        )
