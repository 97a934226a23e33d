"""Truth and detections as COCO JSON, the form that every detection tool opens, and event frames for pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from netx_export.files import replace_file
from training.config import DetectorTask
from training.detection import CLASS_NAMES, Detections
from training.sources import EvaluationSet
from training.windows import Window

Array = npt.NDArray[Any]


def write_coco(folder: Path, windows: Sequence[Window], detections: Sequence[Detections], *, labelled: bool) -> None:
    """Write `detections.json` (COCO results) and, for labelled windows, `truth.json` (COCO annotations).

    Image ids count from 1 in the order of the windows; an image is named `<recording>@<end of window in us>`. Boxes are
    x, y, w, h in sensor pixels, category ids are class + 1.
    """
    results = [entry for image, found in enumerate(detections, start=1) for entry in coco_results(image, found)]
    _write(folder / "detections.json", results)
    if labelled:
        write_truth(folder, windows)


def coco_results(image: int, found: Detections) -> list[dict[str, Any]]:
    """The detections of one image as COCO results."""
    return [
        {"image_id": image, "category_id": int(class_id) + 1, "bbox": _rounded(box), "score": round(float(score), 6)}
        for box, class_id, score in zip(found.boxes, found.class_ids, found.scores, strict=True)
    ]


class _Truth(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def t_end_us(self) -> int: ...

    @property
    def boxes(self) -> Array: ...


def write_truth(folder: Path, windows: Sequence[_Truth]) -> None:
    """Write `truth.json`: the images, and the boxes in them, as COCO annotations."""
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


class FrameChoice:
    """Which windows become pictures: from every recording in turn the window with most boxes.

    Windows are added one by one in order; only candidates are kept.
    """

    def __init__(self, count: int = 6) -> None:
        self._count, self._windows = count, 0
        self._best: dict[str, list[tuple[int, int]]] = {}

    def add(self, recording: str, boxes: int) -> None:
        """The next window, of this recording and with so many boxes."""
        if recording in self._best or len(self._best) < self._count:
            best = sorted([*self._best.get(recording, []), (-boxes, self._windows)])
            self._best[recording] = best[: self._count]
        self._windows += 1

    def chosen(self) -> list[int]:
        """Numbers of the chosen windows, from 0: first the best of every recording, then the second ones, and so on."""
        ranked = sorted((rank, number) for best in self._best.values() for rank, (_, number) in enumerate(best))
        return [number for _, number in ranked[: self._count]]


def write_frames(path: Path, data: EvaluationSet, task: DetectorTask, *, count: int = 6) -> None:
    """`save_frames` of the windows that FrameChoice takes, so that the pictures show different scenes."""
    choice = FrameChoice(count)
    for window in data.windows:
        choice.add(window.name, int(window.boxes.size))
    order = choice.chosen()
    save_frames(path, order, [data.windows[number].cube for number in order], task)


def save_frames(path: Path, numbers: Sequence[int], cubes: Sequence[Array], task: DetectorTask) -> None:
    """Keep event bins (T,C,H,W) for pictures: `images` (n,), `cubes` (n,T,C,H,W) without padding, `scale`.

    `numbers` count windows from 0, images from 1.
    """
    height, width = (-(-side // task.scale) for side in task.sensor)
    with replace_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            images=np.array([number + 1 for number in numbers]),
            cubes=np.stack([cube[..., :height, :width] for cube in cubes]),
            scale=np.array(task.scale),
        )
