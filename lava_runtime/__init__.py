"""Running a network: one `run`, several backends, one `Trace`.

trace = lava_runtime.run(graph, inputs, backend="fast", probes=Probes(rasters=("stem",)))
"""

from __future__ import annotations

from lava_runtime.backend import BACKENDS, Probes, ready, run
from lava_runtime.trace import Trace

__all__ = ["BACKENDS", "Probes", "Trace", "ready", "run"]
