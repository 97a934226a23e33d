"""Lava's CPU simulator and the stepper against the interpreter: with compiled process models and with Lava's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes
from lava_runtime.simulation import NetworkStepper
from netx_export.errors import RunError
from netx_export.graph import Input, has_states
from tests.equality.agreement import (
    TALLIES,
    Tally,
    assert_trace_agrees,
    foreign_tally,
    hypothesis_cases,
    interpreted,
)
from tests.foreign_strategies import FOREIGN_EMPHASES, draw_foreign
from tests.reference import ReferenceRun, SilentPopulationError
from tests.strategies import CannotDrawError, Case

pytest.importorskip("lava")
pytestmark = [pytest.mark.lava, pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")]

EVERYTHING = Probes(rasters="all", states="all")

SHORT, LONG = 25, 500
"""Networks per kind of model; each Lava process is a process of the operating system, so each start takes time."""

STEPPED, FOREIGN = 120, 17
"""Networks for the stepper, which starts nothing, and of what only files bring, one for each emphasis."""


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


def _foreign(count: int, *, samples: int, aligned: bool = True) -> Iterator[tuple[Case, ReferenceRun]]:
    """`count` lively networks of what only files bring, every emphasis as often."""
    made = seed = 0
    while made < count:
        seed += 1
        try:
            case = draw_foreign(
                seed=seed,
                emphasis=FOREIGN_EMPHASES[made % len(FOREIGN_EMPHASES)],
                inputs=1 + seed % 2,
                populations=2 + seed % 3,
                steps=6,
                samples=samples,
                as_given=not aligned or seed % 5 > 0,
            )
            run = interpreted(case)
        except (CannotDrawError, SilentPopulationError):
            continue
        made += 1
        yield case, run


def test_the_stepper_computes_what_the_interpreter_computes() -> None:
    """What every population sends in every hardware step, warm-up and drain included, and its states in the windows."""
    tally = foreign_tally("stepper, foreign kinds")
    for case, run in _foreign(STEPPED, samples=2):
        _hold_stepper(case, run)
        tally.add(case, run)
    tally.require(graphs=STEPPED, each_feature=1, each_event=1)
    TALLIES[tally.backend] = tally
    for case in hypothesis_cases(SHORT):
        _hold_stepper(case, interpreted(case))


def _hold_stepper(case: Case, run: ReferenceRun) -> None:
    graph = case.graph
    stepper = NetworkStepper(graph, steps=run.steps)
    neurons = [p for p in graph.populations if not isinstance(p.neuron, Input)]
    for step in range(run.hardware_steps):
        if graph.timing == "as_given" and step % run.steps == 0:
            stepper.reset()
        sample = step // run.steps
        stepper.step(
            {
                name: (array[step % run.steps, sample] if sample < run.samples else np.zeros_like(array[0, 0])).T
                for name, array in case.inputs.items()
            }
        )
        for population in neurons:
            name = population.id
            where = f"{name} in step {step} of {case!r}"
            np.testing.assert_array_equal(stepper.sent(name).T, run.raw[name][step], err_msg=where)
            inside = run.depth[name] <= step < run.depth[name] + run.samples * run.steps
            if has_states(population.neuron) and inside:
                u, v = stepper.states(name)
                np.testing.assert_array_equal(u.T, run.u[name][step], err_msg=where)
                np.testing.assert_array_equal(v.T, run.v[name][step], err_msg=where)


@pytest.mark.parametrize("models", ["compiled", "stock"])
def test_sim_computes_what_only_files_bring(models: str) -> None:
    """Compiled models run every network; Lava's own run what they can, and the rest is refused by name."""
    tally = foreign_tally(f"sim, {models} models, foreign kinds")
    refusals: list[str] = []
    for case, run in _foreign(FOREIGN, samples=1, aligned=models == "compiled"):
        try:
            trace = lava_runtime.run(case.graph, case.inputs, backend="sim", probes=EVERYTHING, models=models)
        except RunError as error:
            refusals.append(f"{case!r}: {error}")
            continue
        assert_trace_agrees(case.graph, run, trace)
        tally.add(case, run)
    assert models == "stock" or not refusals
    assert all("models='compiled'" in refusal for refusal in refusals)
    assert len(tally.graphs) >= FOREIGN // 2
    TALLIES[tally.backend] = tally
