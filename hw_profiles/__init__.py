"""What a network costs on a chip, and whether it fits.

profile = hw_profiles.load("loihi2")
mapping = hw_profiles.map(graph, profile)
report = hw_profiles.report(trace, mapping, profile)
hw_profiles.write_report(report, "runs/report")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hw_profiles.calibration import Measurement, load_measurement
from hw_profiles.comparison import compare_reports, write_comparison
from hw_profiles.fit import check, check_to_json
from hw_profiles.fit_result import FitCheck
from hw_profiles.frames import Box, Frame, picture_of_events
from hw_profiles.mapping import Mapping
from hw_profiles.mapping import map_graph as map  # noqa: A004 - reads as a verb: hw_profiles.map(graph, profile)
from hw_profiles.probes import CoreProbe, StepCounts
from hw_profiles.profile import HardwareProfile, available, load
from hw_profiles.report import Report, report

if TYPE_CHECKING:
    from hw_profiles.fit_text import print_check
    from hw_profiles.page import render_comparison
    from hw_profiles.report_files import read_report, write_report
    from hw_profiles.terminal import print_comparison, print_report, print_summary

__all__ = [
    "Box",
    "CoreProbe",
    "FitCheck",
    "Frame",
    "HardwareProfile",
    "Mapping",
    "Measurement",
    "Report",
    "StepCounts",
    "available",
    "check",
    "check_to_json",
    "compare_reports",
    "load",
    "load_measurement",
    "map",
    "picture_of_events",
    "print_check",
    "print_comparison",
    "print_report",
    "print_summary",
    "read_report",
    "render_comparison",
    "report",
    "write_comparison",
    "write_report",
]

_HOMES = {
    "print_check": "hw_profiles.fit_text",
    "print_comparison": "hw_profiles.terminal",
    "print_report": "hw_profiles.terminal",
    "print_summary": "hw_profiles.terminal",
    "read_report": "hw_profiles.report_files",
    "render_comparison": "hw_profiles.page",
    "write_report": "hw_profiles.report_files",
}


def __getattr__(name: str) -> Any:
    # Plotting libraries load on first use: checking a fit needs none of them.
    if name not in _HOMES:
        raise AttributeError(f"module 'hw_profiles' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
