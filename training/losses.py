"""CenterNet's targets and losses: a Gaussian per object centre, focal loss, offsets, and sizes as logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from netx_export.errors import ConfigError
from training.config import DetectorTask, TrainingConfig

Array = npt.NDArray[Any]

_LEAST_OVERLAP = 0.7
_FOCAL_ALPHA, _FOCAL_BETA = 2, 4
_TOO_FEW = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the heads should say about a batch.

    heatmap (B,K,h,w), 1 at centres; cells (N,) numbers b*h*w + y*w + x of the cells around the centres, weights (N,) of
    them, 1 in sum per object; offset (N,2) x, y from the cell to the object's centre; log_size (N,2) logarithms of
    width and height in units of `box_scale` cells.
    """

    heatmap: Tensor
    cells: Tensor
    weights: Tensor
    offset: Tensor
    log_size: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The three parts and their weighted sum, scalars that carry gradients."""

    total: Tensor
    heatmap: Tensor
    offset: Tensor
    size: Tensor


def make_targets(boxes: Sequence[Array], task: DetectorTask) -> Targets:
    """Targets for a batch of box tables (BOX_DTYPE, sensor pixels), one per window; tables may be empty.

    c = (x + w/2, y + h/2) / cell, centre = floor(c), log_size = log((w, h) / (cell * box_scale));
    heatmap[class] = max over objects of exp(-(dx^2 + dy^2) / (2 s^2)), s = (2r+1)/6, |dx|, |dy| <= r. Offsets c - cell
    and sizes are asked of the cells around the centre too (|dx| <= max(1, w/4), |dy| <= max(1, h/4), Gaussian weights):
    a peak that lies one cell off still gives the right box, and sizes are learned several times faster. Boxes are
    clipped to the sensor first; what has no area left is left out. Raises ConfigError for a class that the task has not.
    Source: CenterNet; the cells around the centre from TTFNet (Liu et al. 2020).
    """
    height, width = task.output_grid
    heatmap = np.zeros((len(boxes), len(task.classes), height, width), dtype=np.float32)
    cells: list[npt.NDArray[np.int64]] = []
    weights: list[npt.NDArray[np.float64]] = []
    offsets: list[npt.NDArray[np.float64]] = []
    sizes: list[npt.NDArray[np.float64]] = []
    for number, table in enumerate(boxes):
        for box in table:
            label = int(box["class_id"])
            if label >= len(task.classes):
                raise ConfigError(
                    f"training box of class {label}: the task knows 0..{len(task.classes) - 1} "
                    f"({', '.join(task.classes)}); drop such boxes or name the class"
                )
            x0, y0 = max(float(box["x"]), 0.0), max(float(box["y"]), 0.0)
            x1 = min(float(box["x"]) + float(box["w"]), float(task.sensor[1]))
            y1 = min(float(box["y"]) + float(box["h"]), float(task.sensor[0]))
            if x1 <= x0 or y1 <= y0:
                continue
            w, h = (x1 - x0) / task.cell_px, (y1 - y0) / task.cell_px
            centre_x, centre_y = (x0 + x1) / 2 / task.cell_px, (y0 + y1) / 2 / task.cell_px
            column, row = int(centre_x), int(centre_y)
            radius = max(0, int(gaussian_radius(math.ceil(h), math.ceil(w))))
            _draw_gaussian(heatmap[number, label], column, row, radius)
            rows, columns, share = _cells_around(row, column, h, w, (height, width))
            cells.append((number * height + rows) * width + columns)
            weights.append(share)
            offsets.append(np.stack([centre_x - columns, centre_y - rows], axis=1))
            sizes.append(np.tile(np.log([w / task.box_scale, h / task.box_scale]), (rows.size, 1)))
    return Targets(
        heatmap=torch.from_numpy(heatmap),
        cells=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *cells])),
        weights=torch.from_numpy(np.concatenate([np.zeros(0), *weights]).astype(np.float32)),
        offset=torch.from_numpy(np.concatenate([np.zeros((0, 2)), *offsets]).astype(np.float32)),
        log_size=torch.from_numpy(np.concatenate([np.zeros((0, 2)), *sizes]).astype(np.float32)),
    )


def gaussian_radius(height: float, width: float, overlap: float = _LEAST_OVERLAP) -> float:
    """How far a corner may move before the box overlaps itself by less than `overlap`; cells.

    Source: CornerNet, with the roots as CenterNet computes them (not divided by 2a), for comparable heat maps.
    """
    b1, c1 = height + width, width * height * (1 - overlap) / (1 + overlap)
    b2, c2 = 2 * (height + width), (1 - overlap) * width * height
    b3, c3 = -2 * overlap * (height + width), (overlap - 1) * width * height
    return min(
        (b1 + math.sqrt(b1 * b1 - 4 * c1)) / 2,
        (b2 + math.sqrt(b2 * b2 - 16 * c2)) / 2,
        (b3 + math.sqrt(b3 * b3 - 16 * overlap * c3)) / 2,
    )


def centernet_loss(outputs: Mapping[str, Tensor], targets: Targets, config: TrainingConfig) -> Losses:
    """Losses of the time mean of the heads, each (T,B,C,h,w).

    L = L_heatmap + offset_weight * L_offset + size_weight * L_size
    """
    z = {name: value.mean(0) for name, value in outputs.items()}
    heatmap = focal_loss(z["heatmap"], targets.heatmap)
    offset = centre_l1(z["offset"], targets.cells, targets.weights, targets.offset)
    size = centre_l1(z["size"], targets.cells, targets.weights, targets.log_size)
    total = heatmap + config.offset_weight * offset + config.size_weight * size
    return Losses(total=total, heatmap=heatmap, offset=offset, size=size)


def focal_loss(logits: Tensor, heatmap: Tensor) -> Tensor:
    """CenterNet's focal loss, logits and heatmap (B,K,h,w), N the number of cells where heatmap = 1.

    L = -1/max(N,1) sum[ (1-p)^2 log p  where Y = 1;  (1-Y)^4 p^2 log(1-p)  elsewhere ],  p = sigmoid(z)
    """
    centre = heatmap == 1.0
    p = torch.sigmoid(logits)
    # log p and log(1-p) straight from the logits stay finite however sure the network is.
    positive = torch.where(centre, (1 - p) ** _FOCAL_ALPHA * F.logsigmoid(logits), 0.0)
    negative = (1 - heatmap) ** _FOCAL_BETA * p**_FOCAL_ALPHA * F.logsigmoid(-logits)
    count = centre.sum().clamp(min=1)
    loss: Tensor = -(positive.sum() + negative.sum()) / count
    return loss


def centre_l1(values: Tensor, cells: Tensor, weights: Tensor, wanted: Tensor) -> Tensor:
    """Mean over objects and both axes of weight * |value - wanted|; 0 without any object.

    values (B,2,h,w), cells (N,), weights (N,) that add up to 1 per object, wanted (N,2).
    """
    found = values.permute(0, 2, 3, 1).reshape(-1, 2)[cells]
    distance = ((found - wanted).abs() * weights[:, None]).sum()
    return distance / (2 * weights.sum() + _TOO_FEW)


def _cells_around(
    row: int, column: int, h: float, w: float, grid: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows, columns and weights (sum 1) of the cells near a centre, for a box of h x w cells."""
    reach_y, reach_x = max(1.0, h / 4), max(1.0, w / 4)
    rows = np.arange(max(0, row - int(reach_y)), min(grid[0], row + int(reach_y) + 1))
    columns = np.arange(max(0, column - int(reach_x)), min(grid[1], column + int(reach_x) + 1))
    # At the reach a cell counts exp(-2) of the centre.
    vertical = np.exp(-2 * ((rows - row) / reach_y) ** 2)
    horizontal = np.exp(-2 * ((columns - column) / reach_x) ** 2)
    share = np.outer(vertical, horizontal).ravel()
    return np.repeat(rows, columns.size), np.tile(columns, rows.size), share / share.sum()


def _draw_gaussian(heatmap: npt.NDArray[np.float32], column: int, row: int, radius: int) -> None:
    height, width = heatmap.shape
    top, bottom = max(0, row - radius), min(height, row + radius + 1)
    left, right = max(0, column - radius), min(width, column + radius + 1)
    deviation = (2 * radius + 1) / 6
    dy = np.arange(top, bottom)[:, None] - row
    dx = np.arange(left, right)[None, :] - column
    bell = np.exp(-(dx * dx + dy * dy) / (2 * deviation * deviation)).astype(np.float32)
    np.maximum(heatmap[top:bottom, left:right], bell, out=heatmap[top:bottom, left:right])
