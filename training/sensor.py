"""The event camera: renders a scene at 400 frames/s and turns changes of log intensity into events, in compiled loops.

Each pixel keeps the log intensity at its last event and fires while |L - L_ref| >= theta, theta ~ N(0.2, 0.025) per
pixel; times are interpolated between two frames. One thread, so the same scene gives the same events everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from training.event_files import EVENT_DTYPE, GEN1_SENSOR
from training.interrupts import deferred_interrupt
from training.scenes import TEXTURE_MARGIN, TEXTURE_WIDTH, Scene

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

FRAME_US = 2_500
REFRACTORY_US = 1_000
_THRESHOLD_MEAN, _THRESHOLD_DEVIATION, _THRESHOLD_LEAST = 0.2, 0.025, 0.1
_NOISE_HZ = (0.1, 1.0)
_HEIGHT, _WIDTH = GEN1_SENSOR


def _compiled(function: F) -> F:
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def record(scene: Scene, rng: np.random.Generator) -> Array:
    """Events (EVENT_DTYPE, sorted by t) of every frame of a scene, with noise of 0.1-1 Hz per pixel."""
    # A compiled loop that returns arrays makes them in Python; an exception raised there by Ctrl-C crashes numba.
    with deferred_interrupt() as stopped:
        events = _events(scene, rng)
    if stopped():
        raise KeyboardInterrupt
    return events


def _events(scene: Scene, rng: np.random.Generator) -> Array:
    thresholds = rng.normal(_THRESHOLD_MEAN, _THRESHOLD_DEVIATION, size=GEN1_SENSOR)
    thresholds = np.maximum(thresholds, _THRESHOLD_LEAST).astype(np.float32)
    camera, frames = scene.camera, scene.camera.pan.size
    # The texture is repeated by one picture width, so that rows are read without wrapping.
    texture = np.concatenate([scene.texture, scene.texture[:, : _WIDTH + 2]], axis=1)
    value, alpha, layout = _atlas(scene)
    boxes, phases = _geometry(scene)
    motion = np.stack([camera.pan, camera.bob, camera.side_m], axis=1)
    t, pixel, p = _simulate(
        texture, camera.horizon, camera.height_m, motion, value, alpha, layout, boxes, phases, thresholds
    )
    noise_t, noise_pixel, noise_p = _noise_events(rng, (frames - 1) * FRAME_US)
    t = np.concatenate([t, noise_t])
    order = np.argsort(t, kind="stable")
    t = t[order]
    pixel = np.concatenate([pixel, noise_pixel])[order]
    p = np.concatenate([p, noise_p])[order]
    kept = _refractory(t, pixel, _HEIGHT * _WIDTH)
    events = np.empty(int(kept.sum()), dtype=EVENT_DTYPE)
    events["t"], events["p"] = t[kept], p[kept]
    events["y"], events["x"] = np.divmod(pixel[kept], _WIDTH)
    return events


def visible_pixels(scene: Scene, frame: int) -> tuple[Array, Array]:
    """Pixels of each thing inside the picture, and those of them that nothing nearer hides: two (N,) int64."""
    _, alpha, layout = _atlas(scene)
    boxes, phases = _geometry(scene)
    owner = np.full(GEN1_SENSOR, -1, dtype=np.int64)
    inside = np.zeros(layout.shape[0], dtype=np.int64)
    for number in range(layout.shape[0]):
        coverage = np.zeros(GEN1_SENSOR, dtype=np.float32)
        _render_sprite(coverage, alpha, alpha, layout[number], boxes[frame, number], phases[frame, number])
        mask = coverage > 0.5
        owner[mask] = number
        inside[number] = np.count_nonzero(mask)
    return inside, np.bincount(owner[owner >= 0], minlength=layout.shape[0])


def _atlas(scene: Scene) -> tuple[Array, Array, Array]:
    """All pictures in one buffer: values, alphas (M,) float32, and per thing its offset, phases, rows, columns (N,4)."""
    sprites = [thing.sprite for thing in scene.things]
    layout = np.zeros((len(sprites), 4), dtype=np.int64)
    offset = 0
    for number, sprite in enumerate(sprites):
        layout[number] = (offset, *sprite.alpha.shape)
        offset += sprite.alpha.size
    value = np.concatenate([sprite.value.ravel() for sprite in sprites])
    alpha = np.concatenate([sprite.alpha.ravel() for sprite in sprites])
    return value, alpha, layout


def _geometry(scene: Scene) -> tuple[Array, Array]:
    """Rectangles (F,N,4) and walking phases (F,N) of all things."""
    boxes = np.ascontiguousarray(np.stack([thing.boxes for thing in scene.things], axis=1))
    phases = np.ascontiguousarray(np.stack([thing.phase for thing in scene.things], axis=1))
    return boxes, phases


def _noise_events(rng: np.random.Generator, duration_us: int) -> tuple[Array, Array, Array]:
    """Spontaneous events: a Poisson process per pixel at its own rate."""
    rates = rng.uniform(*_NOISE_HZ, size=_HEIGHT * _WIDTH)
    counts = rng.poisson(rates * (duration_us / 1e6))
    pixel = np.repeat(np.arange(_HEIGHT * _WIDTH, dtype=np.int32), counts)
    t = rng.integers(0, duration_us, size=pixel.size)
    p = rng.integers(0, 2, size=pixel.size, dtype=np.uint8)
    return t, pixel, p


@_compiled
def _refractory(t: Array, pixel: Array, pixels: int) -> Array:
    """Mask (N,) of the events that come at least REFRACTORY_US after the last kept one of their pixel."""
    last = np.full(pixels, -REFRACTORY_US, np.int64)
    kept = np.zeros(t.size, np.bool_)
    for i in range(t.size):
        if t[i] - last[pixel[i]] >= REFRACTORY_US:
            kept[i] = True
            last[pixel[i]] = t[i]
    return kept


@_compiled
def _render_background(
    picture: Array, texture: Array, horizon: float, height_m: float, pan: float, bob: float, side_m: float
) -> None:
    rows, columns = picture.shape
    one = np.float32(1.0)
    for y in range(rows):
        source = min(max(y - bob + TEXTURE_MARGIN, 0.0), texture.shape[0] - 2.0)
        upper = int(np.floor(source))
        down = np.float32(source - upper)
        # Rows of the road are nearer the lower they lie, and move by as much more when the camera moves sideways.
        near = max(0.0, source - TEXTURE_MARGIN - horizon) / height_m
        shift = (near * side_m - pan) % TEXTURE_WIDTH
        first = int(np.floor(shift))
        if first >= TEXTURE_WIDTH:
            first = 0
        right = np.float32(shift - np.floor(shift))
        a, b = (one - down) * (one - right), (one - down) * right
        c, d = down * (one - right), down * right
        above, below = texture[upper, first : first + columns + 1], texture[upper + 1, first : first + columns + 1]
        for x in range(columns):
            picture[y, x] = a * above[x] + b * above[x + 1] + c * below[x] + d * below[x + 1]


@_compiled
def _render_sprite(picture: Array, value: Array, alpha: Array, layout: Array, box: Array, phase: float) -> None:
    """Draw one thing over the picture; its texels are interpolated in space, and between two walking phases."""
    rows, columns = picture.shape
    offset, phases, high, wide = layout[0], layout[1], layout[2], layout[3]
    left, top, width, height = box[0], box[1], box[2], box[3]
    # The sprite's one-pixel border lies outside the box.
    per_x, per_y = (wide - 2) / width, (high - 2) / height
    x0, x1 = max(0, int(np.floor(left - 1.0))), min(columns, int(np.ceil(left + width + 1.0)))
    y0, y1 = max(0, int(np.floor(top - 1.0))), min(rows, int(np.ceil(top + height + 1.0)))
    one = np.float32(1.0)
    now = int(phase) % phases
    after = (now + 1) % phases
    blend = np.float32(phase - np.floor(phase))
    size = high * wide
    for y in range(y0, y1):
        v = (y + 0.5 - top) * per_y + 0.5
        if v < 0.0 or v >= high - 1:
            continue
        row = int(v)
        down = np.float32(v - row)
        for x in range(x0, x1):
            u = (x + 0.5 - left) * per_x + 0.5
            if u < 0.0 or u >= wide - 1:
                continue
            column = int(u)
            right = np.float32(u - column)
            a, b = (one - down) * (one - right), (one - down) * right
            c, d = down * (one - right), down * right
            i = offset + now * size + row * wide + column
            covered = a * alpha[i] + b * alpha[i + 1] + c * alpha[i + wide] + d * alpha[i + wide + 1]
            colour = a * value[i] + b * value[i + 1] + c * value[i + wide] + d * value[i + wide + 1]
            if phases > 1:
                j = offset + after * size + row * wide + column
                next_covered = a * alpha[j] + b * alpha[j + 1] + c * alpha[j + wide] + d * alpha[j + wide + 1]
                next_colour = a * value[j] + b * value[j + 1] + c * value[j + wide] + d * value[j + wide + 1]
                covered += blend * (next_covered - covered)
                colour += blend * (next_colour - colour)
            picture[y, x] = picture[y, x] * (one - covered) + colour


@_compiled
def _over_threshold(light: Array, reference: Array, threshold: Array, candidates: Array) -> int:
    """Fill `candidates` with the pixels that fire and return how many; without a branch, since few do."""
    count = 0
    for i in range(light.size):
        candidates[count] = i
        count += abs(light[i] - reference[i]) >= threshold[i]
    return count


@_compiled
def _simulate(
    texture: Array,
    horizon: float,
    height_m: float,
    motion: Array,
    value: Array,
    alpha: Array,
    layout: Array,
    boxes: Array,
    phases: Array,
    thresholds: Array,
) -> tuple[Array, Array, Array]:
    """Render all frames and collect the crossings: times us (N,), pixel numbers (N,), polarities (N,), by frame."""
    rows, columns = thresholds.shape
    pixels = rows * columns
    frames = motion.shape[0]
    threshold = thresholds.ravel()
    capacity, count = 1 << 16, 0
    t, pixel, p = np.empty(capacity, np.int64), np.empty(capacity, np.int32), np.empty(capacity, np.uint8)
    picture, before = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    reference = np.empty(pixels, np.float32)
    candidates = np.empty(pixels + 1, np.int32)
    for frame in range(frames):
        before, picture = picture, before
        _render_background(picture, texture, horizon, height_m, motion[frame, 0], motion[frame, 1], motion[frame, 2])
        for number in range(layout.shape[0]):
            _render_sprite(picture, value, alpha, layout[number], boxes[frame, number], phases[frame, number])
        light, old = picture.ravel(), before.ravel()
        if frame == 0:
            reference[:] = light
            continue
        start = (frame - 1) * FRAME_US
        for n in range(_over_threshold(light, reference, threshold, candidates)):
            i = candidates[n]
            change, step = light[i] - reference[i], threshold[i]
            crossings = int(abs(change) / step)
            if count + crossings > capacity:
                t = np.concatenate((t, np.empty(capacity, np.int64)))
                pixel = np.concatenate((pixel, np.empty(capacity, np.int32)))
                p = np.concatenate((p, np.empty(capacity, np.uint8)))
                capacity *= 2
            signed = step if change > 0 else -step
            slope = light[i] - old[i]
            for _ in range(crossings):
                reference[i] += signed
                # A crossing left over from rounding in the frame before would lie before its start: it is now.
                share = (reference[i] - old[i]) / slope if slope != 0 else np.float32(0.0)
                share = min(max(share, np.float32(0.0)), np.float32(0.999))
                t[count] = start + int(share * FRAME_US)
                pixel[count] = i
                p[count] = 1 if change > 0 else 0
                count += 1
    return t[:count], pixel[:count], p[:count]
