"""Event windows as the detectors see them: binary voxel cubes (T, C, H, W) and the boxes at their end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import ConfigError, RecordingError
from training.event_files import BOX_DTYPE, read_boxes, read_dat, read_times

if TYPE_CHECKING:
    from training.recordings import Recording

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binning:
    """How events become a cube: `steps` steps of `step_us` us, `micro_bins` per step, on a grid (H, W).

    Event coordinates are divided by `scale` (whole numbers); `grid` may be larger than the scaled sensor (padding at
    the bottom and the right is zero).
    """

    steps: int = 5
    step_us: int = 20_000
    micro_bins: int = 2
    grid: tuple[int, int] = (256, 320)
    scale: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "step_us", "micro_bins", "scale"):
            if getattr(self, name) < 1:
                raise ConfigError(f"binning: {name} = {getattr(self, name)}; it must be at least 1")
        if min(self.grid) < 1:
            raise ConfigError(f"binning: grid = {self.grid}; both sides must be at least 1")
        if self.step_us % self.micro_bins:
            raise ConfigError(
                f"binning: step_us = {self.step_us} is no multiple of micro_bins = {self.micro_bins}; choose one that is"
            )

    @property
    def window_us(self) -> int:
        """Length of a window in us: steps * step_us."""
        return self.steps * self.step_us

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of a cube, C = 2 * micro_bins."""
        return (self.steps, 2 * self.micro_bins, *self.grid)


TINY_BINNING = Binning(grid=(128, 160), scale=2)
"""Half resolution, 120x152, padded to multiples of 32."""


def bin_window(events: Array, t_end_us: int, binning: Binning) -> npt.NDArray[np.uint8]:
    """Bin events in [t_end - steps*step_us, t_end) us into a binary cube uint8 (T, C, H, W).

    cube[t, 2*m + p, y // scale, x // scale] = 1 where at least one event of polarity p fell into micro bin m of step
    t; bins are counted from the start of the window, not from its first event. Raises RecordingError for an event
    beyond the grid. Source: Spiking CenterNet, input encoding.
    """
    start = t_end_us - binning.window_us
    first, last = np.searchsorted(events["t"], [start, t_end_us], side="left")
    window = events[first:last]
    height, width = binning.grid
    y = window["y"].astype(np.int64) // binning.scale
    x = window["x"].astype(np.int64) // binning.scale
    outside = np.flatnonzero((x < 0) | (y < 0) | (x >= width) | (y >= height))
    if outside.size:
        event = window[outside[0]]
        raise RecordingError(
            f"event {int(first) + int(outside[0])} at x = {event['x']}, y = {event['y']} lies outside the grid "
            f"{height} x {width} (H x W) at scale {binning.scale}; choose a larger grid or scale"
        )
    elapsed = window["t"] - start
    step = elapsed // binning.step_us
    micro = (elapsed % binning.step_us) // (binning.step_us // binning.micro_bins)
    cube = np.zeros(binning.shape, dtype=np.uint8)
    cube[step, 2 * micro + window["p"], y, x] = 1
    return cube


def followed_by_silence(cubes: npt.NDArray[np.uint8], after: int) -> npt.NDArray[np.uint8]:
    """Windows (T,B,C,H,W) and `after` empty steps, (T+after,B,C,H,W), for networks that answer later than they look."""
    if not after:
        return cubes
    return np.concatenate([cubes, np.zeros((after, *cubes.shape[1:]), np.uint8)])


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowKey:
    """One entry of the index: which recording, and the moment in us at which the window ends."""

    recording: int
    t_end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A cube uint8 (T, C, H, W) and the boxes (BOX_DTYPE, sensor pixels) at its end; boxes may be none."""

    name: str
    t_end_us: int
    cube: npt.NDArray[np.uint8]
    boxes: Array


class WindowSet:
    """The annotated windows of a folder of GEN1 pairs, or of recordings in memory, by number.

    The index holds one (recording, time) pair per annotated moment; events are read when a window is asked for, and
    those of the last recording stay. Moments come from `<name>_times.npy` where it exists, so that windows without any
    box count; a plain GEN1 pair has the moments at which it has boxes. Windows that would start before the recording
    are kept, their left part empty.
    """

    def __init__(self, source: str | Path | Iterable[Recording], binning: Binning = TINY_BINNING) -> None:
        self.binning = binning
        self._events: tuple[int, Array] | None = None
        self._decoded: dict[int, int] = {}
        self._paths: list[Path] = []
        self._recordings: list[Recording] = []
        times: list[npt.NDArray[np.int64]] = []
        self.boxes: list[Array] = []
        if isinstance(source, (str, Path)):
            if not Path(source).is_dir():
                raise RecordingError(f"{source}: no such folder; give a folder of *_td.dat recordings")
            self._paths = sorted(Path(source).glob("*_td.dat"))
            if not self._paths:
                raise RecordingError(f"{source}: no *_td.dat in this folder; write recordings there first")
            self.names = [path.name.removesuffix("_td.dat") for path in self._paths]
            for path in self._paths:
                boxes, moments = read_annotations(path)
                times.append(moments)
                self.boxes.append(boxes)
        else:
            self._recordings = list(source)
            self.names = [f"seed{recording.seed}" for recording in self._recordings]
            times = [recording.annotation_times for recording in self._recordings]
            self.boxes = [recording.boxes for recording in self._recordings]
        self.index: list[WindowKey] = [
            WindowKey(recording=number, t_end_us=int(t)) for number, moments in enumerate(times) for t in moments
        ]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Window:
        key = self.index[number]
        return Window(
            name=self.names[key.recording],
            t_end_us=key.t_end_us,
            cube=bin_window(self.events(key.recording), key.t_end_us, self.binning),
            boxes=self.boxes_at(key),
        )

    def __iter__(self) -> Iterator[Window]:
        return (self[number] for number in range(len(self)))

    def events(self, recording: int) -> Array:
        """Events of one recording, EVENT_DTYPE (N,)."""
        if self._recordings:
            return self._recordings[recording].events
        if self._events is None or self._events[0] != recording:
            self._events = (recording, read_dat(self._paths[recording]))
            self._decoded[recording] = self._events[1].size
        return self._events[1]

    @property
    def decoded_events(self) -> int:
        """Events in all files that were read so far."""
        return sum(self._decoded.values())

    def boxes_at(self, key: WindowKey) -> Array:
        """Boxes of one annotated moment, BOX_DTYPE (N,); of several with one track the last counts."""
        return boxes_at(self.boxes[key.recording], key.t_end_us)


def boxes_at(boxes: Array, t_us: int) -> Array:
    """Those of a recording's boxes, BOX_DTYPE (N,), that stand at one moment; of several with one track the last counts."""
    first, last = np.searchsorted(boxes["t"], [t_us, t_us + 1])
    here = boxes[first:last]
    _, newest = np.unique(here["track_id"][::-1], return_index=True)
    chosen: Array = here[np.sort(here.size - 1 - newest)]
    return chosen if chosen.size else np.zeros(0, dtype=BOX_DTYPE)


def read_annotations(path: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    """Boxes (BOX_DTYPE) and annotated moments in us beside the recording `<name>_td.dat`.

    RecordingError for files that are missing or broken, and for a box at no annotated moment.
    """
    boxes = read_boxes(_sibling(path, "_bbox.npy"))
    clock = _sibling(path, "_times.npy")
    moments = read_times(clock) if clock.exists() else np.unique(boxes["t"])
    stray = np.flatnonzero(~np.isin(boxes["t"], moments))
    if stray.size:
        raise RecordingError(
            f"{path.name.removesuffix('_td.dat')}: box {stray[0]} has time {boxes['t'][stray[0]]} us, which is no "
            "annotated moment; add it to the times or drop the box"
        )
    return boxes, moments


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix("_td.dat") + suffix)
