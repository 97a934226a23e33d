"""Weights of NetX layers as kernels of the graph, and what the stock loader would make of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netx_export.errors import NetxError
from netx_export.graph import Kernel, fixedpoint
from netx_export.netx import layer_fields as fields
from netx_export.netx.findings import Findings
from netx_export.netx.stock import parts_as_loaded
from netx_export.netx.tree import Group

Weights = npt.NDArray[np.int64]


def kernels(layer: Group, weight: Weights) -> tuple[Kernel, ...]:
    """Weights as mantissa and the smallest exponent that fits, or as two kernels whose currents add.

    SLAYER's even [-256,254] become exponent 1. Weights of more than 8 significant bits are split into a coarse and a
    fine kernel: w = (high << exponent) + low.
    """
    if weight.size == 0:
        raise NetxError(f"{layer.where}: weight has shape {weight.shape}, it is empty.")
    common = _trailing_zeros(weight)
    for exponent in range(min(common, fixedpoint.WEIGHT_EXP_MAX) + 1):
        mantissa = weight >> exponent
        if _fits(mantissa):
            return (Kernel(mantissa=mantissa.astype(np.int16), exponent=exponent),)
    for exponent in range(1, fixedpoint.WEIGHT_EXP_MAX + 1):
        half = 1 << (exponent - 1)
        low = ((weight + half) & ((1 << exponent) - 1)) - half
        high = (weight - low) >> exponent
        if _fits(high):
            return (
                Kernel(mantissa=high.astype(np.int16), exponent=exponent),
                Kernel(mantissa=low.astype(np.int16)),
            )
    limit = fixedpoint.WEIGHT_MAX << fixedpoint.WEIGHT_EXP_MAX
    raise NetxError(
        f"{layer.where}: weights reach from {weight.min()} to {weight.max()}, the limit is {-limit}..{limit} (two 8-bit "
        "kernels); quantise the layer to even weights in -256..254 or to 8 bits."
    )


def _fits(mantissa: Weights) -> bool:
    return bool(mantissa.min() >= fixedpoint.WEIGHT_MIN and mantissa.max() <= fixedpoint.WEIGHT_MAX)


def _trailing_zeros(weight: Weights) -> int:
    """The largest e <= 7 for which every weight is a multiple of 2**e."""
    bits = int(np.bitwise_or.reduce(weight, axis=None)) & 0xFF
    return (bits & -bits).bit_length() - 1 if bits else fixedpoint.WEIGHT_EXP_MAX


def note_split(layer: Group, made: tuple[Kernel, ...], weight: Weights, findings: Findings, *, conv: bool) -> None:
    """Say that the weights needed two kernels, and refuse sums that a convolution could wrap differently."""
    if len(made) == 1:
        return
    bound = int(np.abs(weight).reshape(weight.shape[0], -1).sum(axis=1).max())
    if conv and bound >= fixedpoint.STATE_LIMIT:
        raise NetxError(
            f"{layer.where}: weights need two kernels and can sum to {bound}, the limit is {fixedpoint.STATE_LIMIT - 1}; "
            "quantise the layer to 8 bits."
        )
    findings.add(
        fields.label(layer),
        "note",
        f"weights from {weight.min()} to {weight.max()} need more than 8 bits and are kept as two projections whose "
        "currents add; Lava's simulator takes them, the chip has 8 bits per synapse.",
    )


def note_loaded(layer: Group, findings: Findings, **named: Weights) -> None:
    """Add a finding for each matrix that the stock loader would not keep; matrices are scaled together."""
    for name, weight, found in zip(named, named.values(), parts_as_loaded(*named.values()), strict=True):
        what = "weights" if name == "weight" else name
        if found is None:
            cause = "are all zero, on which lava-dl's loader stops (0 has no logarithm)"
            if weight.any() or any(other.any() for other in named.values()):
                cause = f"from {weight.min()} to {weight.max()} do not fit its 8 bits, and lava-dl's loader makes other weights of them"
                findings.add(fields.label(layer), "differs", f"{what} {cause}.")
            else:
                findings.add(fields.label(layer), "fails", f"{what} {cause}.")
        elif not np.array_equal(found, weight):
            place = tuple(int(index) for index in np.argwhere(found != weight)[0])
            findings.add(
                fields.label(layer),
                "differs",
                f"{what} from {weight.min()} to {weight.max()} are changed by lava-dl's loader in "
                f"{int((found != weight).sum())} of {weight.size} places, the first at {place}: {weight[place]} acts as "
                f"{found[place]}.",
            )


def dense_weight(layer: Group, name: str, neurons: int, sources: int | None) -> Weights:
    """The matrix (N_out, N_in) in dataset `name`, which may be a flat list."""
    weight = layer.whole_numbers(name)
    if weight.ndim == 1 and weight.size % max(neurons, 1) == 0:
        weight = weight.reshape(neurons, -1)
    if weight.ndim != 2 or weight.size == 0 or (sources is not None and weight.shape[1] != sources):
        raise NetxError(
            f"{layer.where}: {name} has shape {weight.shape}; it must be ({neurons}, {sources or 'N_in'}), one row per "
            "neuron and one column per neuron of the layer before it."
        )
    if weight.shape[0] != neurons:
        raise NetxError(
            f"{layer.where}: shape {fields.layer_shape(layer)} has {neurons} neurons, {name} {weight.shape} feeds others."
        )
    return weight


def spatial_weight(layer: Group, name: str = "weight") -> Weights:
    """A kernel (C_out, C_in/groups, kh, kw) with or without a last axis of 1, as SLAYER wrote it."""
    weight = layer.whole_numbers(name)
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise NetxError(
            f"{layer.where}: {name} has shape {weight.shape}; it must be (C_out, C_in/groups, kh, kw), with or without "
            "a last axis of 1."
        )
    if weight.size == 0:
        raise NetxError(f"{layer.where}: {name} has shape {weight.shape}, it is empty.")
    return weight


def ports(layer: Group, *, resonator: bool) -> dict[str, tuple[Group, str]]:
    """Where the weights of each input port lie: one matrix, or a real and an imaginary one."""
    complex_weights = "weight" in layer.groups
    if complex_weights != resonator:
        have, need = ("complex", "one matrix") if complex_weights else ("one matrix", "complex")
        raise NetxError(
            f"{layer.where}: the weights are {have}, its neurons need {need} (weight/real and weight/imag are for "
            "resonators); export the layer again."
        )
    if not complex_weights:
        return {"": (layer, "weight")}
    group = layer.groups["weight"]
    group.where = f"{layer.where}, weight"
    group.allow(attributes=set(), arrays={"real", "imag"}, groups=set())
    return {"re": (group, "real"), "im": (group, "imag")}


def expand_groups(weight: Weights, groups: int) -> Weights:
    """A grouped kernel with zeros for the channels that a group does not read: (C_out, C_in, kh, kw)."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[:2]
    whole = np.zeros((outputs, inputs * groups, *weight.shape[2:]), np.int64)
    size = outputs // groups
    for index in range(groups):
        rows = slice(index * size, (index + 1) * size)
        whole[rows, index * inputs : (index + 1) * inputs] = weight[rows]
    return whole


def group_count(layer: Group, weight: Weights) -> int:
    """The `groups` of a convolution, checked before anything is expanded by it."""
    groups = fields.scalar(layer, "groups")
    if groups < 1 or weight.shape[0] % groups:
        raise NetxError(
            f"{layer.where}: Conv groups is {groups}, it must divide the {weight.shape[0]} output channels."
        )
    return groups
