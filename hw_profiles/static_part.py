"""What a network is on a chip, without a run: sizes, parameters, cores, use of registers."""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.mapping import Mapping, Utilization
from hw_profiles.reach import reach, whole_box
from netx_export.graph import Graph, Input, Or, Population, Wire, bias_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatic:
    """One population without a run. `source` is its torch module path; `tile` is (w,h,c)."""

    population: str
    source: str
    neuron: str
    shape: tuple[int, int, int]
    neurons: int
    synapses: int
    parameters: int
    delay: int
    cores: int
    tile: tuple[int, int, int]
    utilization: dict[str, tuple[int, int | None]]
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPart:
    """The network on the chip, without a run. `parameters` counts shared kernels once, as folded for export."""

    neurons: int
    synapses: int
    parameters: int
    populations: int
    projections: int
    cores: int
    chips: int
    board_cores: int
    board_chips: int
    utilization: dict[str, tuple[int, int | None]]
    layers: tuple[LayerStatic, ...]


def count_parameters(graph: Graph, *populations: Population) -> int:
    """Weights of the distinct kernels that end in `populations`, and their biases; the ones of an OR do not count."""
    kernels = {
        id(projection.synapse.kernel): projection.synapse.kernel.mantissa.size
        for population in populations
        if not isinstance(population.neuron, Or)
        for projection in graph.incoming[population.id]
        if not isinstance(projection.synapse, Wire)
    }
    return sum(kernels.values()) + sum(_biases(population) for population in populations)


def _biases(population: Population) -> int:
    bias = bias_of(population.neuron)
    # A single zero is the default of a population that has no bias.
    return 0 if bias is None or (bias.size == 1 and not bias.any()) else int(bias.size)


def static_part(mapping: Mapping) -> StaticPart:
    """The static part of a report."""
    graph, profile = mapping.graph, mapping.profile
    layers = tuple(_layer_static(mapping, p) for p in graph.populations if not isinstance(p.neuron, Input))
    has_cores = profile.topology is not None
    return StaticPart(
        neurons=sum(layer.neurons for layer in layers),
        synapses=sum(layer.synapses for layer in layers),
        parameters=count_parameters(graph, *graph.populations),
        populations=len(graph.populations),
        projections=len(graph.projections),
        cores=mapping.cores if has_cores else 0,
        chips=mapping.chips,
        board_cores=profile.topology.cores_per_chip * profile.chips if profile.topology else 0,
        board_chips=profile.chips,
        utilization=mapping.utilization(),
        layers=layers,
    )


def _layer_static(mapping: Mapping, population: Population) -> LayerStatic:
    graph = mapping.graph
    box = whole_box(population.shape)
    used: Utilization = mapping.utilization(population.id)
    fill = {name: count / limit for name, (count, limit) in used.items() if limit and name != "cores"}
    own = mapping.by_population[population.id]
    return LayerStatic(
        population=population.id,
        source=population.source,
        neuron=type(population.neuron).__name__,
        shape=population.shape,
        neurons=population.size,
        synapses=sum(reach(p, graph.by_id[p.src], population, box).synapses() for p in graph.incoming[population.id]),
        parameters=count_parameters(graph, population),
        delay=max((p.longest_delay for p in graph.incoming[population.id]), default=0),
        cores=len(own) if mapping.placement is not None else 0,
        tile=own[0].tile,
        utilization=used,
        binding=max(fill, key=lambda name: fill[name]) if fill else "",
    )
