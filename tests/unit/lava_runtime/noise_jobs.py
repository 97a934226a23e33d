"""Jobs of random samples that workers can import, and that fail or kill on request."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netx_export.errors import RecordingError


@dataclass(frozen=True)
class NoiseJob:
    """Three random samples. It may be broken, or kill the process that loads it, `times` times over all jobs."""

    number: int
    deaths: Path | None = None
    times: int = 0
    client: int = 0
    broken: bool = False
    name: str = ""

    @property
    def recording(self) -> str:
        return self.name or f"noise {self.number}"

    @property
    def samples(self) -> int:
        return 3

    @property
    def digest(self) -> str:
        return f"noise {self.number}"

    def load(self) -> tuple[np.ndarray, int]:
        if self.broken:
            raise RecordingError(f"{self.recording}: broken on purpose")
        if self.deaths is not None:
            assert os.getpid() != self.client
            marks = len(list(self.deaths.iterdir()))
            if marks < self.times:
                (self.deaths / str(marks)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(self.number)
        return (rng.random((5, 3, 4, 16, 16)) < 0.2).astype(np.uint8), self.number

    def result(self, notes: int, values: dict[str, Any]) -> str:
        return f"{notes}: {sorted(values)} {values['heatmap'].sum():.6f}"
