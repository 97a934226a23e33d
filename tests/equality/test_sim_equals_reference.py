"""Lava's CPU simulator against the interpreter: with this project's compiled process models and with Lava's own."""

from __future__ import annotations

import pytest

import lava_runtime
from lava_runtime import Probes
from tests.equality.agreement import (
    TALLIES,
    Tally,
    assert_trace_agrees,
    hypothesis_cases,
    interpreted,
)

pytest.importorskip("lava")
pytestmark = pytest.mark.lava

EVERYTHING = Probes(rasters="all", states="all")

SHORT, LONG = 25, 500
"""Networks per kind of model; each Lava process is a process of the operating system, so each start takes time."""


def _hold(models: str, count: int) -> Tally:
    tally = Tally(backend=f"sim, {models} models")
    for index, case in enumerate(hypothesis_cases(count)):
        run = interpreted(case)
        trace = lava_runtime.run(case.graph, case.inputs, backend="sim", probes=EVERYTHING, models=models)
        try:
            assert_trace_agrees(case.graph, run, trace)
        except AssertionError as error:
            raise AssertionError(f"network {index}, {case!r}: {error}") from None
        tally.add(case, run)
    TALLIES[tally.backend] = tally
    return tally


@pytest.mark.parametrize("models", ["compiled", "stock"])
def test_sim_computes_what_the_interpreter_computes(models: str) -> None:
    """25 networks, chosen so that every feature and every edge of the arithmetic is met more than once."""
    _hold(models, SHORT).require(graphs=SHORT, each_feature=3, each_event=2)


@pytest.mark.long
@pytest.mark.parametrize("models", ["compiled", "stock"])
def test_sim_computes_what_the_interpreter_computes_500_times(models: str) -> None:
    """500 networks, as hypothesis mixes them."""
    _hold(models, LONG).require(graphs=LONG, each_feature=16, each_event=6)
