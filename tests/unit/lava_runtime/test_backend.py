"""What `run` refuses before any backend starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lava_runtime
from lava_runtime import Probes
from lava_runtime.backend import check_inputs
from netx_export.errors import RunError
from netx_export.graph import Graph, Input, Kernel, Lif, OneToOne, Population, Projection, Timing

WEIGHTS = OneToOne(kernel=Kernel(mantissa=np.ones(2)))


def network(*, inputs: int = 1, message_bits: int = 0, timing: Timing = "aligned") -> Graph:
    names = [f"in{number}" for number in range(inputs)]
    sources = [Population(id=name, shape=(2, 3, 4), neuron=Input(message_bits=message_bits)) for name in names]
    return Graph(
        populations=(*sources, Population(id="out", shape=(2, 3, 4), neuron=Lif(vth_mant=1))),
        projections=tuple(Projection(src=name, dst="out", synapse=WEIGHTS) for name in names),
        timing=timing,
    )


ZEROS = np.zeros((5, 1, 2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("graph", "inputs", "message"),
    [
        (network(), np.zeros((5, 2, 3, 4)), r"has shape \(5, 2, 3, 4\); the network reads \(T,B,C,H,W\)"),
        (network(), np.zeros((5, 1, 2, 4, 4)), r"\(C,H,W\) = \(2, 3, 4\). Bin or pad the recording"),
        (network(), np.zeros((0, 1, 2, 3, 4)), "at least one time step"),
        (network(), ZEROS + 0.5, "holds fractions"),
        (network(), ZEROS + np.nan, "holds fractions"),
        (network(), ZEROS + 2, "reaches from 2 to 2, the limit is 0..1: this input takes 0/1 spikes"),
        (network(message_bits=8), ZEROS + 200.0, r"the limit is -128..127 \(8 message bits\)"),
        (network(), ZEROS * 1j, "'in0' has dtype complex128; give integers"),
        (network(), ZEROS.astype(str), r"'in0' has dtype <U\d+; give integers"),
        (network(), [[1], [1, 2]], "'in0' is no array of numbers .*; give a NumPy array"),
        ("network.net", ZEROS, "A str was given to run; give a Graph, as netx_export.read and export return it"),
        (network(inputs=2), ZEROS, r"has 2 inputs \(in0, in1\); give a dictionary"),
        (network(inputs=2), {"in0": ZEROS}, "'in1' is missing"),
        (network(), {"other": ZEROS}, "'other' does not exist; the network reads in0"),
        (network(inputs=2), {"in0": ZEROS, "in1": ZEROS[:3]}, r"disagree on \(T,B\)"),
    ],
)
def test_inputs_that_do_not_fit(graph: Graph, inputs: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        lava_runtime.run(graph, inputs)


def test_a_backend_can_be_asked_for_before_inputs_exist() -> None:
    lava_runtime.ready(network(), probes=Probes(rasters="all"), threads=1)
    with pytest.raises(RunError, match="Probe on population 'nobody': the network has no such population"):
        lava_runtime.ready(network(), probes=Probes(states=("nobody",)))
    with pytest.raises(RunError, match="Backend 'fast': threads is 0; give a whole number >= 1"):
        lava_runtime.ready(network(), threads=0)


def test_inputs_become_int32() -> None:
    checked = check_inputs(network(), ZEROS.astype(float))
    assert checked["in0"].dtype == np.int32
    assert check_inputs(network(), ZEROS.astype(bool))["in0"].shape == (5, 1, 2, 3, 4)


def test_one_probe_needs_no_tuple() -> None:
    assert Probes(rasters="out").select(network(), "rasters") == ("out",)
    assert Probes(states="all").select(network(), "states") == tuple(network().by_id)


def test_unknown_backends_and_probes_are_named() -> None:
    with pytest.raises(RunError, match="'quick' does not exist; choose one of fast, sim, loihi2"):
        lava_runtime.run(network(), ZEROS, backend="quick")
    for probes in (Probes(rasters=("outt",)), Probes(states=("outt",))):
        with pytest.raises(
            RunError, match="Probe on population 'outt': the network has no such population; it has in0, out"
        ):
            lava_runtime.run(network(), ZEROS, probes=probes)
    assert Probes(rasters="all").select(network(), "rasters") == ("in0", "out")
