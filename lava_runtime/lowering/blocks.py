"""Lava processes as plain descriptions: what lowering makes of a graph before any Lava class is touched.

Shapes are (W,H,C), Lava's order; flat ports are in the C order of that shape. A wire with `shape` reshapes on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.taps import FrameConv

FrameShape = tuple[int, int, int]
"""(W,H,C)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBlock:
    """Plays the network input `population`, `delay` steps late. `message_bits` = 0 means spikes."""

    name: str
    population: str
    shape: FrameShape
    message_bits: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvBlock:
    """`lava.proc.conv.Conv`: true convolution, weights (C_out, kw, kh, C_in/groups) flipped, exponent multiplied in."""

    name: str
    weight: npt.NDArray[np.int32]
    input_shape: FrameShape
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    message_bits: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseBlock:
    """`lava.proc.dense.Dense`: a = (mantissa @ s) << exponent, mantissa (N_out, N_in) in [-128, 127]."""

    name: str
    mantissa: npt.NDArray[np.int16]
    exponent: int
    message_bits: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseBlock:
    """`lava.proc.sparse.Sparse`: the same from a list of synapses, (target, source, mantissa) each."""

    name: str
    shape: tuple[int, int]
    targets: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int32]
    mantissa: npt.NDArray[np.int16]
    exponent: int
    message_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayBlock:
    """`lava.proc.sparse.DelaySparse`: the identity on `size` axons; a spike of step t arrives at t + 1 + delay."""

    name: str
    size: int
    delay: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LifBlock:
    """`lava.proc.lif.LIF`, or `LIFReset` where `reset` = (interval, offset). `population` is empty for relays."""

    name: str
    shape: FrameShape
    vth: int
    du: int
    dv: int
    bias_mant: npt.NDArray[np.int32]
    bias_exp: int
    reset: tuple[int, int] | None
    population: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaBlock:
    """`lava.proc.sdn.Sigma`: the running sum of a readout's current; the sink takes differences."""

    name: str
    shape: FrameShape
    population: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentBlock:
    """This project's `CurrentSink`, taking a readout's current as it is (compact lowering)."""

    name: str
    shape: FrameShape
    population: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branch:
    """One projection inside a fan-in: reads port `port`, `delay` steps late, through a convolution or a matrix.

    `rows` is (N_in, N_out), exponent multiplied in. `wraps` says whether the sum can leave 24 bits and must wrap.
    """

    port: int
    delay: int
    conv: FrameConv | None = None
    rows: npt.NDArray[np.int32] | None = None
    wraps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FanInBlock:
    """This project's `FanIn`: all projections into one population, with delays and upsampling, in one process."""

    name: str
    shape: FrameShape
    sources: tuple[FrameShape, ...]
    branches: tuple[Branch, ...]


Block = (
    SourceBlock | ConvBlock | DenseBlock | SparseBlock | DelayBlock | LifBlock | SigmaBlock | CurrentBlock | FanInBlock
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """From the output of block `src` to the input of block `dst`; `port` counts the inputs of a fan-in."""

    src: str
    dst: str
    shape: tuple[int, ...] | None = None
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A graph as Lava processes: blocks by name, wires between them, and the block that speaks for each population."""

    blocks: dict[str, Block]
    wires: tuple[Wire, ...]
    speaker: dict[str, str]
    """Population id -> name of the block that emits its spikes or values."""
