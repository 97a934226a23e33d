"""A convolution as a table: which source pixels an output pixel reads, and through which sum of taps.

Stride, padding, dilation, nearest upsampling and transposition only decide along each axis which source positions an
output reads and through which taps; a table per axis holds that, borders included, so that one kernel computes all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv, ConvTranspose

Int32Array = npt.NDArray[np.int32]

Reads = list[list[tuple[int, tuple[int, ...]]]]
"""Per output position: (source position, the taps it passes through), by rising source position."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AxisTaps:
    """Along one axis, output p reads the runs `start[p]:start[p+1]`.

    A run is `length[r]` neighbouring sources from `source[r]` on, the first through tap sum `taps[r]`, the next through
    `taps[r] + 1` and so on. `members` (n, k) lists the n distinct tap sums: row j is 1 at the taps that sum j adds up.
    """

    start: Int32Array
    source: Int32Array
    length: Int32Array
    taps: Int32Array
    members: Int32Array

    @property
    def outputs(self) -> int:
        """Number of output positions."""
        return len(self.start) - 1


def conv_reads(*, size: int, kernel: int, stride: int, padding: int, dilation: int, upsample: int = 1) -> Reads:
    """Output o reads position o*stride - padding + k*dilation of the repeated source."""
    outputs = (size * upsample + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    reads: Reads = []
    for output in range(outputs):
        found: dict[int, tuple[int, ...]] = {}
        for tap in range(kernel):
            position = output * stride - padding + tap * dilation
            if 0 <= position < size * upsample:
                found[position // upsample] = (*found.get(position // upsample, ()), tap)
        reads.append(sorted(found.items()))
    return reads


def transposed_reads(*, size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int) -> Reads:
    """Source p adds its kernel to the outputs p*stride - padding + k*dilation."""
    outputs = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding
    reads: Reads = [[] for _ in range(outputs)]
    for source in range(size):
        for tap in range(kernel):
            output = source * stride - padding + tap * dilation
            if 0 <= output < outputs:
                reads[output].append((source, (tap,)))
    return reads


def axis_taps(reads: Reads, kernel: int) -> AxisTaps:
    """`reads` as a table. Tap sums are numbered so that the runs of inner outputs are as long as can be."""
    rank: dict[tuple[int, ...], int] = {}
    for entries in sorted(reads, key=len, reverse=True):
        for _, taps in entries:
            rank.setdefault(taps, len(rank))
    members = np.zeros((max(len(rank), 1), kernel), np.int32)
    for taps, index in rank.items():
        members[index, list(taps)] = 1
    start = [0]
    runs: list[list[int]] = []
    for entries in reads:
        first = len(runs)
        for source, taps in entries:
            if len(runs) > first and (source, rank[taps]) == (runs[-1][0] + runs[-1][1], runs[-1][2] + runs[-1][1]):
                runs[-1][1] += 1
            else:
                runs.append([source, 1, rank[taps]])
        start.append(len(runs))
    table = np.array(runs, np.int32).reshape(-1, 3).T
    source_of, length, taps_of = (np.ascontiguousarray(row) for row in table)
    return AxisTaps(start=np.array(start, np.int32), source=source_of, length=length, taps=taps_of, members=members)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameConv:
    """A convolution of frames (W,H,C), ready for `simulation.synapse_sums`.

    `weights` (tap sums x, tap sums y, C, C_out/groups); a = wrap24(sum << exponent), the wrap where `wraps`.
    """

    source_shape: tuple[int, int, int]
    x: AxisTaps
    y: AxisTaps
    weights: Int32Array
    groups: int
    exponent: int = 0
    wraps: bool = True

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(W,H,C) of the result."""
        return (self.x.outputs, self.y.outputs, self.weights.shape[3] * self.groups)


def frame_conv(
    kernel: npt.NDArray[np.integer[Any]],
    *,
    source: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    upsample: int = 1,
    exponent: int = 0,
    wraps: bool = True,
) -> FrameConv:
    """Tables for a cross-correlation `kernel` (C_out, kw, kh, C_in/groups) over a source of (W,H) pixels.

    All pairs are (horizontal, vertical).
    """
    reads = [
        conv_reads(
            size=source[axis],
            kernel=kernel.shape[1 + axis],
            stride=stride[axis],
            padding=padding[axis],
            dilation=dilation[axis],
            upsample=upsample,
        )
        for axis in range(2)
    ]
    per_group = kernel.shape[0] // groups
    rows = np.concatenate([kernel[g * per_group : (g + 1) * per_group].transpose(1, 2, 3, 0) for g in range(groups)], 2)
    return _tables(reads, rows, source, groups, exponent, wraps)


def frame_conv_of(synapse: Conv | ConvTranspose, source: tuple[int, int, int], *, wraps: bool) -> FrameConv:
    """Tables for a graph's convolution over a source of shape (C,H,W)."""
    mantissa = synapse.kernel.mantissa
    pixels = (source[2], source[1])
    if isinstance(synapse, Conv):
        return frame_conv(
            mantissa.transpose(0, 3, 2, 1),
            source=pixels,
            stride=synapse.stride[::-1],
            padding=synapse.padding[::-1],
            dilation=synapse.dilation[::-1],
            groups=synapse.groups,
            upsample=synapse.upsample,
            exponent=synapse.kernel.exponent,
            wraps=wraps,
        )
    reads = [
        transposed_reads(
            size=pixels[axis],
            kernel=mantissa.shape[3 - axis],
            stride=synapse.stride[1 - axis],
            padding=synapse.padding[1 - axis],
            dilation=synapse.dilation[1 - axis],
            output_padding=synapse.output_padding[1 - axis],
        )
        for axis in range(2)
    ]
    rows = mantissa.transpose(3, 2, 0, 1)
    return _tables(reads, rows, pixels, synapse.groups, synapse.kernel.exponent, wraps)


def _tables(
    reads: list[Reads],
    rows: npt.NDArray[np.integer[Any]],
    source: tuple[int, int],
    groups: int,
    exponent: int,
    wraps: bool,
) -> FrameConv:
    """`rows` (kw, kh, C_in, C_out/groups): what a source channel adds to the outputs of its group, through each tap."""
    axes = [axis_taps(reads[axis], rows.shape[axis]) for axis in range(2)]
    summed = np.einsum("ak,bl,klio->abio", axes[0].members, axes[1].members, rows.astype(np.int32))
    return FrameConv(
        source_shape=(*source, rows.shape[2]),
        x=axes[0],
        y=axes[1],
        weights=np.ascontiguousarray(summed, np.int32),
        groups=groups,
        exponent=exponent,
        wraps=wraps,
    )
