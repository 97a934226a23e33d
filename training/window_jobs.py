"""A data set as jobs for `lava_runtime.chunks`: a few windows each, found and read where they are computed.

Recordings are generated, GEN1 pairs with boxes, or plain event files (`*.dat`, `*.raw`) cut into windows. A file is
checked once as a whole (`index_events`); one that cannot be trusted is named in `DataSet.unreadable` and left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from netx_export.errors import ConfigError, RecordingError
from training.config import DetectorTask
from training.event_files import BOX_DTYPE
from training.event_pieces import EventIndex, Piece, index_events, pieces_between, read_piece
from training.recordings import count_moments, generate_recording
from training.sources import ANNOTATION_HZ, RECORDING_S, UNSEEN_SEED
from training.window_results import JudgedWindow, results_text
from training.windows import (
    Binning,
    Window,
    WindowSet,
    bin_window,
    boxes_at,
    followed_by_silence,
    read_annotations,
)

Array = npt.NDArray[Any]

JOB_WINDOWS = 16
"""Windows of one job: as many as the compiled engine computes together."""

_NO_BOXES = np.zeros(0, BOX_DTYPE)
_PATTERNS = ("*.dat", "*.raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedWindows:
    """The first `count` windows of a generated recording."""

    seed: int
    count: int

    @property
    def identity(self) -> list[Any]:
        """What decides the windows, for a hash."""
        return ["generated", self.seed, self.count, RECORDING_S, ANNOTATION_HZ]

    def windows(self, binning: Binning) -> tuple[Window, ...]:
        """Generate the recording and cut its windows."""
        recording = generate_recording(self.seed, duration_s=RECORDING_S, annotation_hz=ANNOTATION_HZ)
        whole = WindowSet([recording], binning)
        return tuple(whole[number] for number in range(self.count))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileWindows:
    """Windows of a recording on disk that end at `ends_us`, and the pieces of the file that hold their events."""

    path: Path
    encoding: str
    pieces: tuple[Piece, ...]
    ends_us: tuple[int, ...]
    boxes: tuple[Array, ...]

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.ends_us)

    @property
    def identity(self) -> list[Any]:
        """What decides the windows, for a hash: bytes and times, not where the file lies."""
        pieces = [[piece.digest, *piece.state] for piece in self.pieces]
        return ["file", _name(self.path), self.encoding, pieces, self.ends_us, [b.tobytes().hex() for b in self.boxes]]

    def windows(self, binning: Binning) -> tuple[Window, ...]:
        """Decode piece after piece and bin each event into the windows that it belongs to."""
        cubes = [np.zeros(binning.shape, np.uint8) for _ in self.ends_us]
        for piece in self.pieces:
            events = read_piece(self.path, self.encoding, piece)
            for cube, end in zip(cubes, self.ends_us, strict=True):
                if piece.first_us < end and piece.last_us >= end - binning.window_us:
                    cube |= bin_window(events, end, binning)
        return tuple(
            Window(name=_name(self.path), t_end_us=end, cube=cube, boxes=boxes)
            for end, cube, boxes in zip(self.ends_us, cubes, self.boxes, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowJob:
    """Some windows of one recording, the silent steps `after` each, and how their outputs become boxes."""

    recording: str
    task: DetectorTask
    source: GeneratedWindows | FileWindows
    after: int = 0

    @property
    def samples(self) -> int:
        """How many windows it holds."""
        return self.source.count

    @property
    def digest(self) -> str:
        """A hash of everything that decides windows and boxes."""
        return hashlib.sha256(json.dumps([self.task.to_json(), self.after, self.source.identity]).encode()).hexdigest()

    def load(self) -> tuple[npt.NDArray[np.uint8], tuple[Window, ...]]:
        """The cubes with the silence behind them, (T+after,B,C,H,W), and their windows."""
        windows = self.source.windows(self.task.binning())
        return followed_by_silence(np.stack([window.cube for window in windows], axis=1), self.after), windows

    def result(self, notes: Sequence[Window], values: Mapping[str, Array]) -> str:
        """Windows and detections as text; `training.window_results` reads it."""
        # Imported here: planning a data set needs no decoding.
        from training.scoring import decode_outputs

        return results_text(
            [
                JudgedWindow(name=w.name, t_end_us=w.t_end_us, boxes=w.boxes, detections=found)
                for w, found in zip(notes, decode_outputs(values, self.task), strict=True)
            ]
        )


@dataclass(slots=True, kw_only=True)
class DataSet:
    """Recordings to run: their jobs are planned one recording at a time, as they are asked for.

    `labelled`: boxes are known and can be scored. `after` silent steps follow each window. `events` counts the events of
    the files that were planned, None for generated recordings; `unreadable` names the recordings left out, and why.
    """

    task: DetectorTask
    origin: str
    labelled: bool
    limit: int | None
    paths: tuple[Path, ...] | None
    seed: int = UNSEEN_SEED
    after: int = 0
    events: int | None = None
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> list[Any]:
        """Which data set this is, so that an interrupted run is not continued with another."""
        return ["generated", self.seed] if self.paths is None else [str(path.resolve()) for path in self.paths]

    def jobs(self) -> Iterator[WindowJob]:
        """The jobs in the order of the data set, until `limit` windows are planned."""
        planned = 0
        for job in self._all_jobs():
            if self.limit is not None and planned + job.samples >= self.limit:
                yield _first(job, self.limit - planned)
                return
            planned += job.samples
            yield job

    def _all_jobs(self) -> Iterator[WindowJob]:
        if self.paths is None:
            seed = self.seed
            while True:
                count = count_moments(seed, duration_s=RECORDING_S, annotation_hz=ANNOTATION_HZ)
                yield self._job(f"seed {seed}", GeneratedWindows(seed=seed, count=count))
                seed += 1
        for path in self.paths:
            try:
                moments, boxes, index = self._plan(path)
            except RecordingError as error:
                self.unreadable[str(path)] = str(error)
                continue
            self.events = (self.events or 0) + index.events
            for first in range(0, len(moments), JOB_WINDOWS):
                ends = moments[first : first + JOB_WINDOWS]
                source = FileWindows(
                    path=path,
                    encoding=index.encoding,
                    pieces=index.between(ends[0] - self.task.binning().window_us, ends[-1]),
                    ends_us=tuple(ends),
                    boxes=tuple(boxes_at(boxes, end) if self.labelled else _NO_BOXES for end in ends),
                )
                yield self._job(str(path), source)

    def _plan(self, path: Path) -> tuple[Sequence[int], Array, EventIndex]:
        """When the windows of a recording end, its boxes, and where its events are."""
        if self.labelled:
            boxes, moments = read_annotations(path)
            return moments.tolist(), boxes, index_events(path, sensor=self.task.sensor)
        index = index_events(path, sensor=self.task.sensor)
        window_us = self.task.binning().window_us
        count = max(1, -(-(index.last_us + 1 - index.first_us) // window_us))
        return range(index.first_us + window_us, index.first_us + count * window_us + 1, window_us), _NO_BOXES, index

    def _job(self, recording: str, source: GeneratedWindows | FileWindows) -> WindowJob:
        return WindowJob(recording=recording, task=self.task, source=source, after=self.after)


def open_data_set(
    data: Sequence[Path], task: DetectorTask, *, limit: int | None, seed: int = UNSEEN_SEED, after: int = 0
) -> DataSet:
    """A data set of at most `limit` windows: nothing given (generated), folders of recordings, event files.

    `after` silent steps follow each window (`training.scoring.silence_after`).

    A folder with `*_bbox.npy` is labelled: its windows end at the annotated moments. All other recordings are cut into
    windows from their first event on. Raises RecordingError for paths without recordings, ConfigError for a limit below
    1, no limit on generated recordings, and labelled folders beside other recordings.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"windows = {limit}; run at least 1 window")
    if not data:
        if limit is None:
            raise ConfigError("windows = all; generated recordings never end, give a number or --data")
        origin = f"generated recordings from seed {seed}"
        return DataSet(task=task, origin=origin, labelled=True, limit=limit, paths=None, seed=seed, after=after)
    labelled: dict[Path, bool] = {}
    paths: list[Path] = []
    for path in data:
        if path.is_dir():
            labelled[path] = any(path.glob("*_bbox.npy"))
            found = sorted({file for pattern in _PATTERNS for file in path.glob(pattern)})
            if labelled[path]:
                found = [file for file in found if file.name.endswith("_td.dat")]
            if not found:
                raise RecordingError(
                    f"{path}: no recording (*_td.dat with boxes, *.dat or *.raw without) in this folder; write recordings "
                    "there first"
                )
            paths += found
        elif path.exists():
            labelled[path] = False
            paths.append(path)
        else:
            raise RecordingError(f"{path}: no such file or folder; give recordings (*.dat, *.raw) or folders of them")
    if len(set(labelled.values())) > 1:
        with_boxes = next(path for path, known in labelled.items() if known)
        without = next(path for path, known in labelled.items() if not known)
        raise ConfigError(
            f"{with_boxes} has boxes and {without} has none; run them separately, so that every window is scored or none"
        )
    origin = ", ".join(str(path) for path in data)
    return DataSet(
        task=task, origin=origin, labelled=all(labelled.values()), limit=limit, paths=tuple(paths), after=after
    )


class _Loads(Protocol):
    @property
    def samples(self) -> int: ...

    def load(self) -> tuple[Any, Any]: ...


def find_cubes(jobs: Iterable[_Loads], numbers: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """The cubes (T,C,H,W) of some windows, counted from 0 through all jobs; only their jobs are loaded, one at a time."""
    cubes: dict[int, npt.NDArray[np.uint8]] = {}
    first = 0
    for job in jobs:
        asked = [number for number in numbers if first <= number < first + job.samples]
        if asked:
            _, windows = job.load()
            cubes.update({number: windows[number - first].cube for number in asked})
        first += job.samples
    return [cubes[number] for number in numbers]


def _first(job: WindowJob, count: int) -> WindowJob:
    source = job.source
    if isinstance(source, GeneratedWindows):
        return replace(job, source=replace(source, count=count))
    ends, start = source.ends_us[:count], source.ends_us[0] - job.task.binning().window_us
    pieces = pieces_between(source.pieces, start, ends[-1])
    return replace(job, source=replace(source, ends_us=ends, pieces=pieces, boxes=source.boxes[:count]))


def _name(path: Path) -> str:
    return path.stem.removesuffix("_td")
