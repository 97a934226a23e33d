"""`train.py slayer`: train, score, export and compare both SLAYER networks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from netx_export.errors import ConfigError
from netx_export.files import folder_obstacle
from netx_export.graph import Graph
from training.detection import Detections
from training.scoring import decode_outputs, score_windows
from training.slayer.checkpoint import NETWORKS, TASKS, SlayerInfo, SlayerSettings, save_slayer
from training.slayer.networks import EventClassifier, NeuronSettings, slayer_library
from training.slayer.recordings import CLASSES, Crops, stored_crops, window_crops
from training.slayer.stages import run_quantised
from training.slayer.training import Trained, classifier_loss, detector_loss, train_slayer
from training.sources import EvaluationSet, open_windows
from training.window_store import WindowStore, generated_windows

Values = Mapping[str, npt.NDArray[Any]]

PRESETS = {
    "tiny": {
        "detector": SlayerSettings(updates=1500, batch=4, windows=1200),
        "classifier": SlayerSettings(updates=300, batch=32, windows=800),
    },
    "smoke": {
        "detector": SlayerSettings(updates=3, batch=2, windows=8),
        "classifier": SlayerSettings(updates=4, batch=8, windows=16),
    },
}
"""Settings by name; `smoke` shows that everything works and learns nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlayerRequest:
    """What was asked for on the command line."""

    network: str
    preset: str = "tiny"
    updates: int | None = None
    seed: int = 0
    out: Path = Path("runs/slayer")
    threads: int = 2
    windows: int = 150

    def info(self) -> SlayerInfo:
        """Task, neurons and settings; raises ConfigError for names that do not exist."""
        if self.network not in NETWORKS:
            raise ConfigError(f"slayer network {self.network!r} does not exist; choose {', '.join(NETWORKS)}")
        if self.preset not in PRESETS:
            raise ConfigError(f"slayer preset {self.preset!r} does not exist; choose {', '.join(PRESETS)}")
        if self.windows < 1:
            raise ConfigError(f"windows = {self.windows}; score on at least 1 window")
        settings = PRESETS[self.preset][self.network]
        if self.updates is not None:
            settings = dataclasses.replace(settings, updates=self.updates)
        words = f"python train.py slayer --network {self.network} --preset {self.preset} --seed {self.seed}"
        return SlayerInfo(
            network=self.network,
            task=TASKS[self.network],
            neurons=NeuronSettings(),
            settings=dataclasses.replace(settings, seed=self.seed),
            command=words + (f" --updates {self.updates}" if self.updates is not None else ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlayerResult:
    """A written checkpoint, what it scored, and the seconds that training took."""

    checkpoint: Path
    info: SlayerInfo
    training_s: float


def run_slayer_training(request: SlayerRequest, *, progress: bool = False) -> SlayerResult:
    """Train one network on generated recordings, score it on unseen ones, write `<out>/<network>.safetensors`."""
    info = request.info()
    slayer_library()
    obstacle = folder_obstacle(request.out)
    if obstacle is not None:
        raise ConfigError(f"{request.out}: cannot hold results, {obstacle}; choose another folder")
    torch.set_num_threads(request.threads)
    store = generated_windows(
        info.task, count=info.settings.windows, first_seed=0, threads=request.threads, progress=progress
    )
    begin = time.perf_counter()
    trained = _train(info, store, progress=progress)
    seconds = time.perf_counter() - begin
    unseen = open_windows(None, info.task, limit=request.windows, progress=progress)
    samples = evaluation_samples(info, unseen)
    scores = score_values(info, samples, run_quantised(trained.module, samples.cubes, info))
    info = dataclasses.replace(info, scores=scores)
    path = request.out / f"{info.network}.safetensors"
    request.out.mkdir(parents=True, exist_ok=True)
    save_slayer(path, trained.module, info)
    return SlayerResult(checkpoint=path, info=info, training_s=seconds)


def _train(info: SlayerInfo, store: WindowStore, *, progress: bool) -> Trained:
    if info.network == "detector":
        return train_slayer(info, detector_loss(store, info), len(store), progress=progress)
    crops = stored_crops(store, seed=info.settings.seed)
    return train_slayer(info, classifier_loss(crops, info), len(crops), progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What a network is scored on: inputs (T,B,C,H,W), and the windows or the crops' classes behind them."""

    cubes: npt.NDArray[np.uint8]
    windows: EvaluationSet | None = None
    crops: Crops | None = None


def evaluation_samples(info: SlayerInfo, unseen: EvaluationSet) -> Samples:
    """Whole windows for the detector, crops of them for the classifier."""
    if info.network == "detector":
        return Samples(cubes=unseen.cubes(), windows=unseen)
    crops = window_crops(unseen.windows, seed=1)
    return Samples(cubes=crops.cubes, crops=crops)


def score_values(info: SlayerInfo, samples: Samples, values: Values) -> dict[str, float]:
    """AP50 of readouts in real units, or the share of crops told right by output spikes; arrays (T,B,C,H,W)."""
    if samples.windows is not None:
        found: list[Detections] = decode_outputs(values, info.task)
        scores = score_windows(samples.windows, found)
        return {"ap50": scores.ap50, **{f"ap50_{name}": value for name, value in scores.ap50_per_class.items()}}
    if samples.crops is None:
        raise ConfigError("there is nothing to score; give windows or crops")
    spikes = np.asarray(values["blocks.5"]).sum(axis=(0, 3, 4))
    votes = spikes.reshape(len(spikes), -1, EventClassifier.VOTERS).sum(-1).argmax(axis=1)
    right = votes == samples.crops.labels
    return {
        "accuracy": float(right.mean()),
        **{
            f"accuracy_{name}": float(right[samples.crops.labels == k].mean())
            for k, name in enumerate(CLASSES)
            if (samples.crops.labels == k).any()
        },
    }


def trace_values(graph: Graph, aligned: Values, units: Mapping[str, float]) -> dict[str, npt.NDArray[Any]]:
    """Outputs of a backend in the units that `score_values` takes."""
    return {name: aligned[name] * units.get(name, 1.0) for name in (p.id for p in graph.outputs)}
