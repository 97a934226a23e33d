"""What is known of a window after a run, as text between processes and as COCO files that grow window by window."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from netx_export.files import replace_file
from training.coco_files import FrameChoice, coco_results, write_truth
from training.detection import Detections, DetectionScores, evaluate
from training.event_files import BOX_DTYPE

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedWindow:
    """A window without its cube: its recording's name, its end in us, its boxes (BOX_DTYPE), and what was found."""

    name: str
    t_end_us: int
    boxes: Array
    detections: Detections


def results_text(windows: Sequence[JudgedWindow]) -> str:
    """Windows as JSON that `read_results` turns back into the same numbers."""
    return json.dumps(
        [
            {
                "name": window.name,
                "t_end_us": window.t_end_us,
                "boxes": window.boxes.tolist(),
                "found": window.detections.boxes.tolist(),
                "scores": window.detections.scores.tolist(),
                "class_ids": window.detections.class_ids.tolist(),
            }
            for window in windows
        ]
    )


def read_results(text: str) -> list[JudgedWindow]:
    """The inverse of `results_text`."""
    return [
        JudgedWindow(
            name=entry["name"],
            t_end_us=entry["t_end_us"],
            boxes=np.array([tuple(box) for box in entry["boxes"]], dtype=BOX_DTYPE),
            detections=Detections(
                boxes=np.array(entry["found"], np.float64).reshape(-1, 4),
                scores=np.array(entry["scores"], np.float64),
                class_ids=np.array(entry["class_ids"], np.int64),
            ),
        )
        for entry in json.loads(text)
    ]


class ResultFiles:
    """`detections.json`, and for labelled windows `truth.json`, written window by window.

    Detections go to the disk at once. Labelled windows also stay in memory: pycocotools scores all of them together.
    """

    def __init__(self, detections: TextIO, *, labelled: bool) -> None:
        self._stream, self._labelled, self._entries = detections, labelled, 0
        self._judged: list[JudgedWindow] = []
        self.frames = FrameChoice()
        self.windows = 0
        self.empty = 0
        self.confident = 0
        """Detections above a score of 0.3."""

    def add(self, window: JudgedWindow) -> None:
        """Write what was found in the next window."""
        self.frames.add(window.name, int(window.boxes.size))
        self.windows += 1
        self.empty += window.boxes.size == 0
        self.confident += len(window.detections.above(0.3))
        for entry in coco_results(self.windows, window.detections):
            self._stream.write(", " * (self._entries > 0) + json.dumps(entry))
            self._entries += 1
        if self._labelled:
            self._judged.append(window)

    def scores(self) -> DetectionScores:
        """COCO scores of labelled windows, empty ones included."""
        return evaluate(
            [window.boxes for window in self._judged],
            [window.detections for window in self._judged],
            times_us=[window.t_end_us for window in self._judged],
        )

    def complete(self, folder: Path) -> None:
        """Write the truth, which lists images before boxes and so needs all of them."""
        if self._labelled:
            write_truth(folder, self._judged)


@contextmanager
def result_files(folder: Path, *, labelled: bool) -> Iterator[ResultFiles]:
    """The result files of a run in `folder`; they get their names when the block ends without an error."""
    with replace_file(folder / "detections.json") as temporary, temporary.open("w") as stream:
        stream.write("[")
        files = ResultFiles(stream, labelled=labelled)
        yield files
        stream.write("]\n")
        files.complete(folder)
