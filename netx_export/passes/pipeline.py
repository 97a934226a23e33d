"""Running passes: each states what it requires and ensures, and both are checked.

A pass is one class in one file: `name`, `requires(before)`, `call(before) -> after`, `ensures(after)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from netx_export.errors import ExportError
from netx_export.float_graph import FloatArray, FloatGraph, Node
from netx_export.float_run import FloatRun, float_run
from netx_export.graph import Graph
from netx_export.projection_graph import ProjectionGraph

Stage = FloatGraph | ProjectionGraph | Graph

Before = TypeVar("Before", contravariant=True)
After = TypeVar("After")


class Pass(Protocol[Before, After]):
    """A rewrite that keeps the function."""

    @property
    def name(self) -> str:
        """What the pass does, as shown in errors and stage tables."""

    def requires(self, graph: Before) -> None:
        """Raise when `graph` is not what this pass can work on."""

    def call(self, graph: Before) -> After:
        """The rewritten graph."""

    def ensures(self, graph: After) -> None:
        """Raise when the result lacks what later passes rely on."""


FloatCheck = Callable[[str, FloatGraph | ProjectionGraph], None]


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """Applies passes in turn, keeps every stage by name, and shows each float stage to `check`."""

    check: FloatCheck | None = None
    stages: dict[str, Stage] = field(default_factory=dict)

    def start(self, name: str, graph: FloatGraph) -> FloatGraph:
        """Record the traced graph as the first stage."""
        self._record(name, graph)
        return graph

    def apply(self, step: Pass[Before, After], graph: Before) -> After:
        """`step` on `graph`, with its conditions checked before and after."""
        step.requires(graph)
        result = step.call(graph)
        step.ensures(result)
        if isinstance(result, FloatGraph | ProjectionGraph | Graph):
            self._record(step.name, result)
        return result

    def _record(self, name: str, stage: Stage) -> None:
        self.stages[name] = stage
        if self.check is not None and isinstance(stage, FloatGraph | ProjectionGraph):
            self.check(name, stage)


def require_absent(graph: FloatGraph, kind: type[Node], step: str, remedy: str) -> None:
    """Raise ExportError when `graph` still holds nodes of `kind`."""
    for node in graph.nodes:
        if isinstance(node, kind):
            raise ExportError(f"Pass {step!r} met the {kind.__name__} {node.source or node.id!r}; {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SameFunction:
    """A check for the pipeline: every stage must give the recorded spikes, and the outputs within `tolerance`.

    `inputs` (T,B,C,H,W); `expected` is what the torch module did with them. Relative tolerance per output, of its
    largest magnitude.
    """

    inputs: FloatArray
    expected: FloatRun
    tolerance: float = 1e-9

    def __call__(self, name: str, graph: FloatGraph | ProjectionGraph) -> None:
        """Raise ExportError naming the pass, population, step and neuron where `graph` first differs."""
        found = float_run(graph, self.inputs)
        for population, spikes in self.expected.spikes.items():
            if population in found.spikes:
                self._compare(name, f"population {population!r}", "spike", spikes, found.spikes[population], 0.0)
        for output, values in self.expected.outputs.items():
            if output in found.outputs:
                limit = self.tolerance * max(1.0, float(np.abs(values).max(initial=0.0)))
                self._compare(name, f"output {output!r}", "value", values, found.outputs[output], limit)

    @staticmethod
    def _compare(name: str, place: str, kind: str, before: FloatArray, after: FloatArray, limit: float) -> None:
        if before.shape != after.shape:
            raise ExportError(f"Pass {name!r} changed the shape of {place} from {before.shape} to {after.shape}.")
        wrong = np.argwhere(np.abs(before - after) > limit)
        if len(wrong):
            step, sample, *neuron = (int(index) for index in wrong[0])
            where = (step, sample, *neuron)
            raise ExportError(
                f"Pass {name!r} changed the function: {place}, step {step}, sample {sample}, neuron (c,y,x) = "
                f"{tuple(neuron)}: {kind} {float(before[where])!r} in the torch module, {float(after[where])!r} after; "
                f"{len(wrong)} of {before.size} differ. Export stops here; earlier passes kept the function."
            )
