"""From the outputs of any backend to boxes and COCO scores, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from netx_export.errors import ConfigError
from netx_export.graph import Graph
from training.config import DetectorTask
from training.detection import Detections, DetectionScores, decode_centernet, evaluate
from training.sources import EvaluationSet

TASK_KEY = "task"
"""The entry of a network's `meta` that holds its DetectorTask as JSON."""

HEADS = ("heatmap", "offset", "size")


def task_of(meta: Mapping[str, str], name: str) -> DetectorTask:
    """The binning and decoding settings that travel with network `name`; ConfigError where it carries none."""
    if TASK_KEY not in meta:
        if meta.get("network") == "slayer classifier":
            raise ConfigError(
                f"{name}: tells what a crop of a window shows and finds no boxes; score it beside its checkpoint with "
                "export_netx.py runs/slayer/classifier.safetensors --verify 20, or run it with lava_runtime.run"
            )
        raise ConfigError(
            f"{name}: the file does not say how recordings are binned and boxes decoded (meta {TASK_KEY!r}); "
            "export the detector with export_netx.py, or run the network from Python with lava_runtime.run"
        )
    try:
        values = json.loads(meta[TASK_KEY])
    except ValueError as error:
        raise ConfigError(f"{name}: meta {TASK_KEY!r} is no JSON ({error}); export the network again") from None
    return DetectorTask.from_json(values)


def silence_after(graph: Graph, task: DetectorTask) -> int:
    """Silent steps behind each window: a network with the timing of its training says by its steps how late it answers."""
    return max(0, graph.steps - task.steps) if graph.timing == "as_given" else 0


def decode_outputs(values: Mapping[str, npt.NDArray[Any]], task: DetectorTask) -> list[Detections]:
    """Boxes of every window from the real-valued heads heatmap, offset and size, each (T,B,C,h,w).

    Raises ConfigError where the network has no such outputs.
    """
    missing = [head for head in HEADS if head not in values]
    if missing:
        raise ConfigError(
            f"output {missing[0]!r} is missing; boxes are decoded from {', '.join(HEADS)}, this network has "
            f"{', '.join(values) or 'no readout'}"
        )
    return decode_centernet(
        values["heatmap"],
        values["offset"],
        values["size"],
        cell_px=task.cell_px,
        box_scale=task.box_scale,
        sensor=task.sensor,
    )


def score_windows(data: EvaluationSet, detections: Sequence[Detections]) -> DetectionScores:
    """COCO scores of labelled windows, empty ones included."""
    return evaluate(
        [window.boxes for window in data.windows],
        detections,
        times_us=[window.t_end_us for window in data.windows],
    )
