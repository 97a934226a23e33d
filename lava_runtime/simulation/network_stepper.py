"""A whole network, advanced one hardware step after the other: for hosts that have the next input only when it comes.

The `fast` backend computes layer by layer over whole samples and is quicker; its numbers are these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.branches import branch_of
from lava_runtime.simulation.messages import History
from lava_runtime.simulation.neuron_steps import NeuronStep, neuron_step
from lava_runtime.simulation.synapse_sums import BranchSum
from netx_export.errors import RunError
from netx_export.graph import RESONATORS, Graph, Input, Lif, Population, Wire, is_spiking

FrameArray = npt.NDArray[np.integer[Any]]
Int32Array = npt.NDArray[np.int32]


@dataclass(slots=True, kw_only=True)
class _Unit:
    """One population with what arrives there."""

    population: Population
    neurons: NeuronStep
    branches: list[tuple[str, BranchSum, int]]
    """Source, synapses, and which of the two currents they feed."""
    wires: list[tuple[str, int, int, int]]
    """Input, its first and last channel, and the current."""
    currents: tuple[Int32Array, Int32Array]
    depth: int


class NetworkStepper:
    """`graph` in hardware time: `step` takes the inputs of one hardware step and returns what the outputs send in it.

    With timing `aligned`, samples of `steps` steps (default: the graph's) follow one another without a gap, and a
    population at depth d resets where (h - d) % steps == 0 in hardware step h, counted from 0. With `as_given` only
    populations with a reset_interval reset; `reset` starts a new sample from rest. Frames are (W,H,C), Lava's order.
    Raises RunError for inputs that the network does not take.
    """

    def __init__(self, graph: Graph, *, steps: int | None = None) -> None:
        if steps is not None and steps < 1:
            raise RunError(f"steps is {steps}; a sample has at least one time step.")
        self.graph = graph
        self._steps = (steps or graph.steps) if graph.timing == "aligned" else 0
        # What only wires read needs no list of its messages.
        longest: dict[str, int] = {}
        for projection in graph.projections:
            if not isinstance(projection.synapse, Wire):
                longest[projection.src] = max(longest.get(projection.src, 0), projection.delay)
        self._history = {
            p.id: History(p.size, graded=not is_spiking(p.neuron), length=longest[p.id] + 2)
            for p in graph.populations
            if p.id in longest
        }
        self._units = [self._unit(p) for p in graph.populations if not isinstance(p.neuron, Input)]
        self._by_id = {unit.population.id: unit for unit in self._units}
        self._limits = {p.id: _message_range(p) for p in graph.inputs}
        self._rank = graph.rank
        self.time = 0
        """Hardware steps done since the last reset."""

    def _unit(self, population: Population) -> _Unit:
        graph = self.graph
        branches: list[tuple[str, BranchSum, int]] = []
        wires: list[tuple[str, int, int, int]] = []
        for projection in graph.incoming[population.id]:
            port = int(projection.port == "im")
            source = graph.by_id[projection.src]
            if isinstance(projection.synapse, Wire):
                first, last = projection.src_channels or (0, source.shape[0])
                wires.append((projection.src, first, last, port))
            else:
                graded = not is_spiking(source.neuron)
                made = BranchSum(branch_of(graph, projection), source_size=source.size, graded=graded)
                branches.append((projection.src, made, port))
        # Only resonators read the second current.
        quadrature = population.size if isinstance(population.neuron, RESONATORS) else 0
        return _Unit(
            population=population,
            neurons=neuron_step(population),
            branches=branches,
            wires=wires,
            currents=(np.zeros(population.size, np.int32), np.zeros(quadrature, np.int32)),
            depth=graph.depth[population.id],
        )

    def step(self, inputs: Mapping[str, FrameArray]) -> dict[str, FrameArray]:
        """One hardware step on the `inputs` by id, (W,H,C) each; what the outputs send, (W,H,C), valid until the next."""
        frames = {p.id: self._checked(p, inputs) for p in self.graph.inputs}
        for name, frame in frames.items():
            if name in self._history:
                self._history[name].push(frame)
        for unit in self._units:
            self._advance(unit, frames)
        self.time += 1
        return {p.id: self.sent(p.id) for p in self.graph.outputs}

    def _advance(self, unit: _Unit, frames: Mapping[str, FrameArray]) -> None:
        name = unit.population.id
        for current in unit.currents:
            current.fill(0)
        for source, branch, port in unit.branches:
            # A source that has sent already in this step: what arrives is one push older.
            branch.add(self._history[source], unit.currents[port], now=int(self._rank[source] < self._rank[name]))
        for source, first, last, port in unit.wires:
            frame = frames[source].reshape(-1, self.graph.by_id[source].shape[0])
            unit.currents[port][:] += frame[:, first:last].reshape(-1)
        if self._resets(unit):
            unit.neurons.reset()
        unit.neurons.update(*unit.currents)
        if name in self._history:
            self._history[name].push(unit.neurons.sent)

    def _resets(self, unit: _Unit) -> bool:
        if self._steps:
            return (self.time - unit.depth) % self._steps == 0
        neuron = unit.population.neuron
        if not isinstance(neuron, Lif) or not neuron.reset_interval:
            return False
        return (self.time + 1) % neuron.reset_interval == neuron.reset_offset % neuron.reset_interval

    def _checked(self, population: Population, inputs: Mapping[str, FrameArray]) -> FrameArray:
        frame = inputs.get(population.id)
        shape = population.shape[::-1]
        if frame is None or frame.shape != shape:
            given = "nothing" if frame is None else f"shape {frame.shape}"
            raise RunError(f"Input {population.id!r} was given {given}; the network reads (W,H,C) = {shape}.")
        flat = np.ascontiguousarray(frame).reshape(-1)
        low, high = self._limits[population.id]
        if int(flat.max()) > high or int(flat.min()) < low:
            raise RunError(
                f"Input {population.id!r} reaches from {flat.min()} to {flat.max()} in hardware step {self.time}, the limit "
                f"is {low}..{high}."
            )
        return flat if flat.dtype in (np.uint8, np.int32) else flat.astype(np.int32)

    def sent(self, name: str) -> FrameArray:
        """What population `name` sent in the last step, (W,H,C)."""
        return self._by_id[name].neurons.sent.reshape(self.graph.by_id[name].shape[::-1])

    def states(self, name: str) -> tuple[Int32Array, Int32Array]:
        """u and v of population `name` after the last step, (W,H,C); RunError where it has none."""
        unit = self._by_id.get(name)
        if unit is None or unit.neurons.u.size == 0:
            raise RunError(f"Population {name!r} has no states u and v.")
        shape = unit.population.shape[::-1]
        return unit.neurons.u.reshape(shape), unit.neurons.v.reshape(shape)

    def reset(self) -> None:
        """Back to rest: states zero, nothing under way, hardware time 0."""
        self.time = 0
        for history in self._history.values():
            history.forget()
        for unit in self._units:
            unit.neurons.reset()
            unit.neurons.sent.fill(0)
            for _, branch, _ in unit.branches:
                branch.forget()


def _message_range(population: Population) -> tuple[int, int]:
    bits = population.neuron.message_bits if isinstance(population.neuron, Input) else 0
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if bits else (0, 1)
