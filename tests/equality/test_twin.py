"""The quantised twin computes all layers in the same step, the backends a pipeline: the spikes must be the same.

This is the proof that pipelined equals synchronous: on `aligned` networks the twin never sees a delay.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

import lava_runtime
from lava_runtime import Probes
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    Rf,
    SynapseSpec,
    Wire,
)
from tests.equality.agreement import TALLIES, Tally, interpreted, reproducible
from tests.reference import ReferenceRun
from tests.strategies import Case, cases, draw_case

torch = pytest.importorskip("torch")

from training.quantised_twin import QuantisedTwin  # noqa: E402  (needs torch, which this file may lack)


def _twin(case: Case) -> dict[str, npt.NDArray[Any]]:
    tensors = {name: torch.from_numpy(array) for name, array in case.inputs.items()}
    return {name: values.numpy() for name, values in QuantisedTwin(case.graph)(tensors).items()}


def _assert_same(case: Case, run: ReferenceRun, twin: dict[str, npt.NDArray[Any]]) -> None:
    """Every spike and readout value of every sample, and the engine's record of the same, latency taken out."""
    trace = lava_runtime.run(case.graph, case.inputs, backend="fast", probes=Probes(rasters="all"), threads=1)
    assert set(twin) == {p.id for p in case.graph.populations} - set(case.inputs)
    for name, values in twin.items():
        np.testing.assert_array_equal(values, run.in_samples(name, run.raw[name]), err_msg=f"{name}, interpreter")
        np.testing.assert_array_equal(values, trace.aligned(name), err_msg=f"{name}, fast")


def test_pipelined_spikes_are_the_synchronous_ones() -> None:
    """More than 200 aligned networks with skips: twin, interpreter and engine agree on every spike and readout."""
    tally = Tally(backend="quantised twin (synchronous)")

    @reproducible(280)
    @given(cases(timings=("aligned",)))
    def agrees(case: Case) -> None:
        run = interpreted(case)
        _assert_same(case, run, _twin(case))
        tally.add(case, run, states=False)

    agrees()
    TALLIES[tally.backend] = tally
    tally.require(graphs=200, each_feature=8, each_event=3, timing="aligned")


def test_given_delays_are_kept() -> None:
    """Networks whose delays are part of what was trained."""
    tally = Tally(backend="quantised twin (delays as given)")

    @reproducible(40)
    @given(cases(timings=("as_given",)))
    def agrees(case: Case) -> None:
        run = interpreted(case)
        _assert_same(case, run, _twin(case))
        tally.add(case, run, states=False)

    agrees()
    TALLIES[tally.backend] = tally
    assert len(tally.graphs) >= 25
    assert tally.features["delay as given"] >= 20


def _small() -> Graph:
    return Graph(
        populations=(
            Population(id="in", shape=(1, 2, 2), neuron=Input()),
            Population(id="a", shape=(1, 2, 2), neuron=Lif(vth_mant=1)),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=Conv(kernel=Kernel(mantissa=np.full((1, 1, 1, 1), 9, np.int16)))),
        ),
        steps=2,
    )


def test_spikes_and_types() -> None:
    """Spikes are uint8 and are counted by population; a lone input needs no dictionary."""
    twin = QuantisedTwin(_small())
    out = twin(torch.ones(3, 2, 1, 2, 2))
    assert out["a"].dtype is torch.uint8
    assert tuple(out["a"].shape) == (3, 2, 1, 2, 2)
    assert twin.spikes(out) == {"a": 24}


def test_shared_kernels_are_one_buffer_and_wide_sums_use_float64() -> None:
    case = draw_case(seed=4, emphasis="shared kernel", inputs=2, populations=4, steps=2, samples=2, as_given=False)
    kernels = {id(p.synapse.kernel) for p in case.graph.projections}
    assert len(kernels) < len(case.graph.projections)
    twin = QuantisedTwin(case.graph)
    assert sum(name.startswith("kernel") for name, _ in twin.named_buffers()) == len(kernels)
    wide = Graph(
        populations=(
            Population(id="in", shape=(64, 1, 1), neuron=Input(message_bits=16)),
            Population(id="a", shape=(8, 1, 1), neuron=Lif(vth_mant=9)),
        ),
        projections=(
            Projection(src="in", dst="a", synapse=Dense(kernel=Kernel(mantissa=np.full((8, 64), 127, np.int16)))),
        ),
    )
    assert QuantisedTwin(wide).get_buffer("kernel0").dtype is torch.float64
    assert QuantisedTwin(_small()).get_buffer("kernel0").dtype is torch.float32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.ones(2, 1, 1, 3, 2), r"Input 'in' has shape \(2, 1, 1, 3, 2\).*\(C,H,W\) = \(1, 2, 2\)"),
        (torch.ones(0, 1, 1, 2, 2), r"Input 'in' has shape \(0, 1, 1, 2, 2\).*T, B >= 1"),
        (torch.full((2, 1, 1, 2, 2), 0.5), r"Input 'in' holds fractions; the network reads integers in 0\.\.1"),
        (torch.full((2, 1, 1, 2, 2), 3), r"Input 'in' reaches from 3 to 3, the limit is 0\.\.1; binarise"),
        ({"x": torch.ones(2, 1, 1, 2, 2)}, r"Inputs \['x'\] were given, the network reads \['in'\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(RunError, match=message):
        QuantisedTwin(_small())(inputs)


def test_two_inputs_must_be_named_and_agree() -> None:
    case = draw_case(seed=2, emphasis="plain", inputs=2, populations=2, steps=2, samples=2, as_given=False)
    twin = QuantisedTwin(case.graph)
    first, second = (torch.from_numpy(array) for array in case.inputs.values())
    with pytest.raises(RunError, match=r"The network has 2 inputs \(in0, in1\); give a dictionary"):
        twin(first)
    with pytest.raises(RunError, match=r"The inputs disagree on \(T,B\): \[\(1, 2\), \(2, 2\)\]"):
        twin({"in0": first, "in1": second[:1]})


def test_with_given_delays_every_sample_starts_from_rest() -> None:
    graph = _small()
    given_timing = Graph(populations=graph.populations, projections=graph.projections, timing="as_given", steps=2)
    twin = QuantisedTwin(given_timing)
    samples = torch.from_numpy(np.random.default_rng(5).integers(0, 2, (4, 3, 1, 2, 2)))
    together = twin(samples)
    for b in range(3):
        for name, alone in twin(samples[:, b : b + 1]).items():
            assert torch.equal(together[name][:, b : b + 1], alone)


@pytest.mark.parametrize(
    ("neuron", "synapse", "message"),
    [
        (Rf(sin=1, cos=4000, vth_mant=1), None, "'out' is a Rf, which the torch twin does not compute; run .* 'fast'"),
        (Lif(vth_mant=1, reset_interval=3), None, "'out' is a Lif with reset_interval"),
        (None, Dense(kernel=Kernel(mantissa=np.ones((4, 4)), exponent=-1)), "is a Dense with a negative exponent"),
        (None, Wire(), "is a Wire, which the torch twin does not compute"),
    ],
)
def test_what_only_files_bring_is_refused(neuron: NeuronSpec | None, synapse: SynapseSpec | None, message: str) -> None:
    shape = (4, 1, 1)
    graph = Graph(
        populations=(
            Population(id="in", shape=shape, neuron=Input()),
            Population(id="out", shape=shape, neuron=neuron or Lif(vth_mant=1)),
        ),
        projections=(
            Projection(
                src="in",
                dst="out",
                synapse=synapse or Dense(kernel=Kernel(mantissa=np.ones((4, 4)))),
                port="re" if isinstance(neuron, Rf) else "",
            ),
        ),
        timing="as_given",
    )
    with pytest.raises(RunError, match=message):
        QuantisedTwin(graph)


def test_delays_per_axon_are_refused() -> None:
    graph = _small()
    late = tuple(dataclasses.replace(p, delays=np.ones(graph.by_id[p.src].shape)) for p in graph.projections)
    with pytest.raises(RunError, match="has delays per axon or synapse, which the torch twin does not compute"):
        QuantisedTwin(dataclasses.replace(graph, projections=late, timing="as_given"))
