"""The network as every part of Basalt sees it: populations of neurons, joined by projections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from netx_export.errors import GraphError, NotBinaryError
from netx_export.graph import fixedpoint
from netx_export.graph.neurons import Input, Lif, NeuronSpec, Or, Readout, is_spiking
from netx_export.graph.synapses import (
    Conv,
    Shape,
    SynapseSpec,
    accumulator_bound,
    synapse_output_shape,
)

Timing = Literal["aligned", "as_given"]

_OR_LIMIT = fixedpoint.STATE_LIMIT >> fixedpoint.ACTIVATION_SHIFT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """Neurons of one kind on a (C,H,W) grid. `source` is the torch module path, kept through to the report."""

    id: str
    shape: Shape
    neuron: NeuronSpec
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "name", "source"):
            object.__setattr__(self, name, "".join(getattr(self, name)))
        if not self.id:
            raise GraphError("A population has an empty id; give each population a name of its own.")
        shape = tuple(int(extent) for extent in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GraphError(f"Population {self.id!r} has shape {self.shape}; give (C,H,W) with every side >= 1.")
        object.__setattr__(self, "shape", shape)
        if not self.name:
            object.__setattr__(self, "name", self.id)
        match self.neuron:
            case Lif():
                bias = self.neuron.bias_mant
            case Readout():
                bias = self.neuron.bias
            case Input() | Or():
                return
        if bias.shape not in ((1,), (shape[0],), shape):
            raise GraphError(
                f"Population {self.id!r}: bias has shape {bias.shape}, it must be ({shape[0]},) or {shape}."
            )

    @property
    def size(self) -> int:
        """Number of neurons."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """A bundle of synapses from population `src` to `dst`; several may end in one population and their currents add.

    A spike sent at step t arrives at step t + 1 + delay. `src_channels` = (start, stop) reads a channel slice.
    """

    src: str
    dst: str
    synapse: SynapseSpec
    delay: int = 0
    src_channels: tuple[int, int] | None = None
    port: str = ""

    def __post_init__(self) -> None:
        # Plain values: subclasses of str and numpy integers would travel into files and messages.
        for name in ("src", "dst", "port"):
            object.__setattr__(self, name, "".join(getattr(self, name)))
        object.__setattr__(self, "delay", int(self.delay))
        if self.src_channels is not None:
            object.__setattr__(self, "src_channels", (int(self.src_channels[0]), int(self.src_channels[1])))
        if self.delay < 0:
            raise GraphError(
                f"Projection {self.label} has delay {self.delay}; a spike cannot arrive before it is sent."
            )

    @property
    def label(self) -> str:
        """`src -> dst`, for messages and tables."""
        return f"{self.src} -> {self.dst}" + (f" [{self.port}]" if self.port else "")

    def source_shape(self, source: Population) -> Shape:
        """(C,H,W) of what the synapse reads, after the channel slice."""
        if self.src_channels is None:
            return source.shape
        start, stop = self.src_channels
        return (stop - start, source.shape[1], source.shape[2])

    def fan_out(self, source: Population) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Synapses reached by one spike of each neuron of the whole source population, (C,H,W)."""
        reached = self.synapse.fan_out(self.source_shape(source))
        if self.src_channels is None:
            return reached
        whole = np.zeros(source.shape, np.int64)
        whole[self.src_channels[0] : self.src_channels[1]] = reached
        return whole


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """An integer network, checked as a whole.

    `populations` are in topological order. `timing` is `aligned` when delays were balanced (every forward projection
    from depth a to depth b waits b - a - 1 steps, so that the pipeline gives the spikes of the synchronous network) or
    `as_given` for networks whose delays are part of what was trained. `steps` is the T of one sample in training.
    `meta` carries provenance: versions, command line, seed.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    timing: Timing = "aligned"
    steps: int = 1
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(self.populations))
        object.__setattr__(self, "projections", tuple(self.projections))
        object.__setattr__(self, "meta", dict(self.meta))
        if self.timing not in ("aligned", "as_given"):
            raise GraphError(f"Graph timing is {self.timing!r}; it is 'aligned' or 'as_given'.")
        if not isinstance(self.steps, int) or self.steps < 1:
            raise GraphError(f"Graph steps is {self.steps!r}; a sample has at least one time step, and whole ones.")
        self._check_names()
        for projection in self.projections:
            self._check_projection(projection)
        self._check_order()
        if self.timing == "aligned":
            self._check_alignment()

    # -- look-ups ------------------------------------------------------------------------------------------------

    @cached_property
    def by_id(self) -> dict[str, Population]:
        """Population by id."""
        return {population.id: population for population in self.populations}

    @cached_property
    def incoming(self) -> dict[str, tuple[Projection, ...]]:
        """Projections that end in each population, in the order given."""
        ends: dict[str, list[Projection]] = {population.id: [] for population in self.populations}
        for projection in self.projections:
            ends[projection.dst].append(projection)
        return {name: tuple(found) for name, found in ends.items()}

    @cached_property
    def outgoing(self) -> dict[str, tuple[Projection, ...]]:
        """Projections that start in each population, in the order given."""
        starts: dict[str, list[Projection]] = {population.id: [] for population in self.populations}
        for projection in self.projections:
            starts[projection.src].append(projection)
        return {name: tuple(found) for name, found in starts.items()}

    @cached_property
    def inputs(self) -> tuple[Population, ...]:
        """Populations that carry the network's input."""
        return tuple(p for p in self.populations if isinstance(p.neuron, Input))

    @cached_property
    def outputs(self) -> tuple[Population, ...]:
        """Readouts, and spiking populations that nobody reads."""
        return tuple(
            p
            for p in self.populations
            if isinstance(p.neuron, Readout) or (not isinstance(p.neuron, Input) and not self.outgoing[p.id])
        )

    @cached_property
    def depth(self) -> dict[str, int]:
        """Longest path from an input, in populations; inputs have depth 0. At `as_given` timing, for display only."""
        depth: dict[str, int] = {}
        for population in self.populations:
            sources = [depth[p.src] for p in self.incoming[population.id]]
            depth[population.id] = max(sources) + 1 if sources else 0
        return depth

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what the network computes; names of kernels and `meta` do not count."""
        digest = hashlib.sha256(f"{self.timing} {self.steps}".encode())
        for population in self.populations:
            digest.update(f"\0population {population.id} {population.shape} ".encode())
            match population.neuron:
                case Input() as neuron:
                    digest.update(f"Input {neuron.message_bits}".encode())
                case Lif() as neuron:
                    digest.update(f"Lif {neuron.vth_mant} {neuron.du} {neuron.dv} {neuron.bias_exp}".encode())
                    digest.update(repr(neuron.bias_mant.shape).encode() + neuron.bias_mant.tobytes())
                case Or():
                    digest.update(b"Or")
                case Readout() as neuron:
                    digest.update(f"Readout {neuron.unit!r}".encode())
                    digest.update(repr(neuron.bias.shape).encode() + neuron.bias.tobytes())
        for projection in self.projections:
            synapse, kernel = projection.synapse, projection.synapse.kernel
            digest.update(
                f"\0projection {projection.src}\0{projection.dst}\0{projection.delay} {projection.src_channels} "
                f"{type(synapse).__name__} {kernel.exponent} {kernel.mantissa.shape}".encode()
            )
            if isinstance(synapse, Conv):
                digest.update(
                    f" {synapse.stride} {synapse.padding} {synapse.dilation} {synapse.groups} {synapse.upsample}".encode()
                )
            digest.update(kernel.mantissa.tobytes())
        return digest.hexdigest()

    # -- checks --------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        if not self.populations:
            raise GraphError("The graph has no populations; nothing was exported.")
        seen: set[str] = set()
        for population in self.populations:
            if population.id in seen:
                raise GraphError(f"Two populations are called {population.id!r}; give each its own id.")
            seen.add(population.id)
        for projection in self.projections:
            for end in (projection.src, projection.dst):
                if end not in seen:
                    raise GraphError(f"Projection {projection.label} names population {end!r}, which does not exist.")
        if not self.inputs:
            raise GraphError("The graph has no Input population; nothing would ever arrive.")

    def _check_projection(self, projection: Projection) -> None:
        source, target = self.by_id[projection.src], self.by_id[projection.dst]
        synapse = projection.synapse
        if isinstance(source.neuron, Readout):
            raise NotBinaryError(
                f"Projection {projection.label} starts in the readout {source.id!r}, which sends integers, not 0/1 spikes; "
                "put a spiking neuron between them."
            )
        if isinstance(target.neuron, Input):
            raise GraphError(f"Projection {projection.label} ends in an input; inputs receive from the host only.")
        if projection.src_channels is not None:
            start, stop = projection.src_channels
            if not 0 <= start < stop <= source.shape[0]:
                raise GraphError(
                    f"Projection {projection.label} reads channels {start}..{stop} of {source.shape[0]}; "
                    "the slice must lie inside the source."
                )
        try:
            shape = synapse_output_shape(synapse, projection.source_shape(source), target.shape)
        except GraphError as error:
            raise GraphError(f"Projection {projection.label}: {error}") from None
        if shape != target.shape:
            raise GraphError(
                f"Projection {projection.label} makes {shape}, its target has {target.shape}; "
                "check stride, padding and upsampling."
            )
        if isinstance(target.neuron, Or) and (int(synapse.kernel.mantissa.min()) < 0 or not is_spiking(source.neuron)):
            raise GraphError(
                f"Projection {projection.label} ends in an OR population with a negative weight or graded input; "
                "an OR takes spikes through weights >= 0."
            )
        if isinstance(synapse, Conv) and synapse.upsample > 1:
            bits = source.neuron.message_bits if isinstance(source.neuron, Input) else 0
            bound = accumulator_bound(synapse, max(1, 1 << max(bits - 1, 0)))
            if bound >= fixedpoint.STATE_LIMIT:
                raise GraphError(
                    f"Projection {projection.label}: an upsampling convolution can reach {bound}, the limit is "
                    f"{fixedpoint.STATE_LIMIT - 1}; use a smaller weight exponent."
                )

    def _check_order(self) -> None:
        rank = {population.id: index for index, population in enumerate(self.populations)}
        for projection in self.projections:
            if rank[projection.src] >= rank[projection.dst]:
                raise GraphError(
                    f"Projection {projection.label} runs against the order of populations; list sources before targets. "
                    "Recurrent projections are not supported."
                )
        for population in self.populations:
            if not isinstance(population.neuron, Input) and not self.incoming[population.id]:
                raise GraphError(f"Population {population.id!r} has no incoming projection; remove it or connect it.")
            if isinstance(population.neuron, Or):
                self._check_or(population)

    def _check_or(self, population: Population) -> None:
        # Loihi has no OR neuron: it is a LIF, whose current would wrap from here on and miss a spike.
        bound = sum(accumulator_bound(projection.synapse) for projection in self.incoming[population.id])
        if bound >= _OR_LIMIT:
            raise GraphError(
                f"Population {population.id!r}: an OR can receive {bound} in one step, the limit is {_OR_LIMIT - 1}; "
                "use weights of 1, an OR asks only whether anything arrived."
            )

    def _check_alignment(self) -> None:
        for projection in self.projections:
            needed = self.depth[projection.dst] - self.depth[projection.src] - 1
            if projection.delay != needed:
                raise GraphError(
                    f"Projection {projection.label} has delay {projection.delay}, but its ends are "
                    f"{needed + 1} layers apart and need {needed}; balance delays, or declare the timing 'as_given'."
                )
