"""Checkpoints of SLAYER networks: weights as safetensors, what they are beside them; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netx_export.errors import CheckpointError, ConfigError
from training.checkpoints.files import library_versions, load_weights, read_tensors, write_tensors
from training.checkpoints.info import SLAYER_FORMAT, read_metadata
from training.config import DetectorTask, from_json, to_json
from training.slayer.networks import BEFORE, EventClassifier, NeuronSettings, SlayerDetector, shaped
from training.slayer.recordings import CLASSIFIER_TASK, CROP, DETECTOR_TASK

NETWORKS: dict[str, type[SlayerDetector] | type[EventClassifier]] = {
    "detector": SlayerDetector,
    "classifier": EventClassifier,
}
TASKS = {"detector": DETECTOR_TASK, "classifier": CLASSIFIER_TASK}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlayerSettings:
    """How a SLAYER network is trained; the same settings give the same network on the same machine.

    In the last `fixed_means` of the updates norms subtract their running means, as the exported network will.
    """

    updates: int = 700
    batch: int = 4
    windows: int = 1200
    learning_rate: float = 5e-3
    clip_norm: float = 1.0
    fixed_means: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"slayer {name} is {getattr(self, name)}, it must be at least 1")
        if not 0.0 <= self.fixed_means <= 1.0:
            raise ConfigError(
                f"slayer fixed_means is {self.fixed_means}, the limit is 0..1; choose a share of the updates"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlayerInfo:
    """What a SLAYER checkpoint says about itself."""

    network: str
    task: DetectorTask
    neurons: NeuronSettings
    settings: SlayerSettings
    command: str
    scores: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=library_versions)

    @property
    def after(self) -> int:
        """Silent steps behind a window."""
        return NETWORKS[self.network].LATENCY

    @property
    def example(self) -> torch.Tensor:
        """A silent recording of the right shape, (1,C,H,W,T)."""
        grid = self.task.grid if self.network == "detector" else (CROP, CROP)
        return torch.zeros(1, self.task.channels, *grid, BEFORE + self.task.steps + self.after)

    def build(self) -> nn.Module:
        """The network with fresh weights, drawn from torch's global generator."""
        return shaped(NETWORKS[self.network](self.neurons, channels=self.task.channels), self.example)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that json can write."""
        return {
            "network": self.network,
            "task": self.task.to_json(),
            "neurons": to_json(self.neurons),
            "settings": to_json(self.settings),
            "command": self.command,
            "scores": dict(self.scores),
            "versions": dict(self.versions),
        }


def save_slayer(path: str | Path, module: nn.Module, info: SlayerInfo) -> None:
    """Write weights and `info` to `path` in one step."""
    write_tensors(path, module.state_dict(), SLAYER_FORMAT, info.to_json())


def read_slayer_info(path: str | Path) -> SlayerInfo:
    """What a SLAYER checkpoint says about itself; raises CheckpointError."""
    values = read_metadata(path, SLAYER_FORMAT)
    try:
        info = SlayerInfo(
            network=str(values["network"]),
            task=DetectorTask.from_json(values["task"]),
            neurons=from_json(NeuronSettings, values["neurons"], "neurons"),
            settings=from_json(SlayerSettings, values["settings"], "settings"),
            command=str(values["command"]),
            scores={str(k): float(v) for k, v in values["scores"].items()},
            versions={str(k): str(v) for k, v in values["versions"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: the configuration beside the weights is not usable ({type(error).__name__}: {error}); "
            "write the checkpoint again with this version"
        ) from error
    if info.network not in NETWORKS:
        raise CheckpointError(f"{path}: holds a network {info.network!r}; this version knows {', '.join(NETWORKS)}")
    return info


def load_slayer(path: str | Path) -> tuple[nn.Module, SlayerInfo]:
    """The network in evaluation mode, and what the file says about it; raises CheckpointError."""
    info = read_slayer_info(path)
    with torch.random.fork_rng(devices=[]):
        module = info.build()
    load_weights(module, read_tensors(path, SLAYER_FORMAT), str(path))
    return module.eval(), info
