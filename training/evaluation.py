"""The float network over labelled windows: detections and COCO scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.config import DetectorTask
from training.detection import Detections, DetectionScores
from training.layers import channels_last
from training.neurons import Plif
from training.scoring import decode_outputs, score_windows
from training.sources import EvaluationSet
from training.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Detections per window, their scores, and how often neurons fired (spikes per neuron and step, 0..1)."""

    detections: tuple[Detections, ...]
    scores: DetectionScores
    firing_rate: float

    def summary(self) -> dict[str, float]:
        """The figures that a checkpoint keeps."""
        return {
            "ap50": self.scores.ap50,
            "ap": self.scores.ap,
            "ap75": self.scores.ap75,
            **{f"ap50_{name}": value for name, value in self.scores.ap50_per_class.items()},
            "firing_rate": self.firing_rate,
            "windows": float(self.scores.images),
        }

    def table(self) -> str:
        """The figures for a terminal, one per line."""
        per_class = "".join(f"\nAP50 {name:<12}{value:.3f}" for name, value in self.scores.ap50_per_class.items())
        return (
            f"AP50             {self.scores.ap50:.3f}   ({self.scores.images} windows){per_class}\n"
            f"AP 0.50..0.95    {self.scores.ap:.3f}\n"
            f"firing           {100.0 * self.firing_rate:.1f} % of neurons per step"
        )


def evaluate_model(
    module: nn.Module, task: DetectorTask, data: EvaluationSet, *, batch: int = 8, progress: bool = False
) -> Evaluation:
    """Run a float detector over labelled windows and score it; the module's mode is left as it was."""
    meter = _FiringMeter(module)
    try:
        detections = detect(module, task, data.windows, batch=batch, progress=progress)
    finally:
        meter.remove()
    return Evaluation(detections=tuple(detections), scores=score_windows(data, detections), firing_rate=meter.rate)


def detect(
    module: nn.Module, task: DetectorTask, windows: Sequence[Window], *, batch: int = 8, progress: bool = False
) -> list[Detections]:
    """Boxes in every window by a float detector in evaluation mode; its mode is left as it was."""
    was_training = module.training
    module.eval()
    detections: list[Detections] = []
    try:
        with torch.no_grad():
            for start in tqdm(range(0, len(windows), batch), desc="evaluation", unit="batch", disable=not progress):
                cubes = np.stack([window.cube for window in windows[start : start + batch]], axis=1)
                outputs = module(channels_last(torch.from_numpy(cubes).to(torch.float32)))
                detections += decode_outputs({name: value.numpy() for name, value in outputs.items()}, task)
    finally:
        module.train(was_training)
    return detections


class _FiringMeter:
    """Counts the spikes of every PLIF while it is attached."""

    def __init__(self, module: nn.Module) -> None:
        self._spikes, self._chances = 0.0, 0
        self._handles = [
            layer.register_forward_hook(self._count) for layer in module.modules() if isinstance(layer, Plif)
        ]

    def _count(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], spikes: torch.Tensor) -> None:
        self._spikes += float(spikes.sum(dtype=torch.float64))
        self._chances += spikes.numel()

    @property
    def rate(self) -> float:
        return self._spikes / self._chances if self._chances else 0.0

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
