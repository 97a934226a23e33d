"""Pictures of what the network saw, with its detections and the truth, for the page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netx_export.errors import ProfileError

_BACKGROUND = (24, 28, 36)
_ON = (120, 200, 255)
_OFF = (255, 150, 90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box in pixels of the picture: x, y of the top left corner, w, h; `score` for a detection, None for a truth."""

    x: float
    y: float
    w: float
    h: float
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture (H,W,3) uint8 with boxes. ProfileError for any other array."""

    title: str
    picture: npt.NDArray[np.uint8]
    detections: tuple[Box, ...] = ()
    truth: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        picture = np.asarray(self.picture)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise ProfileError(
                f"Frame {self.title!r} has a picture of shape {picture.shape} and type {picture.dtype}; "
                "give (H,W,3) uint8, or use picture_of_events for event bins (C,H,W)."
            )


def picture_of_events(bins: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """(H,W,3) uint8 from event bins (C,H,W) or (T,C,H,W), polarity in the lowest bit of the channel (OFF even, ON odd).

    Later bins are brighter. ProfileError for other shapes.
    """
    array = np.asarray(bins)
    if array.ndim == 4:
        array = array.reshape(-1, *array.shape[2:])
    if array.ndim != 3 or array.shape[0] % 2:
        raise ProfileError(
            f"Event bins have shape {np.asarray(bins).shape}; give (C,H,W) or (T,C,H,W) with two polarities per bin."
        )
    picture = np.empty((*array.shape[1:], 3), np.uint8)
    picture[:] = _BACKGROUND
    slots = array.shape[0] // 2
    for channel, layer in enumerate(array):
        colour = np.array(_ON if channel % 2 else _OFF, np.float64)
        strength = 0.35 + 0.65 * (channel // 2 + 1) / slots
        picture[layer != 0] = (np.array(_BACKGROUND) + strength * (colour - _BACKGROUND)).astype(np.uint8)
    return picture
