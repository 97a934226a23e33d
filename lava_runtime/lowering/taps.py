"""A convolution as a table: which outputs a source pixel reaches, and through which sum of taps.

Stride, padding, dilation and nearest upsampling only decide along each axis which outputs a source position reaches and
through which taps; a table per axis holds that, borders included, so that one kernel computes every convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.graph import Conv

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AxisTaps:
    """Along one axis, source position p reaches outputs `out[start[p]:start[p+1]]` through tap sums `taps[...]`.

    `members` (n, k) lists the n distinct tap sums: row j is 1 at the taps that sum j adds up.
    """

    start: Int32Array
    out: Int32Array
    taps: Int32Array
    members: Int32Array
    outputs: int


def axis_taps(*, size: int, kernel: int, stride: int, padding: int, dilation: int, upsample: int) -> AxisTaps:
    """The table of one axis: output o reads position o*stride - padding + k*dilation of the repeated source."""
    outputs = (size * upsample + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    reached: dict[tuple[int, int], list[int]] = {}
    for output in range(outputs):
        for tap in range(kernel):
            position = output * stride - padding + tap * dilation
            if 0 <= position < size * upsample:
                reached.setdefault((position // upsample, output), []).append(tap)
    sums = sorted({tuple(taps) for taps in reached.values()})
    rank = {taps: index for index, taps in enumerate(sums)}
    members = np.zeros((max(len(sums), 1), kernel), np.int32)
    for index, taps in enumerate(sums):
        members[index, list(taps)] = 1
    pairs = sorted(reached)
    counts = np.bincount([source for source, _ in pairs], minlength=size)
    return AxisTaps(
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        out=np.array([output for _, output in pairs], np.int32),
        taps=np.array([rank[tuple(reached[pair])] for pair in pairs], np.int32),
        members=members,
        outputs=outputs,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameConv:
    """A convolution of frames (W,H,C), ready for `frame_kernels.scatter_conv`.

    `weights` (tap sums x, tap sums y, C, C_out/groups), exponent multiplied in. `first_channel` is where the synapse's
    channels start in the source frame.
    """

    x: AxisTaps
    y: AxisTaps
    weights: Int32Array
    first_channel: int
    groups: int

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
    first_channel: int = 0,
) -> FrameConv:
    """Tables for a cross-correlation `kernel` (C_out, kw, kh, C_in/groups) over a source of (W,H) pixels.

    All pairs are (horizontal, vertical).
    """
    axes = [
        axis_taps(
            size=source[axis],
            kernel=kernel.shape[1 + axis],
            stride=stride[axis],
            padding=padding[axis],
            dilation=dilation[axis],
            upsample=upsample,
        )
        for axis in range(2)
    ]
    summed = np.einsum("ak,bl,okli->abio", axes[0].members, axes[1].members, kernel.astype(np.int32))
    per_group = kernel.shape[0] // groups
    weights = np.concatenate([summed[..., g * per_group : (g + 1) * per_group] for g in range(groups)], axis=2)
    return FrameConv(
        x=axes[0],
        y=axes[1],
        weights=np.ascontiguousarray(weights, np.int32),
        first_channel=first_channel,
        groups=groups,
    )


def frame_conv_of(conv: Conv, source: tuple[int, int, int], first_channel: int = 0) -> FrameConv:
    """Tables for a graph's Conv over a source of shape (C,H,W)."""
    kernel = conv.kernel.mantissa.astype(np.int32) << conv.kernel.exponent
    return frame_conv(
        kernel.transpose(0, 3, 2, 1),
        source=(source[2], source[1]),
        stride=conv.stride[::-1],
        padding=conv.padding[::-1],
        dilation=conv.dilation[::-1],
        groups=conv.groups,
        upsample=conv.upsample,
        first_channel=first_channel,
    )
