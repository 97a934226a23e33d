"""Pictures of cars, pedestrians and street furniture in log intensity, drawn from a random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

WALK_PHASES = 12
_SUPERSAMPLE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """A picture with phases: alpha and alpha * log intensity, both (K,h+2,w+2) with a transparent border."""

    value: Floats
    alpha: Floats


class _Canvas:
    """Supersampled canvas; u runs left to right and v top to bottom, both in units of the picture's height."""

    def __init__(self, height: int, width: int) -> None:
        rows, columns = height * _SUPERSAMPLE, width * _SUPERSAMPLE
        self.aspect = width / height
        self.v = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
        self.u = ((np.arange(columns, dtype=np.float32) + 0.5) / columns * self.aspect)[None, :]
        self.value = np.zeros((rows, columns), dtype=np.float32)
        self.alpha = np.zeros((rows, columns), dtype=np.float32)

    def paint(self, mask: Mask, value: float | Floats, cover: float = 1.0) -> None:
        mask = np.broadcast_to(mask, self.value.shape)
        old_alpha = self.alpha[mask]
        new = np.broadcast_to(np.asarray(value, dtype=np.float32), self.value.shape)[mask]
        mixed = new * cover + self.value[mask] * (1.0 - cover)
        self.value[mask] = np.where(old_alpha > 0, mixed, new)
        self.alpha[mask] = np.maximum(old_alpha, cover)

    def rectangle(self, u0: float, v0: float, u1: float, v1: float) -> Mask:
        mask: Mask = (self.u >= u0) & (self.u < u1) & (self.v >= v0) & (self.v < v1)
        return mask

    def ellipse(self, u: float, v: float, ru: float, rv: float) -> Mask:
        mask: Mask = ((self.u - u) / ru) ** 2 + ((self.v - v) / rv) ** 2 <= 1.0
        return mask

    def limb(self, u0: float, v0: float, u1: float, v1: float, radius: float) -> Mask:
        du, dv = u1 - u0, v1 - v0
        along = ((self.u - u0) * du + (self.v - v0) * dv) / (du * du + dv * dv + 1e-9)
        along = np.clip(along, 0.0, 1.0)
        mask: Mask = (self.u - u0 - along * du) ** 2 + (self.v - v0 - along * dv) ** 2 <= radius * radius
        return mask

    def under(self, knots_u: list[float], knots_v: list[float], bottom: float) -> Mask:
        top = np.interp(self.u[0] / self.aspect, knots_u, knots_v).astype(np.float32)[None, :]
        mask: Mask = (self.v >= top) & (self.v <= bottom)
        return mask

    def layers(self, flip: bool) -> tuple[Floats, Floats]:
        """Average the samples of each pixel: (premultiplied value, alpha), each with a one-pixel border."""
        rows, columns = self.value.shape
        blocks = (rows // _SUPERSAMPLE, _SUPERSAMPLE, columns // _SUPERSAMPLE, _SUPERSAMPLE)
        alpha = self.alpha.reshape(blocks).mean(axis=(1, 3))
        value = (self.value * self.alpha).reshape(blocks).mean(axis=(1, 3))
        if flip:
            alpha, value = alpha[:, ::-1], value[:, ::-1]
        return np.pad(value, 1).astype(np.float32), np.pad(alpha, 1).astype(np.float32)


def _sprite(canvases: list[_Canvas], flip: bool = False) -> Sprite:
    layers = [canvas.layers(flip) for canvas in canvases]
    return Sprite(value=np.stack([value for value, _ in layers]), alpha=np.stack([alpha for _, alpha in layers]))


def _paint_colour(rng: np.random.Generator) -> float:
    """Log intensity of a lacquer or a cloth, away from the road's own so that it can be seen."""
    return float(rng.choice([rng.uniform(-1.5, -0.75), rng.uniform(0.3, 1.1)]))


def car_side(rng: np.random.Generator, height: int, width: int, faces_right: bool) -> Sprite:
    """A saloon, hatchback or van from the side: body, cabin, windows, wheels, lights, shadow."""
    canvas = _Canvas(height, width)
    a = canvas.aspect
    colour = _paint_colour(rng)
    kind = rng.integers(3)
    hood = rng.uniform(0.34, 0.42)
    if kind == 0:
        knots_u = [0.0, 0.03, 0.16, 0.31, 0.58, 0.74, 0.96, 1.0]
        knots_v = [0.55, hood, hood - 0.03, 0.03, 0.02, hood - 0.02, hood + 0.08, 0.62]
    elif kind == 1:
        knots_u = [0.0, 0.02, 0.10, 0.24, 0.55, 0.73, 0.96, 1.0]
        knots_v = [0.50, hood - 0.05, 0.06, 0.01, 0.02, hood, hood + 0.08, 0.62]
    else:
        knots_u = [0.0, 0.01, 0.04, 0.10, 0.72, 0.86, 0.98, 1.0]
        knots_v = [0.40, 0.12, 0.02, 0.01, 0.02, 0.30, 0.40, 0.60]
    canvas.paint(canvas.ellipse(0.5 * a, 0.97, 0.49 * a, 0.035), -1.6, 0.8)
    body = canvas.under(knots_u, knots_v, 0.86)
    shade = (0.25 - 0.55 * canvas.v) * np.ones_like(canvas.u)
    canvas.paint(body, (colour + shade).astype(np.float32))
    # The glass is the same outline, shrunk, above the belt line.
    glass_top = [v + 0.09 for v in knots_v]
    glass = canvas.under(knots_u, glass_top, hood + 0.03)
    glass_colour = rng.uniform(-1.7, -1.0) if colour > -0.4 else rng.uniform(-0.3, 0.6)
    canvas.paint(glass, glass_colour)
    for pillar in (rng.uniform(0.40, 0.48), rng.uniform(0.24, 0.30)):
        canvas.paint(glass & (np.abs(canvas.u / a - pillar) < 0.012), colour)
    for door in (0.28, 0.47, 0.66):
        canvas.paint(body & (np.abs(canvas.u / a - door) < 0.006) & (canvas.v > hood), colour - 0.5)
    canvas.paint(body & (canvas.v > 0.78), colour - 0.7)
    canvas.paint(canvas.rectangle(0.945 * a, 0.50, 0.995 * a, 0.60), 1.4)
    canvas.paint(canvas.rectangle(0.005 * a, 0.50, 0.04 * a, 0.60), -0.2)
    radius = rng.uniform(0.16, 0.20)
    for wheel in (rng.uniform(0.17, 0.21), rng.uniform(0.78, 0.82)):
        canvas.paint(canvas.ellipse(wheel * a, 1.0 - radius, radius, radius), -1.9)
        canvas.paint(canvas.ellipse(wheel * a, 1.0 - radius, 0.55 * radius, 0.55 * radius), rng.uniform(-0.3, 0.8))
    return _sprite([canvas], flip=not faces_right)


def car_front(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A car seen from the front or the rear: body, screen, lights, plate, wheels, shadow."""
    canvas = _Canvas(height, width)
    a = canvas.aspect
    colour = _paint_colour(rng)
    rear = bool(rng.integers(2))
    belt = rng.uniform(0.36, 0.44)
    canvas.paint(canvas.ellipse(0.5 * a, 0.97, 0.47 * a, 0.035), -1.7, 0.8)
    for side in (0.12, 0.88):
        canvas.paint(canvas.rectangle((side - 0.08) * a, 0.70, (side + 0.08) * a, 1.0), -1.9)
    knots_u = [0.0, 0.03, 0.12, 0.22, 0.30, 0.70, 0.78, 0.88, 0.97, 1.0]
    knots_v = [0.62, belt + 0.05, belt, 0.06, 0.01, 0.01, 0.06, belt, belt + 0.05, 0.62]
    body = canvas.under(knots_u, knots_v, 0.87)
    canvas.paint(body, (colour + 0.2 - 0.5 * canvas.v + 0 * canvas.u).astype(np.float32))
    screen = rng.uniform(-1.7, -1.0) if colour > -0.4 else rng.uniform(-0.3, 0.6)
    canvas.paint(canvas.under(knots_u, [v + 0.08 for v in knots_v], belt), screen)
    light = -0.1 if rear else 1.5
    for side in (0.13, 0.87):
        canvas.paint(canvas.ellipse(side * a, belt + 0.14, 0.09 * a, 0.06), light)
    canvas.paint(canvas.rectangle(0.36 * a, 0.66, 0.64 * a, 0.75), 1.0 if colour < 0.3 else -0.6)
    canvas.paint(canvas.rectangle(0.06 * a, 0.79, 0.94 * a, 0.87), colour - 0.8)
    return _sprite([canvas])


def pedestrian(rng: np.random.Generator, height: int, width: int, faces_right: bool) -> Sprite:
    """A walking person in WALK_PHASES phases of one stride: head, coat, swinging arms and legs."""
    top, trousers = _paint_colour(rng), _paint_colour(rng)
    skin, hair = rng.uniform(0.0, 0.6), rng.uniform(-1.6, -0.4)
    half = 0.5 * width / height
    swing = min(rng.uniform(0.07, 0.18), half - 0.05)
    shoulders = rng.uniform(0.085, 0.125)
    leg, arm = rng.uniform(0.040, 0.055), rng.uniform(0.028, 0.040)
    hem = rng.uniform(0.48, 0.62)
    bag = rng.uniform() < 0.3
    canvases = []
    for step in range(WALK_PHASES):
        canvas = _Canvas(height, width)
        phase = 2.0 * np.pi * step / WALK_PHASES
        stride = float(np.sin(phase))
        for side in (-1.0, 1.0):
            lift = 0.05 * max(0.0, side * float(np.cos(phase)))
            foot = half + side * stride * swing
            knee = half + 0.5 * side * stride * swing + 0.03 * max(0.0, side * float(np.cos(phase)))
            canvas.paint(canvas.limb(half, hem - 0.04, knee, 0.73, leg), trousers - 0.15 * (side < 0))
            canvas.paint(canvas.limb(knee, 0.73, foot, 0.96 - lift, 0.85 * leg), trousers - 0.15 * (side < 0))
            canvas.paint(canvas.limb(foot - 0.01, 0.975 - lift, foot + 0.045, 0.98 - lift, 0.022), -1.5)
        canvas.paint(canvas.limb(half, 0.22, half - stride * 0.7 * swing, 0.50, arm), top - 0.2)
        torso = canvas.limb(half, 0.17 + shoulders * 0.6, half, hem - shoulders * 0.6, shoulders)
        canvas.paint(torso, (top + 0.15 - 0.3 * canvas.v + 0 * canvas.u).astype(np.float32))
        canvas.paint(canvas.limb(half, 0.22, half + stride * 0.7 * swing, 0.50, arm), top + 0.25)
        canvas.paint(canvas.ellipse(half + 0.01, 0.075, 0.055, 0.072), skin)
        canvas.paint(canvas.ellipse(half - 0.005, 0.045, 0.058, 0.045), hair)
        if bag:
            canvas.paint(canvas.ellipse(half - 0.9 * shoulders, 0.32, 0.05, 0.11), trousers + 0.4)
        canvases.append(canvas)
    return _sprite(canvases, flip=not faces_right)


def pole(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A lamp post or traffic sign."""
    canvas = _Canvas(height, width)
    a = canvas.aspect
    colour = float(rng.choice([rng.uniform(-1.3, -0.6), rng.uniform(0.3, 0.7)]))
    thickness = max(0.008, min(0.02, 0.2 * a))
    canvas.paint(canvas.rectangle(0.5 * a - thickness, 0.0, 0.5 * a + thickness, 1.0), colour)
    if rng.uniform() < 0.6:
        canvas.paint(canvas.ellipse(0.5 * a, 0.5 * a, 0.48 * a, 0.48 * a), _paint_colour(rng))
        canvas.paint(canvas.ellipse(0.5 * a, 0.5 * a, 0.3 * a, 0.3 * a), rng.uniform(-0.5, 0.9))
    else:
        canvas.paint(canvas.rectangle(0.0, 0.0, a, 0.04), colour)
    return _sprite([canvas])


def building(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A house or a wall with rows of windows."""
    canvas = _Canvas(height, width)
    a = canvas.aspect
    colour = rng.uniform(-0.7, 0.5)
    canvas.paint(canvas.rectangle(0.0, 0.0, a, 1.0), colour)
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    glass = colour + rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.6)
    for row in range(rows):
        for column in range(columns):
            u, v = a * (column + 0.25) / columns, (row + 0.25) / rows
            canvas.paint(canvas.rectangle(u, v, u + 0.5 * a / columns, v + 0.45 / rows), glass)
    return _sprite([canvas])


def tree(rng: np.random.Generator, height: int, width: int) -> Sprite:
    """A trunk below a crown of blobs."""
    canvas = _Canvas(height, width)
    a = canvas.aspect
    canvas.paint(canvas.rectangle(0.47 * a, 0.5, 0.53 * a, 1.0), -1.0)
    for _ in range(9):
        u, v = rng.uniform(0.25, 0.75) * a, rng.uniform(0.15, 0.5)
        size = rng.uniform(0.12, 0.22)
        canvas.paint(canvas.ellipse(u, v, min(size, 0.25 * a), min(size, 0.14)), rng.uniform(-0.9, -0.2))
    return _sprite([canvas])
