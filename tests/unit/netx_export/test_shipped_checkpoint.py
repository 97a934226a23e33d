"""The shipped detector, exported: every pass keeps its function, and its integers fire like it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.exporter import export, export_with_stages  # noqa: E402
from netx_export.float_run import float_run  # noqa: E402
from netx_export.graph import Conv, Lif, Or, Readout  # noqa: E402
from tests.unit.netx_export.integer_run import integer_run  # noqa: E402
from training.checkpoints.files import load_model  # noqa: E402
from training.config import FULL  # noqa: E402
from training.models.spiking_centernet import SpikingCenterNet  # noqa: E402
from training.sources import open_windows  # noqa: E402

CHECKPOINT = Path(__file__).resolve().parents[3] / "training" / "checkpoints" / "tiny.safetensors"


def test_the_tiny_checkpoint_exports_and_fires_like_the_float_network() -> None:
    module, info = load_model(CHECKPOINT)
    cubes = [window.cube for window in open_windows(None, info.task, limit=3).windows]
    cube = max(cubes, key=lambda frames: int(frames.sum()))[:, None].astype(np.float32)
    found = export_with_stages(module, torch.from_numpy(cube), check=True)
    graph = found.graph
    assert [p.id for p in graph.outputs] == ["heatmap", "offset", "size"]
    assert all(isinstance(p.synapse, Conv) for p in graph.projections)
    skips = {(p.src, p.dst): p.delay for p in graph.projections if p.delay}
    assert skips == {
        ("encoder.stage3.spike2", "decoder.block1.expand_spike"): 2,
        ("encoder.stage2.spike2", "decoder.block2.expand_spike"): 6,
        ("encoder.stage1.spike2", "decoder.block3.expand_spike"): 10,
    }
    assert all(p.neuron.vth_mant >= 64 for p in graph.populations if isinstance(p.neuron, Lif))
    expected, sent = float_run(found.folded, cube), integer_run(graph, cube)
    compared = 0
    for name, spikes in expected.spikes.items():
        rate = float(spikes.mean())
        compared += int(spikes.sum())
        assert spikes.any(), name
        assert abs(float(sent[name].mean()) - rate) < 0.02 + 0.1 * rate, name
        assert float((sent[name] == spikes).mean()) > 0.8, name
    assert compared > 10_000
    for name, values in expected.outputs.items():
        neuron = graph.by_id[name].neuron
        assert isinstance(neuron, Readout)
        real = (sent[name] * neuron.unit).mean(axis=0)
        assert float(np.corrcoef(real.ravel(), values.mean(axis=0).ravel())[0, 1]) > 0.8, name


def test_the_full_network_has_the_published_size() -> None:
    # Spiking CenterNet at 320x256: 26 PLIF layers with 8,966,080 neurons; depthwise + pointwise merged, 17.36 M weights.
    module = SpikingCenterNet(FULL.model).eval()
    graph = export(module, np.zeros((1, 1, 4, 256, 320), np.float32), steps=5)
    neurons = [population for population in graph.populations if isinstance(population.neuron, Lif)]
    assert len(neurons) == 26
    assert sum(population.size for population in neurons) == 8_966_080
    weights = sum(
        p.synapse.kernel.mantissa.size for p in graph.projections if not isinstance(graph.by_id[p.dst].neuron, Or)
    )
    assert weights == 17_364_128
