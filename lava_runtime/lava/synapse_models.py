"""Compiled models of Lava's own synapse processes: Conv, Dense, Sparse, DelayDense, DelaySparse.

They compute what Lava's fixed-point models compute, bit for bit, and are chosen through the run configuration
`lava_runtime.simulation.CompiledSimCfg`. Sources: lava-nc 0.10.0, `proc/{conv,dense,sparse}/models.py`.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
from scipy.sparse import csr_matrix

from lava_runtime.lowering.branches import FrameMatrix
from lava_runtime.lowering.taps import frame_conv
from lava_runtime.simulation import frame_kernels
from lava_runtime.simulation.messages import MessageList
from lava_runtime.simulation.synapse_sums import ConvSum, MatrixSum
from netx_export.errors import RunError
from netx_export.graph import fixedpoint

LAVA_DELAY_MAX = 63
"""Longest delay of Lava's DelayDense and DelaySparse."""


class _CompiledSynapse(PyLoihiProcessModel):
    """Sends the buffered sum, receives, computes the next sum: one step between a message and its current."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._messages: MessageList | None = None
        self._ready = False

    def _receive(self) -> MessageList:
        """The messages of this step; 0/1 spikes where num_message_bits is 0."""
        frame = self.s_in.recv()
        graded = int(self.num_message_bits.item()) > 0
        if not self._ready:
            self._messages = MessageList(frame.size, graded=graded)
            self._prepare(graded)
            self._ready = True
        messages = self._messages
        if messages is None:
            raise RunError("A synapse process has no list for its messages.")
        messages.fill(np.ascontiguousarray(frame).reshape(-1))
        return messages

    def _prepare(self, graded: bool) -> None:
        raise NotImplementedError

    def on_var_update(self) -> None:
        """A Var was set: prepare the weights again."""
        self._ready = False


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyConvModelCompiled(_CompiledSynapse):
    """Lava's fixed-point Conv, event by event: the same sums modulo 2**24."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.uint8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    a_buf: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    weight: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    weight_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    num_weight_bits: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int8, precision=5)
    kernel_size: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32)
    padding: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32)
    stride: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32)
    dilation: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32)
    groups: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32)
    num_message_bits: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int8, precision=5)

    def run_spk(self) -> None:
        """Send the buffered sum, receive, convolve."""
        self.a_out.send(self.a_buf)
        messages = self._receive()
        flat = self.a_buf.reshape(-1)
        flat.fill(0)
        self._sum.add(messages, flat)

    def _prepare(self, graded: bool) -> None:
        # A spike adds each weight once at most, so a kernel that is small enough in all never wraps.
        reach = int(np.abs(self.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max())
        self._sum = ConvSum(
            frame_conv(
                self.weight[:, ::-1, ::-1, :],
                source=tuple(self.proc_params["input_shape"])[:2],
                stride=_pair(self.stride),
                padding=_pair(self.padding),
                dilation=_pair(self.dilation),
                groups=int(self.groups[0]),
                wraps=graded or reach >= fixedpoint.STATE_LIMIT,
            )
        )


def _pair(values: np.ndarray[Any, Any]) -> tuple[int, int]:
    return (int(values[0]), int(values[1]))


class _CompiledMatrix(_CompiledSynapse):
    """A process with a weight matrix."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.uint8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=16)
    a_buff: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=16)
    num_message_bits: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int8, precision=5)
    weights: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._exponent: int = int(proc_params.get("weight_exp", 0))
        self._rounded = False

    def _chip_weights(self) -> Any:
        """The weights as Lava's models round them: clipped to 8 bits, the lowest bits dropped.

        They do so once, at the start; weights that are set later are taken as they come.
        """
        if not self._rounded:
            bits: int = self.proc_params.get("num_weight_bits", 8)
            mode = self.proc_params.get("sign_mode") or determine_sign_mode(self.weights)
            self.weights = truncate_weights(clip_weights(self.weights, mode, num_bits=8), mode, bits)
            self._rounded = True
        return self.weights


@implements(proc=Dense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyDenseModelCompiled(_CompiledMatrix):
    """Lava's Dense, the weights transposed so that a spike adds one row."""

    weights: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=8)

    def run_spk(self) -> None:
        """Send the buffered sum, receive, multiply."""
        self.a_out.send(self.a_buff)
        messages = self._receive()
        self.a_buff.fill(0)
        self._sum.add(messages, self.a_buff)

    def _prepare(self, graded: bool) -> None:
        rows = np.ascontiguousarray(self._chip_weights().T, np.int16)
        self._sum = MatrixSum(FrameMatrix(rows=rows, exponent=self._exponent))


class _CompiledColumns(_CompiledMatrix):
    """Synapses stored by source neuron; `a_buff` is (targets, longest delay + 1), column 0 leaves next.

    `wide` says that what is sent in one step is summed in 64 bits before the exponent shifts it.
    """

    wide = False

    def run_spk(self) -> None:
        """Send what is due, receive, add what comes later."""
        waiting = self.a_buff.reshape(len(self.a_buff), -1)
        self.a_out.send(np.ascontiguousarray(waiting[:, 0]))
        messages = self._receive()
        waiting[:, :-1] = waiting[:, 1:]
        waiting[:, -1] = 0
        flat = self.a_buff.reshape(-1)
        into: frame_kernels.SumArray = self._part if self._exponent else flat
        start, place, weight = self._columns
        frame_kernels.add_columns(messages.events, messages.values, messages.count, start, place, weight, 0, into)
        if self._exponent and messages.count:
            frame_kernels.shift_add(into, self._exponent, flat)

    def _keep(self, target: npt.NDArray[Any], origin: npt.NDArray[Any], weight: npt.NDArray[Any], delay: Any) -> None:
        if np.max(delay, initial=0) > LAVA_DELAY_MAX:
            raise ValueError(
                f"{type(self).__name__}: a delay of {np.max(delay)} steps, the limit of Lava's processes is {LAVA_DELAY_MAX}."
            )
        slots = self.a_buff.size // len(self.a_buff)
        order = np.lexsort((target, origin))
        messages = self._messages
        sources = len(messages.values) or len(messages.events) if messages is not None else 0
        start = np.searchsorted(origin[order], np.arange(sources + 1))
        place = (target.astype(np.int64) * slots + delay)[order]
        self._columns = [np.ascontiguousarray(part, np.int32) for part in (start, place, weight[order])]
        room = self.a_buff.size if self._exponent else 0
        self._part: frame_kernels.SumArray = np.zeros(room, np.int64) if self.wide else np.zeros(room, np.int32)


@implements(proc=Sparse, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PySparseModelCompiled(_CompiledColumns):
    """Lava's Sparse."""

    weights: csr_matrix = LavaPyType(csr_matrix, np.int32, precision=8)

    def _prepare(self, graded: bool) -> None:
        found = self._chip_weights().tocoo()
        self._keep(found.row, found.col, found.data, 0)


@implements(proc=DelaySparse, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyDelaySparseModelCompiled(_CompiledColumns):
    """Lava's DelaySparse: a message of step t arrives at t + 1 + delay."""

    weights: csr_matrix = LavaPyType(csr_matrix, np.int32, precision=8)
    delays: csr_matrix = LavaPyType(csr_matrix, np.int32, precision=6)

    def _prepare(self, graded: bool) -> None:
        found = self._chip_weights().tocoo()
        delays = np.asarray(csr_matrix(self.delays)[found.row, found.col]).reshape(-1)
        self._keep(found.row, found.col, found.data, delays)


@implements(proc=DelayDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyDelayDenseModelCompiled(_CompiledColumns):
    """Lava's DelayDense: a message of step t arrives at t + 1 + delay."""

    wide = True
    weights: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    delays: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=6)

    def _prepare(self, graded: bool) -> None:
        weights = self._chip_weights()
        target, origin = np.nonzero(weights)
        self._keep(target, origin, weights[target, origin], self.delays[target, origin])
