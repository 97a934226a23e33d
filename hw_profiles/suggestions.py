"""What to change so that a layer takes fewer cores, each change tried out on the layer alone.

A change is made on a small graph of one layer and its sources, which is then partitioned like the whole network. Output
edges, which depend on the layers behind, are not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from hw_profiles.partition import partition
from hw_profiles.profile import HardwareProfile
from netx_export.errors import GraphError
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    Population,
    Projection,
    Readout,
    SigmaDelta,
    bias_of,
    is_spiking,
    message_limit,
)

_FEW_BITS = 4

_MOST_CORES = 2048
"""A change that still needs more cores than this, and more than the board has, is not worth suggesting."""

Layer = tuple[Population, tuple[tuple[Population, Projection], ...]]
"""A population and its incoming projections, each with its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One change of one layer: cores it takes now and then; `before` is None where the layer fits no number of cores."""

    layer: str
    change: str
    before: int | None
    after: int

    def __str__(self) -> str:
        now = "(no number of cores now) takes" if self.before is None else f"brings {self.before} cores to"
        return f"{self.change} of {self.layer} {now} {self.after}"

    @property
    def saved(self) -> int | None:
        """Cores saved, None where the layer did not fit before."""
        return None if self.before is None else self.before - self.after


def suggest(graph: Graph, profile: HardwareProfile, layers: list[str]) -> tuple[Suggestion, ...]:
    """Changes that help each of `layers`, the most helpful first."""
    found: list[Suggestion] = []
    for name in layers:
        layer = _layer_of(graph, name)
        before = _cores(layer, profile)
        for change, changed in _changes(layer):
            after = _cores(changed, profile)
            if after is not None and (before is None or after < before):
                found.append(Suggestion(layer=name, change=change, before=before, after=after))
    return tuple(sorted(found, key=lambda s: (s.before is not None, s.after if s.saved is None else -s.saved, s.layer)))


def _layer_of(graph: Graph, name: str) -> Layer:
    incoming = graph.incoming[name]
    return graph.by_id[name], tuple((graph.by_id[p.src], p) for p in incoming)


def _cores(layer: Layer, profile: HardwareProfile) -> int | None:
    """Cores of the layer alone; None where it does not fit, or where the change makes no network."""
    target, incoming = layer
    sources: dict[str, Population] = {}
    projections: list[Projection] = []
    try:
        for source, projection in incoming:
            # Whatever a source is, it only sends; a layer that reads itself keeps its own neurons as another source.
            name = f"{source.id} (source)" if source.id == target.id else source.id
            bits = 0 if is_spiking(source.neuron) else max(message_limit(source.neuron).bit_length(), 1)
            sources[name] = Population(id=name, shape=source.shape, neuron=Input(message_bits=min(bits, 32)))
            projections.append(replace(projection, src=name))
        alone = Graph(
            populations=(*sources.values(), target),
            projections=tuple(projections),
            timing="as_given",
            messages="graded",
        )
    except GraphError:
        return None
    parts = partition(alone, profile, most_cores=_MOST_CORES, every_core=False)
    return None if parts.problems else len(parts.slices)


def _changes(layer: Layer) -> Iterator[tuple[str, Layer]]:
    for change, made in (
        ("halving the channels", _fewer_channels),
        ("doubling the stride", _larger_stride),
        ("halving the input channels", _fewer_inputs),
        ("two groups in the convolution", _grouped),
        (f"{_FEW_BITS}-bit weights in place of those", _fewer_bits),
    ):
        changed = made(layer)
        if changed is not None:
            yield change, changed


def _fewer_channels(layer: Layer) -> Layer | None:
    target, incoming = layer
    channels = target.shape[0] // 2
    # The outputs of a network are as many as its task needs.
    if channels < 1 or isinstance(target.neuron, Readout):
        return None
    per_channel = target.size // target.shape[0]

    def half(projection: Projection) -> Projection | None:
        synapse = projection.synapse
        if isinstance(synapse, Conv) and synapse.groups == 1:
            return replace(projection, synapse=replace(synapse, kernel=_part(synapse.kernel, np.s_[:channels])))
        if isinstance(synapse, Dense) and projection.delays is None:
            rows = np.s_[: channels * per_channel]
            return replace(projection, synapse=Dense(kernel=_part(synapse.kernel, rows)))
        return None

    neuron = target.neuron
    if isinstance(neuron, Lif) and neuron.bias_mant.shape[0] > 1:
        neuron = replace(neuron, bias_mant=neuron.bias_mant[:channels])
    if isinstance(neuron, SigmaDelta) and neuron.bias.shape[0] > 1:
        neuron = replace(neuron, bias=neuron.bias[:channels])
    return _with(
        Population(id=target.id, shape=(channels, *target.shape[1:]), neuron=neuron, source=target.source),
        incoming,
        half,
    )


def _larger_stride(layer: Layer) -> Layer | None:
    target, incoming = layer
    _, rows, columns = target.shape
    if rows * columns == 1 or _has_map_bias(target):
        return None
    shape = (target.shape[0], -(-rows // 2), -(-columns // 2))

    def strided(projection: Projection) -> Projection | None:
        synapse = projection.synapse
        if not isinstance(synapse, Conv):
            return None
        return replace(projection, synapse=replace(synapse, stride=(2 * synapse.stride[0], 2 * synapse.stride[1])))

    return _with(Population(id=target.id, shape=shape, neuron=target.neuron, source=target.source), incoming, strided)


def _fewer_inputs(layer: Layer) -> Layer | None:
    target, incoming = layer
    halved: list[tuple[Population, Projection]] = []
    for source, projection in incoming:
        synapse, channels = projection.synapse, source.shape[0] // 2
        plain = projection.src_channels is None and projection.delays is None
        if not plain or channels < 1 or isinstance(source.neuron, Input) or source.id == target.id:
            return None
        smaller = Population(id=source.id, shape=(channels, *source.shape[1:]), neuron=Input(message_bits=1))
        if isinstance(synapse, Conv) and synapse.groups == 1:
            kernel = _part(synapse.kernel, np.s_[:, :channels])
            halved.append((smaller, replace(projection, synapse=replace(synapse, kernel=kernel))))
        elif isinstance(synapse, Dense):
            kernel = _part(synapse.kernel, np.s_[:, : smaller.size])
            halved.append((smaller, replace(projection, synapse=Dense(kernel=kernel))))
        else:
            return None
    return target, tuple(halved)


def _grouped(layer: Layer) -> Layer | None:
    target, incoming = layer

    def grouped(projection: Projection) -> Projection | None:
        synapse = projection.synapse
        if not isinstance(synapse, Conv) or synapse.groups != 1:
            return None
        if synapse.kernel.mantissa.shape[0] % 2 or synapse.kernel.mantissa.shape[1] % 2:
            return None
        kernel = _part(synapse.kernel, np.s_[:, : synapse.kernel.mantissa.shape[1] // 2])
        return replace(projection, synapse=replace(synapse, kernel=kernel, groups=2))

    return _with(target, incoming, grouped)


def _fewer_bits(layer: Layer) -> Layer | None:
    target, incoming = layer

    def coarse(projection: Projection) -> Projection | None:
        synapse = projection.synapse
        if not isinstance(synapse, Conv | Dense):
            return None
        mantissa = synapse.kernel.mantissa
        largest = int(np.abs(mantissa).max())
        shift = max(largest.bit_length() + 1 - _FEW_BITS, 0)
        kernel = Kernel(mantissa=mantissa >> shift)
        return replace(projection, synapse=replace(synapse, kernel=kernel))

    return _with(target, incoming, coarse)


def _with(
    target: Population,
    incoming: tuple[tuple[Population, Projection], ...],
    change: Callable[[Projection], Projection | None],
) -> Layer | None:
    """The layer with every projection changed, None where one cannot be."""
    changed: list[tuple[Population, Projection]] = []
    for source, projection in incoming:
        made = change(projection)
        if made is None or source.id == target.id:
            return None
        changed.append((source, made))
    return target, tuple(changed)


def _part(kernel: Kernel, part: tuple[slice, ...] | slice) -> Kernel:
    return Kernel(mantissa=kernel.mantissa[part], exponent=kernel.exponent)


def _has_map_bias(population: Population) -> bool:
    bias = bias_of(population.neuron)
    return bias is not None and bias.ndim == 3
