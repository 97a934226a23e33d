"""SLAYER networks trained here: inputs with silence, crops, checkpoints, and a compiled loop equal to lava-dl's."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lava.lib.dl.slayer", reason="needs lava-dl (Python 3.10)")

from netx_export.errors import CheckpointError, ConfigError, NotInstalledError  # noqa: E402
from netx_export.slayer.states import reset_states  # noqa: E402
from training.checkpoints import shipped  # noqa: E402
from training.checkpoints.files import read_tensors, write_tensors  # noqa: E402
from training.checkpoints.info import SLAYER_FORMAT  # noqa: E402
from training.event_files import BOX_DTYPE  # noqa: E402
from training.slayer.checkpoint import (  # noqa: E402
    TASKS,
    SlayerInfo,
    SlayerSettings,
    load_slayer,
    read_slayer_info,
    save_slayer,
)
from training.slayer.integrator import compiled_integrator  # noqa: E402
from training.slayer.networks import EventClassifier, NeuronSettings, SlayerDetector, shaped  # noqa: E402
from training.slayer.recordings import CLASSES, CROP, crops_of, hardware_input, with_silence  # noqa: E402
from training.slayer.runs import SlayerRequest, score_values  # noqa: E402
from training.slayer.training import classifier_loss, train_slayer  # noqa: E402

RNG = np.random.default_rng(0)


def info_of(network: str, **settings: Any) -> SlayerInfo:
    return SlayerInfo(
        network=network,
        task=TASKS[network],
        neurons=NeuronSettings(),
        settings=SlayerSettings(**settings),
        command="python train.py slayer",
        scores={"accuracy": 0.5},
    )


def crops(count: int = 6) -> Any:
    """Generated crops of every class."""
    windows = []
    for number in range(count):
        cube = (RNG.random((10, 2, 64, 80)) < 0.1).astype(np.uint8)
        boxes = np.zeros(1, BOX_DTYPE)
        boxes["x"], boxes["y"], boxes["w"], boxes["h"], boxes["class_id"] = 20, 20, 60, 50, number % 2
        windows.append((cube, boxes))
    return crops_of(windows, seed=0)


def test_windows_lie_between_silence() -> None:
    cubes = (RNG.random((5, 3, 4, 6, 8)) < 0.5).astype(np.uint8)
    slayer, hardware = with_silence(cubes, after=7), hardware_input(cubes, after=7)
    assert tuple(slayer.shape) == (3, 4, 6, 8, 13)
    assert hardware.shape == (12, 3, 4, 6, 8)
    # SLAYER's step t + 1 is hardware's step t.
    np.testing.assert_array_equal(np.moveaxis(slayer.numpy(), -1, 0)[1:], hardware)
    assert not slayer[..., 0].any()
    assert not slayer[..., 6:].any()
    assert hardware_input(cubes, after=0) is cubes


def test_crops_show_their_objects_and_the_background_none() -> None:
    cube = np.zeros((10, 2, 64, 80), np.uint8)
    boxes = np.zeros(2, BOX_DTYPE)
    boxes["x"], boxes["y"], boxes["w"], boxes["h"], boxes["class_id"] = [40, 0], [80, 200], [40, 24], [32, 56], [0, 1]
    for box in boxes:
        cube[
            :,
            :,
            int(box["y"] // 4) : int((box["y"] + box["h"]) // 4),
            int(box["x"] // 4) : int((box["x"] + box["w"]) // 4),
        ] = 1
    found = crops_of([(cube, boxes)], seed=3)
    assert found.cubes.shape == (10, 3, 2, CROP, CROP)
    assert [CLASSES[label] for label in found.labels] == ["car", "pedestrian", "background"]
    assert [int(found.cubes[0, n, 0].sum()) for n in range(3)] == [10 * 8, 6 * 14, 0]
    # The first object lies in the middle, the second at the edge of the grid.
    assert found.cubes[0, 0, 0, 12, 12] == 1
    assert found.cubes[0, 1, 0, -1, 0] == 1
    full = boxes[:1].copy()
    full["x"], full["y"], full["w"], full["h"] = 0, 0, 304, 240
    assert [CLASSES[label] for label in crops_of([(cube, full)], seed=3).labels] == ["car"]


@pytest.mark.parametrize("network", ["detector", "classifier"])
def test_the_compiled_integrator_gives_the_numbers_of_lava_dl(network: str) -> None:
    """Outputs, gradients and running means to the bit, in training mode."""
    info = info_of(network)
    kind = SlayerDetector if network == "detector" else EventClassifier
    torch.manual_seed(0)
    module = shaped(kind(channels=info.task.channels), info.example).train()
    weights = {name: value.clone() for name, value in module.state_dict().items() if "state" not in name}
    x = (torch.rand(2, *info.example.shape[1:]) < 0.2).float()
    records = []
    for compiled in (False, True):
        module.load_state_dict(weights, strict=False)
        reset_states(module)
        for part in module.modules():
            if hasattr(part, "spike_state"):
                part.spike_state = torch.zeros(1)
        module.zero_grad()
        with compiled_integrator() if compiled else contextlib.nullcontext():
            returned = module(x)
        outputs = returned if isinstance(returned, dict) else {"spikes": returned}
        sum(value.square().mean() for value in outputs.values()).backward()
        gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        means = {name: value.clone() for name, value in module.state_dict().items() if "running_mean" in name}
        records.append({**{n: v.detach() for n, v in outputs.items()}, **gradients, **means})
    assert records[0].keys() == records[1].keys()
    assert all(torch.equal(records[0][name], records[1][name]) for name in records[0])
    first = records[0]["stem.synapse.weight" if network == "detector" else "blocks.0.synapse.weight"]
    assert float(first.abs().max()) > 1e-4, "the gradient reaches the first block"


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    samples = crops()

    def trained(seed: int) -> Any:
        info = info_of("classifier", updates=2, batch=4, seed=seed)
        return train_slayer(info, classifier_loss(samples, info), len(samples))

    one, two, other = trained(1), trained(1), trained(2)
    assert not one.module.training
    np.testing.assert_array_equal(one.losses, two.losses)
    a, b, c = (found.module.state_dict() for found in (one, two, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["blocks.0.synapse.weight"], c["blocks.0.synapse.weight"])


def test_training_that_diverges_says_so() -> None:
    info = info_of("classifier", updates=1, batch=2)
    with pytest.raises(ConfigError, match="training diverged at update 1: gradient norm nan; choose a smaller"):
        train_slayer(info, lambda module, *_: module.blocks[0].synapse.weight.sum() * float("nan"), 4)


@pytest.mark.parametrize("network", ["detector", "classifier"])
def test_a_checkpoint_comes_back_whole(network: str, tmp_path: Path) -> None:
    info = info_of(network)
    torch.manual_seed(5)
    module = info.build().eval()
    save_slayer(tmp_path / "a.safetensors", module, info)
    save_slayer(tmp_path / "b.safetensors", module, info)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    generator = torch.get_rng_state()
    loaded, said = load_slayer(tmp_path / "a.safetensors")
    assert said == info
    assert torch.equal(torch.get_rng_state(), generator), "loading draws no numbers"
    x = (torch.rand(1, *info.example.shape[1:]) < 0.2).float()
    with torch.no_grad():
        mine, theirs = module(x), loaded(x)
    if not isinstance(mine, dict):
        mine, theirs = {"": mine}, {"": theirs}
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_checkpoints_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    info = info_of("classifier")
    save_slayer(path, info.build(), info)
    tensors, values = read_tensors(path, SLAYER_FORMAT), info.to_json()

    def written(**changed: Any) -> Path:
        write_tensors(path, tensors, SLAYER_FORMAT, {**values, **changed})
        return path

    with pytest.raises(
        CheckpointError, match=r"holds a network 'transformer'; this version knows detector, classifier"
    ):
        read_slayer_info(written(network="transformer"))
    with pytest.raises(CheckpointError, match=r"slayer updates is 0, it must be at least 1"):
        read_slayer_info(written(settings={**values["settings"], "updates": 0}))
    with pytest.raises(CheckpointError, match=r"unknown entries \['shape'\].*write the checkpoint again"):
        read_slayer_info(written(neurons={**values["neurons"], "shape": 3}))
    with pytest.raises(CheckpointError, match=r"lacks boxes.neuron.current_decay \(1,\); it belongs to another model"):
        load_slayer(written(network="detector", task=TASKS["detector"].to_json()))
    with pytest.raises(CheckpointError, match=r"kind 'basalt-checkpoint' where 'basalt-slayer-checkpoint' is needed"):
        read_slayer_info(shipped("tiny"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": "yolo"}, "slayer network 'yolo' does not exist; choose detector, classifier"),
        ({"preset": "huge"}, "slayer preset 'huge' does not exist; choose tiny, smoke"),
        ({"windows": 0}, "windows = 0; score on at least 1 window"),
        ({"updates": 0}, "slayer updates is 0, it must be at least 1"),
    ],
)
def test_requests_that_make_no_sense(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        SlayerRequest(**{"network": "detector", **changes}).info()


def test_shares_beyond_the_whole_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"slayer fixed_means is 1.5, the limit is 0..1"):
        dataclasses.replace(SlayerSettings(), fixed_means=1.5)


def test_votes_are_counted_by_class() -> None:
    samples = crops(2)
    from training.slayer.runs import Samples

    spikes = np.zeros((16, len(samples), 12, 1, 1), np.uint8)
    for number, label in enumerate(samples.labels):
        spikes[3:5, number, 4 * label] = 1
    spikes[0, 0] = 0
    scores = score_values(info_of("classifier"), Samples(cubes=samples.cubes, crops=samples), {"blocks.5": spikes})
    assert scores == {f"accuracy{name}": 1.0 for name in ("", "_car", "_pedestrian", "_background")}
    cars = dataclasses.replace(samples, cubes=samples.cubes[:, :1], labels=samples.labels[:1])
    only = score_values(info_of("classifier"), Samples(cubes=cars.cubes, crops=cars), {"blocks.5": spikes[:, :1]})
    assert only == {"accuracy": 1.0, "accuracy_car": 1.0}, "classes without crops have no accuracy"
    with pytest.raises(ConfigError, match="there is nothing to score"):
        score_values(info_of("classifier"), Samples(cubes=samples.cubes), {"blocks.5": spikes})


def test_without_lava_dl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "lava.lib.dl.slayer", None)
    with pytest.raises(NotInstalledError, match=r"SLAYER networks need lava-dl.*install Basalt with its slayer extra"):
        SlayerDetector()
