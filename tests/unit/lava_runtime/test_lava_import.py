"""What a machine without Lava is told; these tests run with and without it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import lava_runtime
from lava_runtime.simulation import lava_import
from netx_export.errors import BackendUnavailableError
from netx_export.graph import Conv, Graph, Input, Kernel, Lif, Population, Projection

GRAPH = Graph(
    populations=(
        Population(id="in", shape=(1, 2, 2), neuron=Input()),
        Population(id="out", shape=(1, 2, 2), neuron=Lif(vth_mant=1)),
    ),
    projections=(
        Projection(src="in", dst="out", synapse=Conv(kernel=Kernel(mantissa=np.ones((1, 1, 1, 1), np.int16)))),
    ),
)
INPUT = np.ones((1, 1, 1, 2, 2), np.int32)


@pytest.mark.parametrize("backend", ["sim", "loihi2"])
def test_a_missing_lava_names_python_and_extra(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_import, "LAVA_PYTHON", sys.version_info[:2])
    monkeypatch.setattr(lava_import, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError, match=r"needs lava-nc, which is not installed here") as caught:
        lava_runtime.run(GRAPH, INPUT, backend=backend)
    assert caught.value.exit_code == 3
    assert r"pip install -e .[lava]" in str(caught.value)
    assert f"Backend {backend!r}" in str(caught.value)


@pytest.mark.parametrize("backend", ["sim", "loihi2"])
def test_another_python_is_told_which_one(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_import, "LAVA_PYTHON", (3, 9))
    with pytest.raises(
        BackendUnavailableError, match=r"runs on Python 3\.9 only, this is Python 3\.\d+; use Python 3\.9"
    ):
        lava_runtime.run(GRAPH, INPUT, backend=backend)


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
def test_lava_loads_after_multiprocessing_was_used() -> None:
    code = (
        "import multiprocessing as mp, lava_runtime.simulation.lava_import as found\n"
        "mp.Value('q', 0)\n"
        "assert mp.get_start_method() == 'fork'\n"
        "found.import_lava('sim')\n"
        "found.import_lava('sim')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
