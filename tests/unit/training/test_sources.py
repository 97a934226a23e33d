"""Windows from generated recordings, folders and single files; COCO JSON that pycocotools reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netx_export.errors import ConfigError, RecordingError
from training.coco_files import write_coco, write_frames
from training.config import DetectorTask
from training.detection import Detections
from training.event_files import write_dat
from training.recordings import generate_recording, write_recording
from training.scoring import decode_outputs, score_windows, task_of
from training.sources import EvaluationSet, open_windows

TASK = DetectorTask()
NCARS = Path(__file__).resolve().parents[4] / "shared/data/events/NCARS_obj_004397_td.dat"


def test_generated_windows_are_reproducible_and_some_are_empty() -> None:
    one = open_windows(None, TASK, limit=20, seed=5_000_000)
    other = open_windows(None, TASK, limit=20, seed=5_000_000)
    assert len(one.windows) == 20
    assert one.labelled
    assert one.events is None
    assert one.cubes().shape == (5, 20, 4, 128, 160)
    assert (one.cubes() == other.cubes()).all()
    assert set(np.unique(one.cubes())) == {0, 1}


def test_a_folder_is_scored_and_a_single_file_is_cut_into_windows(tmp_path: Path) -> None:
    recording = generate_recording(7, duration_s=0.45, annotation_hz=8.0)
    write_recording(tmp_path, "drive", recording)
    folder = open_windows(tmp_path, TASK, limit=100)
    assert folder.labelled
    assert len(folder.windows) == len(recording.annotation_times)
    assert folder.events == recording.events.size
    single = open_windows(tmp_path / "drive_td.dat", TASK, limit=100)
    assert not single.labelled
    assert [window.name for window in single.windows] == ["drive"] * len(single.windows)
    start = int(recording.events["t"][0])
    assert [window.t_end_us - start for window in single.windows] == [
        100_000 * n for n in range(1, len(single.windows) + 1)
    ]
    assert single.windows[-1].t_end_us > recording.events["t"][-1] >= single.windows[-1].t_end_us - 100_000
    assert len(open_windows(tmp_path / "drive_td.dat", TASK, limit=2).windows) == 2


def test_a_real_recording_smaller_than_the_sensor() -> None:
    if not NCARS.exists():
        pytest.skip(f"{NCARS.name} is not on this machine")
    data = open_windows(NCARS, TASK, limit=10)
    assert (len(data.windows), data.events) == (1, 4407)
    cube = data.cubes()
    assert cube.sum() > 500
    assert cube[..., 64:, :].sum() == 0


def test_sources_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nothing\.dat: no such file or folder"):
        open_windows(tmp_path / "nothing.dat", TASK, limit=1)
    with pytest.raises(ConfigError, match="windows = 0"):
        open_windows(None, TASK, limit=0)
    write_dat(tmp_path / "a_td.dat", generate_recording(1, duration_s=0.2).events)
    with pytest.raises(RecordingError, match=r"a_bbox\.npy"):
        open_windows(tmp_path, TASK, limit=1)


def test_coco_json_scores_perfect_detections_as_perfect(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = open_windows(None, TASK, limit=24, seed=5_000_100)
    perfect = [
        Detections(
            boxes=np.stack([w.boxes[n].astype(float) for n in ("x", "y", "w", "h")], axis=1),
            scores=np.ones(w.boxes.size),
            class_ids=w.boxes["class_id"].astype(np.int64),
        )
        for w in data.windows
    ]
    write_coco(tmp_path, data.windows, perfect, labelled=True)
    truth = COCO(str(tmp_path / "truth.json"))
    assert len(truth.getImgIds()) == 24
    run = COCOeval(truth, truth.loadRes(str(tmp_path / "detections.json")), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert run.stats[1] == 1.0
    scores = score_windows(data, perfect)
    assert scores.ap50 == pytest.approx(1.0)
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False))["ap50"] == 1.0
    nothing = score_windows(EvaluationSet(windows=data.windows[:0], labelled=True, origin=""), [])
    assert nothing.to_json()["ap50"] is None
    assert json.loads((tmp_path / "truth.json").read_text())["images"][0]["file_name"].startswith("seed5000100@")


def test_pictures_show_different_recordings(tmp_path: Path) -> None:
    data = open_windows(None, TASK, limit=34, seed=5_000_100)
    write_frames(tmp_path / "frames.npz", data, TASK, count=4)
    with np.load(tmp_path / "frames.npz") as kept:
        images, cubes = kept["images"], kept["cubes"]
    assert cubes.shape == (4, 5, 4, 120, 152)
    names = [data.windows[image - 1].name for image in images]
    assert len(set(names[:3])) == len({window.name for window in data.windows}) == 3
    assert (cubes[0] == data.windows[images[0] - 1].cube[..., :120, :152]).all()
    first = (tmp_path / "frames.npz").read_bytes()
    write_frames(tmp_path / "frames.npz", data, TASK, count=4)
    assert (tmp_path / "frames.npz").read_bytes() == first


def test_unlabelled_windows_leave_no_truth(tmp_path: Path) -> None:
    nothing = Detections(boxes=np.zeros((0, 4)), scores=np.zeros(0), class_ids=np.zeros(0, np.int64))
    data = open_windows(None, TASK, limit=1, seed=5_000_000)
    write_coco(tmp_path, data.windows, [nothing], labelled=False)
    assert [path.name for path in tmp_path.iterdir()] == ["detections.json"]


def test_decoding_follows_the_task() -> None:
    heads = {
        "heatmap": np.full((1, 2, 8, 10), -9.0),
        "offset": np.zeros((1, 2, 8, 10)),
        "size": np.zeros((1, 2, 8, 10)),
    }
    heads["heatmap"][0, 0, 2, 3] = 9.0
    task = DetectorTask(scale=2, grid=(128, 160), output_stride=16, box_scale=0.5)
    (found,) = decode_outputs(heads, task)
    # Centre (3, 2) cells of 2 * 16 px, sides of exp(0) * 0.5 cells.
    assert found.boxes[0].tolist() == [3 * 32 - 8, 2 * 32 - 8, 16, 16]


def test_decoding_needs_the_three_heads() -> None:
    with pytest.raises(ConfigError, match=r"output 'offset' is missing; .* this network has heatmap"):
        decode_outputs({"heatmap": np.zeros((5, 1, 2, 32, 40))}, TASK)


def test_the_task_travels_with_the_network() -> None:
    assert task_of({"task": json.dumps(TASK.to_json())}, "x.net") == TASK
    with pytest.raises(ConfigError, match=r"x\.net: the file does not say how recordings are binned"):
        task_of({}, "x.net")
    with pytest.raises(ConfigError, match=r"x\.net: meta 'task' is no JSON"):
        task_of({"task": "{"}, "x.net")
