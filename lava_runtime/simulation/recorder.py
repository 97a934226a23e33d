"""What a Lava process writes down while it runs: counters in memory, rasters and states in memory-mapped files.

Reading a Lava Var moves some 25 000 elements a second, so results never travel through Lava: the process that has
them writes them into the run's folder, and the parent reads the files when the run is over.
"""

from __future__ import annotations

from ctypes import c_longlong
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.blocks import FrameShape
from lava_runtime.simulation import frame_kernels

FrameArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What to record of one population, and where: handed to a process before the run.

    The population works on samples in hardware steps `start` .. `start + samples*steps`; `last` is the run's last step.
    `graded` says that messages are integers, not 0/1 spikes. `progress` is shared by all processes of the run, which are never more than one step apart: the steps done.
    """

    folder: Path
    stem: str
    shape: FrameShape
    start: int
    steps: int
    samples: int
    total_steps: int
    raster: bool = False
    states: bool = False
    values: bool = False
    graded: bool = False
    progress: c_longlong | None = None

    def path(self, kind: str) -> Path:
        """The file that holds `kind`: counters, raster, u, v or values."""
        return self.folder / f"{self.stem}.{kind}.npy"

    def without_states(self) -> Ledger:
        """For a sink that sees spikes alone."""
        return replace(self, states=False)

    def only_states(self) -> Ledger:
        """For a probe that sees u and v alone."""
        return replace(self, raster=False, values=False, progress=None)


class Recorder:
    """Keeps one ledger inside the process that emits the spikes or values."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = ledger.start + ledger.samples * ledger.steps
        self._samples = np.zeros(ledger.samples, np.int64)
        self._outside = np.zeros(2, np.int64)
        self._largest = 0
        self._maps: dict[str, npt.NDArray[Any]] = {}
        self.counts = np.zeros(ledger.shape, np.int32)
        """Messages per neuron inside the windows."""
        for wanted, kind, dtype in (
            (ledger.raster, "raster", np.int32 if ledger.graded else np.uint8),
            (ledger.states, "u", np.int32),
            (ledger.states, "v", np.int32),
            (ledger.values, "values", np.int32),
        ):
            if wanted:
                # numpy's file routines carry no annotations.
                self._maps[kind] = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
                    ledger.path(kind), mode="w+", dtype=dtype, shape=(ledger.total_steps, *ledger.shape)
                )

    def in_window(self, step: int) -> bool:
        """True where hardware step `step` (from 0) belongs to a sample."""
        return self._ledger.start <= step < self._stop

    def messages(self, step: int, sent: FrameArray) -> None:
        """Count the non-zero messages of `step`; they go into the raster where one is kept."""
        fired = int(np.count_nonzero(sent))
        if self._ledger.graded and fired:
            self._largest = max(self._largest, int(sent.max()), -int(sent.min()))
        if self.in_window(step):
            self._samples[(step - self._ledger.start) // self._ledger.steps] += fired
            if fired:
                frame_kernels.count_spikes(np.ascontiguousarray(sent).reshape(-1), self.counts.reshape(-1))
                self._write("raster", step, sent)
        else:
            self._outside[0 if step < self._ledger.start else 1] += fired

    def states(self, step: int, u: FrameArray, v: FrameArray) -> None:
        """Keep u and v after the update of `step`, where asked."""
        if self.in_window(step):
            self._write("u", step, u)
            self._write("v", step, v)

    def values(self, step: int, values: FrameArray) -> None:
        """Keep a readout's values."""
        if self.in_window(step):
            self._write("values", step, values)

    def end_step(self, step: int) -> None:
        """Count the step; after the last one write the counters."""
        ledger = self._ledger
        if ledger.progress is not None:
            ledger.progress.value = step + 1
        if step + 1 == ledger.total_steps:
            counters = np.concatenate(
                [[self._largest], self._outside, self._samples, self.counts.reshape(-1).astype(np.int64)]
            )
            np.save(ledger.path("counters"), counters)

    def _write(self, kind: str, step: int, values: FrameArray) -> None:
        if kind in self._maps:
            self._maps[kind][step] = values.reshape(self._ledger.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counters:
    """Messages of one population: per neuron (C,H,W) and per sample (B,) inside the windows, before and after them.

    `largest` is the magnitude of the largest graded message.
    """

    largest: int
    warm_up: int
    drain: int
    sample_spikes: npt.NDArray[np.int64]
    spike_counts: npt.NDArray[np.int64]


def read_counters(ledger: Ledger) -> Counters:
    """The counters that a process wrote at the end of the run."""
    found = np.load(ledger.path("counters"))
    return Counters(
        largest=int(found[0]),
        warm_up=int(found[1]),
        drain=int(found[2]),
        sample_spikes=found[3 : 3 + ledger.samples].copy(),
        spike_counts=np.ascontiguousarray(found[3 + ledger.samples :].reshape(ledger.shape).transpose(2, 1, 0)),
    )


def read_rows(ledger: Ledger, kind: str) -> npt.NDArray[Any]:
    """A raster, state or value record as (N,C,H,W)."""
    rows = np.load(ledger.path(kind), mmap_mode="r")
    return np.array(rows.transpose(0, 3, 2, 1), order="C")
