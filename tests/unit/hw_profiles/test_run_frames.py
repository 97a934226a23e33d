"""The pictures of a run folder: boxes in pixels, and damaged files named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hw_profiles.run_frames import FRAMES, frames_of_run
from netx_export.errors import ProfileError

FOUND = [
    {"image_id": 7, "category_id": 1, "bbox": [4, 6, 8, 10], "score": 0.9},
    {"image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.1},
    {"image_id": 8, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.9},
]
TRUTH = {
    "images": [{"id": 7, "file_name": "drive, window 3"}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [{"image_id": 7, "category_id": 1, "bbox": [2, 2, 4, 4]}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / FRAMES, images=np.array([7]), cubes=np.ones((1, 4, 6, 9), np.uint8), scale=np.array(2))
    (tmp_path / "detections.json").write_text(json.dumps(FOUND))
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    return tmp_path


def test_boxes_are_in_pixels_of_the_picture(folder: Path) -> None:
    (frame,) = frames_of_run(folder)
    assert frame.title == "drive, window 3"
    assert frame.picture.shape == (6, 9, 3)
    assert [(b.x, b.y, b.w, b.h, b.label, b.score) for b in frame.detections] == [(2, 3, 4, 5, "car", 0.9)]
    assert [(b.x, b.y, b.w, b.h, b.label, b.score) for b in frame.truth] == [(1, 1, 2, 2, "car", None)]


def test_a_run_without_boxes_to_compare_with(folder: Path) -> None:
    (folder / "truth.json").unlink()
    (frame,) = frames_of_run(folder)
    assert (frame.title, frame.truth, frame.detections[0].label) == ("window 7", (), "class 0")
    (folder / FRAMES).unlink()
    assert frames_of_run(folder) == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (FRAMES, b""),
        (FRAMES, b"PK\x03\x04 cut short"),
        (FRAMES, b"no archive"),
        ("detections.json", b"[{}]"),
        ("detections.json", b"[1]"),
        ("detections.json", b'[{"image_id": 7, "category_id": 1, "score": 1, "bbox": 3}]'),
        ("truth.json", b"{}"),
        ("truth.json", b"[]"),
        ("truth.json", b"\xff"),
    ],
)
def test_damaged_files_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ProfileError, match=r": its pictures cannot be read \(.+\); run run_lava.py again"):
        frames_of_run(folder)
