"""Box decoding against a written-out example and a plain loop; COCO scores against cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netx_export.errors import ConfigError, RecordingError
from training.detection import Detections, DetectionScores, decode_centernet, evaluate, filter_boxes
from training.event_files import BOX_DTYPE


def heads(h: int = 8, w: int = 10, steps: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heatmap = np.full((steps, 1, 2, h, w), -9.0, dtype=np.float32)
    return heatmap, np.zeros((steps, 1, 2, h, w), np.float32), np.zeros((steps, 1, 2, h, w), np.float32)


def truth(*rows: tuple[float, float, float, float, int]) -> np.ndarray:
    boxes = np.zeros(len(rows), dtype=BOX_DTYPE)
    for number, (x, y, w, h, class_id) in enumerate(rows):
        boxes[number] = (0, x, y, w, h, class_id, number, 1.0)
    return boxes


def found(*rows: tuple[float, float, float, float, int, float]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(boxes=table[:, :4], class_ids=table[:, 4].astype(np.int64), scores=table[:, 5])


def test_one_object_is_decoded_to_sensor_pixels() -> None:
    heatmap, offset, size = heads()
    heatmap[:, 0, 1, 3, 5] = [0.0, 1.0, 2.0]
    offset[:, 0, :, 3, 5] = (0.25, 0.75)
    size[:, 0, :, 3, 5] = np.log([2.0, 3.0])
    (detections,) = decode_centernet(heatmap, offset, size, cell_px=8.0, least_score=0.1)
    assert len(detections) == 1
    assert detections.class_ids.tolist() == [1]
    assert detections.scores[0] == pytest.approx(1 / (1 + np.exp(-1.0)))
    # centre (5.25, 3.75) * 8 = (42, 30), size (16, 24)
    np.testing.assert_allclose(detections.boxes, [[34.0, 18.0, 16.0, 24.0]], rtol=1e-6)
    (without_time,) = decode_centernet(heatmap.mean(0), offset.mean(0), size.mean(0), cell_px=8.0, least_score=0.1)
    np.testing.assert_allclose(without_time.boxes, detections.boxes)


def test_boxes_are_clipped_and_those_outside_are_dropped() -> None:
    heatmap, offset, size = heads(64, 80)
    heatmap[:, 0, 0, 0, 0] = 5.0
    heatmap[:, 0, 0, 63, 79] = 5.0
    size[:, 0, :, 0, 0] = np.log(10.0)
    (detections,) = decode_centernet(heatmap, offset, size, least_score=0.1)
    np.testing.assert_allclose(detections.boxes, [[0.0, 0.0, 20.0, 20.0]], rtol=1e-6)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 10**6), top_k=st.integers(1, 20))
def test_peaks_equal_a_plain_loop(seed: int, top_k: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(-4, 3, size=(1, 2, 6, 7)).astype(np.float64)
    (detections,) = decode_centernet(z, np.full((1, 2, 6, 7), 0.5), np.zeros((1, 2, 6, 7)), top_k=top_k)
    expected = []
    for k, y, x in np.ndindex(2, 6, 7):
        around = z[0, k, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        if z[0, k, y, x] == around.max():
            expected.append((-z[0, k, y, x], k, y, x))
    best = sorted(expected)[:top_k]
    assert detections.class_ids.tolist() == [k for _, k, _, _ in best]
    np.testing.assert_allclose(detections.boxes[:, :2], [[4 * x, 4 * y] for _, _, y, x in best])
    np.testing.assert_allclose(detections.scores, [1 / (1 + np.exp(z_)) for z_, *_ in best])


def test_shapes_and_values_that_cannot_be_decoded_are_refused() -> None:
    heatmap, offset, size = heads()
    with pytest.raises(ConfigError, match=r"head size: shape \(1, 2, 8, 9\) beside a heatmap of \(1, 2, 8, 10\)"):
        decode_centernet(heatmap, offset, size[..., :9])
    with pytest.raises(ConfigError, match=r"head offset: shape \(2, 8, 10\); it must be"):
        decode_centernet(heatmap, offset[0, 0], size)
    heatmap[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(ConfigError, match="head heatmap: holds values that are not finite"):
        decode_centernet(heatmap, offset, size)
    with pytest.raises(ConfigError, match="differ in number"):
        Detections(boxes=np.zeros((2, 4)), scores=np.zeros(3), class_ids=np.zeros(3, np.int64))


def test_perfect_detections_score_one_and_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    images = [truth((10, 10, 50, 30, 0), (100, 50, 20, 60, 1)), truth((30, 30, 40, 40, 0)), truth()]
    detections = [
        found((10, 10, 50, 30, 0, 0.9), (100, 50, 20, 60, 1, 0.8)),
        found((30, 30, 40, 40, 0, 0.7)),
        found(),
    ]
    scores = evaluate(images, detections)
    assert scores == DetectionScores(
        ap=pytest.approx(1.0),
        ap50=pytest.approx(1.0),
        ap75=pytest.approx(1.0),
        ap50_per_class={"car": pytest.approx(1.0), "pedestrian": pytest.approx(1.0)},
        images=3,
    )
    assert capsys.readouterr().out == ""


def test_a_better_scored_detection_on_an_empty_image_halves_the_precision() -> None:
    images = [truth(), truth((30, 30, 40, 40, 0))]
    scores = evaluate(images, [found((30, 30, 40, 40, 0, 0.9)), found((30, 30, 40, 40, 0, 0.5))])
    assert scores.ap50 == pytest.approx(0.5)
    assert np.isnan(scores.ap50_per_class["pedestrian"])
    alone = evaluate(images[1:], [found((30, 30, 40, 40, 0, 0.5))])
    assert alone.ap50 == pytest.approx(1.0)


def test_a_shifted_box_counts_at_half_overlap_only() -> None:
    # IoU of two 40x40 boxes shifted by 10: 30*40 / (2*1600 - 1200) = 0.6, so it matches at 0.50, 0.55 and 0.60.
    scores = evaluate([truth((30, 30, 40, 40, 1))], [found((40, 30, 40, 40, 1, 0.5))])
    assert scores.ap50 == pytest.approx(1.0)
    assert scores.ap75 == 0.0
    assert scores.ap == pytest.approx(0.3)


def test_nothing_found_scores_zero_and_no_truth_has_no_score() -> None:
    scores = evaluate([truth((30, 30, 40, 40, 0))], [found()])
    assert (scores.ap, scores.ap50, scores.ap50_per_class["car"], scores.images) == (0.0, 0.0, 0.0, 1)
    assert np.isnan(evaluate([truth()], [found((1, 1, 9, 9, 0, 0.5))]).ap50)


def test_box_filters_of_the_published_protocols() -> None:
    boxes = np.array([[0, 0, 40, 40], [0, 0, 12, 40], [0, 0, 8, 40], [0, 0, 20, 20]], dtype=np.float64)
    assert filter_boxes(600_000, boxes, "A").tolist() == [True, True, False, False]
    assert filter_boxes(400_000, boxes, "A").tolist() == [False] * 4
    assert filter_boxes(400_000, boxes, "B").tolist() == [True, False, False, False]
    assert filter_boxes(0, boxes).all()
    with pytest.raises(ConfigError, match="box filter 'D' is unknown"):
        filter_boxes(0, boxes, "D")


def test_the_filter_acts_on_truth_and_detections() -> None:
    images = [truth((0, 0, 40, 40, 0), (100, 100, 12, 12, 0))]
    detections = [found((0, 0, 40, 40, 0, 0.5), (200, 100, 12, 12, 0, 0.9))]
    assert evaluate(images, detections).ap50 < 0.5
    assert evaluate(images, detections, rule="B").ap50 == pytest.approx(1.0)


def test_sequences_that_do_not_match_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 images of truth, 0 of detections"):
        evaluate([truth()], [])
    with pytest.raises(ConfigError, match="1 images, 2 times"):
        evaluate([truth()], [found()], times_us=[1, 2])
    with pytest.raises(ConfigError, match=r"skips the first 0\.5 s; give times_us"):
        evaluate([truth()], [found()], rule="A")
    with pytest.raises(RecordingError, match="image 1: box 0 has class 5"):
        evaluate([truth((1, 1, 20, 20, 5))], [found()])
