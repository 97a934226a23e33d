"""Jobs hold the windows that the whole data set in memory holds, wherever it is cut."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from netx_export.errors import ConfigError, RecordingError
from training import event_pieces
from training.config import DetectorTask
from training.detection import Detections
from training.recordings import count_moments, generate_recording, write_recording
from training.sources import ANNOTATION_HZ, RECORDING_S, open_windows
from training.window_jobs import WindowJob, find_cubes, open_data_set
from training.window_results import JudgedWindow, read_results, results_text
from training.windows import Window

TASK = DetectorTask()


def windows_of(jobs: list[WindowJob]) -> list[Window]:
    # As a worker sees them: after a journey through a pickle.
    return [window for job in jobs for window in pickle.loads(pickle.dumps(job)).load()[1]]


def assert_same(mine: list[Window], theirs: tuple[Window, ...]) -> None:
    assert [(w.name, w.t_end_us) for w in mine] == [(w.name, w.t_end_us) for w in theirs]
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one.cube, other.cube)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_generated_recordings_are_cut_as_in_memory() -> None:
    data = open_data_set([], TASK, limit=20, seed=5_000_000)
    jobs = list(data.jobs())
    assert [job.recording for job in jobs] == ["seed 5000000", "seed 5000001"]
    assert sum(job.samples for job in jobs) == 20
    assert_same(windows_of(jobs), open_windows(None, TASK, limit=20, seed=5_000_000).windows)
    assert (data.labelled, data.events, data.identity) == (True, None, ["generated", 5_000_000])
    for seed in range(3):
        recording = generate_recording(seed, duration_s=RECORDING_S, annotation_hz=ANNOTATION_HZ)
        counted = count_moments(seed, duration_s=RECORDING_S, annotation_hz=ANNOTATION_HZ)
        assert counted == recording.annotation_times.size


@pytest.mark.parametrize("limit", [None, 3, 21])
def test_files_and_folders_are_cut_as_in_memory(
    tmp_path: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pieces, "PIECE_BYTES", 1 << 15)
    for seed, name in ((7, "day"), (8, "night")):
        write_recording(tmp_path, name, generate_recording(seed, duration_s=2.5, annotation_hz=10.0))
    data = open_data_set([tmp_path], TASK, limit=limit)
    jobs = list(data.jobs())
    whole = open_windows(tmp_path, TASK, limit=limit or 10**6)
    assert_same(windows_of(jobs), whole.windows)
    assert max(job.samples for job in jobs) <= 16
    assert (data.events, data.unreadable) == (whole.events, {})
    assert len({job.digest for job in jobs}) == len(jobs)
    single = open_data_set([tmp_path / "day_td.dat"], TASK, limit=limit)
    jobs = list(single.jobs())
    assert_same(windows_of(jobs), open_windows(tmp_path / "day_td.dat", TASK, limit=limit or 10**6).windows)
    assert not single.labelled
    numbers = [2, 0] if limit else [20, 1, 2]
    found = find_cubes(jobs, numbers)
    windows = windows_of(jobs)
    for number, cube in zip(numbers, found, strict=True):
        np.testing.assert_array_equal(cube, windows[number].cube)


def test_broken_recordings_are_named_and_the_rest_is_planned(tmp_path: Path) -> None:
    for seed, name in ((7, "day"), (8, "night")):
        write_recording(tmp_path, name, generate_recording(seed, duration_s=0.5, annotation_hz=10.0))
    (tmp_path / "night_bbox.npy").unlink()
    data = open_data_set([tmp_path], TASK, limit=None)
    assert {job.recording for job in data.jobs()} == {str(tmp_path / "day_td.dat")}
    ((name, reason),) = data.unreadable.items()
    assert name == str(tmp_path / "night_td.dat")
    assert "night_bbox.npy: no such file" in reason


def test_results_survive_the_text() -> None:
    rng = np.random.default_rng(0)
    window = windows_of(list(open_data_set([], TASK, limit=1, seed=5_000_003).jobs()))[0]
    found = Detections(boxes=rng.normal(size=(3, 4)), scores=rng.random(3), class_ids=np.array([0, 1, 0]))
    judged = JudgedWindow(name="a", t_end_us=5, boxes=window.boxes, detections=found)
    text = results_text([judged, judged])
    assert results_text(read_results(text)) == text
    back = read_results(text)[1]
    np.testing.assert_array_equal(back.boxes, window.boxes)
    np.testing.assert_array_equal(back.detections.boxes, found.boxes)
    assert json.loads(text)[0]["t_end_us"] == 5


def test_data_sets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=r"empty: no recording .* in this folder; write recordings there first"):
        open_data_set([tmp_path / "empty"], TASK, limit=1)
    with pytest.raises(RecordingError, match="gone: no such file or folder"):
        open_data_set([tmp_path / "gone"], TASK, limit=1)
    with pytest.raises(ConfigError, match="windows = 0"):
        open_data_set([], TASK, limit=0)
    with pytest.raises(ConfigError, match="windows = all; generated recordings never end"):
        open_data_set([], TASK, limit=None)
