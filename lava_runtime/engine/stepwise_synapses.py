"""Every synapse in one of two forms: taps (rows of weights added at a place) or single synapses sorted by source.

Taps: an event of neuron (y,x,c) adds, for every target row that `rows` leads to it, `runs` of weights times its
message. What lies side by side in a target row is one run: all taps of a convolution that a source column meets, all
channels of a dense layer. Clipping at the borders is done here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lava_runtime.engine.stepwise_rows import LANES
from netx_export.graph import Conv, ConvTranspose, Dense, OneToOne, Projection, Shape, Sparse, SynapseSpec, Wire

Int8s = npt.NDArray[np.int8]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taps:
    """weights[y*target_stride + c*channel_stride + ky*tap_stride + offset], for target row y and source channel c.

    rows (H_out,KH): the source row behind each target row and kernel row, or -1. runs (W_in,K,3): first target element
    in the row, length, offset into the weights. The target of channel c lies c // group_in * group_out elements further.
    """

    weights: Int8s
    rows: Int32s
    runs: Int32s
    target_stride: int = 0
    channel_stride: int
    tap_stride: int
    group_in: int
    group_out: int
    twin: bool = False
    """One weight per event: source and target neuron have the same channel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Singles:
    """Synapses of source neuron i (in H,W,C order): first[i]..first[i+1] of targets and weights.

    A target is delay*H*pitch + y*pitch + x*C + c: its place in a ring of slots, one per step of delay.
    """

    first: Int64s
    targets: Int32s
    weights: Int8s


def is_single(projection: Projection) -> bool:
    """True where a projection takes the form Singles: sparse, or with a delay per synapse."""
    delays = projection.delays
    return isinstance(projection.synapse, Sparse) or (delays is not None and delays.ndim != 3)


def taps_of(synapse: SynapseSpec, source: Shape, target: Shape) -> Taps:
    """`synapse` from `source` (after the channel slice) to `target` as Taps."""
    match synapse:
        case Conv():
            return _conv(synapse, source, target)
        case ConvTranspose():
            return _transposed(synapse, source, target)
        case Dense():
            return _dense(synapse, source, target)
        case OneToOne():
            return _twins(synapse.kernel.mantissa, source)
        case Wire():
            return _twins(np.ones(source[0], np.int16), source)
        case Sparse():
            raise TypeError("Sparse synapses have the form Singles.")


def _padded(weights: npt.NDArray[np.int16]) -> Int8s:
    return np.concatenate([weights.reshape(-1).astype(np.int8), np.zeros(LANES, np.int8)])


def _conv(conv: Conv, source: Shape, target: Shape) -> Taps:
    mantissa, up = conv.kernel.mantissa, conv.upsample
    _, group_in, kernel_h, kernel_w = mantissa.shape
    out = mantissa.shape[0] // conv.groups
    grouped = mantissa.reshape(conv.groups, out, group_in, kernel_h, kernel_w).transpose(0, 2, 3, 4, 1)
    stride, dilation = conv.stride[1], conv.dilation[1]
    together = conv.groups == 1 and dilation == 1
    # The taps that one source column meets are `stride` apart; the last of them belongs to the first output column.
    phases = [list(range(phase, kernel_w, stride))[::-1] for phase in range(stride)]
    order = [tap for taps in phases for tap in taps] if together else list(range(kernel_w))
    runs = np.zeros((source[2], up * (1 if together else kernel_w), 3), np.int32)
    for x in range(source[2]):
        for copy in range(up):
            place = x * up + copy + conv.padding[1]
            if together:
                taps = phases[place % stride]
                first = place // stride - len(taps) + 1
                before = sum(map(len, phases[: place % stride]))
                runs[x, copy] = _clipped(first, len(taps), target[2], out, before)
                continue
            for tap in range(kernel_w):
                column, rest = divmod(place - tap * dilation, stride)
                if rest == 0:
                    runs[x, copy * kernel_w + tap] = _clipped(column, 1, target[2], out, tap, target[0])
    rows = (
        np.arange(target[1])[:, None] * conv.stride[0] - conv.padding[0] + np.arange(kernel_h) * conv.dilation[0]
    ).astype(np.int32)
    return Taps(
        weights=_padded(grouped[..., order, :]),
        rows=np.where((rows >= 0) & (rows < source[1] * up), rows // up, -1).astype(np.int32),
        runs=runs,
        channel_stride=kernel_h * kernel_w * out,
        tap_stride=kernel_w * out,
        group_in=group_in,
        group_out=out,
    )


def _transposed(synapse: ConvTranspose, source: Shape, target: Shape) -> Taps:
    channels, out, kernel_h, kernel_w = synapse.kernel.mantissa.shape
    stride, dilation = synapse.stride[1], synapse.dilation[1]
    together = synapse.groups == 1 and dilation == 1
    runs = np.zeros((source[2], 1 if together else kernel_w, 3), np.int32)
    for x in range(source[2]):
        first = x * stride - synapse.padding[1]
        if together:
            runs[x, 0] = _clipped(first, kernel_w, target[2], out, 0)
            continue
        for tap in range(kernel_w):
            runs[x, tap] = _clipped(first + tap * dilation, 1, target[2], out, tap, target[0])
    place = np.arange(target[1])[:, None] + synapse.padding[0] - np.arange(kernel_h) * synapse.dilation[0]
    row, rest = np.divmod(place, synapse.stride[0])
    return Taps(
        weights=_padded(synapse.kernel.mantissa.transpose(0, 2, 3, 1)),
        rows=np.where((rest == 0) & (row >= 0) & (row < source[1]), row, -1).astype(np.int32),
        runs=runs,
        channel_stride=kernel_h * kernel_w * out,
        tap_stride=kernel_w * out,
        group_in=channels // synapse.groups,
        group_out=out,
    )


def _clipped(
    column: int, count: int, width: int, channels: int, before: int, pixel: int | None = None
) -> tuple[int, int, int]:
    """The run of `count` output columns from `column` on, inside 0..width; its weights lie behind `before` columns'."""
    low, high = max(column, 0), min(column + count, width)
    if low >= high:
        return 0, 0, 0
    return low * (pixel or channels), (high - low) * channels, (before + low - column) * channels


def _dense(dense: Dense, source: Shape, target: Shape) -> Taps:
    laid = dense.kernel.mantissa.reshape(*target, *source).transpose(4, 5, 3, 1, 2, 0)
    size = target[0] * target[1] * target[2]
    runs = np.zeros((source[2], 1, 3), np.int32)
    runs[:, 0, 1] = target[0] * target[2]
    runs[:, 0, 2] = np.arange(source[2]) * source[0] * size
    return Taps(
        weights=_padded(laid),
        rows=np.tile(np.arange(source[1], dtype=np.int32), (target[1], 1)),
        runs=runs,
        target_stride=target[0] * target[2],
        channel_stride=size,
        tap_stride=source[2] * source[0] * size,
        group_in=source[0],
        group_out=target[0],
    )


def _twins(weights: npt.NDArray[np.int16], source: Shape) -> Taps:
    runs = np.zeros((source[2], 1, 3), np.int32)
    runs[:, 0, 0] = np.arange(source[2]) * source[0]
    runs[:, 0, 1] = 1
    return Taps(
        weights=_padded(weights),
        rows=np.arange(source[1], dtype=np.int32)[:, None],
        runs=runs,
        channel_stride=1,
        tap_stride=0,
        group_in=1,
        group_out=1,
        twin=True,
    )


def singles_of(projection: Projection, source: Shape, target: Shape, pitch: int) -> Singles:
    """A Sparse, or a Dense with a delay per synapse, from `source` (after the slice) as Singles; `pitch` of a target row."""
    synapse, delays = projection.synapse, projection.delays
    if isinstance(synapse, Sparse):
        rows, columns, weights = synapse.rows, synapse.columns, synapse.kernel.mantissa
    elif isinstance(synapse, Dense):
        rows, columns = (index.astype(np.int32) for index in np.nonzero(synapse.kernel.mantissa))
        weights = synapse.kernel.mantissa[rows, columns]
    else:
        raise TypeError(f"{type(synapse).__name__} synapses have the form Taps.")
    waits: npt.NDArray[np.integer[Any]] = np.zeros(len(rows), np.int32)
    if delays is not None:
        waits = (
            delays.reshape(-1)[columns] if delays.ndim == 3 else delays if delays.ndim == 1 else delays[rows, columns]
        )
    from_c, from_y, from_x = np.unravel_index(columns, source)
    to_c, to_y, to_x = np.unravel_index(rows, target)
    sources = (from_y * source[2] + from_x) * source[0] + from_c
    targets = (waits * target[1] + to_y) * pitch + to_x * target[0] + to_c
    order = np.lexsort((targets, sources))
    counts = np.bincount(sources, minlength=source[0] * source[1] * source[2])
    return Singles(
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        targets=targets[order].astype(np.int32),
        weights=weights[order].astype(np.int8),
    )
