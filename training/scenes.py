"""Traffic scenes: what stands and moves where, in front of a moving camera, drawn from one seed.

A pinhole camera at height `camera_m` sees a flat road: a thing of `s` px per metre stands on row horizon + s * camera_m,
and the camera's sideways motion shifts it by s * metres, its turning shifts everything alike. So nearer things are
larger, lower, faster, and hide what is farther away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.event_files import GEN1_SENSOR
from training.sprites import WALK_PHASES, Sprite, building, car_front, car_side, pedestrian, pole, tree

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

CAR, PEDESTRIAN, DISTRACTOR = 0, 1, 255
TEXTURE_WIDTH = 1024
TEXTURE_MARGIN = 12
"""Rows above and below the picture, so that the camera may bob."""

_EMPTY_SCENES = 0.10
_PARKED = 0.15
_CARS_IN_VIEW = 1.2
_PEDESTRIANS_IN_VIEW = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where the camera looks: horizon row, height in m, and its motion over the frames (F,): pan and bob px, side m."""

    horizon: float
    height_m: float
    pan: Doubles
    bob: Doubles
    side_m: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One car, pedestrian or distractor: picture, scale in px per m, and its rectangle (F,4) x, y, w, h per frame."""

    class_id: int
    sprite: Sprite
    scale: float
    boxes: Doubles
    phase: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Background texture (H + 2*margin, TEXTURE_WIDTH) in log intensity, camera, things from far to near."""

    texture: Floats
    camera: Camera
    things: tuple[Thing, ...]


def make_scene(rng: np.random.Generator, times_s: Doubles) -> Scene:
    """Draw a scene for frames at `times_s` (F,) in s; one in ten has neither cars nor pedestrians."""
    camera = _camera(rng, times_s)
    duration = float(times_s[-1])
    empty = rng.uniform() < _EMPTY_SCENES
    crowd = 1.0 + 0.35 * duration
    cars = 0 if empty else int(rng.poisson(_CARS_IN_VIEW * crowd))
    people = 0 if empty else int(rng.poisson(_PEDESTRIANS_IN_VIEW * crowd))
    things = [_car(rng, camera, times_s) for _ in range(cars)]
    things += [_pedestrian(rng, camera, times_s) for _ in range(people)]
    things += [_distractor(rng, camera, times_s) for _ in range(int(rng.integers(3, 8)))]
    things.sort(key=lambda thing: thing.scale)
    return Scene(texture=_background(rng, camera.horizon), camera=camera, things=tuple(things))


def _camera(rng: np.random.Generator, t: Doubles) -> Camera:
    sway, shake = rng.uniform(0.2, 0.7), rng.uniform(1.2, 3.0)
    turning = rng.choice([-1.0, 1.0]) * rng.uniform(5.0, 32.0)
    pan = turning * t + rng.uniform(1.0, 5.0) * np.sin(2 * np.pi * (sway * t + rng.uniform()))
    bob = rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * (shake * t + rng.uniform()))
    side = rng.normal(0.0, 0.4) * t
    return Camera(
        horizon=float(rng.uniform(88.0, 122.0)), height_m=float(rng.uniform(1.3, 2.1)), pan=pan, bob=bob, side_m=side
    )


def _place(
    rng: np.random.Generator,
    camera: Camera,
    t: Doubles,
    *,
    size_m: tuple[float, float],
    scale: float,
    speed_m: float,
    growth: float,
) -> Doubles:
    """Rectangles (F,4) of a thing that crosses a random column at a random moment; growth is in 1/s."""
    middle = rng.uniform(-0.3, t[-1] + 0.3)
    column = rng.uniform(-0.05, 1.05) * GEN1_SENSOR[1]
    elapsed = t - middle
    scales = scale * np.exp(np.clip(growth * elapsed, -0.7, 0.7))
    at_middle = [np.interp(middle, t, series) for series in (camera.pan, camera.side_m)]
    metres = speed_m * elapsed - (camera.side_m - at_middle[1])
    centre = column + (camera.pan - at_middle[0]) + metres * scales
    foot = camera.horizon + scales * camera.height_m + camera.bob
    width, height = size_m[0] * scales, size_m[1] * scales
    return np.stack([centre - width / 2, foot - height, width, height], axis=1)


def _picture_size(boxes: Doubles) -> tuple[int, int]:
    """Texels (height, width) of a thing's picture: its size in the middle of the scene, at least 12 x 6."""
    width, height = boxes[boxes.shape[0] // 2, 2:]
    return int(np.clip(round(height), 12, 200)), int(np.clip(round(width), 6, 260))


def _car(rng: np.random.Generator, camera: Camera, t: Doubles) -> Thing:
    width_px = float(np.clip(rng.lognormal(np.log(86.0), 0.55), 14.0, 210.0))
    parked = rng.uniform() < _PARKED
    side = rng.uniform() < 0.7
    faces_right = bool(rng.integers(2))
    if side:
        length, height = rng.uniform(3.6, 4.9) * rng.uniform(0.7, 1.0), rng.uniform(1.4, 1.75)
        speed = rng.lognormal(np.log(6.5), 0.5) * (1.0 if faces_right else -1.0)
        growth = rng.normal(0.0, 0.12)
    else:
        width_px *= 0.75
        length, height = rng.uniform(1.7, 1.95), rng.uniform(1.4, 1.65)
        speed, growth = rng.normal(0.0, 1.2), rng.normal(0.0, 0.35)
    if parked:
        speed = growth = 0.0
    scale = width_px / length
    boxes = _place(rng, camera, t, size_m=(length, height), scale=scale, speed_m=speed, growth=growth)
    rows, columns = _picture_size(boxes)
    sprite = car_side(rng, rows, columns, faces_right) if side else car_front(rng, rows, columns)
    return Thing(class_id=CAR, sprite=sprite, scale=scale, boxes=boxes, phase=np.zeros_like(t))


def _pedestrian(rng: np.random.Generator, camera: Camera, t: Doubles) -> Thing:
    height_px = float(np.clip(rng.lognormal(np.log(62.0), 0.42), 24.0, 180.0))
    height = rng.uniform(1.5, 1.9)
    width = height * rng.uniform(0.34, 0.46)
    faces_right = bool(rng.integers(2))
    speed = rng.uniform(0.5, 2.0) * (1.0 if faces_right else -1.0)
    scale = height_px / height
    boxes = _place(rng, camera, t, size_m=(width, height), scale=scale, speed_m=speed, growth=rng.normal(0.0, 0.08))
    rows, columns = _picture_size(boxes)
    phase = (rng.uniform() + t * rng.uniform(0.8, 1.2) * abs(speed) / 1.4) * WALK_PHASES
    return Thing(
        class_id=PEDESTRIAN,
        sprite=pedestrian(rng, rows, columns, faces_right),
        scale=scale,
        boxes=boxes,
        phase=phase % WALK_PHASES,
    )


def _distractor(rng: np.random.Generator, camera: Camera, t: Doubles) -> Thing:
    kind = rng.integers(3)
    if kind == 0:
        scale, size = rng.uniform(10.0, 45.0), (rng.uniform(0.3, 0.8), rng.uniform(2.2, 5.0))
    elif kind == 1:
        scale, size = rng.uniform(4.0, 14.0), (rng.uniform(4.0, 9.0), rng.uniform(2.5, 7.0))
    else:
        scale, size = rng.uniform(8.0, 25.0), (rng.uniform(1.5, 3.0), rng.uniform(2.5, 5.0))
    boxes = _place(rng, camera, t, size_m=size, scale=scale, speed_m=0.0, growth=0.0)
    rows, columns = _picture_size(boxes)
    draw = (pole, building, tree)[int(kind)]
    return Thing(class_id=DISTRACTOR, sprite=draw(rng, rows, columns), scale=scale, boxes=boxes, phase=np.zeros_like(t))


def _noise(rng: np.random.Generator, rows: int, columns: int, cell: tuple[int, int]) -> Doubles:
    """Smooth noise of unit deviation, periodic along the columns, with features of about `cell` (rows, columns) px."""
    grid = rng.normal(size=(-(-rows // cell[0]) + 1, columns // cell[1]))
    grid = np.concatenate([grid, grid[:, :1]], axis=1)
    row_at = np.arange(rows) / cell[0]
    column_at = np.arange(columns) / cell[1]
    r, c = row_at.astype(np.int64), np.minimum(column_at.astype(np.int64), grid.shape[1] - 2)
    fr, fc = (row_at - r)[:, None], (column_at - c)[None, :]
    upper = grid[r][:, c] * (1 - fc) + grid[r][:, c + 1] * fc
    lower = grid[r + 1][:, c] * (1 - fc) + grid[r + 1][:, c + 1] * fc
    smooth: Doubles = upper * (1 - fr) + lower * fr
    return smooth


def _background(rng: np.random.Generator, horizon: float) -> Floats:
    """Sky, skyline and textured road with lane marks, in log intensity."""
    rows = GEN1_SENSOR[0] + 2 * TEXTURE_MARGIN
    at_horizon = int(horizon) + TEXTURE_MARGIN
    texture = np.zeros((rows, TEXTURE_WIDTH))
    texture[:at_horizon] = 0.7 + 0.06 * _noise(rng, at_horizon, TEXTURE_WIDTH, (16, 32))
    for _ in range(int(rng.integers(4, 12))):
        left, width = int(rng.integers(TEXTURE_WIDTH)), int(rng.integers(30, 160))
        height = int(rng.integers(8, max(9, at_horizon - 20)))
        columns = np.arange(left, left + width) % TEXTURE_WIDTH
        wall = rng.uniform(0.0, 0.6)
        texture[at_horizon - height : at_horizon, columns] = wall
        pitch = int(rng.integers(10, 22))
        if rng.uniform() < 0.6:
            glass = wall + rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.3)
            for top in range(at_horizon - height + 4, at_horizon - 6, pitch):
                lit = columns[(np.arange(width) % pitch) > pitch * 0.55]
                texture[top : top + pitch // 2, lit] = glass
    hedge = int(rng.integers(2, 14))
    texture[at_horizon - hedge : at_horizon] = rng.uniform(-0.3, 0.2) + 0.15 * _noise(rng, hedge, TEXTURE_WIDTH, (4, 8))
    below = rows - at_horizon
    road = 0.08 * _noise(rng, below, TEXTURE_WIDTH, (3, 16)) + rng.uniform(0.04, 0.10) * _noise(
        rng, below, TEXTURE_WIDTH, (12, 64)
    )
    texture[at_horizon:] = rng.uniform(-0.1, 0.15) + road
    for _ in range(int(rng.integers(0, 4))):
        top = int(rng.integers(6, below - 10))
        period = int(rng.choice([64, 128, 256]))
        dashes = (np.arange(TEXTURE_WIDTH) % period) < period * rng.uniform(0.4, 1.1)
        texture[at_horizon + top : at_horizon + top + 1 + top // 30, dashes] += 0.45
    # One pass of smoothing stands for the lens; roll keeps the texture periodic.
    blurred = (np.roll(texture, 1, axis=1) + 2 * texture + np.roll(texture, -1, axis=1)) / 4
    blurred[1:-1] = (blurred[:-2] + 2 * blurred[1:-1] + blurred[2:]) / 4
    return blurred.astype(np.float32)
