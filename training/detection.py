"""From CenterNet outputs to boxes, and from boxes to COCO average precision, with numpy and pycocotools alone."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from netx_export.errors import ConfigError, RecordingError
from training.event_files import GEN1_SENSOR

Array = npt.NDArray[Any]

CLASS_NAMES: tuple[str, ...] = ("car", "pedestrian")
_LARGEST_LOG_SIZE = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Boxes of one image, best first: x, y, w, h (N,4) in sensor pixels, scores (N,), class_ids (N,)."""

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    class_ids: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        count = self.scores.shape[0]
        if self.boxes.shape != (count, 4) or self.class_ids.shape != (count,):
            raise ConfigError(
                f"detections: boxes {self.boxes.shape}, scores {self.scores.shape}, classes {self.class_ids.shape} "
                "differ in number; give (N,4), (N,) and (N,)"
            )

    def __len__(self) -> int:
        return int(self.scores.shape[0])

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self.select(self.scores >= score)

    def select(self, mask: npt.NDArray[np.bool_]) -> Detections:
        """Those where the mask (N,) holds."""
        return Detections(boxes=self.boxes[mask], scores=self.scores[mask], class_ids=self.class_ids[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScores:
    """COCO average precision: ap over IoU 0.50..0.95, ap50, ap75, ap50 by class name (NaN: no such box), images."""

    ap: float
    ap50: float
    ap75: float
    ap50_per_class: dict[str, float]
    images: int

    def to_json(self) -> dict[str, Any]:
        """A dictionary that json can write; NaN, which JSON does not know, becomes None."""
        per_class = {name: _finite(value) for name, value in self.ap50_per_class.items()}
        return {
            "ap": _finite(self.ap),
            "ap50": _finite(self.ap50),
            "ap75": _finite(self.ap75),
            "ap50_per_class": per_class,
            "images": self.images,
        }


def decode_centernet(
    heatmap: Array,
    offset: Array,
    size: Array,
    *,
    cell_px: float = 4.0,
    box_scale: float = 1.0,
    sensor: tuple[int, int] = GEN1_SENSOR,
    top_k: int = 100,
    least_score: float = 0.0,
) -> list[Detections]:
    """Decode raw head outputs, heatmap (T,B,K,h,w) and offset, size (T,B,2,h,w), or without T, into B detections.

    z = mean over T; p = sigmoid(z_heatmap) where it is the largest of its 3x3 neighbours; of these the `top_k` over
    classes and cells, no NMS. centre = cell_px (cell + offset), (w, h) = cell_px box_scale exp(size) in sensor pixels;
    boxes are clipped to the sensor (H,W) and dropped where nothing is left. Channel order is x, y and w, h. Raises ConfigError for shapes that do not fit each other. Source: CenterNet, with the size head in log form.
    """
    z = _time_mean("heatmap", heatmap)
    shift, log_size = _time_mean("offset", offset), _time_mean("size", size)
    pair = (z.shape[0], 2, *z.shape[2:])
    for name, array in (("offset", shift), ("size", log_size)):
        if array.shape != pair:
            raise ConfigError(f"head {name}: shape {array.shape} beside a heatmap of {z.shape}; it must be {pair}")
    if not np.isfinite(z).all():
        raise ConfigError(
            "head heatmap: holds values that are not finite; the network diverged, use another checkpoint"
        )
    probability = 1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0)))
    peaks = np.where(z == _largest_of_neighbours(z), probability, 0.0)
    return [
        _decode_image(peaks[b], shift[b], log_size[b], cell_px, box_scale, sensor, top_k, least_score)
        for b in range(z.shape[0])
    ]


def filter_boxes(
    t_us: int,
    boxes: Array,
    rule: Literal["A", "B", "C"] = "C",
) -> npt.NDArray[np.bool_]:
    """Which boxes (N,4) x, y, w, h of an image at `t_us` count: mask (N,), for truth and detections alike.

    A: after 0.5 s, diagonal >= 30, sides >= 10 px (Prophesee toolbox). B: diagonal >= 30, sides >= 20 px (Cordone).
    C: all of them.
    """
    if rule not in ("A", "B", "C"):
        raise ConfigError(f"box filter {rule!r} is unknown; use 'A', 'B' or 'C'")
    if rule == "C":
        return np.ones(boxes.shape[0], dtype=np.bool_)
    side = 10.0 if rule == "A" else 20.0
    w, h = boxes[:, 2], boxes[:, 3]
    kept: npt.NDArray[np.bool_] = (w**2 + h**2 >= 30.0**2) & (w >= side) & (h >= side)
    return kept & (rule == "B" or t_us > 500_000)


def evaluate(
    truth: Sequence[Array],
    detections: Sequence[Detections],
    *,
    times_us: Sequence[int] | None = None,
    rule: Literal["A", "B", "C"] = "C",
    sensor: tuple[int, int] = GEN1_SENSOR,
) -> DetectionScores:
    """COCO average precision of one Detections per image against BOX_DTYPE truth, by pycocotools.

    Every annotated moment is an image, those without any box too: a detection there is a false positive. Truth is
    clipped to the sensor (H,W). Rule A needs `times_us`. Raises ConfigError for sequences of unequal length.
    """
    if len(truth) != len(detections):
        raise ConfigError(f"evaluation: {len(truth)} images of truth, {len(detections)} of detections; give one each")
    if times_us is None and rule == "A":
        raise ConfigError("evaluation: box filter 'A' skips the first 0.5 s; give times_us, one per image")
    times = [0] * len(truth) if times_us is None else list(times_us)
    if len(times) != len(truth):
        raise ConfigError(f"evaluation: {len(truth)} images, {len(times)} times; give one each")
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (boxes, found, t_us) in enumerate(zip(truth, detections, times, strict=True), start=1):
        real = _clip(np.stack([boxes[name] for name in ("x", "y", "w", "h")], axis=1).astype(np.float64), sensor)
        unknown = np.flatnonzero(boxes["class_id"] >= len(CLASS_NAMES))
        if unknown.size:
            raise RecordingError(
                f"image {image}: box {unknown[0]} has class {boxes['class_id'][unknown[0]]}; "
                f"classes are 0..{len(CLASS_NAMES) - 1} {CLASS_NAMES}, drop other boxes"
            )
        kept = filter_boxes(t_us, real, rule) & (real[:, 2] > 0) & (real[:, 3] > 0)
        for box, class_id in zip(real[kept], boxes["class_id"][kept], strict=True):
            # Annotation ids start at 1: pycocotools takes id 0 for "unmatched" and would lose a true positive.
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(class_id) + 1,
                    "bbox": [float(value) for value in box],
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                }
            )
        chosen = found.select(filter_boxes(t_us, found.boxes, rule))
        results += [
            {
                "image_id": image,
                "category_id": int(class_id) + 1,
                "bbox": [float(value) for value in box],
                "score": float(score),
            }
            for box, class_id, score in zip(chosen.boxes, chosen.class_ids, chosen.scores, strict=True)
        ]
    return _coco_scores(annotations, results, len(truth))


def _coco_scores(annotations: list[dict[str, Any]], results: list[dict[str, Any]], images: int) -> DetectionScores:
    present = sorted({annotation["category_id"] for annotation in annotations})
    nan = float("nan")
    per_class = dict.fromkeys(CLASS_NAMES, nan)
    if not present:
        return DetectionScores(ap=nan, ap50=nan, ap75=nan, ap50_per_class=per_class, images=images)
    if not results:
        per_class.update({CLASS_NAMES[category - 1]: 0.0 for category in present})
        return DetectionScores(ap=0.0, ap50=0.0, ap75=0.0, ap50_per_class=per_class, images=images)
    # Imported here so that decoding alone needs no pycocotools.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, images + 1)],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES, start=1)],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.params.imgIds = list(range(1, images + 1))
        run.evaluate()
        run.accumulate()
    # (IoU 10, recall 101, class, area 4, detections 3); -1 marks a class without any true box.
    precision = run.eval["precision"][:, :, :, 0, 2]
    for category in present:
        per_class[CLASS_NAMES[category - 1]] = float(precision[0, :, category - 1].mean())
    table = precision[:, :, [category - 1 for category in present]]
    return DetectionScores(
        ap=float(table.mean()),
        ap50=float(table[0].mean()),
        ap75=float(table[5].mean()),
        ap50_per_class=per_class,
        images=images,
    )


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def _time_mean(name: str, array: Array) -> npt.NDArray[np.float64]:
    if array.ndim not in (4, 5):
        raise ConfigError(f"head {name}: shape {array.shape}; it must be (T,B,C,h,w) or (B,C,h,w)")
    values = array.astype(np.float64)
    return values.mean(axis=0) if array.ndim == 5 else values


def _largest_of_neighbours(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Maximum over 3x3 cells, (B,K,h,w)."""
    padded = np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows = np.maximum(np.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    largest: npt.NDArray[np.float64] = np.maximum(np.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return largest


def _decode_image(
    peaks: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
    log_size: npt.NDArray[np.float64],
    cell_px: float,
    box_scale: float,
    sensor: tuple[int, int],
    top_k: int,
    least_score: float,
) -> Detections:
    flat = peaks.ravel()
    # A stable sort: equal scores keep the order of class, row, column on every machine.
    best = np.argsort(-flat, kind="stable")[:top_k]
    best = best[(flat[best] > 0.0) & (flat[best] >= least_score)]
    class_ids, rows, columns = np.unravel_index(best, peaks.shape)
    centre = cell_px * (np.stack([columns, rows], axis=1) + shift[:, rows, columns].T)
    log_sides = np.clip(log_size[:, rows, columns].T, -_LARGEST_LOG_SIZE, _LARGEST_LOG_SIZE)
    extent = cell_px * box_scale * np.exp(log_sides)
    boxes = _clip(np.concatenate([centre - extent / 2, extent], axis=1), sensor)
    found = Detections(boxes=boxes, scores=flat[best], class_ids=class_ids.astype(np.int64))
    return found.select((boxes[:, 2] > 0) & (boxes[:, 3] > 0))


def _clip(boxes: npt.NDArray[np.float64], sensor: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Clip x, y, w, h (N,4) to the sensor (H,W); a box outside is left with a width or height of 0."""
    height, width = sensor
    limits = np.array([width, height], dtype=np.float64)
    first = np.clip(boxes[:, :2], 0.0, limits)
    last = np.clip(boxes[:, :2] + boxes[:, 2:], 0.0, limits)
    return np.concatenate([first, last - first], axis=1)
