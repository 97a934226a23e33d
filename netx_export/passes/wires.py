"""What travels between the nodes of a FloatGraph, and which populations a linear wire is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from netx_export.float_graph import (
    AddNode,
    ConcatNode,
    FlattenNode,
    FloatGraph,
    InputNode,
    MaxPoolNode,
    NeuronNode,
    Node,
    OrNode,
    OutputNode,
    ScaleNode,
    UpsampleNode,
)

Travel = Literal["spikes", "counts", "currents"]
"""spikes: 0 or 1. counts: spikes added or scaled, or graded input. currents: real values of a layer with weights."""

TRAVEL_WORDS: Mapping[Travel, str] = {
    "spikes": "0/1 spikes",
    "counts": "sums of spikes or graded values",
    "currents": "real-valued currents",
}


def travel_of(node: Node, sources: Sequence[Travel]) -> Travel:
    """What `node` sends when its inputs send `sources`."""
    match node:
        case InputNode():
            return "spikes" if node.message_bits == 0 else "counts"
        case NeuronNode() | OrNode():
            return "spikes"
        case ConcatNode() | UpsampleNode() | FlattenNode() | OutputNode() | MaxPoolNode():
            return _widest(sources)
        case AddNode() | ScaleNode():
            return "currents" if "currents" in sources else "counts"
        case _:
            return "currents"


def _widest(sources: Sequence[Travel]) -> Travel:
    if "currents" in sources:
        return "currents"
    return "counts" if "counts" in sources else "spikes"


def travels(graph: FloatGraph) -> dict[str, Travel]:
    """What every node of `graph` sends."""
    found: dict[str, Travel] = {}
    for node in graph.nodes:
        found[node.id] = travel_of(node, [found[name] for name in node.inputs])
    return found


def nearest_neuron(graph: FloatGraph, name: str, *, avoiding: str | None = None) -> str | None:
    """The module path of the first spiking neuron fed by node `name`: where its values next become spikes.

    Copies of the same layer count as that layer; nothing is looked for behind node `avoiding`.
    """
    front = [
        node.id for node in graph.nodes if node.id == name or (node.source and node.source == graph.by_id[name].source)
    ]
    seen: set[str] = set() if avoiding is None else {avoiding}
    while front:
        current = front.pop(0)
        for reader in graph.readers[current]:
            if isinstance(reader, NeuronNode):
                return reader.source
            if reader.id not in seen:
                seen.add(reader.id)
                front.append(reader.id)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One population's share of a wire: its neurons appear at `offset` .. `offset + count` of the wire's channels.

    `upsample` is the nearest repetition on the way, `scale` a constant factor. `flat` wires were flattened: there
    offset and count are positions in C,H,W order, after the repetition.
    """

    source: str
    offset: int
    count: int
    upsample: int = 1
    scale: float = 1.0
    flat: bool = False


def pieces(graph: FloatGraph, name: str) -> tuple[Piece, ...]:
    """The populations that node `name`, a wire without currents, is made of. Several may overlap where spikes add."""
    node = graph.by_id[name]
    match node:
        case ConcatNode():
            found: list[Piece] = []
            start = 0
            for part in node.inputs:
                found.extend(replace(piece, offset=piece.offset + start) for piece in pieces(graph, part))
                start += graph.by_id[part].shape[0]
            return tuple(found)
        case AddNode():
            return tuple(piece for part in node.inputs for piece in pieces(graph, part))
        case UpsampleNode():
            return tuple(replace(p, upsample=p.upsample * node.factor) for p in pieces(graph, node.inputs[0]))
        case ScaleNode():
            return tuple(replace(p, scale=p.scale * node.factor) for p in pieces(graph, node.inputs[0]))
        case FlattenNode():
            _, height, width = graph.by_id[node.inputs[0]].shape
            area = height * width
            return tuple(
                piece if piece.flat else replace(piece, offset=piece.offset * area, count=piece.count * area, flat=True)
                for piece in pieces(graph, node.inputs[0])
            )
        case _:
            return (Piece(source=name, offset=0, count=node.shape[0]),)
