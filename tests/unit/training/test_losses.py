"""CenterNet's targets and losses against their definitions, and against the decoder that undoes them."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from netx_export.errors import ConfigError  # noqa: E402
from training.config import TINY, DetectorTask, TrainingConfig  # noqa: E402
from training.event_files import BOX_DTYPE  # noqa: E402
from training.losses import centernet_loss, centre_l1, focal_loss, gaussian_radius, make_targets  # noqa: E402
from training.scoring import decode_outputs  # noqa: E402

TASK = TINY.task


def boxes(*rows: tuple[float, float, float, float, int]) -> np.ndarray:
    return np.array([(0, x, y, w, h, label, n, 1.0) for n, (x, y, w, h, label) in enumerate(rows)], dtype=BOX_DTYPE)


def test_targets_of_one_box() -> None:
    """A box of 44 x 28 px at (100, 60) in cells of 8 px: centre (15.25, 9.25), size (5.5, 3.5)."""
    targets = make_targets([boxes(), boxes((100, 60, 44, 28, 1))], TASK)
    assert targets.heatmap.shape == (2, 2, 32, 40)
    # |dx| <= 5.5/4 and |dy| <= 1: three by three cells around the centre's.
    centre = (1 * 32 + 9) * 40 + 15
    assert targets.cells.tolist() == [centre + 40 * dy + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert targets.offset.tolist() == [[0.25 - dx, 0.25 - dy] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    torch.testing.assert_close(targets.log_size, torch.tensor([[math.log(5.5), math.log(3.5)]] * 9))
    assert targets.weights.sum().item() == pytest.approx(1.0)
    assert targets.weights.argmax() == 4
    assert (targets.weights[1] / targets.weights[4]).item() == pytest.approx(math.exp(-2))
    assert targets.heatmap[0].sum() == 0
    assert targets.heatmap[1, 0].sum() == 0
    assert targets.heatmap[1, 1, 9, 15] == 1.0
    radius = int(gaussian_radius(4, 6))
    deviation = (2 * radius + 1) / 6
    assert targets.heatmap[1, 1, 9, 16].item() == pytest.approx(math.exp(-1 / (2 * deviation**2)))
    assert (targets.heatmap[1, 1] > 0).sum() == (2 * radius + 1) ** 2


def test_decoding_the_targets_gives_the_boxes_back() -> None:
    table = boxes((10, 20, 60, 30, 0), (200, 100, 12, 40, 1), (280, 200, 24, 40, 0))
    targets = make_targets([table], TASK)
    flat = targets.cells
    offset, size = torch.zeros(1, 2, 32, 40), torch.zeros(1, 2, 32, 40)
    offset.view(2, -1)[:, flat] = targets.offset.T
    size.view(2, -1)[:, flat] = targets.log_size.T
    logits = torch.where(targets.heatmap == 1.0, 5.0, -9.0)
    outputs = {"heatmap": logits.numpy(), "offset": offset.numpy(), "size": size.numpy()}
    (found,) = decode_outputs(outputs, TASK)
    found = found.above(0.5)
    order = np.argsort(found.boxes[:, 0])
    np.testing.assert_allclose(found.boxes[order], np.stack([table[n] for n in "xywh"], 1), atol=1e-3)
    assert found.class_ids[order].tolist() == [0, 1, 0]


def test_overlapping_bells_keep_the_larger_value_and_borders_cut() -> None:
    one = make_targets([boxes((0, 0, 60, 60, 0))], TASK).heatmap
    two = make_targets([boxes((20, 0, 60, 60, 0))], TASK).heatmap
    both = make_targets([boxes((0, 0, 60, 60, 0), (20, 0, 60, 60, 0))], TASK).heatmap
    assert torch.equal(both, torch.maximum(one, two))
    outside = make_targets([boxes((-40, 230, 60, 60, 0), (400, 10, 20, 20, 1))], TASK)
    assert outside.cells.tolist() == [row * 40 + column for row in (28, 29, 30) for column in (0, 1, 2)]
    torch.testing.assert_close(outside.log_size.exp() * 8.0, torch.tensor([[20.0, 10.0]] * 9))


def test_radius_keeps_the_overlap_of_the_published_roots() -> None:
    """Values of CenterNet's gaussian_radius for boxes of 10x10, 20x40 and 1x1 cells."""
    for height, width in ((10, 10), (20, 40), (1, 1)):
        a, b, o = height + width, height * width, 0.7
        roots = [
            np.max(np.roots([1.0, -a, b * (1 - o) / (1 + o)])),
            (2 * a + math.sqrt(4 * a * a - 16 * (1 - o) * b)) / 2,
            (-2 * o * a + math.sqrt(4 * o * o * a * a + 16 * o * (1 - o) * b)) / 2,
        ]
        assert gaussian_radius(height, width) == pytest.approx(min(roots))


def test_focal_loss_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 6, generator=generator, dtype=torch.float64) * 3
    heatmap = torch.rand(2, 2, 5, 6, generator=generator, dtype=torch.float64) * 0.9
    heatmap[0, 1, 2, 3] = heatmap[1, 0, 0, 0] = 1.0
    p = 1.0 / (1.0 + np.exp(-logits.numpy()))
    y = heatmap.numpy()
    terms = np.where(y == 1.0, (1 - p) ** 2 * np.log(p), (1 - y) ** 4 * p**2 * np.log(1 - p))
    assert focal_loss(logits, heatmap).item() == pytest.approx(-terms.sum() / 2)
    empty = torch.zeros_like(heatmap)
    assert focal_loss(logits, empty).item() == pytest.approx(-(p**2 * np.log(1 - p)).sum())


def test_focal_loss_stays_finite_for_certain_networks() -> None:
    logits = torch.tensor([[[[80.0, -80.0]]]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([[[[0.0, 1.0]]]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_centre_l1_reads_the_centres_alone() -> None:
    values = torch.zeros(1, 2, 2, 3)
    values[0, :, 1, 2] = torch.tensor([0.5, 2.0])
    wanted = torch.tensor([[0.25, 1.0]])
    assert centre_l1(values, torch.tensor([5]), torch.ones(1), wanted).item() == pytest.approx(1.25 / 2, rel=1e-3)
    two = centre_l1(values, torch.tensor([5, 0]), torch.tensor([0.75, 0.25]), wanted.repeat(2, 1))
    assert two.item() == pytest.approx(1.25 / 2, rel=1e-3)
    none = centre_l1(values, torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 2))
    assert none.item() == 0.0


def test_loss_is_the_weighted_sum_of_the_time_mean() -> None:
    config = TrainingConfig(offset_weight=0.5, size_weight=0.25)
    targets = make_targets([boxes((100, 60, 44, 28, 1))], TASK)
    generator = torch.Generator().manual_seed(1)
    outputs = {name: torch.randn(3, 1, 2, 32, 40, generator=generator) for name in ("heatmap", "offset", "size")}
    losses = centernet_loss(outputs, targets, config)
    torch.testing.assert_close(losses.total, losses.heatmap + 0.5 * losses.offset + 0.25 * losses.size)
    averaged = {name: value.mean(0, keepdim=True) for name, value in outputs.items()}
    torch.testing.assert_close(centernet_loss(averaged, targets, config).total, losses.total)


def test_unknown_class_is_named() -> None:
    with pytest.raises(ConfigError, match=r"box of class 7: the task knows 0..1 \(car, pedestrian\)"):
        make_targets([boxes((10, 10, 40, 40, 7))], TASK)


def test_task_travels_as_json() -> None:
    import json

    task = DetectorTask(scale=1, grid=(256, 320), box_scale=2.0)
    assert DetectorTask.from_json(json.loads(json.dumps(task.to_json()))) == task
    values = task.to_json()
    with pytest.raises(ConfigError, match=r"unknown entries \['size'\] and lack \['steps'\]"):
        DetectorTask.from_json({"size": 3, **{name: value for name, value in values.items() if name != "steps"}})
    with pytest.raises(ConfigError, match="task steps is 'five'; a value of type int is needed"):
        DetectorTask.from_json({**values, "steps": "five"})
    with pytest.raises(ConfigError, match=r"task grid is \(64, 80\); at scale 2 it must hold the sensor"):
        DetectorTask(grid=(64, 80))
