"""The network in projection form: populations joined by linear projections, still in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from netx_export.errors import GraphError
from netx_export.float_graph import FloatArray, frozen_float_array
from netx_export.graph import FloatLif, Input, Or, Pair, Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatConv:
    """a = conv(up(s)), as `graph.Conv`; weight (C_out, C_in/groups, kh, kw)."""

    weight: FloatArray
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    upsample: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float_array(self.weight))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatDense:
    """a = W s, as `graph.Dense`; weight (N_out, N_in)."""

    weight: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float_array(self.weight))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatOneToOne:
    """a[c,y,x] = w[c]*s[c,y,x], as `graph.OneToOne`; weight (C,)."""

    weight: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_float_array(self.weight))


FloatSynapse = FloatConv | FloatDense | FloatOneToOne


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatReadout:
    """Non-spiking output: the sum of its currents and its bias."""


FloatPopulationNeuron = Input | FloatLif | Or | FloatReadout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatPopulation:
    """Neurons of one kind; `bias` is added to their currents, (C,), (C,H,W) or None."""

    id: str
    shape: Shape
    neuron: FloatPopulationNeuron
    bias: FloatArray | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.bias is not None:
            object.__setattr__(self, "bias", frozen_float_array(self.bias))
            if self.bias.shape not in ((self.shape[0],), self.shape):
                raise GraphError(
                    f"Population {self.id!r}: bias has shape {self.bias.shape}, give ({self.shape[0]},) or {self.shape}."
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatProjection:
    """A bundle of synapses. `exact` marks weights that nobody trained (identities): they are held exactly or refused.

    `source` names the torch module that owns the weights.
    """

    src: str
    dst: str
    synapse: FloatSynapse
    delay: int = 0
    exact: bool = False
    source: str = ""

    @property
    def label(self) -> str:
        """`src -> dst`, for messages."""
        return f"{self.src} -> {self.dst}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectionGraph:
    """Populations in topological order and the projections between them."""

    populations: tuple[FloatPopulation, ...]
    projections: tuple[FloatProjection, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "populations", tuple(self.populations))
        object.__setattr__(self, "projections", tuple(self.projections))
        if len(self.by_id) != len(self.populations):
            names = [population.id for population in self.populations]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise GraphError(f"Populations share the ids {twice}; give each its own id.")
        rank = {population.id: index for index, population in enumerate(self.populations)}
        for projection in self.projections:
            if not rank.get(projection.src, len(rank)) < rank.get(projection.dst, -1):
                raise GraphError(f"Projection {projection.label} does not run from an earlier to a later population.")

    @cached_property
    def by_id(self) -> dict[str, FloatPopulation]:
        """Population by id."""
        return {population.id: population for population in self.populations}

    @cached_property
    def incoming(self) -> dict[str, tuple[FloatProjection, ...]]:
        """Projections that end in each population."""
        ends: dict[str, list[FloatProjection]] = {population.id: [] for population in self.populations}
        for projection in self.projections:
            ends[projection.dst].append(projection)
        return {name: tuple(found) for name, found in ends.items()}

    @cached_property
    def depth(self) -> dict[str, int]:
        """Longest path from an input, counted in populations; inputs have depth 0."""
        depth: dict[str, int] = {}
        for population in self.populations:
            sources = [depth[projection.src] for projection in self.incoming[population.id]]
            depth[population.id] = max(sources) + 1 if sources else 0
        return depth
