"""What a network costs on a chip, and whether it fits.

profile = hw_profiles.load("loihi2")
mapping = hw_profiles.map(graph, profile)
report = hw_profiles.report(trace, mapping, profile)
hw_profiles.write_report(report, "runs/report")
"""

from __future__ import annotations

from hw_profiles.mapping import FitCheck, Mapping, check
from hw_profiles.mapping import map_graph as map  # noqa: A004 - the name reads as a verb: hw_profiles.map(graph, profile)
from hw_profiles.profile import HardwareProfile, available, load

__all__ = [
    "FitCheck",
    "HardwareProfile",
    "Mapping",
    "available",
    "check",
    "load",
    "map",
]
