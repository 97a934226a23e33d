"""Sequential NetX files from elsewhere: `/layer` as a Graph, or an error that says what cannot be honoured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError, NetxError
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection, Shape, fixedpoint
from netx_export.netx.stock import BIAS_EXP, dense_as_loaded
from netx_export.netx.tree import Group

_COMMON = {"type", "shape"}
_DATASETS = {
    "input": _COMMON | {"weight", "bias"},
    "flatten": _COMMON,
    "dense": _COMMON | {"weight", "bias", "delay", "inFeatures", "outFeatures"},
    "conv": _COMMON
    | {"weight", "bias", "delay", "stride", "padding", "dilation", "groups"}
    | {"kernelSize", "inChannels", "outChannels"},
}
_REMEDIES = {
    "average": "read the layers before it with num_layers, and average on the host",
    "pool": "express it as a convolution, or export binary max-pooling with Basalt, which makes it an OR population",
    "concat": "export skip connections with Basalt, which dissolves them into projections",
    "dense_rec": "recurrent projections are not supported",
    "dense_comp": "complex weights are not supported",
    "convT": "express it as an upsampling convolution",
    "unpool": "express it as an upsampling convolution",
}
_SILENT = {"scaleRho", "tauRho", "theta"}
"""Neuron fields that shape the surrogate gradient, or repeat the threshold, and so decide nothing here."""


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
        layer.where += f" ({_type(layer)})"
    chain = _Chain()
    try:
        if skip_layers:
            _start(chain, _skipped_shape(layers[skip_layers - 1]), layers[skip_layers - 1].where)
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


def _type(layer: Group) -> str:
    if "type" not in layer.arrays:
        found = ", ".join(sorted({**layer.arrays, **layer.groups})) or "nothing"
        raise NetxError(
            f"{layer.where} has no 'type', it holds {found}; NetX needs one of {sorted(_DATASETS)} for every layer."
        )
    value = layer.arrays["type"]
    if not isinstance(value, tuple) or len(value) != 1:
        raise NetxError(f"{layer.where}: 'type' is {value!r}, it must be one text.")
    return value[0]


def _steps(root: Group) -> int:
    simulation = root.groups.get("simulation")
    if simulation is None or "tSample" not in simulation.arrays:
        return 1
    steps = _scalar(simulation, "tSample")
    if steps < 1:
        raise NetxError(f"{simulation.where}: tSample is {steps}, a sample has at least one step.")
    return steps


def _layer(chain: _Chain, layer: Group, index: int) -> None:
    layer_type = _type(layer)
    if layer_type not in _DATASETS:
        remedy = _REMEDIES.get(layer_type, "check the program that wrote the file")
        raise NetxError(
            f"{layer.where}: layers of type {layer_type!r} cannot be read, only {sorted(_DATASETS)}; {remedy}."
        )
    layer.allow(attributes=set(), arrays=_DATASETS[layer_type], groups={"neuron"})
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
            if "shape" in layer.arrays and int(np.prod(_shape(layer))) != chain.populations[-1].size:
                raise NetxError(
                    f"{layer.where}: shape {_shape(layer)} does not hold the {chain.populations[-1].size} neurons of "
                    f"the layer before it {chain.shape}."
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
    layer_type = _type(layer)
    if layer_type not in ("input", "conv", "dense"):
        raise NetxError(f"{layer.where}: cannot be the last skipped layer; skip up to an input, conv or dense layer.")
    return _shape(layer)


def _input(chain: _Chain, layer: Group, index: int) -> None:
    if "neuron" in layer.groups:
        _check_neuron_type(layer)
    extra = sorted({"weight", "bias"} & set(layer.arrays)) + sorted(layer.groups)
    if extra:
        raise NetxError(
            f"{layer.where}: the input layer has {', '.join(extra)} of its own: the host adds weight*x + bias, real "
            "numbers, to neurons without a synapse in between, which a graph cannot express. Read the file with "
            f"skip_layers={index + 1} and present the spikes of these neurons as input."
        )
    _start(chain, _shape(layer), layer.where)


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
            kernel=_kernel(layer, weight),
            stride=_pair(layer, "stride", 1),
            padding=_pair(layer, "padding", 0),
            dilation=_pair(layer, "dilation", 1),
            groups=_scalar(layer, "groups") if "groups" in layer.arrays else 1,
        )
    except GraphError as error:
        raise NetxError(f"{layer.where}: {error}") from None
    declared = _shape(layer)
    if len(layer.whole_numbers("shape")) == 3 and synapse.output_shape(chain.shape) != declared:
        raise NetxError(
            f"{layer.where}: shape is {declared}, but weight {weight.shape}, stride {synapse.stride}, padding "
            f"{synapse.padding} and dilation {synapse.dilation} make {synapse.output_shape(chain.shape)} of {chain.shape}."
        )
    _append(
        chain, layer, index, Projection(src=chain.populations[-1].id, dst=_id(layer, index), synapse=synapse), declared
    )


def _dense(chain: _Chain, layer: Group, index: int) -> None:
    shape = _shape(layer)
    needs_flatten = not chain.flat and len(chain.populations) > 1 and chain.shape[1:] != (1, 1)
    if needs_flatten and not chain.flatten_next:
        raise NetxError(
            f"{layer.where}: reads the map {chain.shape} without a flatten layer in between, so the order of its "
            "weights is not stated; insert a layer of type 'flatten'."
        )
    weight = _dense_weight(layer, chain.populations[-1].size)
    if weight.shape[0] != int(np.prod(shape)):
        raise NetxError(
            f"{layer.where}: shape {shape} has {int(np.prod(shape))} neurons, weight {weight.shape} feeds others."
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
        synapse=Dense(kernel=_kernel(layer, weight)),
        delay=_delay(layer),
    )
    _append(chain, layer, index, projection, shape)
    chain.flat, chain.flatten_next = True, False


def _dense_weight(layer: Group, sources: int | None) -> npt.NDArray[np.int64]:
    weight = layer.whole_numbers("weight")
    neurons = int(np.prod(_shape(layer)))
    if weight.ndim == 1 and weight.size % max(neurons, 1) == 0:
        weight = weight.reshape(neurons, -1)
    if weight.ndim != 2 or weight.size == 0 or (sources is not None and weight.shape[1] != sources):
        raise NetxError(
            f"{layer.where}: weight has shape {weight.shape}; it must be ({neurons}, {sources or 'N_in'}), one row per "
            "neuron and one column per neuron of the layer before it."
        )
    return weight


def _delay(layer: Group) -> int:
    if "delay" not in layer.arrays:
        return 0
    delays = layer.whole_numbers("delay")
    if delays.size == 0 or delays.min() != delays.max():
        span = "none" if delays.size == 0 else f"from {delays.min()} to {delays.max()}"
        raise NetxError(
            f"{layer.where}: {delays.size} delays {span}; a projection of this version holds one delay for all its "
            "synapses. Train the layer with one delay, or without."
        )
    delay = int(delays.flat[0])
    if not 0 <= delay <= fixedpoint.DELAY_MAX:
        raise NetxError(
            f"{layer.where}: the delay is {delay} steps, the limit is 0..{fixedpoint.DELAY_MAX}; train with a smaller one."
        )
    return delay


def _kernel(layer: Group, weight: npt.NDArray[np.int64]) -> Kernel:
    """Weights as mantissa and the smallest exponent that fits: SLAYER's even [-256,254] become exponent 1."""
    for exponent in range(fixedpoint.WEIGHT_EXP_MAX + 1):
        mantissa = weight >> exponent
        if bool((mantissa << exponent != weight).any()):
            break
        if mantissa.size and mantissa.min() >= fixedpoint.WEIGHT_MIN and mantissa.max() <= fixedpoint.WEIGHT_MAX:
            return Kernel(mantissa=mantissa.astype(np.int16), exponent=exponent)
    if weight.size == 0:
        raise NetxError(f"{layer.where}: weight has shape {weight.shape}, it is empty.")
    raise NetxError(
        f"{layer.where}: weights from {weight.min()} to {weight.max()} do not fit 8 bits "
        f"({fixedpoint.WEIGHT_MIN}..{fixedpoint.WEIGHT_MAX} times one power of two); quantise the layer to even weights "
        "in -256..254 or to 8 bits."
    )


def _append(chain: _Chain, layer: Group, index: int, projection: Projection, shape: Shape) -> None:
    try:
        population = Population(id=_id(layer, index), shape=shape, neuron=_lif(layer, shape, projection))
    except GraphError as error:
        raise NetxError(f"{layer.where}: {error}") from None
    chain.populations.append(population)
    chain.projections.append(projection)


def _id(layer: Group, index: int) -> str:
    return f"layer{index}_{_type(layer)}"


def _lif(layer: Group, shape: Shape, projection: Projection) -> Lif:
    if "neuron" not in layer.groups:
        raise NetxError(
            f"{layer.where}: no neuron group; NetX then means an integrator without threshold (iDecay 0, vDecay 4096), "
            "which a graph cannot express. Give the layer a LOIHI or CUBA neuron, or read the layers before it with "
            "num_layers."
        )
    neuron = _check_neuron_type(layer)
    constants = {"type", "iDecay", "vDecay", "vThMant"}
    neutral = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "messageBits": 0}
    neuron.allow(attributes=set(), arrays=constants | set(neutral) | _SILENT, groups=set())
    for name, meant in neutral.items():
        if name in neuron.arrays and _scalar(neuron, name) != meant:
            raise NetxError(
                f"{neuron.where}: {name} is {_scalar(neuron, name)}, the limit is {meant}; lava-dl's loader ignores "
                "this field, so the network would not run as it was trained. Train the layer without it."
            )
    i_decay, v_decay = _scalar(neuron, "iDecay"), _scalar(neuron, "vDecay")
    if not 1 <= i_decay <= 4096 or not 0 <= v_decay <= 4095:
        raise NetxError(
            f"{neuron.where}: iDecay is {i_decay} and vDecay is {v_decay}, the limits are 1..4096 and 0..4095; "
            "train with decays inside them."
        )
    try:
        return Lif(
            vth_mant=_scalar(neuron, "vThMant"),
            du=fixedpoint.du_from_netx(i_decay),
            dv=v_decay,
            bias_mant=_bias(layer, shape, isinstance(projection.synapse, Dense)).astype(np.int32),
            bias_exp=BIAS_EXP,
        )
    except GraphError as error:
        raise NetxError(f"{neuron.where}: {error}") from None


def _check_neuron_type(layer: Group) -> Group:
    neuron = layer.groups["neuron"]
    neuron.where = f"{layer.where}, neuron"
    kind = neuron.array("type")
    if not isinstance(kind, tuple) or kind not in (("LOIHI",), ("CUBA",)):
        name = kind[0] if isinstance(kind, tuple) and kind else kind
        raise NetxError(
            f"{neuron.where}: type {name!r} cannot be read, only 'LOIHI' and 'CUBA'; train the network with "
            "leaky integrate-and-fire neurons."
        )
    return neuron


def _bias(layer: Group, shape: Shape, flat: bool) -> npt.NDArray[np.int64]:
    if "bias" not in layer.arrays:
        return np.zeros(shape[0], np.int64)
    bias = layer.whole_numbers("bias")
    if bias.shape == ((int(np.prod(shape)),) if flat else shape[:1]):
        return bias.reshape(shape) if flat and shape[1:] != (1, 1) else bias
    if not flat and bias.shape == shape[::-1]:
        # The stock loader takes a bias per neuron in (W,H,C) order.
        return bias.transpose(2, 1, 0)
    expected = f"({int(np.prod(shape))},)" if flat else f"{shape[:1]} or {shape[::-1]}"
    raise NetxError(f"{layer.where}: bias has shape {bias.shape}, it must be {expected}.")


def _shape(layer: Group) -> Shape:
    """(C,H,W): three numbers as they are, two as (1,H,W), one as (C,1,1)."""
    shape = layer.whole_numbers("shape").reshape(-1)
    if not 1 <= shape.size <= 3 or shape.min() < 1:
        raise NetxError(f"{layer.where}: shape is {shape.tolist()}; give (C,H,W) with every side >= 1.")
    sides = [int(extent) for extent in shape]
    match sides:
        case [channels]:
            return (channels, 1, 1)
        case [height, width]:
            return (1, height, width)
        case _:
            return (sides[0], sides[1], sides[2])


def _pair(layer: Group, name: str, default: int) -> tuple[int, int]:
    """(vertical, horizontal): two numbers, or one for both."""
    if name not in layer.arrays:
        return (default, default)
    value = layer.whole_numbers(name).reshape(-1)
    if value.size not in (1, 2):
        raise NetxError(f"{layer.where}: {name} is {value.tolist()}; give one number or (vertical, horizontal).")
    return (int(value[0]), int(value[-1]))


def _scalar(group: Group, name: str) -> int:
    value = group.whole_numbers(name)
    if value.size != 1:
        raise NetxError(f"{group.where}: {name} has shape {value.shape}, it must be one number for the whole layer.")
    return int(value.reshape(-1)[0])
