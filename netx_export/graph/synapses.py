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
    """Weights w = mantissa << exponent; below 0 the sum of a step is shifted right (floor). One Kernel may serve several projections; it is stored once.

    Mantissas are 8 bits signed, [-128, 127]; SLAYER's even weights in [-256, 254] are exponent 1. Negative
    exponents come from files only, and never with convolutions, where Lava ignores exponents. The sum wraps at 32 bits
    before it is shifted. Where synapses of one projection differ in their delays, the spikes of one step that travel
    equally long have a sum, a wrap and a floor of their own (Lava's DelayDense). Lava has no convolution with delays:
    where one exceeds 24 bits, what wraps is not defined, and a Graph refuses it where it can be known beforehand.
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
        if not fixedpoint.WEIGHT_EXP_MIN <= self.exponent <= fixedpoint.WEIGHT_EXP_MAX:
            raise GraphError(
                f"Kernel exponent is {self.exponent}, the limit is "
                f"{fixedpoint.WEIGHT_EXP_MIN}..{fixedpoint.WEIGHT_EXP_MAX}; "
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
        _check_pairs("Conv", (("stride", self.stride, 1), ("padding", self.padding, 0), ("dilation", self.dilation, 1)))
        _check_exponent("Conv", self.kernel)
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


def _check_pairs(kind: str, pairs: tuple[tuple[str, Pair, int], ...]) -> None:
    for name, pair, low in pairs:
        if len(pair) != 2 or min(pair) < low:
            raise GraphError(f"{kind} {name} is {pair}, both sides must be >= {low}.")


def _check_exponent(kind: str, kernel: Kernel) -> None:
    if kernel.exponent < 0:
        raise GraphError(f"{kind} kernel exponent is {kernel.exponent}, it must be >= 0; shift the threshold instead.")


def _axis_fan_out(conv: Conv, source: Shape, out_shape: Shape, axis: int) -> npt.NDArray[np.int64]:
    """How many (output, tap) pairs along one axis read each source position."""
    size = conv.kernel.mantissa.shape[2 + axis]
    outputs, taps = np.meshgrid(np.arange(out_shape[1 + axis]), np.arange(size), indexing="ij")
    position = outputs * conv.stride[axis] - conv.padding[axis] + taps * conv.dilation[axis]
    inside = (position >= 0) & (position < source[1 + axis] * conv.upsample)
    return np.bincount(position[inside] // conv.upsample, minlength=source[1 + axis]).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvTranspose:
    """Transposed 2-D convolution, as in torch: every source neuron adds its kernel at its stride.

    a[o,y,x] = wrap24(sum of (w[i,o,ky,kx] << exponent) * s[i,p,q] over p*stride - padding + ky*dilation = y, likewise x)
    `kernel.mantissa` is (C_in, C_out/groups, kh, kw); `output_padding` adds rows and columns at the far end.
    lava-dl's Unpool is one with a kernel of its stride's size per channel.
    """

    kernel: Kernel
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        shape = self.kernel.mantissa.shape
        if len(shape) != 4:
            raise GraphError(f"ConvTranspose kernel has shape {shape}; give (C_in, C_out/groups, kh, kw).")
        _check_pairs(
            "ConvTranspose",
            (
                ("stride", self.stride, 1),
                ("padding", self.padding, 0),
                ("output_padding", self.output_padding, 0),
                ("dilation", self.dilation, 1),
            ),
        )
        _check_exponent("ConvTranspose", self.kernel)
        for axis in range(2):
            if self.output_padding[axis] >= max(self.stride[axis], self.dilation[axis]):
                raise GraphError(
                    f"ConvTranspose output_padding is {self.output_padding}; it must be smaller than stride or dilation."
                )
        if self.groups < 1 or shape[0] % self.groups:
            raise GraphError(f"ConvTranspose groups is {self.groups}, it must divide the {shape[0]} input channels.")

    @property
    def in_channels(self) -> int:
        return self.kernel.mantissa.shape[0]

    def output_shape(self, source: Shape) -> Shape:
        """(C,H,W) of the result for a source of shape (C,H,W)."""
        size = []
        for axis in range(2):
            span = self.dilation[axis] * (self.kernel.mantissa.shape[2 + axis] - 1) + 1
            reach = (source[1 + axis] - 1) * self.stride[axis] - 2 * self.padding[axis] + span
            size.append(reach + self.output_padding[axis])
        return (self.kernel.mantissa.shape[1] * self.groups, size[0], size[1])

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each source neuron reaches, borders counted, (C,H,W)."""
        out_shape = self.output_shape(source)
        taps = []
        for axis in range(2):
            tap = np.arange(self.kernel.mantissa.shape[2 + axis]) * self.dilation[axis] - self.padding[axis]
            position = np.arange(source[1 + axis])[:, None] * self.stride[axis] + tap
            taps.append(((position >= 0) & (position < out_shape[1 + axis])).sum(axis=1))
        per_pixel = np.multiply.outer(taps[0], taps[1]) * self.kernel.mantissa.shape[1]
        return np.broadcast_to(per_pixel, source).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """Every source neuron to every target neuron, both in C,H,W order: a = shift(sum_i w[o,i] * s[i], exponent).

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sparse:
    """Single synapses, both sides in C,H,W order: a[rows[k]] = shift(sum_k w[k] * s[columns[k]], exponent).

    `kernel.mantissa` is (K,); `rows` are target neurons, `columns` source neurons, sorted by (row, column), no pair
    twice. No wrap before 32 bits, as in Lava's Sparse.
    """

    kernel: Kernel
    rows: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        shape = self.kernel.mantissa.shape
        for name in ("rows", "columns"):
            index = frozen_int_array(getattr(self, name), np.int32, f"Sparse {name}")
            if len(shape) != 1 or index.shape != shape:
                raise GraphError(
                    f"Sparse has kernel {shape} and {name} {index.shape}; all three are vectors of one length."
                )
            if index.min() < 0:
                raise GraphError(f"Sparse {name} holds {index.min()}; neurons are numbered from 0.")
            object.__setattr__(self, name, index)
        order = self.rows.astype(np.int64) << 32 | self.columns
        if not bool(np.all(order[1:] > order[:-1])):
            raise GraphError("Sparse synapses must be sorted by (row, column), each pair once; sum duplicates first.")

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each source neuron reaches, (C,H,W)."""
        return np.bincount(self.columns, minlength=int(np.prod(source))).reshape(source).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The host's values, handed to a neuron without a synapse: a[t] = s[t], in the very step. From an Input only.

    NetX's input layer is a Wire into the neurons of that layer. Legal with timing `as_given`.
    """

    def fan_out(self, source: Shape) -> npt.NDArray[np.int64]:
        """No synapses, (C,H,W) zeros."""
        return np.zeros(source, np.int64)


SynapseSpec = Conv | ConvTranspose | Dense | Sparse | OneToOne | Wire

WeightedSynapse = Conv | ConvTranspose | Dense | Sparse | OneToOne
"""Every synapse that has a kernel."""


def synapse_output_shape(synapse: SynapseSpec, source: Shape, target: Shape) -> Shape:
    """The shape that `synapse` produces from `source`; Dense and Sparse fill whatever shape `target` has.

    Raises GraphError naming both sides when the source does not fit the kernel.
    """
    match synapse:
        case Conv() | ConvTranspose():
            kind = type(synapse).__name__
            if source[0] != synapse.in_channels:
                raise GraphError(
                    f"{kind} reads {synapse.in_channels} channels, its source offers {source[0]} {source}."
                )
            shape = synapse.output_shape(source)
            if min(shape) < 1:
                raise GraphError(
                    f"{kind} makes an empty map {shape} from {source}; use a smaller kernel or "
                    + ("more padding." if kind == "Conv" else "less padding.")
                )
            return shape
        case Dense():
            count, mantissa = int(np.prod(source)), synapse.kernel.mantissa
            if mantissa.shape[1] != count:
                raise GraphError(f"Dense reads {mantissa.shape[1]} neurons, its source has {count} {source}.")
            if mantissa.shape[0] != int(np.prod(target)):
                raise GraphError(f"Dense feeds {mantissa.shape[0]} neurons, its target has shape {target}.")
            return target
        case Sparse():
            for what, index, shape in (("reads", synapse.columns, source), ("feeds", synapse.rows, target)):
                if int(index.max()) >= int(np.prod(shape)):
                    raise GraphError(f"Sparse {what} neuron {index.max()}, but the shape is {shape}.")
            return target
        case OneToOne():
            if synapse.kernel.mantissa.shape[0] != source[0]:
                raise GraphError(
                    f"OneToOne has {synapse.kernel.mantissa.shape[0]} weights, its source has {source[0]} channels."
                )
            return source
        case Wire():
            return source


def accumulator_bound(synapse: SynapseSpec, message_max: int = 1) -> int:
    """Largest |a| one projection can deliver in a step when sources send at most `message_max`."""
    if isinstance(synapse, Wire):
        return message_max
    magnitude = np.abs(synapse.kernel.mantissa.astype(np.int64))
    match synapse:
        case Conv():
            worst = magnitude.sum(axis=(1, 2, 3)).max()
        case ConvTranspose():
            # All taps at once: more than one output can see when the stride parts them, so never too little.
            grouped = magnitude.reshape(synapse.groups, -1, *magnitude.shape[1:])
            worst = grouped.sum(axis=(1, 3, 4)).max()
        case Dense():
            worst = magnitude.sum(axis=1).max()
        case Sparse():
            worst = np.bincount(synapse.rows, weights=magnitude).max()
        case OneToOne():
            worst = magnitude.max()
    # A negative exponent floors, away from zero for negative sums.
    bound = int(worst) * message_max
    exponent = synapse.kernel.exponent
    return bound << exponent if exponent >= 0 else -(-bound >> -exponent)
