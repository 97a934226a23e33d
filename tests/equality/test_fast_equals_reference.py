"""The compiled engine against the interpreter on hypothesis-made networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

import lava_runtime
from lava_runtime import Probes
from netx_export.graph import Lif
from tests.calibration import CannotCalibrateError, calibrate
from tests.equality.agreement import TALLIES, Tally, assert_trace_agrees, interpreted, reproducible
from tests.reference import SilentPopulationError, check_lively, interpret
from tests.strategies import EMPHASES, CannotDrawError, Case, cases, draw_case

EVERYTHING = Probes(rasters="all", states="all")


def test_fast_computes_what_the_interpreter_computes() -> None:
    """More than 200 networks: rasters, outputs, u, v, counters, warm-up and drain, with probes and without."""
    tally = Tally(backend="fast")

    @reproducible(300)
    @given(cases())
    def agrees(case: Case) -> None:
        run = interpreted(case)
        probed = lava_runtime.run(case.graph, case.inputs, backend="fast", probes=EVERYTHING, threads=1)
        assert_trace_agrees(case.graph, run, probed)
        # What nobody asks for need not be computed, so the way without probes is another one.
        bare = lava_runtime.run(case.graph, case.inputs, backend="fast", threads=1)
        assert_trace_agrees(case.graph, run, bare, rasters=False, states=False)
        tally.add(case, run)

    agrees()
    tally.require(graphs=200, each_feature=8, each_event=3)
    TALLIES[tally.backend] = tally


@pytest.mark.parametrize("threads", [1, 2])
def test_many_samples_give_what_each_gives_alone(threads: int) -> None:
    """37 samples, more than the engine computes together: chunks and threads leave no trace in the result."""
    rng = np.random.default_rng(5)
    case = draw_case(seed=3, emphasis="skip", inputs=2, populations=5, steps=3, samples=3, as_given=False)
    many = {
        name: np.concatenate([array] + [array[:, rng.permutation(3)] for _ in range(12)], axis=1)[:, :37]
        for name, array in case.inputs.items()
    }
    run = interpret(case.graph, many)
    check_lively(case.graph, run)
    trace = lava_runtime.run(case.graph, many, backend="fast", probes=EVERYTHING, threads=threads)
    assert_trace_agrees(case.graph, run, trace)


# -- the proof's own guards ------------------------------------------------------------------------------------------


def _case() -> Case:
    return draw_case(seed=1, emphasis="plain", inputs=1, populations=4, steps=4, samples=2, as_given=False)


def _with_threshold(case: Case, vth_mant: int, bias: int) -> tuple[Case, str]:
    """`case` with another threshold and bias in its last Lif population."""
    victim = [p for p in case.graph.populations if isinstance(p.neuron, Lif)][-1]
    assert isinstance(victim.neuron, Lif)
    neuron = replace(victim.neuron, vth_mant=vth_mant, bias_mant=np.array([bias]), bias_exp=7)
    changed = tuple(replace(p, neuron=neuron) if p.id == victim.id else p for p in case.graph.populations)
    return replace(case, graph=replace(case.graph, populations=changed)), victim.id


def test_a_network_with_a_silent_population_fails() -> None:
    """A population that never fires proves nothing about its inputs: the check must say so."""
    case, silenced = _with_threshold(_case(), 131071, -4096)
    with pytest.raises(SilentPopulationError, match=rf"population '{silenced}' fires in 0\.00% of its neuron-steps"):
        interpreted(case)


def test_a_network_with_a_saturated_population_fails() -> None:
    case, loud = _with_threshold(_case(), 0, 4095)
    with pytest.raises(SilentPopulationError, match=rf"population '{loud}' fires in .*a test network needs 1%\.\.40%"):
        interpreted(case)


def test_a_network_with_a_silent_input_fails() -> None:
    case = _case()
    mute = {name: np.zeros_like(array) for name, array in case.inputs.items()}
    run = interpret(case.graph, mute)
    lively = interpret(case.graph, case.inputs)
    run.rasters.update({name: raster for name, raster in lively.rasters.items() if name not in mute})
    with pytest.raises(SilentPopulationError, match="input 'in0' is silent"):
        check_lively(case.graph, run)


def test_calibration_revives_a_silent_population() -> None:
    case, _ = _with_threshold(_case(), 131071, -1)
    with pytest.raises(SilentPopulationError):
        interpreted(case)
    revived = replace(case, graph=calibrate(case.graph, case.inputs))
    interpreted(revived)


def test_calibration_refuses_what_no_threshold_can_mend() -> None:
    """Without any input and with one step, no neuron of a population can differ from another."""
    case = draw_case(seed=8, emphasis="or", inputs=1, populations=4, steps=2, samples=2, as_given=False)
    mute = {name: np.zeros_like(array) for name, array in case.inputs.items()}
    constant = tuple(
        replace(p, neuron=replace(p.neuron, bias_mant=np.zeros(1, np.int32))) if isinstance(p.neuron, Lif) else p
        for p in case.graph.populations
    )
    with pytest.raises(CannotCalibrateError):
        calibrate(replace(case.graph, populations=constant), mute)


def test_a_wrong_bit_anywhere_is_seen() -> None:
    """The comparison itself: one flipped spike, state, output or counter fails it."""
    case = _case()
    run = interpreted(case)
    for kind in ("rasters", "u", "v", "outputs", "spike_counts", "sample_spikes"):
        trace = lava_runtime.run(case.graph, case.inputs, backend="fast", probes=EVERYTHING, threads=1)
        record = getattr(trace, kind)
        name = list(record)[-1]
        record[name].flat[-1] += 1
        with pytest.raises(AssertionError, match=rf"of {name} at .* the reference has"):
            assert_trace_agrees(case.graph, run, trace)


def test_every_emphasis_can_be_drawn() -> None:
    """No emphasis is a dead letter, and the same outline and seed make the same network."""
    for emphasis in EMPHASES:
        digests = []
        for _ in range(2):
            for seed in range(20):
                try:
                    case = draw_case(
                        seed=seed, emphasis=emphasis, inputs=1, populations=3, steps=3, samples=2, as_given=False
                    )
                except CannotDrawError:
                    continue
                digests.append(case.graph.digest)
                break
        assert len(digests) == 2, f"emphasis {emphasis!r} gave no network"
        assert digests[0] == digests[1]
