"""The fields of one NetX layer, read with the checks that a file from elsewhere needs."""

from __future__ import annotations

import math
import reprlib

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError, NetxError
from netx_export.graph import Kernel, Lif, Shape, fixedpoint
from netx_export.netx.stock import BIAS_EXP
from netx_export.netx.tree import INT_MAX, Group

_COMMON = {"type", "shape"}
DATASETS = {
    "input": _COMMON | {"weight", "bias"},
    "flatten": _COMMON,
    "dense": _COMMON | {"weight", "bias", "delay", "inFeatures", "outFeatures"},
    "conv": _COMMON
    | {"weight", "bias", "delay", "stride", "padding", "dilation", "groups"}
    | {"kernelSize", "inChannels", "outChannels"},
}
"""Layer types that can be read, and their datasets. The counts beside a weight repeat its shape, which decides."""

_SILENT = {"scaleRho", "tauRho", "theta"}
"""Neuron fields that shape the surrogate gradient, or repeat the threshold, and so decide nothing here."""


def layer_type(layer: Group) -> str:
    """The word in `type`, which may be a text or an array of one text."""
    if "type" not in layer.arrays:
        found = ", ".join(sorted({**layer.arrays, **layer.groups})) or "nothing"
        raise NetxError(
            f"{layer.where} has no 'type', it holds {found}; NetX needs one of {sorted(DATASETS)} for every layer."
        )
    value = layer.arrays["type"]
    if not isinstance(value, tuple) or len(value) != 1:
        raise NetxError(f"{layer.where}: 'type' is {reprlib.repr(value)}, it must be one text.")
    return value[0]


def layer_shape(layer: Group) -> Shape:
    """(C,H,W): three numbers as they are, two as (1,H,W), one as (C,1,1)."""
    shape = layer.whole_numbers("shape").reshape(-1)
    if not 1 <= shape.size <= 3 or shape.min() < 1:
        raise NetxError(f"{layer.where}: shape is {shape.tolist()}; give (C,H,W) with every side >= 1.")
    sides = [int(extent) for extent in shape]
    if math.prod(sides) > INT_MAX:
        raise NetxError(f"{layer.where}: shape {sides} has {math.prod(sides)} neurons, the limit is {INT_MAX}.")
    match sides:
        case [channels]:
            return (channels, 1, 1)
        case [height, width]:
            return (1, height, width)
        case _:
            return (sides[0], sides[1], sides[2])


def pair(layer: Group, name: str) -> tuple[int, int]:
    """(vertical, horizontal): two numbers, or one for both."""
    value = layer.whole_numbers(name).reshape(-1)
    if value.size not in (1, 2):
        raise NetxError(f"{layer.where}: {name} is {value.tolist()}; give one number or (vertical, horizontal).")
    return (int(value[0]), int(value[-1]))


def scalar(group: Group, name: str) -> int:
    """One number, alone or in an array of one."""
    value = group.whole_numbers(name)
    if value.size != 1:
        raise NetxError(f"{group.where}: {name} has shape {value.shape}, it must be one number for the whole layer.")
    return int(value.reshape(-1)[0])


def delay(layer: Group) -> int:
    """The delay of a dense layer in steps; files store one number or one per axon."""
    if "delay" not in layer.arrays:
        return 0
    delays = layer.whole_numbers("delay")
    if delays.size == 0 or delays.min() != delays.max():
        span = "none" if delays.size == 0 else f"from {delays.min()} to {delays.max()}"
        raise NetxError(
            f"{layer.where}: {delays.size} delays {span}; a projection of this version holds one delay for all its "
            "synapses. Train the layer with one delay, or without."
        )
    steps = int(delays.flat[0])
    if not 0 <= steps <= fixedpoint.DELAY_MAX:
        raise NetxError(
            f"{layer.where}: the delay is {steps} steps, the limit is 0..{fixedpoint.DELAY_MAX}; train with a smaller one."
        )
    return steps


def kernel(layer: Group, weight: npt.NDArray[np.int64]) -> Kernel:
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


def bias(layer: Group, shape: Shape, *, flat: bool) -> npt.NDArray[np.int64]:
    """The bias mantissa per channel (C,) or per neuron (C,H,W); zeros where the layer has none."""
    if "bias" not in layer.arrays:
        return np.zeros(shape[0], np.int64)
    values = layer.whole_numbers("bias")
    if values.shape == ((math.prod(shape),) if flat else shape[:1]):
        return values.reshape(shape) if flat and shape[1:] != (1, 1) else values
    if not flat and values.shape == shape[::-1]:
        # The stock loader takes a bias per neuron in (W,H,C) order.
        return values.transpose(2, 1, 0)
    expected = f"({math.prod(shape)},)" if flat else f"{shape[:1]} or {shape[::-1]}"
    raise NetxError(f"{layer.where}: bias has shape {values.shape}, it must be {expected}; export the layer again.")


def neuron_group(layer: Group) -> Group:
    """The neuron of a layer, a current-based leaky integrate-and-fire neuron; NetxError for any other."""
    neuron = layer.groups["neuron"]
    neuron.where = f"{layer.where}, neuron"
    kind = neuron.array("type")
    if not isinstance(kind, tuple) or kind not in (("LOIHI",), ("CUBA",)):
        name = kind[0] if isinstance(kind, tuple) and kind else kind
        raise NetxError(
            f"{neuron.where}: type {reprlib.repr(name)} cannot be read, only 'LOIHI' and 'CUBA'; train the network with "
            "leaky integrate-and-fire neurons."
        )
    return neuron


def lif(layer: Group, shape: Shape, *, flat: bool) -> Lif:
    """The neurons of a layer; biases have exponent 6, as in the stock loader."""
    if "neuron" not in layer.groups:
        raise NetxError(
            f"{layer.where}: no neuron group; NetX then means an integrator without threshold (iDecay 0, vDecay 4096), "
            "which a graph cannot express. Give the layer a LOIHI or CUBA neuron, or read the layers before it with "
            "num_layers."
        )
    neuron = neuron_group(layer)
    constants = {"type", "iDecay", "vDecay", "vThMant"}
    neutral = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "messageBits": 0}
    neuron.allow(attributes=set(), arrays=constants | set(neutral) | _SILENT, groups=set())
    for name, meant in neutral.items():
        if name in neuron.arrays and scalar(neuron, name) != meant:
            raise NetxError(
                f"{neuron.where}: {name} is {scalar(neuron, name)}, the limit is {meant}; a graph cannot express more, "
                "and lava-dl's loader would not run it as it was trained. Train the layer without it."
            )
    i_decay, v_decay = scalar(neuron, "iDecay"), scalar(neuron, "vDecay")
    if not 1 <= i_decay <= 4096 or not 0 <= v_decay <= 4095:
        raise NetxError(
            f"{neuron.where}: iDecay is {i_decay} and vDecay is {v_decay}, the limits are 1..4096 and 0..4095; "
            "train with decays inside them."
        )
    try:
        return Lif(
            vth_mant=scalar(neuron, "vThMant"),
            du=fixedpoint.du_from_netx(i_decay),
            dv=v_decay,
            bias_mant=bias(layer, shape, flat=flat).astype(np.int32),
            bias_exp=BIAS_EXP,
        )
    except GraphError as error:
        raise NetxError(f"{neuron.where}: {error}") from None
