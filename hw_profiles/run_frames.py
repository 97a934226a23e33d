"""The pictures of a run folder: event frames with what was detected and what was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hw_profiles.frames import Box, Frame, picture_of_events
from netx_export.errors import ProfileError

FRAMES = "frames.npz"
_LEAST_SCORE = 0.3


def frames_of_run(folder: Path) -> tuple[Frame, ...]:
    """Frames kept in `frames.npz` of a run folder, with the boxes of `detections.json` and `truth.json`.

    Detections below a score of 0.3 are left out. An absent `frames.npz` means no pictures; ProfileError names a file
    that cannot be read.
    """
    if not (folder / FRAMES).is_file():
        return ()
    try:
        return _read_frames(folder)
    except (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile) as error:
        raise ProfileError(f"{folder}: its pictures cannot be read ({error!r}); run run_lava.py again.") from None


def _read_frames(folder: Path) -> tuple[Frame, ...]:
    # allow_pickle stays off: a run folder may come from anywhere.
    with np.load(folder / FRAMES) as kept:
        images, cubes, scale = kept["images"], kept["cubes"], int(kept["scale"])
    found = json.loads((folder / "detections.json").read_text())
    truth = folder / "truth.json"
    known = json.loads(truth.read_text()) if truth.is_file() else {"annotations": [], "categories": [], "images": []}
    names = {entry["id"]: entry["name"] for entry in known["categories"]}
    titles = {entry["id"]: entry["file_name"] for entry in known["images"]}
    frames = []
    for image, cube in zip(images.tolist(), cubes, strict=True):
        detections = [
            _box(entry, names, scale)
            for entry in found
            if entry["image_id"] == image and entry["score"] >= _LEAST_SCORE
        ]
        annotated = [_box(entry, names, scale) for entry in known["annotations"] if entry["image_id"] == image]
        frames.append(
            Frame(
                title=titles.get(image, f"window {image}"),
                picture=picture_of_events(cube),
                detections=tuple(detections),
                truth=tuple(annotated),
            )
        )
    return tuple(frames)


def _box(entry: dict[str, Any], names: dict[int, str], scale: int) -> Box:
    x, y, w, h = (value / scale for value in entry["bbox"])
    label = names.get(entry["category_id"], f"class {entry['category_id'] - 1}")
    return Box(x=x, y=y, w=w, h=h, label=label, score=entry.get("score"))
