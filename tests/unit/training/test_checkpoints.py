"""Checkpoints: what goes in comes out, and every damaged or foreign file is named with its remedy."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from netx_export.errors import CheckpointError  # noqa: E402
from training.checkpoints import shipped  # noqa: E402
from training.checkpoints.files import load_model, save_model  # noqa: E402
from training.checkpoints.info import CheckpointInfo, metadata_for, read_info  # noqa: E402
from training.config import TINY, CenterNetConfig, DetectorTask, TrainingConfig  # noqa: E402
from training.models.spiking_centernet import SpikingCenterNet  # noqa: E402

SMALL = CenterNetConfig(stem_channels=4, stem_kernel=3, stages=(4, 6), convolutions=1, head_channels=4)


def make_info() -> CheckpointInfo:
    return CheckpointInfo(
        preset="small",
        task=DetectorTask(),
        model=SMALL,
        training=TrainingConfig(seed=7),
        command="python train.py --preset small",
        updates=12,
        scores={"ap50": 0.5, "ap50_car": float("nan")},
        versions={"torch": "x"},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "small.safetensors", SpikingCenterNet(SMALL), make_info())
    return tmp_path / "small.safetensors"


def test_round_trip(written: Path) -> None:
    torch.manual_seed(0)
    original = SpikingCenterNet(SMALL)
    state = torch.get_rng_state()
    module, info = load_model(written)
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    for name, value in original.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
    assert info.seed == 7
    assert info.scores["ap50"] == 0.5
    assert info.scores["ap50_car"] != info.scores["ap50_car"]
    wanted = make_info()
    assert dataclasses.replace(info, scores={}) == dataclasses.replace(wanted, scores={})
    assert read_info(written).command == "python train.py --preset small"


def test_same_content_gives_same_bytes(written: Path, tmp_path: Path) -> None:
    module, info = load_model(written)
    save_model(tmp_path / "again.safetensors", module, info)
    assert (tmp_path / "again.safetensors").read_bytes() == written.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.safetensors", "small.safetensors"]


def test_shipped_checkpoint_says_where_it_comes_from() -> None:
    path = shipped("tiny")
    assert path.stat().st_size < 2_000_000
    module, info = load_model(path)
    assert info.task == TINY.task
    assert info.model == TINY.model
    assert info.training == TINY.training
    assert info.updates == TINY.training.updates
    assert info.command.startswith("python train.py --preset tiny")
    assert info.scores["ap50"] >= 0.65
    assert info.scores["ap50_pedestrian"] >= 0.35
    assert info.scores["windows"] >= 300
    assert set(module(torch.zeros(1, 1, 4, 32, 32))) == {"heatmap", "offset", "size"}
    with pytest.raises(CheckpointError, match=r"'huge' is not among those shipped \(tiny\); train it"):
        shipped("huge")


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    bait = tmp_path / "bait.safetensors"
    bait.write_bytes(pickle.dumps(Trap()))
    torch.save({"weights": torch.zeros(2)}, tmp_path / "torch.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    for name in ("bait", "torch"):
        with pytest.raises(CheckpointError, match="not a checkpoint of Basalt, or cut or corrupt"):
            load_model(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "sprung").exists()
    load_model(written)


@pytest.mark.parametrize("keep", [0, 5, 8, 300, -1, -1000])
def test_truncated(written: Path, keep: int) -> None:
    raw = written.read_bytes()
    written.write_bytes(raw[:keep])
    with pytest.raises(CheckpointError, match=r"small\.safetensors: .*(cut|corrupt).*; copy it again or train it"):
        load_model(written)


def test_no_such_file_and_other_kinds_of_file(tmp_path: Path, written: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: no such file; give the path of a checkpoint"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, str(foreign))
    with pytest.raises(CheckpointError, match="not a checkpoint of Basalt"):
        load_model(foreign)
    save_file({"weight": torch.zeros(3)}, str(foreign), metadata=metadata_for("basalt-resume", {}))
    with pytest.raises(CheckpointError, match="of kind 'basalt-resume' where 'basalt-checkpoint' is needed"):
        load_model(foreign)
    content = {"format": "basalt-checkpoint", "version": 9, "configuration": {}}
    save_file({"weight": torch.zeros(3)}, str(foreign), metadata={"basalt": json.dumps(content)})
    with pytest.raises(CheckpointError, match="version 9 of the format, this Basalt reads version 1"):
        load_model(foreign)


def test_header_that_claims_terabytes(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.safetensors"
    hostile.write_bytes(struct.pack("<Q", 1 << 50) + b"{}")
    with pytest.raises(CheckpointError, match="announce a header of 1125899906842624 bytes"):
        load_model(hostile)


def rewrite(path: Path, tensors: dict[str, torch.Tensor], values: dict[str, object] | None = None) -> None:
    save_file(tensors, str(path), metadata=metadata_for("basalt-checkpoint", values or make_info().to_json()))


def test_tensors_that_do_not_fit_are_named(written: Path) -> None:
    good = load_file(str(written))
    name = "encoder.stage1.conv1.weight"
    rewrite(written, {**good, name: torch.zeros(4, 4, 5, 5)})
    with pytest.raises(
        CheckpointError,
        match=r"small\.safetensors: encoder\.stage1\.conv1\.weight is \(4, 4, 5, 5\) torch\.float32, the model needs "
        r"\(4, 4, 3, 3\) torch\.float32; load it with the configuration",
    ):
        load_model(written)
    rewrite(written, {**good, name: good[name].half()})
    with pytest.raises(CheckpointError, match=r"is \(4, 4, 3, 3\) torch\.float16, the model needs"):
        load_model(written)
    rewrite(written, {key: value for key, value in good.items() if key != name})
    with pytest.raises(CheckpointError, match=r"lacks encoder\.stage1\.conv1\.weight \(4, 4, 3, 3\)"):
        load_model(written)
    rewrite(written, {**good, "encoder.stage9.conv1.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"holds encoder\.stage9\.conv1\.weight \(2,\), which the model has not"):
        load_model(written)
    rewrite(written, {**good, name: torch.full((4, 4, 3, 3), float("nan"))})
    with pytest.raises(CheckpointError, match=r"conv1\.weight \(4, 4, 3, 3\) holds values that are not finite"):
        load_model(written)


def test_configuration_that_cannot_be_used_is_named(written: Path) -> None:
    tensors, values = load_file(str(written)), make_info().to_json()
    rewrite(written, tensors, {**values, "model": {**values["model"], "stages": [4]}})
    with pytest.raises(CheckpointError, match=r"not usable \(model stages is \(4,\); give at least two"):
        load_model(written)
    rewrite(written, tensors, {name: value for name, value in values.items() if name != "command"})
    with pytest.raises(CheckpointError, match="the configuration lacks 'command'"):
        load_model(written)
    rewrite(written, tensors, {**values, "scores": 3})
    with pytest.raises(CheckpointError, match="the configuration beside the weights is not usable"):
        load_model(written)
    save_file(tensors, str(written), metadata=metadata_for("basalt-checkpoint", [1]))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="its configuration is a list, not an object"):
        load_model(written)
    save_file(tensors, str(written), metadata={"basalt": "{"})
    with pytest.raises(CheckpointError, match="not a checkpoint of Basalt, or cut or corrupt"):
        load_model(written)


def test_description_of_another_model_is_refused(tmp_path: Path) -> None:
    module = SpikingCenterNet(dataclasses.replace(SMALL, head_channels=5))
    with pytest.raises(CheckpointError, match="describe it as it is"):
        save_model(tmp_path / "x.safetensors", module, make_info())
    assert not list(tmp_path.iterdir())
