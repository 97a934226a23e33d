"""Where evaluation windows come from: generated recordings, a folder of GEN1 pairs, or one event file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from netx_export.errors import ConfigError, RecordingError
from training.config import DetectorTask
from training.event_files import BOX_DTYPE, read_dat
from training.recordings import generate_recording
from training.windows import Binning, Window, WindowSet, bin_window, followed_by_silence

Array = npt.NDArray[Any]

UNSEEN_SEED = 1_000_000
"""First seed of the recordings that are kept for evaluation; training never counts that far."""

RECORDING_S = 4.1
ANNOTATION_HZ = 4.0
"""Length and annotation rate of generated recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Windows to run, and whether their boxes are known (`labelled`), so that they can be scored.

    `events` counts what was decoded from files, whole recordings, in the windows or not; None where none was read.
    """

    windows: tuple[Window, ...]
    labelled: bool
    origin: str
    events: int | None = None

    def cubes(self, *, after: int = 0) -> npt.NDArray[np.uint8]:
        """All windows as one input, (T+after,B,C,H,W); `after` silent steps follow each."""
        return followed_by_silence(np.stack([window.cube for window in self.windows], axis=1), after)

    @property
    def empty(self) -> int:
        """How many windows show no object."""
        return sum(window.boxes.size == 0 for window in self.windows)


def open_windows(
    data: Path | None, task: DetectorTask, *, limit: int, seed: int = UNSEEN_SEED, progress: bool = False
) -> EvaluationSet:
    """At most `limit` windows from `data`: None (generated, unseen seeds), a folder of GEN1 pairs, or a `.dat` file.

    A single file is cut into windows from its first event on, one after the other, and is not scored; give its folder to
    score against the boxes. Raises RecordingError for a path that is neither, ConfigError for `limit` < 1.
    """
    if limit < 1:
        raise ConfigError(f"windows = {limit}; run at least 1 window")
    binning = task.binning()
    folder, events = None, None
    if data is None:
        source, labelled, origin = _generated(binning, seed, limit), True, f"generated recordings from seed {seed}"
    elif data.is_dir():
        folder = WindowSet(data, binning)
        source, labelled, origin = iter(folder), True, str(data)
    elif data.exists():
        events = read_dat(data, sensor=task.sensor)
        source, labelled, origin = _whole_file(data, events, task), False, str(data)
    else:
        raise RecordingError(f"{data}: no such file or folder; give a *.dat file or a folder of *_td.dat recordings")
    windows = tuple(
        tqdm(islice(source, limit), desc="windows", total=limit, unit="window", disable=not progress, leave=False)
    )
    if not windows:
        raise RecordingError(f"{origin}: holds no annotated moment; give recordings with boxes or times")
    decoded = folder.decoded_events if folder else None if events is None else events.size
    return EvaluationSet(windows=windows, labelled=labelled, origin=origin, events=decoded)


def _generated(binning: Binning, seed: int, limit: int) -> Iterator[Window]:
    produced = 0
    while produced < limit:
        recording = generate_recording(seed, duration_s=RECORDING_S, annotation_hz=ANNOTATION_HZ)
        for window in WindowSet([recording], binning):
            produced += 1
            yield window
        seed += 1


def _whole_file(path: Path, events: Array, task: DetectorTask) -> Iterator[Window]:
    binning = task.binning()
    start = int(events["t"][0])
    name = path.name.removesuffix(".dat").removesuffix("_td")
    count = max(1, -(-(int(events["t"][-1]) + 1 - start) // binning.window_us))
    for number in range(count):
        end = start + (number + 1) * binning.window_us
        yield Window(name=name, t_end_us=end, cube=bin_window(events, end, binning), boxes=np.zeros(0, BOX_DTYPE))
