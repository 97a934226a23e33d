"""Binning against a plain loop, window borders, and the index of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netx_export.errors import ConfigError, RecordingError
from training.config import FULL, TINY
from training.event_files import BOX_DTYPE, EVENT_DTYPE, write_boxes, write_dat, write_npy
from training.recordings import Recording, generate_recording, write_recording
from training.windows import TINY_BINNING, Binning, WindowSet, bin_window

ROWS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 15), st.integers(0, 11), st.integers(0, 1)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    rows=ROWS,
    end=st.integers(0, 450),
    steps=st.integers(1, 6),
    micro_bins=st.integers(1, 3),
    width_us=st.integers(1, 20),
    scale=st.integers(1, 2),
)
def test_binning_equals_a_plain_loop(
    rows: list[tuple[int, int, int, int]], end: int, steps: int, micro_bins: int, width_us: int, scale: int
) -> None:
    events = np.array(sorted(rows), dtype=EVENT_DTYPE)
    binning = Binning(steps=steps, step_us=micro_bins * width_us, micro_bins=micro_bins, grid=(16, 16), scale=scale)
    cube = bin_window(events, end, binning)
    expected = np.zeros((steps, 2 * micro_bins, 16, 16), dtype=np.uint8)
    for number in range(steps * micro_bins):
        start = end - (steps * micro_bins - number) * width_us
        for t, x, y, p in sorted(rows):
            if start <= t < start + width_us:
                expected[number // micro_bins, 2 * (number % micro_bins) + p, y // scale, x // scale] = 1
    np.testing.assert_array_equal(cube, expected)
    assert cube.dtype == np.uint8


def test_the_window_is_half_open() -> None:
    events = np.array(
        [(99_999, 1, 1, 0), (100_000, 2, 2, 1), (199_999, 3, 3, 1), (200_000, 4, 4, 1)], dtype=EVENT_DTYPE
    )
    cube = bin_window(events, 200_000, Binning())
    assert cube.shape == (5, 4, 256, 320)
    assert np.argwhere(cube).tolist() == [[0, 1, 2, 2], [4, 3, 3, 3]]


def test_grids_of_both_presets() -> None:
    assert TINY.task.binning() == TINY_BINNING
    assert TINY_BINNING.shape == (5, 4, 128, 160)
    assert FULL.task.binning().shape == (5, 4, 256, 320)
    corner = np.array([(10, 303, 239, 1)], dtype=EVENT_DTYPE)
    cube = bin_window(corner, 20, TINY_BINNING)
    assert np.argwhere(cube).tolist() == [[4, 3, 119, 151]]


def test_settings_and_events_out_of_range_are_refused() -> None:
    events = np.array([(10, 303, 239, 1)], dtype=EVENT_DTYPE)
    with pytest.raises(RecordingError, match=r"event 0 at x = 303, y = 239 lies outside the grid 128 x 160"):
        bin_window(events, 20, Binning(grid=(128, 160)))
    with pytest.raises(ConfigError, match="step_us = 20000 is no multiple of micro_bins = 3"):
        Binning(micro_bins=3)
    with pytest.raises(ConfigError, match="steps = 0; it must be at least 1"):
        Binning(steps=0)
    with pytest.raises(ConfigError, match=r"grid = \(0, 4\); both sides"):
        Binning(grid=(0, 4))


def test_a_folder_and_its_recordings_give_the_same_windows(tmp_path: Path) -> None:
    recordings = [generate_recording(seed, duration_s=0.9) for seed in (5, 6)]
    for recording in recordings:
        write_recording(tmp_path, f"seed{recording.seed}", recording)
    from_folder, in_memory = list(WindowSet(tmp_path)), list(WindowSet(recordings))
    assert len(from_folder) == len(in_memory) == sum(r.annotation_times.size for r in recordings)
    for left, right in zip(from_folder, in_memory, strict=True):
        assert (left.name, left.t_end_us) == (right.name, right.t_end_us)
        np.testing.assert_array_equal(left.cube, right.cube)
        np.testing.assert_array_equal(left.boxes, right.boxes)
        assert left.cube.max() == 1
        assert not left.cube[:, :, 120:].any()
        assert not left.cube[:, :, :, 152:].any()


def write_pair(folder: Path, boxes: np.ndarray, times: list[int] | None) -> None:
    write_dat(folder / "a_td.dat", np.array([(10, 3, 3, 1)], dtype=EVENT_DTYPE))
    write_boxes(folder / "a_bbox.npy", boxes)
    if times is not None:
        write_npy(folder / "a_times.npy", np.array(times, dtype="<i8"))


def some_boxes() -> np.ndarray:
    boxes = np.zeros(3, dtype=BOX_DTYPE)
    boxes["t"], boxes["track_id"], boxes["x"] = [100, 100, 100], [4, 9, 4], [1, 2, 3]
    return boxes


def test_empty_moments_count_and_the_last_box_of_a_track_stays(tmp_path: Path) -> None:
    write_pair(tmp_path, some_boxes(), [50, 100, 5_000_000])
    empty, full, silent = WindowSet(tmp_path)
    assert (empty.boxes.size, full.boxes["x"].tolist(), silent.boxes.size) == (0, [2, 3], 0)
    assert empty.boxes.dtype == BOX_DTYPE
    assert (int(empty.cube.sum()), int(silent.cube.sum())) == (1, 0)


def test_a_plain_pair_has_the_moments_of_its_boxes(tmp_path: Path) -> None:
    write_pair(tmp_path, some_boxes(), None)
    assert [window.t_end_us for window in WindowSet(tmp_path)] == [100]


def test_the_index_reads_no_events(tmp_path: Path) -> None:
    write_pair(tmp_path, some_boxes(), [50, 100])
    (tmp_path / "a_td.dat").write_bytes(b"%")
    windows = WindowSet(tmp_path)
    assert len(windows) == 2
    with pytest.raises(RecordingError, match="no newline"):
        windows[0]


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no \*_td\.dat in this folder"):
        WindowSet(tmp_path)
    write_pair(tmp_path, some_boxes(), [50])
    with pytest.raises(RecordingError, match="a: box 0 has time 100 us, which is no annotated moment"):
        WindowSet(tmp_path)
    (tmp_path / "a_bbox.npy").unlink()
    with pytest.raises(RecordingError, match=r"a_bbox\.npy: no such file"):
        WindowSet(tmp_path)


def test_recordings_in_memory_need_not_be_a_list() -> None:
    events = np.array([(10, 3, 3, 1)], dtype=EVENT_DTYPE)
    recording = Recording(events=events, boxes=some_boxes()[:0], annotation_times=np.array([100]), seed=1)
    windows = WindowSet(iter([recording]))
    assert windows[0].name == "seed1"
    assert windows[0].boxes.size == 0
