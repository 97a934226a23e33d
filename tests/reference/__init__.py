"""The slow, obvious interpreter that every backend is held to; see `interpreter`."""

from __future__ import annotations

from tests.reference.interpreter import interpret
from tests.reference.record import ReferenceRun, SilentPopulationError, activity, check_lively
from tests.reference.synapses import fan_of, per_neuron, scaled

__all__ = [
    "ReferenceRun",
    "SilentPopulationError",
    "activity",
    "check_lively",
    "fan_of",
    "interpret",
    "per_neuron",
    "scaled",
]
