"""Windows as SLAYER takes them: (B,C,H,W,T), a silent step first, silence until the last block has answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.config import DetectorTask
from training.slayer.networks import BEFORE
from training.window_store import WindowStore
from training.windows import Window, followed_by_silence

Array = npt.NDArray[Any]

DETECTOR_TASK = DetectorTask(scale=4, grid=(64, 80))
CLASSIFIER_TASK = DetectorTask(scale=4, grid=(64, 80), steps=10, step_us=10_000, micro_bins=1)

CROP = 24
"""Side of a crop in grid pixels."""

BACKGROUND = "background"
CLASSES = (*CLASSIFIER_TASK.classes, BACKGROUND)


def with_silence(cubes: npt.NDArray[np.uint8], *, after: int, before: int = BEFORE) -> Tensor:
    """Windows (T,B,C,H,W) as float (B,C,H,W,before+T+after)."""
    steps, batch = cubes.shape[:2]
    padded = torch.zeros(batch, *cubes.shape[2:], before + steps + after)
    padded[..., before : before + steps] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(cubes, 0, -1)))
    return padded


def hardware_input(cubes: npt.NDArray[np.uint8], *, after: int) -> npt.NDArray[np.uint8]:
    """Windows (T,B,C,H,W) followed by silence, (T+after,B,C,H,W): hardware runs the step before data by itself."""
    return followed_by_silence(cubes, after)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """Small windows (T,N,C,24,24) of 0/1 and what each shows: the index of its class in CLASSES, (N,)."""

    cubes: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def crops_of(windows: Sequence[tuple[npt.NDArray[np.uint8], Array]], *, seed: int) -> Crops:
    """One crop per object of (cube (T,C,H,W), boxes), and one of the background per window that has room for it."""
    rng = np.random.default_rng(seed)
    found: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    for cube, boxes in windows:
        height, width = cube.shape[-2:]
        # Boxes are in sensor pixels.
        scale = CLASSIFIER_TASK.scale
        for box in boxes:
            centre_y, centre_x = (box["y"] + box["h"] / 2) / scale, (box["x"] + box["w"] / 2) / scale
            top = int(np.clip(round(float(centre_y)) - CROP // 2, 0, height - CROP))
            left = int(np.clip(round(float(centre_x)) - CROP // 2, 0, width - CROP))
            found.append(cube[..., top : top + CROP, left : left + CROP])
            labels.append(int(box["class_id"]))
        place = _empty_place(boxes, scale, (height, width), rng)
        if place is not None:
            top, left = place
            found.append(cube[..., top : top + CROP, left : left + CROP])
            labels.append(len(CLASSES) - 1)
    return Crops(cubes=np.stack(found, axis=1), labels=np.array(labels, np.int64))


def _empty_place(boxes: Array, scale: int, grid: tuple[int, int], rng: np.random.Generator) -> tuple[int, int] | None:
    """(top, left) of a crop that touches no box, if one of 20 drawn places is free."""
    for _ in range(20):
        top, left = int(rng.integers(grid[0] - CROP + 1)), int(rng.integers(grid[1] - CROP + 1))
        if not any(
            box["x"] / scale < left + CROP
            and (box["x"] + box["w"]) / scale > left
            and box["y"] / scale < top + CROP
            and (box["y"] + box["h"]) / scale > top
            for box in boxes
        ):
            return top, left
    return None


def stored_crops(store: WindowStore, *, seed: int) -> Crops:
    """Crops of all windows of a store."""
    return crops_of([(store.batch([n])[:, 0], store.boxes[n]) for n in range(len(store))], seed=seed)


def window_crops(windows: Sequence[Window], *, seed: int) -> Crops:
    """Crops of evaluation windows."""
    return crops_of([(window.cube, window.boxes) for window in windows], seed=seed)
