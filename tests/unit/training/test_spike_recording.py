"""Recording a module's spikes by path."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.errors import ExportError  # noqa: E402  # torch may be missing
from training.checkpoints import shipped  # noqa: E402
from training.checkpoints.files import load_model  # noqa: E402
from training.neurons import Plif  # noqa: E402
from training.spike_recording import record_spikes  # noqa: E402


def test_spikes_are_those_the_module_emits() -> None:
    module, _ = load_model(shipped("tiny"))
    paths = [name for name, part in module.named_modules() if isinstance(part, Plif)]
    cubes = (np.random.default_rng(0).random((5, 1, 4, 128, 160)) < 0.05).astype(np.uint8)
    recorded, outputs = record_spikes(module, cubes, paths)
    assert {name: value.shape for name, value in outputs.items()} == dict.fromkeys(
        ("heatmap", "offset", "size"), (5, 1, 2, 32, 40)
    )
    assert set(recorded) == set(paths)
    assert all(spikes.shape[:2] == (5, 1) and spikes.dtype == np.uint8 for spikes in recorded.values())
    assert sum(int(spikes.sum()) for spikes in recorded.values()) > 0


def test_only_submodules_that_spike_are_recorded() -> None:
    layer = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    with pytest.raises(ExportError, match="'missing' does not exist in Sequential"):
        record_spikes(layer, np.ones((1, 1, 2, 2), np.uint8), ["missing"])
    with pytest.raises(ExportError, match="'0' emits values other than 0 and 1"):
        record_spikes(layer, np.ones((1, 1, 2, 2), np.uint8), ["0"])
