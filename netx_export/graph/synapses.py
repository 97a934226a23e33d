"""What a bundle of synapses computes: integer mantissas and a power-of-two exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError
from netx_export.graph import fixedpoint
from netx_export.graph.arrays import frozen_int_array

Shape = tuple[int, int, int]
"""(C,H,W)"""

Pair = tuple[int, int]
"""(vertical, horizontal)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """Weights w = mantissa << exponent. One Kernel may serve several projections; it is stored once.

    Mantissas are 8 bits signed, [-128, 127]; SLAYER's even weights in [-256, 254] are exponent 1.
    """

    mantissa: npt.NDArray[np.int16]
    exponent: int = 0

    def __post_init__(self) -> None:
        mantissa = frozen_int_array(self.mantissa, np.int16, "Kernel mantissa")
        if mantissa.size == 0:
            raise GraphError(f"Kernel mantissa of shape {mantissa.shape} is empty; remove the projection.")
        if mantissa.min() < fixedpoint.WEIGHT_MIN or mantissa.max() > fixedpoint.WEIGHT_MAX:
            raise GraphError(
                f"Kernel mantissas reach from {mantissa.min()} to {mantissa.max()}, the limit is "
                f"{fixedpoint.WEIGHT_MIN}..{fixedpoint.WEIGHT_MAX} (8 bits); quantise with a larger exponent."
            )
        if not 0 <= self.exponent <= fixedpoint.WEIGHT_EXP_MAX:
            raise GraphError(
                f"Kernel exponent is {self.exponent}, the limit is 0..{fixedpoint.WEIGHT_EXP_MAX}; "
                "scale weights and threshold of the layer together."
            )
        object.__setattr__(self, "mantissa", mantissa)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """2-D convolution (cross-correlation, as in torch) of the source, repeated `upsample` times per side first.

    a[o,y,x] = wrap24(sum_{i,ky,kx} (w[o,i,ky,kx] << exponent) * up(s)[i, y*stride - padding + ky*dilation, ...])
    `kernel.mantissa` is (C_out, C_in/groups, kh, kw); up(s) is nearest repetition. The sum wraps modulo 2**24 as
    Lava's Conv does; with upsample > 1 the graph refuses kernels that could reach the wrap.
    """

    kernel: Kernel
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    upsample: int = 1

    def __post_init__(self) -> None:
        shape = self.kernel.mantissa.shape
        if len(shape) != 4:
            raise GraphError(f"Conv kernel has shape {shape}; give (C_out, C_in/groups, kh, kw).")
        for name, pair, low in (
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            if len(pair) != 2 or min(pair) < low:
                raise GraphError(f"Conv {name} is {pair}, both sides must be >= {low}.")
        if self.groups < 1 or shape[0] % self.groups:
            raise GraphError(f"Conv groups is {self.groups}, it must divide the {shape[0]} output channels.")
        if self.upsample < 1:
            raise GraphError(f"Conv upsample is {self.upsample}, it must be >= 1.")

    @property
    def in_channels(self) -> int:
        return self.kernel.mantissa.shape[1] * self.groups

    def output_shape(self, source: Shape) -> Shape:
        """(C,H,W) of the result for a source of shape (C,H,W)."""
        size = []
        for axis in range(2):
            extent = source[1 + axis] * self.upsample + 2 * self.padding[axis]
            span = self.dilation[axis] * (self.kernel.mantissa.shape[2 + axis] - 1) + 1
            size.append((extent - span) // self.stride[axis] + 1)
        return (self.kernel.mantissa.shape[0], size[0], size[1])

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each source neuron reaches, borders counted, (C,H,W)."""
        out_shape = self.output_shape(source)
        taps = [_axis_fan_out(self, source, out_shape, axis) for axis in range(2)]
        per_pixel = np.multiply.outer(taps[0], taps[1]) * (out_shape[0] // self.groups)
        return np.broadcast_to(per_pixel, source).astype(np.int64)


def _axis_fan_out(conv: Conv, source: Shape, out_shape: Shape, axis: int) -> npt.NDArray[np.int64]:
    """How many (output, tap) pairs along one axis read each source position."""
    size = conv.kernel.mantissa.shape[2 + axis]
    outputs, taps = np.meshgrid(np.arange(out_shape[1 + axis]), np.arange(size), indexing="ij")
    position = outputs * conv.stride[axis] - conv.padding[axis] + taps * conv.dilation[axis]
    inside = (position >= 0) & (position < source[1 + axis] * conv.upsample)
    return np.bincount(position[inside] // conv.upsample, minlength=source[1 + axis]).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """Every source neuron to every target neuron, both in C,H,W order: a = (sum_i w[o,i] * s[i]) << exponent.

    `kernel.mantissa` is (N_out, N_in). No wrap before 32 bits, as in Lava's Dense.
    """

    kernel: Kernel

    def __post_init__(self) -> None:
        if self.kernel.mantissa.ndim != 2:
            raise GraphError(f"Dense kernel has shape {self.kernel.mantissa.shape}; give (N_out, N_in).")

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each source neuron reaches, (C,H,W)."""
        return np.full(source, self.kernel.mantissa.shape[0], np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneToOne:
    """Each source neuron to its twin, one weight per channel: a[c,y,x] = wrap24((w[c] << exponent) * s[c,y,x]).

    `kernel.mantissa` is (C,). In Lava: a grouped 1x1 Conv, hence the wrap modulo 2**24 (graded input can reach it).
    """

    kernel: Kernel

    def __post_init__(self) -> None:
        if self.kernel.mantissa.ndim != 1:
            raise GraphError(f"OneToOne kernel has shape {self.kernel.mantissa.shape}; give (C,).")

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each source neuron reaches, (C,H,W)."""
        return np.ones(source, np.int64)


SynapseSpec = Conv | Dense | OneToOne


def synapse_output_shape(synapse: SynapseSpec, source: Shape, target: Shape) -> Shape:
    """The shape that `synapse` produces from `source`; a Dense fills whatever shape `target` has.

    Raises GraphError naming both sides when the source does not fit the kernel.
    """
    mantissa = synapse.kernel.mantissa
    match synapse:
        case Conv():
            if source[0] != synapse.in_channels:
                raise GraphError(f"Conv reads {synapse.in_channels} channels, its source offers {source[0]} {source}.")
            shape = synapse.output_shape(source)
            if min(shape) < 1:
                raise GraphError(
                    f"Conv makes an empty map {shape} from {source}; use a smaller kernel or more padding."
                )
            return shape
        case Dense():
            count = int(np.prod(source))
            if mantissa.shape[1] != count:
                raise GraphError(f"Dense reads {mantissa.shape[1]} neurons, its source has {count} {source}.")
            if mantissa.shape[0] != int(np.prod(target)):
                raise GraphError(f"Dense feeds {mantissa.shape[0]} neurons, its target has shape {target}.")
            return target
        case OneToOne():
            if mantissa.shape[0] != source[0]:
                raise GraphError(f"OneToOne has {mantissa.shape[0]} weights, its source has {source[0]} channels.")
            return source


def accumulator_bound(synapse: SynapseSpec, message_max: int = 1) -> int:
    """Largest |a| one projection can deliver in a step when sources send at most `message_max`."""
    magnitude = np.abs(synapse.kernel.mantissa.astype(np.int64))
    match synapse:
        case Conv():
            worst = magnitude.sum(axis=(1, 2, 3)).max()
        case Dense():
            worst = magnitude.sum(axis=1).max()
        case OneToOne():
            worst = magnitude.max()
    return (int(worst) << synapse.kernel.exponent) * message_max
