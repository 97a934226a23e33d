"""The fields of one NetX layer, read with the checks that a file from elsewhere needs."""

from __future__ import annotations

import math
import reprlib

import numpy as np
import numpy.typing as npt

from netx_export.errors import NetxError
from netx_export.graph import Shape, fixedpoint
from netx_export.netx.findings import Findings
from netx_export.netx.tree import INT_MAX, Group

_COMMON = {"type", "shape"}
_KERNEL = {"weight", "bias", "delay", "stride", "padding", "dilation", "kernelSize"}
DATASETS = {
    "input": _COMMON | {"weight", "bias"},
    "flatten": _COMMON,
    "concat": _COMMON | {"layers"},
    "average": _COMMON,
    "dense": _COMMON | {"weight", "bias", "delay", "inFeatures", "outFeatures"},
    "dense_comp": _COMMON | {"weight", "delay", "inFeatures", "outFeatures"},
    "dense_rec": _COMMON | {"weight", "weight_rec", "bias", "delay", "inFeatures", "outFeatures"},
    "conv": _COMMON | _KERNEL | {"groups", "inChannels", "outChannels"},
    "convT": _COMMON | _KERNEL | {"groups", "inChannels", "outChannels"},
    "pool": _COMMON | _KERNEL,
    "unpool": _COMMON | _KERNEL,
}
"""Layer types that can be read, and their datasets. The counts beside a weight repeat its shape, which decides."""

FLAT_TYPES = ("flatten", "dense", "dense_comp", "dense_rec", "average")
"""Layers whose output has no height and width for the layers after them."""

WITH_NEURONS = ("dense", "dense_comp", "dense_rec", "conv", "convT", "pool", "unpool")


def layer_type(layer: Group) -> str:
    """The word in `type`, which may be a text or an array of one text."""
    if "type" not in layer.arrays:
        found = ", ".join(sorted({**layer.arrays, **layer.groups})) or "nothing"
        raise NetxError(
            f"{layer.where} has no 'type', it holds {found}; NetX needs one of {sorted(DATASETS)} for every layer. "
            "Export the network again: with SLAYER, every block's own export_hdf5(group) writes the type."
        )
    value = layer.arrays["type"]
    if not isinstance(value, tuple) or len(value) != 1:
        raise NetxError(f"{layer.where}: 'type' is {reprlib.repr(value)}, it must be one text.")
    return value[0]


def label(layer: Group) -> str:
    """`layer 3 (dense)`: the place of a layer without the file's name."""
    return layer.where.rsplit(": ", 1)[-1].split(", ", 1)[0]


def layer_shape(layer: Group) -> Shape:
    """(C,H,W): three numbers as they are, two as (1,H,W), one as (C,1,1)."""
    shape = layer.whole_numbers("shape").reshape(-1)
    if not 1 <= shape.size <= 3 or shape.min() < 1:
        raise NetxError(f"{layer.where}: shape is {reprlib.repr(shape.tolist())}; give (C,H,W) with every side >= 1.")
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
        raise NetxError(
            f"{layer.where}: {name} is {reprlib.repr(value.tolist())}; give one number or (vertical, horizontal)."
        )
    return (int(value[0]), int(value[-1]))


def scalar(group: Group, name: str, *, uniform: bool = False) -> int:
    """One number, alone or in an array of one; with `uniform` also an array that repeats it."""
    value = group.whole_numbers(name)
    if value.size != 1 and not (uniform and value.size and value.min() == value.max()):
        raise NetxError(
            f"{group.where}: {name} has shape {value.shape}, it must be one number for the whole layer; a population has "
            "one set of constants. Train the layer with shared parameters, or split it."
        )
    return int(value.reshape(-1)[0])


def refuse_delay(layer: Group, what: str, remedy: str) -> None:
    """NetxError when the layer has a delay other than 0."""
    if "delay" in layer.arrays and layer.whole_numbers("delay").any():
        longest = int(layer.whole_numbers("delay").max())
        raise NetxError(f"{layer.where}: a delay of up to {longest} steps on {what} (limit 0). {remedy}")


Delays = npt.NDArray[np.int32]


def delays(layer: Group, weight: tuple[int, int], findings: Findings) -> Delays | None:
    """The delays of a dense layer in steps, broadcastable to (N_out, N_in); None where there are none.

    Files hold one number, one per synapse, or a vector: one per neuron of the layer (SLAYER delays a layer's output,
    which is to delay what arrives), or, where the lengths differ, one per axon of the layer before.
    """
    if "delay" not in layer.arrays:
        return None
    values = layer.whole_numbers("delay")
    outputs, inputs = weight
    if values.size == 1:
        steps = values.reshape(1, 1)
    elif values.shape == (outputs,):
        steps = values.reshape(-1, 1)
    elif values.shape == (inputs,):
        steps = values.reshape(1, -1)
    elif values.shape == weight:
        steps = values
    else:
        raise NetxError(
            f"{layer.where}: delay has shape {values.shape}; give one number, one per neuron ({outputs},), one per "
            f"axon ({inputs},), or one per synapse {weight}."
        )
    if steps.min() < 0:
        raise NetxError(f"{layer.where}: a delay is {steps.min()} steps, the limit is 0..{fixedpoint.DELAY_MAX}.")
    over = int((steps > fixedpoint.DELAY_MAX).sum())
    if over:
        findings.add(
            label(layer),
            "adopted",
            f"{over} of {steps.size} delays are longer than {fixedpoint.DELAY_MAX} steps (up to {steps.max()}) and are "
            f"taken as {fixedpoint.DELAY_MAX}, the longest that the chip holds; lava-dl does so with a warning. Train "
            f"with max_delay={fixedpoint.DELAY_MAX}.",
        )
    clamped = np.minimum(steps, fixedpoint.DELAY_MAX).astype(np.int32)
    if outputs == inputs and values.ndim == 1 and values.size > 1:
        findings.add(
            label(layer),
            "note",
            f"{outputs} delays on a layer of {inputs} -> {outputs} neurons are read as one per neuron of this layer, as "
            "SLAYER writes them and Lava reads them.",
        )
    return clamped if clamped.any() else None


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


def transform(layer: Group) -> dict[str, int]:
    """`weight` and `bias` of an input layer: the host presents weight * x + bias, real x, rounded by the host."""
    return {name: scalar(layer, name) for name in ("weight", "bias") if name in layer.arrays}
