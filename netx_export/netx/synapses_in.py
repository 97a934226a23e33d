"""The weights of one NetX layer as projections from whatever the layer reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netx_export.errors import GraphError, NetxError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Kernel,
    Projection,
    Readout,
    Shape,
    Sparse,
)
from netx_export.netx import layer_fields as fields
from netx_export.netx import neuron_fields, weights_in
from netx_export.netx.findings import Findings
from netx_export.netx.signals import Signal
from netx_export.netx.tree import Group
from netx_export.netx.weights_in import Weights

EXPANSION_LIMIT = 1 << 22
"""Weights that a layer may have after a kernel for one channel, or for groups, was written out for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The projections into one layer, and the (C,H,W) of its neurons."""

    projections: tuple[Projection, ...]
    shape: Shape


def projections(layer: Group, word: str, before: Signal, name: str, findings: Findings, *, flattened: bool) -> Made:
    """The projections from `before` into the layer called `name`, of type `word`."""
    try:
        if word in ("conv", "convT", "pool", "unpool"):
            if before.flat or flattened:
                raise NetxError(
                    f"{layer.where}: a convolution cannot read a flat layer; NetX has no layer that restores (C,H,W)."
                )
            return _spatial(layer, word, before, name, findings)
        return _dense(layer, word, before, name, findings, flattened=flattened)
    except GraphError as error:
        raise NetxError(f"{layer.where}: {error}") from None


def dense_sources(layer: Group) -> int:
    """How many neurons a dense layer reads, from its weights."""
    neurons = math.prod(fields.layer_shape(layer))
    resonator = neuron_fields.is_resonator(layer)
    group, dataset = next(iter(weights_in.ports(layer, resonator=resonator).values()))
    if group is not layer:
        group.arrays.setdefault("shape", layer.arrays["shape"])
        weight = weights_in.dense_weight(group, dataset, neurons, None)
        del group.arrays["shape"]
        return weight.shape[1]
    return weights_in.dense_weight(layer, dataset, neurons, None).shape[1]


# -- dense ----------------------------------------------------------------------------------------------------------


def _dense(layer: Group, word: str, before: Signal, name: str, findings: Findings, *, flattened: bool) -> Made:
    shape = fields.layer_shape(layer)
    if not (before.flat or flattened or before.host) and before.shape[1:] != (1, 1):
        raise NetxError(
            f"{layer.where}: reads the map {before.shape} without a flatten layer in between, so the order of its "
            "weights is not stated; insert a layer of type 'flatten'."
        )
    neurons = math.prod(shape)
    resonator = neuron_fields.is_resonator(layer)
    if word == "dense_comp":
        findings.add(fields.label(layer), "fails", "type dense_comp, on which lava-dl's loader stops; read as dense.")
    made: list[Projection] = []
    back: list[Projection] = []
    for port, (group, dataset) in weights_in.ports(layer, resonator=resonator).items():
        weight = weights_in.dense_weight(group, dataset, neurons, before.size)
        steps = fields.delays(layer, (neurons, before.size), findings if port != "im" else Findings())
        if port != "im":
            _note_delays(layer, word, steps, resonator, findings)
        if word == "dense_rec":
            recurrent = _recurrent(layer, shape, neurons, findings)
            weights_in.note_loaded(layer, findings, weight=weight, weight_rec=recurrent)
            back = _dense_parts(layer, recurrent, [(name, shape)], name, port, None, findings)
        else:
            weights_in.note_loaded(layer, findings, weight=weight)
        sources = [(part.population, part.shape) for part in before.parts]
        made += _dense_parts(layer, weight, sources, name, port, steps, findings)
    return Made(projections=(*made, *back), shape=shape)


def _note_delays(layer: Group, word: str, steps: fields.Delays | None, resonator: bool, findings: Findings) -> None:
    if steps is None:
        return
    if word == "dense_rec":
        raise NetxError(
            f"{layer.where}: a delay of up to {steps.max()} steps on a recurrent layer: SLAYER delays what leaves the "
            "layer but not what returns to it, and lava-dl's loader delays neither as it was trained. Train this layer "
            "without delays."
        )
    if resonator:
        findings.add(
            fields.label(layer),
            "differs",
            "delays on complex weights, which lava-dl's loader drops; they are computed here.",
        )
    if "bias" in layer.arrays and layer.whole_numbers("bias").any():
        findings.add(
            fields.label(layer),
            "adopted",
            "delays and a bias: SLAYER delays what leaves the layer, Lava what arrives, so the bias acts up to "
            f"{steps.max()} steps earlier than in training; Lava is followed.",
        )


def _recurrent(layer: Group, shape: Shape, neurons: int, findings: Findings) -> Weights:
    if neuron_fields.neuron_word(layer) == "SDNN":
        findings.add(
            fields.label(layer),
            "differs",
            "recurrent sigma-delta neurons: unless the input is declared graded, lava-dl's loader cuts what returns to "
            "0 or 1.",
        )
    return weights_in.dense_weight(layer, "weight_rec", neurons, neurons)


def _dense_parts(
    layer: Group,
    weight: Weights,
    sources: list[tuple[str, Shape]],
    name: str,
    port: str,
    steps: fields.Delays | None,
    findings: Findings,
) -> list[Projection]:
    """One projection per source and kernel; columns in the order of the sources."""
    made = []
    kernels = weights_in.kernels(layer, weight)
    weights_in.note_split(layer, kernels, weight, findings, conv=False)
    for kernel in kernels:
        start = 0
        for source, shape in sources:
            stop = start + math.prod(shape)
            columns = slice(start, stop)
            start = stop
            share = kernel
            if len(sources) > 1:
                share = Kernel(mantissa=kernel.mantissa[:, columns], exponent=kernel.exponent)
            uniform, several = _shared_delays(steps, share.mantissa.shape, columns, shape)
            made.append(
                Projection(src=source, dst=name, synapse=Dense(kernel=share), delay=uniform, delays=several, port=port)
            )
    return made


def _shared_delays(
    steps: fields.Delays | None, matrix: tuple[int, ...], columns: slice, source: Shape
) -> tuple[int, fields.Delays | None]:
    """One delay for all synapses, or one per axon (C,H,W), or one per synapse."""
    if steps is None:
        return 0, None
    mine = steps if steps.shape[1] == 1 else steps[:, columns]
    if mine.min() == mine.max():
        return int(mine.flat[0]), None
    if mine.shape[0] == 1:
        return 0, mine.reshape(source)
    return 0, np.broadcast_to(mine, matrix)


# -- convolutions ---------------------------------------------------------------------------------------------------


def _spatial(layer: Group, word: str, before: Signal, name: str, findings: Findings) -> Made:
    what = {"conv": "a convolution", "convT": "a transposed convolution"}.get(word, "a pooling layer")
    fields.refuse_delay(
        layer,
        what,
        "Neither Lava's convolution nor a stock loader has one: lava-dl would run the layer without its delays and not "
        "say so. Train this layer without delays (delay=False), or make it a dense layer.",
    )
    resonator = neuron_fields.is_resonator(layer)
    if resonator:
        findings.add(
            fields.label(layer), "fails", "a convolution with complex weights, on which lava-dl's loader stops."
        )
    if word != "conv":
        findings.add(
            fields.label(layer),
            "fails",
            f"type {word}: NetX's own page or SLAYER defines it, lava-dl's loader has none.",
        )
    made: list[Projection] = []
    shape = (0, 0, 0)
    for port, (group, dataset) in weights_in.ports(layer, resonator=resonator).items():
        build, weight, axis = _geometry(layer, group, dataset, word, before)
        kernels = weights_in.kernels(layer, weight)
        weights_in.note_split(layer, kernels, weight, findings, conv=True)
        for kernel in kernels:
            shape = _check_shape(layer, build(kernel), before.shape)
            start = 0
            for part in before.parts:
                stop = start + part.shape[0]
                share = kernel
                if len(before.parts) > 1:
                    taken = np.take(kernel.mantissa, range(start, stop), axis=axis)
                    share = Kernel(mantissa=taken, exponent=kernel.exponent)
                start = stop
                made.append(Projection(src=part.population, dst=name, synapse=build(share), port=port))
    return Made(projections=tuple(made), shape=shape)


def _check_shape(layer: Group, synapse: Conv | ConvTranspose, source: Shape) -> Shape:
    declared = fields.layer_shape(layer)
    if synapse.in_channels != source[0]:
        raise NetxError(
            f"{layer.where}: {type(synapse).__name__} reads {synapse.in_channels} channels, its source offers {source[0]} "
            f"{source}."
        )
    made = synapse.output_shape(source)
    if made != declared:
        raise NetxError(
            f"{layer.where}: shape is {declared}, but weight {synapse.kernel.mantissa.shape}, stride {synapse.stride}, "
            f"padding {synapse.padding} and dilation {synapse.dilation} make {made} of {source}."
        )
    return declared


def _geometry(
    layer: Group, group: Group, dataset: str, word: str, before: Signal
) -> tuple[Callable[[Kernel], Conv | ConvTranspose], Weights, int]:
    """How to build the synapse from a kernel, the weights, and the axis of the source's channels."""
    weight = weights_in.spatial_weight(group, dataset)
    stride, padding, dilation = (fields.pair(layer, field) for field in ("stride", "padding", "dilation"))
    channels, several = before.shape[0], len(before.parts) > 1
    if word in ("pool", "unpool"):
        if weight.shape[:2] not in ((1, 1), (channels, 1)):
            raise NetxError(
                f"{layer.where}: weight has shape {weight.shape}; it must be (1, 1, kh, kw) or ({channels}, 1, kh, kw), "
                "each channel on its own."
            )
        _check_expansion(layer, channels * math.prod(weight.shape[2:]))
        weight = np.broadcast_to(weight, (channels, *weight.shape[1:])).astype(np.int64)
        groups = channels
    else:
        groups = weights_in.group_count(layer, weight)
    if word in ("pool", "conv"):
        if several and weight.shape[1] * groups == channels:
            _check_expansion(layer, weight.size * groups)
            weight, groups = weights_in.expand_groups(weight, groups), 1

        def conv(kernel: Kernel) -> Conv:
            return Conv(kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)

        return conv, weight, 1
    if several and groups > 1:
        raise NetxError(
            f"{layer.where}: a grouped transposed convolution of several layers; put a convolution between the concat "
            "and it."
        )
    extra = _output_padding(layer, weight, before.shape, stride, padding, dilation)

    def transposed(kernel: Kernel) -> ConvTranspose:
        return ConvTranspose(
            kernel=kernel, stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups
        )

    return transposed, weight, 0


def _check_expansion(layer: Group, size: int) -> None:
    if size > EXPANSION_LIMIT:
        raise NetxError(
            f"{layer.where}: the weights of all channels are {size}, the limit is {EXPANSION_LIMIT}; the shape of the layer "
            "before cannot be meant."
        )


def _output_padding(
    layer: Group,
    weight: Weights,
    source: Shape,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """Rows and columns at the far end, which the file leaves to the declared shape."""
    declared = fields.layer_shape(layer)
    extra = []
    for axis in range(2):
        span = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        reach = (source[1 + axis] - 1) * stride[axis] - 2 * padding[axis] + span
        extra.append(declared[1 + axis] - reach)
    if min(extra) < 0:
        raise NetxError(
            f"{layer.where}: shape is {declared}, but weight {weight.shape}, stride {stride}, padding {padding} and "
            f"dilation {dilation} make a larger map of {source}."
        )
    return (extra[0], extra[1])


# -- average --------------------------------------------------------------------------------------------------------


def average(layer: Group, before: Signal, shape: Shape, name: str) -> tuple[Readout, list[Projection]]:
    """The mean over equal runs of neurons, as SLAYER's Average: a sum, and 1/n as the unit."""
    outputs = math.prod(shape)
    if before.size % outputs:
        raise NetxError(
            f"{layer.where}: shape {shape} has {outputs} outputs, which do not divide the {before.size} neurons before it."
        )
    run = before.size // outputs
    made: list[Projection] = []
    start = 0
    for part in before.parts:
        size = math.prod(part.shape)
        columns = np.arange(size, dtype=np.int32)
        rows = ((columns.astype(np.int64) + start) // run).astype(np.int32)
        start += size
        ones = Kernel(mantissa=np.ones(size, np.int16))
        made.append(Projection(src=part.population, dst=name, synapse=Sparse(kernel=ones, rows=rows, columns=columns)))
    return Readout(unit=1.0 / run), made
