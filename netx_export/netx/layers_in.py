"""Sequential NetX files from elsewhere: `/layer` as a Graph, or an error that says what cannot be honoured."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError, NetxError
from netx_export.graph import Conv, Dense, Graph, Input, Population, Projection, Shape
from netx_export.netx import layer_fields as fields
from netx_export.netx.stock import dense_as_loaded
from netx_export.netx.tree import Group

_REMEDIES = {
    "average": "read the layers before it with num_layers, and average on the host",
    "pool": "express it as a convolution, or export binary max-pooling with Basalt, which makes it an OR population",
    "concat": "export skip connections with Basalt, which dissolves them into projections",
    "dense_rec": "recurrent projections are not supported",
    "dense_comp": "complex weights are not supported",
    "convT": "express it as an upsampling convolution",
    "unpool": "express it as an upsampling convolution",
}


@dataclass(slots=True)
class _Chain:
    """The network so far: populations in order, each fed by the one before."""

    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    flat: bool = False
    flatten_next: bool = False

    @property
    def shape(self) -> Shape:
        return self.populations[-1].shape


def read_layers(root: Group, *, skip_layers: int = 0, num_layers: int | None = None) -> Graph:
    """The graph of a plain NetX file.

    Every block costs one step, as in training, so the timing is `as_given`; biases have exponent 6, as in the stock
    loader. Raises NetxError naming file, layer, value, limit and remedy.
    """
    layers = root.group("layer").numbered()
    if not layers:
        raise NetxError(f"{root.where}: /layer is empty; the file holds no network.")
    count = len(layers) if num_layers is None else num_layers
    if not 0 <= skip_layers < count <= len(layers):
        raise NetxError(
            f"{root.where}: skip_layers={skip_layers} and num_layers={num_layers} leave nothing of the "
            f"{len(layers)} layers; use 0 <= skip_layers < num_layers <= {len(layers)}."
        )
    for index, layer in enumerate(layers):
        layer.where = f"{root.where}: layer {index}"
        word = fields.layer_type(layer)
        layer.where += f" ({word})" if word.isidentifier() and len(word) <= 20 else ""
    chain = _Chain()
    try:
        if skip_layers:
            last = layers[skip_layers - 1]
            _start(chain, _skipped_shape(last), last.where)
            chain.flat = fields.layer_type(last) == "dense"
        for index in range(skip_layers, count):
            _layer(chain, layers[index], index)
        if len(chain.populations) < 2:
            raise NetxError(f"{root.where}: there is no layer with neurons; nothing would run.")
        return Graph(
            populations=tuple(chain.populations),
            projections=tuple(chain.projections),
            timing="as_given",
            steps=_steps(root),
            meta={"format": "NetX"},
        )
    except GraphError as error:
        raise NetxError(f"{root.where}: {error}") from None


def _steps(root: Group) -> int:
    simulation = root.groups.get("simulation")
    if simulation is None or "tSample" not in simulation.arrays:
        return 1
    steps = fields.scalar(simulation, "tSample")
    if steps < 1:
        raise NetxError(f"{simulation.where}: tSample is {steps}, a sample has at least one step.")
    return steps


def _layer(chain: _Chain, layer: Group, index: int) -> None:
    layer_type = fields.layer_type(layer)
    if layer_type not in fields.DATASETS:
        remedy = _REMEDIES.get(layer_type, "check the program that wrote the file")
        raise NetxError(
            f"{layer.where}: layers of type {reprlib.repr(layer_type)} cannot be read, only "
            f"{sorted(fields.DATASETS)}; {remedy}."
        )
    layer.allow(attributes=set(), arrays=fields.DATASETS[layer_type], groups={"neuron"})
    if (layer_type == "input") != (not chain.populations):
        if layer_type == "input":
            raise NetxError(
                f"{layer.where}: an input layer after other layers; a sequential file has one, at its start."
            )
        if layer_type != "dense":
            raise NetxError(
                f"{layer.where}: the file has no input layer before it, so the size of the input is unknown; "
                "add a layer of type 'input' with its shape (C,H,W)."
            )
        _start(chain, (_dense_weight(layer, None).shape[1], 1, 1), layer.where)
    match layer_type:
        case "input":
            _input(chain, layer, index)
        case "flatten":
            if "neuron" in layer.groups:
                raise NetxError(f"{layer.where}: a flatten layer has no neurons; remove its neuron group.")
            if "shape" in layer.arrays and math.prod(fields.layer_shape(layer)) != chain.populations[-1].size:
                raise NetxError(
                    f"{layer.where}: shape {fields.layer_shape(layer)} does not hold the {chain.populations[-1].size} "
                    f"neurons of the layer before it {chain.shape}; export the layer again."
                )
            chain.flatten_next = True
        case "conv":
            _conv(chain, layer, index)
        case "dense":
            _dense(chain, layer, index)


def _start(chain: _Chain, shape: Shape, where: str) -> None:
    try:
        chain.populations.append(Population(id="input", shape=shape, neuron=Input()))
    except GraphError as error:
        raise NetxError(f"{where}: {error}") from None


def _skipped_shape(layer: Group) -> Shape:
    layer_type = fields.layer_type(layer)
    if layer_type not in ("input", "conv", "dense"):
        raise NetxError(f"{layer.where}: cannot be the last skipped layer; skip up to an input, conv or dense layer.")
    return fields.layer_shape(layer)


def _input(chain: _Chain, layer: Group, index: int) -> None:
    if "neuron" in layer.groups:
        fields.neuron_group(layer)
    extra = sorted({"weight", "bias"} & set(layer.arrays)) + sorted(layer.groups)
    if extra:
        raise NetxError(
            f"{layer.where}: the input layer has {', '.join(extra)} of its own: the host adds weight*x + bias, real "
            "numbers, to neurons without a synapse in between, which a graph cannot express. Read the file with "
            f"skip_layers={index + 1} and present the spikes of these neurons as input."
        )
    _start(chain, fields.layer_shape(layer), layer.where)


def _conv(chain: _Chain, layer: Group, index: int) -> None:
    if chain.flat or chain.flatten_next:
        raise NetxError(
            f"{layer.where}: a convolution cannot read a flat layer; NetX has no layer that restores (C,H,W)."
        )
    if "delay" in layer.arrays and layer.whole_numbers("delay").any():
        delay = int(layer.whole_numbers("delay").max())
        raise NetxError(
            f"{layer.where}: a delay of up to {delay} steps on a convolution; neither Lava nor the chip has one "
            "(limit 0). Train this layer without delays."
        )
    weight = layer.whole_numbers("weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise NetxError(
            f"{layer.where}: weight has shape {weight.shape}; it must be (C_out, C_in/groups, kh, kw), with or without "
            "a last axis of 1."
        )
    try:
        synapse = Conv(
            kernel=fields.kernel(layer, weight),
            stride=fields.pair(layer, "stride"),
            padding=fields.pair(layer, "padding"),
            dilation=fields.pair(layer, "dilation"),
            groups=fields.scalar(layer, "groups"),
        )
    except GraphError as error:
        raise NetxError(f"{layer.where}: {error}") from None
    declared = fields.layer_shape(layer)
    if synapse.output_shape(chain.shape) != declared:
        raise NetxError(
            f"{layer.where}: shape is {declared}, but weight {weight.shape}, stride {synapse.stride}, padding "
            f"{synapse.padding} and dilation {synapse.dilation} make {synapse.output_shape(chain.shape)} of {chain.shape}."
        )
    _append(
        chain, layer, index, Projection(src=chain.populations[-1].id, dst=_id(layer, index), synapse=synapse), declared
    )


def _dense(chain: _Chain, layer: Group, index: int) -> None:
    shape = fields.layer_shape(layer)
    needs_flatten = not chain.flat and len(chain.populations) > 1 and chain.shape[1:] != (1, 1)
    if needs_flatten and not chain.flatten_next:
        raise NetxError(
            f"{layer.where}: reads the map {chain.shape} without a flatten layer in between, so the order of its "
            "weights is not stated; insert a layer of type 'flatten'."
        )
    weight = _dense_weight(layer, chain.populations[-1].size)
    if weight.shape[0] != math.prod(shape):
        raise NetxError(
            f"{layer.where}: shape {shape} has {math.prod(shape)} neurons, weight {weight.shape} feeds others."
        )
    if weight.any():
        loaded = dense_as_loaded(weight.astype(np.int32))
        if loaded is None or not np.array_equal(loaded, weight):
            raise NetxError(
                f"{layer.where}: weights from {weight.min()} to {weight.max()}: lava-dl's loader would not keep them "
                "as they are (it loses low bits of all-negative matrices and clips beyond -256..254), so it is open "
                "which network is meant. Scale the layer, or give it one weight >= 0."
            )
    projection = Projection(
        src=chain.populations[-1].id,
        dst=_id(layer, index),
        synapse=Dense(kernel=fields.kernel(layer, weight)),
        delay=fields.delay(layer),
    )
    _append(chain, layer, index, projection, shape)
    chain.flat, chain.flatten_next = True, False


def _dense_weight(layer: Group, sources: int | None) -> npt.NDArray[np.int64]:
    weight = layer.whole_numbers("weight")
    neurons = math.prod(fields.layer_shape(layer))
    if weight.ndim == 1 and weight.size % max(neurons, 1) == 0:
        weight = weight.reshape(neurons, -1)
    if weight.ndim != 2 or weight.size == 0 or (sources is not None and weight.shape[1] != sources):
        raise NetxError(
            f"{layer.where}: weight has shape {weight.shape}; it must be ({neurons}, {sources or 'N_in'}), one row per "
            "neuron and one column per neuron of the layer before it."
        )
    return weight


def _append(chain: _Chain, layer: Group, index: int, projection: Projection, shape: Shape) -> None:
    try:
        population = Population(
            id=_id(layer, index),
            shape=shape,
            neuron=fields.lif(layer, shape, flat=isinstance(projection.synapse, Dense)),
        )
    except GraphError as error:
        raise NetxError(f"{layer.where}: {error}") from None
    chain.populations.append(population)
    chain.projections.append(projection)


def _id(layer: Group, index: int) -> str:
    return f"layer{index}_{fields.layer_type(layer)}"
