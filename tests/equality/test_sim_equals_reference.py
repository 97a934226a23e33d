"""Lava's CPU simulator against the interpreter: with this project's compiled process models and with Lava's own."""

from __future__ import annotations

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes
from netx_export.errors import RunError
from netx_export.graph import Conv, Graph, Input, Kernel, Or, Population, Projection
from tests.equality.agreement import (
    LIF_CURRENT_MAX,
    TALLIES,
    Tally,
    assert_trace_agrees,
    hypothesis_cases,
    interpreted,
    or_current_bound,
)
from tests.reference import interpret

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


@pytest.mark.parametrize("models", ["compiled", "stock"])
def test_sim_refuses_an_or_that_lavas_lif_cannot_be(models: str) -> None:
    """Currents beyond 2**17 wrap in Lava's LIF; `fast` computes such an OR, `sim` names it instead of being wrong."""
    heavy = Kernel(mantissa=np.full((1, 4, 3, 3), 127), exponent=7)
    graph = Graph(
        populations=(
            Population(id="in", shape=(4, 5, 5), neuron=Input()),
            Population(id="pool", shape=(1, 3, 3), neuron=Or()),
        ),
        projections=(Projection(src="in", dst="pool", synapse=Conv(kernel=heavy)),),
    )
    assert or_current_bound(graph) > LIF_CURRENT_MAX
    spikes = np.zeros((2, 1, 4, 5, 5), np.int32)
    spikes[0, 0, :, :3, :3] = 1
    run = interpret(graph, {"in": spikes})
    assert run.rasters["pool"].any()
    assert_trace_agrees(graph, run, lava_runtime.run(graph, spikes, backend="fast", probes=EVERYTHING))
    with pytest.raises(RunError, match=r"OR population 'pool': its current can reach 585216, the limit .* is 131071"):
        lava_runtime.run(graph, spikes, backend="sim", models=models)


@pytest.mark.long
@pytest.mark.parametrize("models", ["compiled", "stock"])
def test_sim_computes_what_the_interpreter_computes_500_times(models: str) -> None:
    """500 networks, as hypothesis mixes them."""
    _hold(models, LONG).require(graphs=LONG, each_feature=16, each_event=6)
