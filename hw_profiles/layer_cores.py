"""Chips that give every layer one core of its own, the cores being of different sizes (Speck).

A layer goes to a core whose memories hold it; which layer goes where is found by augmenting paths, so that a layer that
fits nowhere really has no place. Memories are addressed by powers of two:

kernel memory = C_in * 2**(ceil(log2(kh * kw)) + ceil(log2(C_out)))   words, summed over projections
neuron memory = C_out * 2**(ceil(log2(H)) + ceil(log2(W)))            words

A dense layer is a convolution whose kernel covers its input. Source of the rule: the memory constraints in the public
documentation of the vendor's toolchain (sinabs).
"""

from __future__ import annotations

from hw_profiles.profile import HardwareProfile
from hw_profiles.reach import whole_box
from hw_profiles.registers import Registers, state_words
from hw_profiles.slices import FitProblem, Slice
from netx_export.graph import Conv, ConvTranspose, Dense, Graph, OneToOne, Population, Sparse, Wire


def layer_registers(graph: Graph, population: Population) -> Registers:
    """Words that a whole layer takes in the memories of its core."""
    kernel = 0
    for projection in graph.incoming[population.id]:
        source = projection.source_shape(graph.by_id[projection.src])
        match projection.synapse:
            case Conv() | ConvTranspose():
                taps = projection.synapse.kernel.mantissa.shape[2] * projection.synapse.kernel.mantissa.shape[3]
                inputs = source[0] // projection.synapse.groups
            case Dense() | Sparse():
                taps, inputs = source[1] * source[2], source[0]
            case OneToOne():
                taps, inputs = 1, 1
            case Wire():
                continue
        kernel += inputs << (_bits(taps) + _bits(population.shape[0]))
    neurons = population.shape[0] << (_bits(population.shape[1]) + _bits(population.shape[2]))
    return {
        "neurons": population.size,
        "kernel_memory": kernel,
        "neuron_memory": neurons,
        "state_words": population.size * state_words(population.neuron),
    }


def _bits(extent: int) -> int:
    """ceil(log2(extent))."""
    return (extent - 1).bit_length()


def assign_layers(
    graph: Graph, profile: HardwareProfile, populations: list[Population]
) -> tuple[tuple[Slice, ...], tuple[Registers, ...], list[FitProblem]]:
    """Slices, registers by core, and what does not fit; layers without a place are left out."""
    needs = {p.id: layer_registers(graph, p) for p in populations}
    problems: list[FitProblem] = []
    rooms: dict[str, list[int]] = {}
    for population in populations:
        need = needs[population.id]
        rooms[population.id] = [
            core
            for core, (kernel, neuron) in enumerate(zip(profile.kernel_memories, profile.neuron_memories, strict=True))
            if need["kernel_memory"] <= kernel.low and need["neuron_memory"] <= neuron.low
        ]
    holder: dict[int, str] = {}
    for population in populations:
        if not _find_room(population.id, rooms, holder, set()):
            problems.append(_no_room(profile, population, needs[population.id], bool(rooms[population.id])))
    where = {name: core for core, name in holder.items()}
    slices = tuple(
        Slice(population=p.id, core=where[p.id], box=whole_box(p.shape)) for p in populations if p.id in where
    )
    registers: list[Registers] = [{} for _ in range(max(holder, default=-1) + 1)]
    for core, name in holder.items():
        registers[core] = needs[name]
    return slices, tuple(registers), problems


def _find_room(name: str, rooms: dict[str, list[int]], holder: dict[int, str], tried: set[int]) -> bool:
    for core in rooms[name]:
        if core in tried:
            continue
        tried.add(core)
        if core not in holder or _find_room(holder[core], rooms, holder, tried):
            holder[core] = name
            return True
    return False


def _no_room(profile: HardwareProfile, population: Population, need: Registers, taken: bool) -> FitProblem:
    sizes = {"kernel_memory": profile.kernel_memories, "neuron_memory": profile.neuron_memories}
    resource = max(sizes, key=lambda name: need[name] / max(memory.low for memory in sizes[name]))
    where = "the cores that are large enough hold other layers" if taken else "no core has both memories that large"
    remedies = {
        "kernel_memory": "use fewer channels or a smaller kernel.",
        "neuron_memory": "use a larger stride or fewer channels, powers of two in height and width.",
    }
    return FitProblem(
        layer=population.id,
        resource=resource,
        used=need[resource],
        limit=profile.limit(resource) or 0,
        remedy=f"{where}; {remedies[resource]}",
        source=population.source,
    )
