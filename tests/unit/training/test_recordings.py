"""The generator: same seed same bytes, a sane sensor, boxes by the rules, empty moments kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from netx_export.errors import ConfigError
from training.event_files import read_boxes, read_dat, read_times
from training.recordings import Recording, generate_recording, write_recording
from training.scenes import DISTRACTOR, make_scene
from training.sensor import FRAME_US, REFRACTORY_US, visible_pixels

ROOT = Path(__file__).parents[3]
DIGEST = """
import hashlib, sys
from training.recordings import generate_recording
r = generate_recording(3, duration_s=0.5)
print(hashlib.sha256(r.events.tobytes() + r.boxes.tobytes() + r.annotation_times.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def some() -> list[Recording]:
    return [generate_recording(seed, duration_s=1.0) for seed in range(16)]


def test_same_seed_same_bytes_whatever_the_threads() -> None:
    digests = set()
    for threads in ("1", "2"):
        environment = dict(os.environ, NUMBA_NUM_THREADS=threads, OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads)
        run = subprocess.run(
            [sys.executable, "-c", DIGEST], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
    assert len(digests) == 1
    assert not np.array_equal(
        generate_recording(3, duration_s=0.5).events, generate_recording(4, duration_s=0.5).events
    )


def test_ctrl_c_is_heard_as_such() -> None:
    # Raised inside a compiled loop's return it would come out as a SystemError, or end Python.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for delay in np.linspace(0.02, 0.3, 12):
            alarm = threading.Timer(float(delay), os.kill, (os.getpid(), signal.SIGINT))
            alarm.start()
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                for seed in range(100):
                    generate_recording(seed, duration_s=0.5)
            alarm.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_sensor_obeys_its_bounds_and_its_refractory_time(some: list[Recording]) -> None:
    for recording in some:
        events = recording.events
        assert np.all(np.diff(events["t"]) >= 0)
        assert events["t"].min() >= 0
        assert events["t"].max() < 1_000_000
        assert events["x"].max() < 304
        assert events["y"].max() < 240
        assert set(np.unique(events["p"])) == {0, 1}
        pixel = events["y"].astype(np.int64) * 304 + events["x"]
        order = np.argsort(pixel, kind="stable")
        gap = np.diff(events["t"][order])[np.diff(pixel[order]) == 0]
        assert gap.min() >= REFRACTORY_US
    rate = np.mean([recording.events.size for recording in some])
    assert 100_000 < rate < 500_000


def test_boxes_keep_the_rules(some: list[Recording]) -> None:
    boxes = np.concatenate([recording.boxes for recording in some])
    assert set(np.unique(boxes["class_id"])) == {0, 1}
    assert min(boxes["w"].min(), boxes["h"].min()) >= 10
    assert boxes["x"].min() >= 0
    assert (boxes["x"] + boxes["w"]).max() <= 304 + 1e-3
    assert (boxes["y"] + boxes["h"]).max() <= 240 + 1e-3
    cars, pedestrians = boxes[boxes["class_id"] == 0], boxes[boxes["class_id"] == 1]
    assert 45 < np.median(cars["w"]) < 95
    assert 17 < np.median(pedestrians["w"]) < 32
    assert np.percentile(cars["w"], 90) > 2 * np.percentile(cars["w"], 10)


def test_moments_without_any_box_are_annotated_too(some: list[Recording]) -> None:
    for recording in some:
        assert recording.annotation_times.min() >= 100_000
        assert np.all(np.diff(recording.annotation_times) == 250_000)
        assert np.isin(recording.boxes["t"], recording.annotation_times).all()
    empty = [np.setdiff1d(recording.annotation_times, recording.boxes["t"]).size for recording in some]
    moments = sum(recording.annotation_times.size for recording in some)
    assert 0 < sum(empty) < moments / 2


def test_events_gather_inside_the_boxes(some: list[Recording]) -> None:
    # Things in boxes move against the background: their area holds several times its share of the events.
    inside = area = 0.0
    total = 0
    for recording in some:
        for t in recording.annotation_times:
            events = recording.events[(recording.events["t"] >= t - 50_000) & (recording.events["t"] < t)]
            mask = np.zeros((240, 304), dtype=bool)
            for box in recording.boxes[recording.boxes["t"] == t]:
                x, y, w, h = (int(box[name]) for name in ("x", "y", "w", "h"))
                mask[y : y + h, x : x + w] = True
            inside += mask[events["y"], events["x"]].sum()
            area += mask.mean() * events.size
            total += events.size
    assert inside > 3 * area
    assert inside < total


def test_hidden_things_lose_their_box() -> None:
    times = np.arange(101) * FRAME_US / 1e6
    seen_hidden = 0
    for seed in range(25):
        scene = make_scene(np.random.default_rng(seed), times)
        inside, visible = visible_pixels(scene, 50)
        assert np.all(visible <= inside)
        seen_hidden += sum(
            0 < visible[number] < 0.4 * inside[number]
            for number, thing in enumerate(scene.things)
            if thing.class_id != DISTRACTOR
        )
    assert seen_hidden > 0


def test_a_written_recording_is_read_back_whole(tmp_path: Path) -> None:
    recording = generate_recording(7, duration_s=0.6)
    write_recording(tmp_path, "drive", recording)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive_bbox.npy", "drive_td.dat", "drive_times.npy"]
    np.testing.assert_array_equal(read_dat(tmp_path / "drive_td.dat"), recording.events)
    np.testing.assert_array_equal(read_boxes(tmp_path / "drive_bbox.npy"), recording.boxes)
    np.testing.assert_array_equal(read_times(tmp_path / "drive_times.npy"), recording.annotation_times)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed = -1; it must be at least 0"),
        ({"seed": 0, "duration_s": 0.05}, r"duration_s = 0\.05; it must be above 0\.1"),
        ({"seed": 0, "duration_s": float("nan")}, "duration_s = nan"),
        ({"seed": 0, "annotation_hz": 0.0}, r"annotation_hz = 0\.0; it must lie between"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_recording(**settings)  # type: ignore[arg-type]
