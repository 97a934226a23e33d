"""The pipeline checks its passes, and stops at the one that changed the function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from netx_export.errors import ExportError, GraphError, RunError
from netx_export.float_graph import (
    AddNode,
    ConcatNode,
    ConvNode,
    FloatGraph,
    InputNode,
    LinearNode,
    NeuronNode,
    OutputNode,
)
from netx_export.float_run import float_run
from netx_export.graph import FloatLif
from netx_export.passes.fold_batch_norm import FoldBatchNorm
from netx_export.passes.pipeline import Pipeline, SameFunction


def small_graph(weight: float = 0.75) -> FloatGraph:
    return FloatGraph(
        nodes=(
            InputNode(id="input", shape=(1, 2, 2)),
            ConvNode(
                id="%conv", shape=(1, 2, 2), source="conv", inputs=("input",), weight=np.full((1, 1, 1, 1), weight)
            ),
            NeuronNode(id="spike", shape=(1, 2, 2), source="spike", inputs=("%conv",), neuron=FloatLif(leak=0.5)),
            OutputNode(id="out", shape=(1, 2, 2), inputs=("spike",)),
            OutputNode(id="current", shape=(1, 2, 2), inputs=("%conv",)),
        )
    )


@dataclass(frozen=True)
class Spoil:
    """A pass that is wrong: it multiplies the first weights."""

    factor: float = 0.5
    name: str = "spoil"

    def requires(self, graph: FloatGraph) -> None:
        if not graph.nodes:
            raise ExportError("nothing to spoil")

    def call(self, graph: FloatGraph) -> FloatGraph:
        nodes = [replace(n, weight=n.weight * self.factor) if isinstance(n, ConvNode) else n for n in graph.nodes]
        return FloatGraph(nodes=tuple(nodes))

    def ensures(self, graph: FloatGraph) -> None:
        if self.factor == 0.0:
            raise ExportError("spoiled for good")


FRAMES = np.ones((3, 2, 1, 2, 2))


def test_the_pass_that_changed_the_function_is_named() -> None:
    graph = small_graph()
    pipeline = Pipeline(check=SameFunction(inputs=FRAMES, expected=float_run(graph, FRAMES)))
    graph = pipeline.apply(FoldBatchNorm(), pipeline.start("trace", graph))
    with pytest.raises(
        ExportError,
        match=r"Pass 'spoil' changed the function: population 'spike', step 1, sample 0, neuron \(c,y,x\) = \(0, 0, 0\): spike 1.0 in "
        r"the torch module, 0.0 after; 8 of 24 differ",
    ):
        pipeline.apply(Spoil(), graph)
    assert list(pipeline.stages) == ["trace", "fold batch norm", "spoil"]
    with pytest.raises(
        ExportError, match=r"'spoil' changed the function: output 'current'.*: value 0.75 in the torch module"
    ):
        pipeline.apply(Spoil(factor=1.0 + 1e-6), graph)
    pipeline.apply(Spoil(factor=1.0 + 1e-12), graph)


def test_a_changed_shape_is_named() -> None:
    expected = float_run(small_graph(), FRAMES[:2])
    with pytest.raises(
        ExportError, match=r"Pass 'x' changed the shape of population 'spike' from \(2, 2, 1, 2, 2\) to"
    ):
        SameFunction(inputs=FRAMES, expected=expected)("x", small_graph())


def test_conditions_are_checked_on_both_sides() -> None:
    with pytest.raises(ExportError, match="nothing to spoil"):
        Pipeline().apply(Spoil(), FloatGraph(nodes=()))
    with pytest.raises(ExportError, match="spoiled for good"):
        Pipeline().apply(Spoil(factor=0.0), small_graph())


def test_inputs_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(RunError, match=r"shape \(3, 2, 1, 2, 3\), the network takes \(T,B,1, 2, 2\)"):
        float_run(small_graph(), np.ones((3, 2, 1, 2, 3)))
    with pytest.raises(RunError, match="has 0 inputs; this runner takes networks with one"):
        float_run(FloatGraph(nodes=()), FRAMES)


SOURCE = InputNode(id="input", shape=(2, 4, 4))
OTHER = InputNode(id="other", shape=(2, 3, 3))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (InputNode(id="input", shape=(1, 1, 1)), "Two nodes are called 'input'"),
        (OutputNode(id="o", shape=(2, 4, 4), inputs=("later",)), "'o' reads 'later', which is not listed before it"),
        (
            ConvNode(id="c", shape=(1, 4, 4), source="conv", inputs=("input",), weight=np.ones((1, 3, 1, 1))),
            r"Convolution 'conv' reads 3 channels, its source offers \(2, 4, 4\)",
        ),
        (
            ConvNode(id="c", shape=(1, 4, 4), source="conv", inputs=("input",), weight=np.ones((1, 2, 3, 3))),
            r"'c' of 'conv' states shape \(1, 4, 4\), its inputs make \(1, 2, 2\)",
        ),
        (
            LinearNode(id="l", shape=(1, 1, 1), source="linear", inputs=("input",), weight=np.ones((1, 3))),
            r"Linear 'linear' reads 3 values, its source offers \(2, 4, 4\)",
        ),
        (
            ConcatNode(id="c", shape=(4, 4, 4), source="cat", inputs=("input", "other")),
            "'cat' joins maps of different sizes",
        ),
        (
            AddNode(id="a", shape=(2, 4, 4), source="add", inputs=("input", "other")),
            "'add' adds maps of different shapes",
        ),
    ],
)
def test_float_graphs_check_themselves(node: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        FloatGraph(nodes=(SOURCE, OTHER, node))


def test_a_bias_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(GraphError, match=r"Convolution 'conv': bias has shape \(3,\), give \(1,\) or \(1, 4, 4\)"):
        ConvNode(id="c", shape=(1, 4, 4), source="conv", weight=np.ones((1, 2, 1, 1)), bias=np.ones(3))
