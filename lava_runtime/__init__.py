"""Running a network: one `run`, several backends, one `Trace`.

trace = lava_runtime.run(graph, inputs, backend="fast", probes=Probes(rasters=("stem",)))
"""

from __future__ import annotations

from lava_runtime.backend import BACKENDS, Probes, run
from lava_runtime.trace import Trace

__all__ = ["BACKENDS", "Probes", "Trace", "run"]
