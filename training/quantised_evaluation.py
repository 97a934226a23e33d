"""The quantised twin over labelled windows, and the float network beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from netx_export.graph import Graph, Readout
from training.checkpoints.files import load_model
from training.config import DetectorTask
from training.detection import Detections, DetectionScores
from training.evaluation import evaluate_model
from training.quantised_twin import QuantisedTwin
from training.scoring import decode_outputs, score_windows
from training.sources import EvaluationSet
from training.windows import Window


def detect_quantised(
    graph: Graph, task: DetectorTask, windows: Sequence[Window], *, batch: int = 8, progress: bool = False
) -> list[Detections]:
    """Boxes in every window by the quantised twin of `graph`, in training's timing."""
    twin = QuantisedTwin(graph)
    units = {p.id: p.neuron.unit for p in graph.outputs if isinstance(p.neuron, Readout)}
    detections: list[Detections] = []
    for start in tqdm(range(0, len(windows), batch), desc="quantised", unit="batch", disable=not progress, leave=False):
        cubes = np.stack([window.cube for window in windows[start : start + batch]], axis=1)
        sent = twin(torch.from_numpy(cubes))
        detections += decode_outputs({name: sent[name].numpy() * unit for name, unit in units.items()}, task)
    return detections


def score_training_forms(
    checkpoint: Path, graph: Graph, data: EvaluationSet, *, progress: bool = False
) -> dict[str, DetectionScores]:
    """Scores of the float network and of its quantised twin on the same labelled windows: {'float', 'quantised'}."""
    module, info = load_model(checkpoint)
    return {
        "float": evaluate_model(module, info.task, data, progress=progress).scores,
        "quantised": score_windows(data, detect_quantised(graph, info.task, data.windows, progress=progress)),
    }
