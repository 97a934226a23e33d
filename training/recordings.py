"""Deterministic recordings of traffic scenes, as an event camera of 304x240 pixels would give them, with boxes.

A recording is annotated on a fixed clock. `<name>_times.npy` keeps that clock beside the genuine GEN1 pair
`<name>_td.dat` and `<name>_bbox.npy`: a moment at which nothing is in view has no row in the box file, and would
otherwise be lost to evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import ConfigError
from training.event_files import BOX_DTYPE, GEN1_SENSOR, write_boxes, write_dat, write_npy
from training.scenes import DISTRACTOR, Scene, make_scene

Array = npt.NDArray[Any]

WINDOW_US = 100_000
_LEAST_SIDE_PX = 10.0
_LEAST_IN_FRAME = 0.35
_LEAST_VISIBLE = 0.40
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Events (EVENT_DTYPE), boxes (BOX_DTYPE), annotated moments in us (with and without boxes), and the seed."""

    events: Array
    boxes: Array
    annotation_times: npt.NDArray[np.int64]
    seed: int


def generate_recording(seed: int, *, duration_s: float = 2.0, annotation_hz: float = 4.0) -> Recording:
    """Generate the recording of one seed; the same arguments give the same bytes on any number of threads.

    Annotations come every 1/annotation_hz s, the first one a random part of that after the first full window of
    100 ms. A box is kept when its side inside the picture is at least 10 px, at least 35 % of its area lies inside, and
    at least 40 % of the thing's pixels there are not hidden. Raises ConfigError for a duration or rate out of range.
    """
    # Imported here: compiling takes a moment that users of the types alone need not spend.
    from training.sensor import FRAME_US, record

    if seed < 0:
        raise ConfigError(f"recording: seed = {seed}; it must be at least 0")
    if not WINDOW_US / 1e6 < duration_s <= _LONGEST_S:
        raise ConfigError(
            f"recording: duration_s = {duration_s}; it must be above {WINDOW_US / 1e6} and at most {_LONGEST_S}"
        )
    if not 0.1 <= annotation_hz <= 20.0:
        raise ConfigError(f"recording: annotation_hz = {annotation_hz}; it must lie between 0.1 and 20")
    rng, scene, annotated = _scene_and_moments(seed, duration_s, annotation_hz)
    boxes = [_annotate(scene, int(frame), int(frame) * FRAME_US) for frame in annotated]
    return Recording(
        events=record(scene, rng),
        boxes=np.concatenate(boxes),
        annotation_times=annotated.astype(np.int64) * FRAME_US,
        seed=seed,
    )


def count_moments(seed: int, *, duration_s: float, annotation_hz: float) -> int:
    """How many annotated moments `generate_recording` would give for the same arguments, without its events."""
    return int(_scene_and_moments(seed, duration_s, annotation_hz)[2].size)


def write_recording(folder: str | Path, name: str, recording: Recording) -> None:
    """Write `<name>_td.dat`, `<name>_bbox.npy` (GEN1's packed layout) and `<name>_times.npy` into a folder."""
    folder = Path(folder)
    write_boxes(folder / f"{name}_bbox.npy", recording.boxes, layout="gen1")
    write_npy(folder / f"{name}_times.npy", recording.annotation_times.astype("<i8"))
    # The events come last: a folder is listed by its *_td.dat files, so a listed recording is complete.
    write_dat(folder / f"{name}_td.dat", recording.events, GEN1_SENSOR)


def _scene_and_moments(
    seed: int, duration_s: float, annotation_hz: float
) -> tuple[np.random.Generator, Scene, npt.NDArray[np.int64]]:
    """The scene of a seed, its annotated frames, and the random generator in the state that the camera starts from."""
    from training.sensor import FRAME_US

    rng = np.random.default_rng([seed, 0x6E31])
    frames = round(duration_s * 1e6 / FRAME_US) + 1
    scene = make_scene(rng, np.arange(frames) * (FRAME_US / 1e6))
    period = round(1e6 / annotation_hz / FRAME_US)
    earliest = WINDOW_US // FRAME_US
    first = min(earliest + int(rng.integers(period)), frames - 1)
    return rng, scene, np.arange(first, frames, period)


def _annotate(scene: Scene, frame: int, t_us: int) -> Array:
    """Boxes (BOX_DTYPE) of the cars and pedestrians that can be seen in one frame, clipped to the picture."""
    from training.sensor import visible_pixels

    height, width = GEN1_SENSOR
    inside, visible = visible_pixels(scene, frame)
    rows = []
    for number, thing in enumerate(scene.things):
        if thing.class_id == DISTRACTOR:
            continue
        x, y, w, h = thing.boxes[frame]
        x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
        clipped_w, clipped_h = x1 - x0, y1 - y0
        if min(clipped_w, clipped_h) < _LEAST_SIDE_PX or clipped_w * clipped_h < _LEAST_IN_FRAME * w * h:
            continue
        if visible[number] < _LEAST_VISIBLE * inside[number]:
            continue
        rows.append((t_us, x0, y0, clipped_w, clipped_h, thing.class_id, number + 1, 1.0))
    return np.array(rows, dtype=BOX_DTYPE)
