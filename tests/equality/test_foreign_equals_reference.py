"""The compiled engine against the interpreter on random networks of what files from elsewhere hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

import lava_runtime
from lava_runtime import Probes
from netx_export.graph import Input, Rf, Sigma, SigmaDelta
from tests.equality.agreement import (
    TALLIES,
    Tally,
    assert_trace_agrees,
    foreign_tally,
    interpreted,
    reproducible,
)
from tests.foreign_strategies import FOREIGN_EMPHASES, draw_foreign, foreign_cases
from tests.reference import SilentPopulationError, check_lively, interpret
from tests.strategies import CannotDrawError, Case

EVERYTHING = Probes(rasters="all", states="all")


def _hold(count: int) -> Tally:
    tally = foreign_tally(f"fast, foreign kinds, {count} draws")

    @reproducible(count)
    @given(foreign_cases())
    def agrees(case: Case) -> None:
        run = interpreted(case)
        probed = lava_runtime.run(case.graph, case.inputs, backend="fast", probes=EVERYTHING, threads=1)
        assert_trace_agrees(case.graph, run, probed)
        # What nobody asks for need not be computed, so the way without probes is another one.
        bare = lava_runtime.run(case.graph, case.inputs, backend="fast", threads=1)
        assert_trace_agrees(case.graph, run, bare, rasters=False, states=False)
        tally.add(case, run)

    agrees()
    TALLIES[tally.backend] = tally
    return tally


def test_fast_computes_what_the_interpreter_computes() -> None:
    """More than 150 networks: messages, outputs, u, v, counters, warm-up and drain, with probes and without."""
    _hold(220).require(graphs=150, each_feature=3, each_event=3)


@pytest.mark.long
def test_fast_computes_what_the_interpreter_computes_5000_times() -> None:
    _hold(5000).require(graphs=3500, each_feature=40, each_event=40)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("emphasis", ["sigma-delta", "feedback", "rf"])
def test_many_samples_give_what_each_gives_alone(emphasis: str, threads: int) -> None:
    """37 samples with delays as given: each starts from rest, whatever ran before or beside it."""
    rng = np.random.default_rng(5)
    case = _drawn(emphasis)
    many = {
        name: np.concatenate([array] + [array[:, rng.permutation(3)] for _ in range(12)], axis=1)[:, :37]
        for name, array in case.inputs.items()
    }
    run = interpret(case.graph, many)
    check_lively(case.graph, run)
    trace = lava_runtime.run(case.graph, many, backend="fast", probes=EVERYTHING, threads=threads)
    assert_trace_agrees(case.graph, run, trace)


# -- the proof's own guards ------------------------------------------------------------------------------------------


def _drawn(emphasis: str, *, as_given: bool = True, holds: type = Input) -> Case:
    """The first lively network of this emphasis with a population of kind `holds`."""
    for seed in range(40):
        try:
            case = draw_foreign(
                seed=seed, emphasis=emphasis, inputs=1, populations=3, steps=9, samples=3, as_given=as_given
            )
        except CannotDrawError:
            continue
        if any(isinstance(p.neuron, holds) for p in case.graph.populations):
            return case
    raise CannotDrawError(emphasis)


@pytest.mark.parametrize("emphasis", FOREIGN_EMPHASES)
def test_every_emphasis_can_be_drawn(emphasis: str) -> None:
    """No emphasis is a dead letter, and the same outline and seed make the same network."""
    assert _drawn(emphasis).graph.digest == _drawn(emphasis).graph.digest
    if emphasis not in ("feedback", "wire"):
        assert _drawn(emphasis, as_given=False).graph.timing == "aligned"


@pytest.mark.parametrize(("emphasis", "kind"), [("sigma-delta", SigmaDelta), ("rf", Rf)])
def test_a_silent_population_of_a_new_kind_fails(emphasis: str, kind: type[SigmaDelta] | type[Rf]) -> None:
    """A threshold out of reach leaves nothing to compare; the check must say so."""
    case = _drawn(emphasis, holds=kind)
    (victim, *_) = [p for p in case.graph.populations if isinstance(p.neuron, kind)]
    if isinstance(victim.neuron, SigmaDelta):
        limit = (1 << 31) - 1 >> (victim.neuron.spike_exp + victim.neuron.state_exp)
        neuron = replace(victim.neuron, vth=limit, bias=np.zeros(1, np.int32))
    else:
        assert isinstance(victim.neuron, Rf)
        neuron = replace(victim.neuron, sin=0, cos=0, state_exp=0, vth_mant=(1 << 23) - 1)
    changed = tuple(replace(p, neuron=neuron) if p.id == victim.id else p for p in case.graph.populations)
    with pytest.raises(SilentPopulationError, match=rf"population '{victim.id}' fires in 0\.00% of its neuron-steps"):
        interpreted(replace(case, graph=replace(case.graph, populations=changed)))


def test_a_sigma_that_never_changes_fails() -> None:
    """A Sigma sends in every step what it holds; only changes count as life."""
    case = _drawn("sigma-delta", holds=Sigma)
    run = interpreted(case)
    (sigma, *_) = [p for p in case.graph.populations if isinstance(p.neuron, Sigma)]
    run.rasters[sigma.id][:] = 0
    with pytest.raises(SilentPopulationError, match=rf"population '{sigma.id}' .* a test network needs 1%\.\.100%"):
        check_lively(case.graph, run)


def test_a_wrong_bit_anywhere_is_seen() -> None:
    """The comparison itself: one changed message, state, output or counter of a new kind fails it."""
    case = _drawn("sigma-delta")
    run = interpreted(case)
    name = next(p.id for p in case.graph.populations if not isinstance(p.neuron, Input))
    for kind in ("rasters", "u", "v", "outputs", "spike_counts", "sample_spikes"):
        trace = lava_runtime.run(case.graph, case.inputs, backend="fast", probes=EVERYTHING, threads=1)
        record = getattr(trace, kind)
        changed = name if name in record else list(record)[-1]
        record[changed].flat[-1] += 1
        with pytest.raises(AssertionError, match=rf"of {changed} at .* the reference has"):
            assert_trace_agrees(case.graph, run, trace)
