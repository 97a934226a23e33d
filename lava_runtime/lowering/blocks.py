"""Lava processes as plain descriptions: what lowering makes of a graph before any Lava class is touched.

Shapes are (W,H,C), Lava's order; flat ports are in the C order of that shape. A connection with `shape` reshapes on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.branches import Branch
from netx_export.graph import Delta, Rf, RfIz, Sigma, SigmaDelta

FrameShape = tuple[int, int, int]
"""(W,H,C)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBlock:
    """Plays the network input `population`, `delay` steps late. `message_bits` = 0 means spikes.

    `channels` = (first, last) plays a channel slice alone.
    """

    name: str
    population: str
    shape: FrameShape
    message_bits: int = 0
    delay: int = 0
    channels: tuple[int, int] | None = None


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
    """`lava.proc.dense.Dense`: a = shift(mantissa @ s, exponent), mantissa (N_out, N_in) in [-128, 127].

    With `delays` (N_out, N_in), in time steps, `DelayDense`.
    """

    name: str
    mantissa: npt.NDArray[np.int16]
    exponent: int
    message_bits: int
    delays: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseBlock:
    """`lava.proc.sparse.Sparse`: the same from a list of synapses, (target, source, mantissa) each.

    With `delays`, one for each synapse, `DelaySparse`.
    """

    name: str
    shape: tuple[int, int]
    targets: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int32]
    mantissa: npt.NDArray[np.int16]
    exponent: int
    message_bits: int
    delays: npt.NDArray[np.int32] | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradedBlock:
    """`lava.proc.sdn.Delta`, `SigmaDelta` or `Sigma`; `bias` is one value, or one per neuron.

    `reset` = (interval, offset) as LIFReset's, only for this project's models.
    """

    name: str
    shape: FrameShape
    neuron: Delta | SigmaDelta | Sigma
    bias: npt.NDArray[np.int32]
    reset: tuple[int, int] | None
    population: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResonatorBlock:
    """`lava.proc.rf.RF` or `rf_iz.RF_IZ`; input port 0 is the real part, 1 the imaginary. `reset` as GradedBlock's."""

    name: str
    shape: FrameShape
    neuron: Rf | RfIz
    reset: tuple[int, int] | None
    population: str


NeuronBlock = LifBlock | GradedBlock | ResonatorBlock


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
class FanInBlock:
    """This project's `FanIn`: all projections into one current of a population, whatever they need, in one process.

    `graded` says of each source whether it sends integers.
    """

    name: str
    shape: FrameShape
    sources: tuple[FrameShape, ...]
    graded: tuple[bool, ...]
    branches: tuple[Branch, ...]


Block = (
    SourceBlock
    | ConvBlock
    | DenseBlock
    | SparseBlock
    | DelayBlock
    | LifBlock
    | GradedBlock
    | ResonatorBlock
    | SigmaBlock
    | CurrentBlock
    | FanInBlock
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """From the output of block `src` to the input of block `dst`; `port` counts the inputs of a fan-in or resonator."""

    src: str
    dst: str
    shape: tuple[int, ...] | None = None
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A graph as Lava processes: blocks by name, connections between them, and the block that speaks for each population."""

    blocks: dict[str, Block]
    connections: tuple[Connection, ...]
    speaker: dict[str, str]
    """Population id -> name of the block that emits its spikes or values."""
