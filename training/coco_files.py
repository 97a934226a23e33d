"""Truth and detections as COCO JSON, the form that every detection tool opens, and event frames for pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netx_export.files import replace_file
from training.config import DetectorTask
from training.detection import CLASS_NAMES, Detections
from training.sources import EvaluationSet
from training.windows import Window


def write_coco(folder: Path, windows: Sequence[Window], detections: Sequence[Detections], *, labelled: bool) -> None:
    """Write `detections.json` (COCO results) and, for labelled windows, `truth.json` (COCO annotations).

    Image ids count from 1 in the order of the windows; an image is named `<recording>@<end of window in us>`. Boxes are
    x, y, w, h in sensor pixels, category ids are class + 1.
    """
    results = [
        {"image_id": image, "category_id": int(class_id) + 1, "bbox": _rounded(box), "score": round(float(score), 6)}
        for image, found in enumerate(detections, start=1)
        for box, class_id, score in zip(found.boxes, found.class_ids, found.scores, strict=True)
    ]
    _write(folder / "detections.json", results)
    if not labelled:
        return
    annotations: list[dict[str, Any]] = []
    for image, window in enumerate(windows, start=1):
        for box in window.boxes:
            x, y, w, h = (float(box[name]) for name in ("x", "y", "w", "h"))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(box["class_id"]) + 1,
                    "bbox": _rounded((x, y, w, h)),
                    "area": round(w * h, 3),
                    "iscrowd": 0,
                }
            )
    _write(
        folder / "truth.json",
        {
            "info": {},
            "images": [
                {"id": image, "file_name": f"{window.name}@{window.t_end_us}"}
                for image, window in enumerate(windows, start=1)
            ],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES, start=1)],
        },
    )


def _rounded(box: Any) -> list[float]:
    return [round(float(value), 3) for value in box]


def _write(path: Path, content: Any) -> None:
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n")


def write_frames(path: Path, data: EvaluationSet, task: DetectorTask, *, count: int = 6) -> None:
    """Keep the event bins of a few windows for pictures: `images` (n,), `cubes` (n,T,C,H,W) without padding, `scale`.

    From every recording in turn the window with most boxes, so that the pictures show different scenes.
    """
    by_recording: dict[str, list[int]] = {}
    for number in sorted(range(len(data.windows)), key=lambda number: -data.windows[number].boxes.size):
        by_recording.setdefault(data.windows[number].name, []).append(number)
    ranked = sorted((rank, number) for numbers in by_recording.values() for rank, number in enumerate(numbers))
    order = [number for _, number in ranked[:count]]
    height, width = (-(-side // task.scale) for side in task.sensor)
    with replace_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            images=np.array([number + 1 for number in order]),
            cubes=np.stack([data.windows[number].cube[..., :height, :width] for number in order]),
            scale=np.array(task.scale),
        )
