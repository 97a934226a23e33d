"""A projection as tables for frames (W,H,C): what the compiled processes of this project compute in every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lava_runtime.lowering.taps import FrameConv, frame_conv_of
from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Dense,
    Graph,
    OneToOne,
    Projection,
    Shape,
    Sparse,
    Wire,
    accumulator_bound,
    fixedpoint,
    message_limit,
)

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameMatrix:
    """A dense matrix `rows` (N_in, N_out): a = shift(rows.T @ s, exponent)."""

    rows: npt.NDArray[np.int16]
    exponent: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameColumns:
    """Single synapses by source neuron: those of i are `start[i]:start[i+1]`.

    `place[k]` is delay * targets + target neuron of synapse k, `longest` the longest delay.
    """

    start: Int32Array
    place: Int32Array
    weight: Int32Array
    exponent: int
    targets: int
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTwins:
    """Each source neuron to its twin: a = wrap24(weight[channel] * s), the wrap where `wraps`; exponent multiplied in."""

    weight: Int32Array
    wraps: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branch:
    """One projection inside a process: reads port `port`, `delay` steps late.

    `section` = (channels of the source, first, last) of a channel slice; `axon_delays` (N_in,), flat, of what is read.
    """

    port: int
    delay: int
    synapse: FrameConv | FrameMatrix | FrameColumns | FrameTwins
    section: tuple[int, int, int] | None = None
    axon_delays: Int32Array | None = None


def frame_order(shape: Shape) -> npt.NDArray[np.int64]:
    """Where each neuron of a frame (W,H,C), flat, lies in C,H,W order."""
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 1, 0).reshape(-1)


def branch_of(graph: Graph, projection: Projection, port: int = 0) -> Branch:
    """The tables of `projection`, which must not be a Wire."""
    source, target = graph.by_id[projection.src], graph.by_id[projection.dst]
    read = projection.source_shape(source)
    synapse = projection.synapse
    if isinstance(synapse, Wire):
        raise RunError(f"Projection {projection.label} is a Wire, which has no synapses; connect its ends.")
    delays = projection.delays
    # Dense with a delay per axon is what NetX makes of it: the same delay for all synapses of an axon.
    per_synapse = delays is not None and (delays.ndim < 3 or isinstance(synapse, Dense | Sparse))
    wraps = accumulator_bound(synapse, message_limit(source.neuron)) >= fixedpoint.STATE_LIMIT
    made: FrameConv | FrameMatrix | FrameColumns | FrameTwins
    match synapse:
        case Conv() | ConvTranspose():
            made = frame_conv_of(synapse, read, wraps=wraps)
        case OneToOne():
            weight = synapse.kernel.mantissa.astype(np.int32) << synapse.kernel.exponent
            made = FrameTwins(weight=weight, wraps=wraps)
        case Dense() if not per_synapse:
            mantissa = synapse.kernel.mantissa[frame_order(target.shape)][:, frame_order(read)]
            made = FrameMatrix(rows=np.ascontiguousarray(mantissa.T), exponent=synapse.kernel.exponent)
        case Dense() | Sparse():
            made = _columns(synapse, delays, read, target.shape)
    section = None
    if projection.src_channels is not None and projection.src_channels != (0, source.shape[0]):
        section = (source.shape[0], *projection.src_channels)
    axons = None
    if delays is not None and not per_synapse:
        axons = np.ascontiguousarray(delays.reshape(-1)[frame_order(read)])
    return Branch(port=port, delay=projection.delay, synapse=made, section=section, axon_delays=axons)


def single_synapses(synapse: Dense | Sparse) -> tuple[Int32Array, Int32Array, Int32Array]:
    """(rows, columns, mantissa) of every synapse, both sides in C,H,W order."""
    if isinstance(synapse, Sparse):
        return synapse.rows, synapse.columns, synapse.kernel.mantissa.astype(np.int32)
    rows, columns = (index.reshape(-1).astype(np.int32) for index in np.indices(synapse.kernel.mantissa.shape))
    return rows, columns, synapse.kernel.mantissa.reshape(-1).astype(np.int32)


def synapse_delays(
    synapse: Dense | Sparse, delays: npt.NDArray[np.int32] | None, columns: Int32Array
) -> npt.NDArray[np.int32]:
    """The delay of every synapse in the order of `single_synapses`."""
    if delays is None:
        return np.zeros(len(columns), np.int32)
    return delays.reshape(-1)[columns] if delays.ndim == 3 else delays.reshape(-1)


def _columns(synapse: Dense | Sparse, delays: npt.NDArray[np.int32] | None, read: Shape, target: Shape) -> FrameColumns:
    rows, columns, weight = single_synapses(synapse)
    delay = synapse_delays(synapse, delays, columns)
    used = weight != 0
    place_of_target, place_of_source = (np.argsort(frame_order(shape)) for shape in (target, read))
    to, origin, weight, delay = place_of_target[rows[used]], place_of_source[columns[used]], weight[used], delay[used]
    order = np.lexsort((to, delay, origin))
    count, targets = int(np.prod(read)), int(np.prod(target))
    return FrameColumns(
        start=np.concatenate([[0], np.cumsum(np.bincount(origin, minlength=count))]).astype(np.int32),
        place=(delay.astype(np.int64) * targets + to)[order].astype(np.int32),
        weight=np.ascontiguousarray(weight[order]),
        exponent=synapse.kernel.exponent,
        targets=targets,
        longest=int(delay.max(initial=0)),
    )
