"""A float detector over windows: boxes, firing rate, figures, and the mode it is left in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.errors import ConfigError  # noqa: E402
from training.checkpoints import shipped  # noqa: E402
from training.checkpoints.files import load_model  # noqa: E402
from training.evaluation import detect, evaluate_model  # noqa: E402
from training.recordings import generate_recording, write_recording  # noqa: E402
from training.runs import run_evaluation  # noqa: E402
from training.scoring import decode_outputs  # noqa: E402
from training.sources import EvaluationSet, open_windows  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings")
    write_recording(path, "street", generate_recording(2_000_003, duration_s=1.1, annotation_hz=4.0))
    return path


@pytest.fixture(scope="module")
def data(folder: Path) -> EvaluationSet:
    module_info = load_model(shipped("tiny"))[1]
    return open_windows(folder, module_info.task, limit=10)


def test_batches_do_not_change_what_is_found(data: EvaluationSet) -> None:
    module, info = load_model(shipped("tiny"))
    module.train()
    together = detect(module, info.task, data.windows, batch=8)
    alone = detect(module, info.task, data.windows, batch=1)
    assert module.training
    assert len(together) == len(alone) == len(data.windows) >= 3
    module.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(data.windows[0].cube[:, None]).float())
    (plain,) = decode_outputs({name: value.numpy() for name, value in outputs.items()}, info.task)
    for first, second in ((together[0], alone[0]), (alone[0], plain)):
        strong = first.above(0.3), second.above(0.3)
        np.testing.assert_allclose(strong[0].boxes, strong[1].boxes, atol=1e-2)


def test_scores_of_a_folder(folder: Path, data: EvaluationSet) -> None:
    info, evaluation = run_evaluation(shipped("tiny"), data=folder)
    assert evaluation.scores.images == len(data.windows)
    assert 0.01 < evaluation.firing_rate < 0.3
    assert set(evaluation.summary()) >= {"ap50", "ap", "ap50_car", "ap50_pedestrian", "firing_rate", "windows"}
    assert "AP50 pedestrian" in evaluation.table()
    assert info.preset == "tiny"


def test_firing_is_spikes_per_neuron_and_step(data: EvaluationSet) -> None:
    module, info = load_model(shipped("tiny"))
    spikes, chances = 0.0, 0

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal spikes, chances
        spikes, chances = spikes + float(output.sum()), chances + output.numel()

    handle = module.encoder.stage1.spike1.register_forward_hook(count)
    rate = evaluate_model(module, info.task, data).firing_rate
    handle.remove()
    assert 0 < spikes < chances
    assert not any(layer._forward_hooks for layer in module.modules())
    assert 0.0 < rate < 1.0


def test_a_single_file_is_not_scored(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"street_td\.dat: is no folder; give a folder of \*_td\.dat recordings"):
        run_evaluation(shipped("tiny"), data=folder / "street_td.dat")
