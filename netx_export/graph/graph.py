"""The network as every part of Basalt sees it: populations of neurons, joined by projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError, NotBinaryError
from netx_export.graph import fixedpoint
from netx_export.graph.arrays import frozen_int_array
from netx_export.graph.digest import graph_digest
from netx_export.graph.neurons import (
    GRADED,
    RESONATORS,
    Input,
    Lif,
    NeuronSpec,
    Or,
    Readout,
    bias_of,
    is_spiking,
    message_limit,
)
from netx_export.graph.synapses import (
    Conv,
    ConvTranspose,
    Dense,
    OneToOne,
    Shape,
    Sparse,
    SynapseSpec,
    Wire,
    accumulator_bound,
    synapse_output_shape,
)

Timing = Literal["aligned", "as_given"]

Messages = Literal["binary", "graded"]

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
        bias = bias_of(self.neuron)
        if bias is not None and bias.shape not in ((1,), (shape[0],), shape):
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

    A spike sent at step t arrives at step t + 1 + delay (through a Wire: at step t). `delays` adds to `delay`, in time
    steps: per axon, (C,H,W) of what is read, or per synapse, of the shape of a Dense or Sparse kernel.
    `src_channels` = (start, stop) reads a channel slice. `port` is "re" or "im" where the target is a resonator.
    """

    src: str
    dst: str
    synapse: SynapseSpec
    delay: int = 0
    src_channels: tuple[int, int] | None = None
    port: str = ""
    delays: npt.NDArray[np.int32] | None = None

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
        if self.delays is not None:
            object.__setattr__(self, "delays", self._checked_delays(self.delays))

    def _checked_delays(self, given: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        delays = frozen_int_array(given, np.int32, f"Projection {self.label}: delays")
        if delays.size and not 0 <= delays.min() <= delays.max() <= fixedpoint.DELAY_MAX:
            raise GraphError(
                f"Projection {self.label} has delays from {delays.min()} to {delays.max()} steps, the limit is "
                f"0..{fixedpoint.DELAY_MAX}; use smaller delays or coarser time steps."
            )
        match self.synapse:
            case Dense() | Sparse() if delays.shape == self.synapse.kernel.mantissa.shape:
                return delays
            case _ if delays.ndim == 3:
                return delays
        raise GraphError(
            f"Projection {self.label}: delays have shape {delays.shape}; give one per axon (C,H,W), or one per synapse "
            "of a Dense or Sparse kernel."
        )

    @property
    def longest_delay(self) -> int:
        """The most steps a spike waits here beyond the synapse's own."""
        return self.delay + (int(self.delays.max(initial=0)) if self.delays is not None else 0)

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

    `populations` are in topological order of the forward projections; a projection from a population to itself or to
    an earlier one is recurrent, legal with timing `as_given`. `timing` is `aligned` when delays were balanced (every forward projection
    from depth a to depth b waits b - a - 1 steps, so that the pipeline gives the spikes of the synchronous network) or
    `as_given` for networks whose delays are part of what was trained; then every sample starts from rest.
    `messages` is `binary` unless the network came from sigma-delta neurons, which send integers. `steps` is the T of one sample in training.
    `meta` carries provenance: versions, command line, seed.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    timing: Timing = "aligned"
    messages: Messages = "binary"
    steps: int = 1
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(self.populations))
        object.__setattr__(self, "projections", tuple(self.projections))
        object.__setattr__(self, "meta", dict(self.meta))
        if self.timing not in ("aligned", "as_given"):
            raise GraphError(f"Graph timing is {self.timing!r}; it is 'aligned' or 'as_given'.")
        if self.messages not in ("binary", "graded"):
            raise GraphError(f"Graph messages is {self.messages!r}; it is 'binary' or 'graded'.")
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
        """Readouts, and populations that nobody reads but themselves."""
        return tuple(
            p
            for p in self.populations
            if isinstance(p.neuron, Readout)
            or (not isinstance(p.neuron, Input) and all(way.dst == p.id for way in self.outgoing[p.id]))
        )

    @cached_property
    def rank(self) -> dict[str, int]:
        """Place of each population in the order given."""
        return {population.id: index for index, population in enumerate(self.populations)}

    def is_recurrent(self, projection: Projection) -> bool:
        """True where a projection ends in its own population or in an earlier one."""
        return self.rank[projection.src] >= self.rank[projection.dst]

    @cached_property
    def depth(self) -> dict[str, int]:
        """Longest path from an input over forward projections, in populations; inputs have depth 0.

        At `as_given` timing, for display only.
        """
        depth: dict[str, int] = {}
        for population in self.populations:
            sources = [depth[p.src] for p in self.incoming[population.id] if not self.is_recurrent(p)]
            depth[population.id] = max(sources) + 1 if sources else 0
        return depth

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what the network computes; names of kernels and `meta` do not count."""
        return graph_digest(self)

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
        if isinstance(source.neuron, GRADED) and self.messages == "binary":
            raise NotBinaryError(
                f"Projection {projection.label} starts in {source.id!r}, a {type(source.neuron).__name__} population that "
                "sends integers, not 0/1 spikes; train with spiking neurons, or declare the graph's messages 'graded'."
            )
        if isinstance(source.neuron, Readout):
            raise NotBinaryError(
                f"Projection {projection.label} starts in the readout {source.id!r}, which sends integers, not 0/1 spikes; "
                "put a spiking neuron between them."
            )
        if isinstance(target.neuron, Input):
            raise GraphError(f"Projection {projection.label} ends in an input; inputs receive from the host only.")
        if isinstance(synapse, Wire):
            self._check_wire(projection, source)
        ports = ("re", "im") if isinstance(target.neuron, RESONATORS) else None
        if ports and projection.port not in ports:
            raise GraphError(
                f"Projection {projection.label} ends in port {projection.port!r} of a {type(target.neuron).__name__} "
                "population; its ports are 're' and 'im'."
            )
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
        read = projection.source_shape(source)
        if projection.delays is not None and projection.delays.ndim == 3 and projection.delays.shape != read:
            raise GraphError(
                f"Projection {projection.label} has delays of shape {projection.delays.shape}, but reads {read} axons; "
                "give one delay per axon."
            )
        if projection.delays is not None and isinstance(synapse, Conv | ConvTranspose | OneToOne):
            bound = accumulator_bound(synapse, message_limit(source.neuron))
            # What sigma-delta neurons send has no bound before a run.
            if bound >= fixedpoint.STATE_LIMIT and not isinstance(source.neuron, GRADED):
                raise GraphError(
                    f"Projection {projection.label}: a {type(synapse).__name__} with delays per axon can reach {bound}, the "
                    f"limit is {fixedpoint.STATE_LIMIT - 1}: Lava, which has no such synapse, does not say what wraps. Use "
                    "smaller weights, or narrower messages."
                )
        if isinstance(target.neuron, Or) and (
            isinstance(synapse, Wire) or int(synapse.kernel.mantissa.min()) < 0 or not is_spiking(source.neuron)
        ):
            raise GraphError(
                f"Projection {projection.label} ends in an OR population with a negative weight or graded input; "
                "an OR takes spikes through weights >= 0."
            )
        if isinstance(synapse, Conv) and synapse.upsample > 1:
            bound = accumulator_bound(synapse, message_limit(source.neuron))
            if bound >= fixedpoint.STATE_LIMIT:
                raise GraphError(
                    f"Projection {projection.label}: an upsampling convolution can reach {bound}, the limit is "
                    f"{fixedpoint.STATE_LIMIT - 1}; use a smaller weight exponent."
                )

    def _check_wire(self, projection: Projection, source: Population) -> None:
        if not isinstance(source.neuron, Input) or projection.delay or projection.delays is not None:
            raise GraphError(
                f"Projection {projection.label} is a Wire from {source.id!r} with delay {projection.longest_delay}; a Wire "
                "leads from an Input, without delay. Use a OneToOne synapse."
            )

    def _check_order(self) -> None:
        if self.timing == "aligned":
            for projection in self.projections:
                if self.is_recurrent(projection):
                    raise GraphError(
                        f"Projection {projection.label} runs against the order of populations; list sources before "
                        "targets. Recurrent projections need timing 'as_given'."
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
        for population in self.populations:
            if isinstance(population.neuron, Lif) and population.neuron.reset_interval:
                raise GraphError(
                    f"Population {population.id!r} has reset_interval {population.neuron.reset_interval}; with timing "
                    "'aligned' states are reset with every sample. Set it to 0, or use timing 'as_given'."
                )
        for projection in self.projections:
            if isinstance(projection.synapse, Wire) or projection.delays is not None:
                raise GraphError(
                    f"Projection {projection.label} has delays per axon or synapse, or is a Wire; that needs timing "
                    "'as_given'."
                )
            needed = self.depth[projection.dst] - self.depth[projection.src] - 1
            if projection.delay != needed:
                raise GraphError(
                    f"Projection {projection.label} has delay {projection.delay}, but its ends are "
                    f"{needed + 1} layers apart and need {needed}; balance delays, or declare the timing 'as_given'."
                )
