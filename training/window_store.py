"""Windows for training, held in memory as packed bits: thousands of them in a few hundred megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from netx_export.errors import ConfigError
from training.config import DetectorTask
from training.recordings import generate_recording
from training.windows import Window, WindowSet

Array = npt.NDArray[Any]


class WindowStore:
    """Annotated windows of one task, each (T,C,H,W) of 0/1 in one bit per value, with their boxes."""

    def __init__(self, task: DetectorTask) -> None:
        self.task = task
        self.boxes: list[Array] = []
        self.times_us: list[int] = []
        self._packed: list[npt.NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, window: Window) -> None:
        """Append one window; raises ConfigError when its cube has another shape than the task's."""
        if window.cube.shape != self.task.binning().shape:
            raise ConfigError(
                f"window {window.name} has shape {window.cube.shape}, the task needs {self.task.binning().shape}; "
                "bin it with the task's own settings"
            )
        # Channels last in memory, so that unpacked windows are what convolutions on a CPU prefer.
        self._packed.append(np.packbits(window.cube.transpose(0, 2, 3, 1)))
        self.boxes.append(window.boxes)
        self.times_us.append(window.t_end_us)

    def batch(self, numbers: Sequence[int], mirrored: Sequence[bool] | None = None) -> npt.NDArray[np.uint8]:
        """Windows as (T,B,C,H,W) uint8 of 0/1, channels innermost in memory; those marked are mirrored left-right."""
        steps, channels, height, width = self.task.binning().shape
        cubes = np.empty((steps, len(numbers), height, width, channels), dtype=np.uint8)
        for place, number in enumerate(numbers):
            bits = np.unpackbits(self._packed[number], count=steps * height * width * channels)
            cube = bits.reshape(steps, height, width, channels)
            if mirrored is not None and mirrored[place]:
                # Only the sensor's columns turn around, the padding stays on the right.
                columns = -(-self.task.sensor[1] // self.task.scale)
                cube[:, :, :columns] = cube[:, :, :columns][:, :, ::-1].copy()
            cubes[:, place] = cube
        return cubes.transpose(0, 1, 4, 2, 3)

    def batch_boxes(self, numbers: Sequence[int], mirrored: Sequence[bool] | None = None) -> list[Array]:
        """Box tables of the same windows; x becomes sensor width - x - w where mirrored."""
        tables = []
        for place, number in enumerate(numbers):
            table = self.boxes[number]
            if mirrored is not None and mirrored[place]:
                table = table.copy()
                table["x"] = self.task.sensor[1] - table["x"] - table["w"]
            tables.append(table)
        return tables


def generated_windows(
    task: DetectorTask,
    *,
    count: int,
    first_seed: int,
    recording_s: float = 2.1,
    annotation_hz: float = 8.0,
    threads: int = 1,
    progress: bool = False,
) -> WindowStore:
    """The first `count` windows of recordings of seeds first_seed, first_seed + 1, ...; the same on any `threads`.

    Recordings without objects are among them, so windows without boxes are too.
    """
    store = WindowStore(task)
    binning = task.binning()

    def windows(seed: int) -> list[Window]:
        recording = generate_recording(seed, duration_s=recording_s, annotation_hz=annotation_hz)
        return list(WindowSet([recording], binning))

    with (
        ThreadPoolExecutor(max_workers=threads) as workers,
        tqdm(total=count, desc="recordings", unit="window", disable=not progress) as bar,
    ):
        for some in _in_order(workers, windows, first_seed, threads + 1):
            for window in some[: count - len(store)]:
                store.add(window)
                bar.update()
            if len(store) >= count:
                return store
    return store


def stored_windows(task: DetectorTask, folder: str | Path, *, progress: bool = False) -> WindowStore:
    """All annotated windows of a folder of GEN1 pairs; raises RecordingError for files that cannot be trusted."""
    store = WindowStore(task)
    windows = WindowSet(folder, task.binning())
    bar: Iterable[Window] = tqdm(windows, desc="recordings", unit="window", disable=not progress)
    for window in bar:
        store.add(window)
    if not len(store):
        raise ConfigError(f"{folder}: no annotated moment in any recording; add _bbox.npy or _times.npy files")
    return store


def _in_order(workers: ThreadPoolExecutor, make: Any, first: int, ahead: int) -> Iterator[list[Window]]:
    """make(first), make(first+1), ... in order, at most `ahead` of them begun before they are asked for."""
    waiting = [workers.submit(make, first + number) for number in range(ahead)]
    following = first + ahead
    try:
        while True:
            result: list[Window] = waiting.pop(0).result()
            waiting.append(workers.submit(make, following))
            following += 1
            yield result
    finally:
        for future in waiting:
            future.cancel()
