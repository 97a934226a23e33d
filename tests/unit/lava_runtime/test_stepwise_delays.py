"""Delays per synapse against Lava's DelayDense and DelaySparse models, fed by hand with the same messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lava_runtime.backend import run
from netx_export.graph import Dense, Graph, Input, Kernel, Population, Projection, Readout, Sparse

pytest.importorskip("lava")

from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from scipy.sparse import csr_matrix

SOURCES, TARGETS, STEPS = 17, 21, 30


class Port:
    """A port of a process model that runs without Lava's runtime."""

    def __init__(self, data: Any = None) -> None:
        self.data = data

    def recv(self) -> Any:
        return self.data

    def send(self, data: Any) -> None:
        self.data = np.array(data).reshape(-1)


def run_model(kind: type[Any], weights: Any, given: Any, *, bits: int, exponent: int, delays: Any = None) -> Any:
    """What the model sends at each step, (T,targets)."""
    made = object.__new__(kind)
    made.proc_params = {"weight_exp": exponent}
    made.weight_exp, made.weights_set, made.num_message_bits = exponent, False, np.array([bits])
    made.a_out = Port()
    made.a_buff = np.zeros(TARGETS, np.int32)
    single = "Sparse" in kind.__name__
    made.weights = csr_matrix(weights) if single else weights
    if delays is not None:
        made.delays = csr_matrix(delays) if single else delays
        made.a_buff = np.zeros((TARGETS, int(delays.max()) + 1), np.int32)
    sent = []
    for messages in given:
        made.s_in = Port(messages)
        made.run_spk()
        sent.append(made.a_out.data)
    return np.array(sent)


@pytest.mark.parametrize("bits", [0, 16])
@pytest.mark.parametrize("exponent", [-3, 0, 2])
@pytest.mark.parametrize("delayed", [False, True])
def test_currents_are_those_of_lavas_models(bits: int, exponent: int, delayed: bool) -> None:
    rng = np.random.default_rng(bits + 10 + exponent)
    # Lava keeps 8 bits of a matrix with both signs: even weights.
    weights = (rng.integers(-60, 60, (TARGETS, SOURCES)) * 2).astype(np.int32)
    weights[rng.random(weights.shape) < 0.5] = 0
    delays = rng.integers(0, 7, weights.shape).astype(np.int32)
    # Where Lava's DelaySparse has no synapse, it has no delay either.
    delays[weights == 0] = 0
    given = rng.integers(-(1 << 15), 1 << 15, (STEPS, SOURCES)) if bits else rng.integers(0, 2, (STEPS, SOURCES))
    given[rng.random(given.shape) < 0.6] = 0
    rows, columns = np.nonzero(weights)
    dense = Dense(kernel=Kernel(mantissa=weights.astype(np.int16), exponent=exponent))
    sparse = Sparse(
        kernel=Kernel(mantissa=weights[rows, columns].astype(np.int16), exponent=exponent), rows=rows, columns=columns
    )
    for synapse, waits, plain, waiting in (
        (dense, delays, PyDenseModelBitAcc, PyDelayDenseModelBitAcc),
        (sparse, delays[rows, columns], PySparseModelBitAcc, PyDelaySparseModelBitAcc),
    ):
        graph = Graph(
            populations=(
                Population(id="in", shape=(SOURCES, 1, 1), neuron=Input(message_bits=bits)),
                Population(id="out", shape=(TARGETS, 1, 1), neuron=Readout()),
            ),
            projections=(Projection(src="in", dst="out", synapse=synapse, delays=waits if delayed else None),),
            timing="as_given",
        )
        trace = run(graph, given.reshape(STEPS, 1, SOURCES, 1, 1), backend="fast", threads=1)
        expected = run_model(
            waiting if delayed else plain,
            weights,
            given.astype(np.int32),
            bits=bits,
            exponent=exponent,
            delays=delays if delayed else None,
        )
        np.testing.assert_array_equal(trace.output.reshape(STEPS, TARGETS), expected, waiting.__name__)
        assert len(np.unique(expected)) > 20
