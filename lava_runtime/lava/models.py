"""Process models on compiled kernels: for this project's processes and, on request, for Lava's own.

The models of Lava's Conv, Dense, Sparse, LIF and LIFReset compute what Lava's fixed-point models compute, bit for bit, and
are chosen through the run configuration `lava_runtime.simulation.run_config.CompiledSimCfg`.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
from scipy.sparse import csr_matrix

from lava_runtime.lava.processes import CurrentSink, FanIn, GradedSource, SpikeSink, SpikeSource, StateSink
from lava_runtime.lowering.blocks import Branch
from lava_runtime.lowering.taps import FrameConv, frame_conv
from lava_runtime.simulation import frame_kernels
from lava_runtime.simulation.recorder import FrameArray, Recorder
from netx_export.graph import fixedpoint


class _SourceModel(PyLoihiProcessModel):
    """Sends the frames of `data`, then zeros."""

    s_out: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._data: FrameArray = proc_params["data"]
        self._delay: int = proc_params["delay"]
        self._silence = np.zeros(self._data.shape[1:], self._data.dtype)

    def run_spk(self) -> None:
        """Send the frame of this step."""
        row = self.time_step - 1 - self._delay
        self.s_out.send(self._data[row] if 0 <= row < len(self._data) else self._silence)


@implements(proc=SpikeSource, protocol=LoihiProtocol)
@requires(CPU)
class PySpikeSourceModel(_SourceModel):
    """SpikeSource on the CPU."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8)


@implements(proc=GradedSource, protocol=LoihiProtocol)
@requires(CPU)
class PyGradedSourceModel(_SourceModel):
    """GradedSource on the CPU."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)


@implements(proc=FanIn, protocol=LoihiProtocol)
@requires(CPU)
class PyFanInModel(PyLoihiProcessModel):
    """FanIn on the CPU: sends the sum of the step before, then receives and computes, as Lava's synapses do."""

    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._branches: tuple[Branch, ...] = proc_params["branches"]
        self._ports = len(proc_params["sources"])
        longest = [max(branch.delay for branch in self._branches if branch.port == port) for port in range(self._ports)]
        self._past = [
            deque((np.zeros(shape, np.uint8) for _ in range(length)), maxlen=length + 1)
            for shape, length in zip(proc_params["sources"], longest, strict=True)
        ]
        self._sum = np.zeros(proc_params["shape"], np.int32)
        self._part = np.zeros(proc_params["shape"], np.int32)

    def run_spk(self) -> None:
        """a_out = sum of the frames that arrived one step ago, each `delay` steps old."""
        self.a_out.send(self._sum)
        for port, past in enumerate(self._past):
            past.append(getattr(self, f"s_in_{port}").recv())
        self._sum.fill(0)
        for branch in self._branches:
            frame = self._past[branch.port][-1 - branch.delay]
            if branch.rows is not None:
                frame_kernels.scatter_rows(frame.reshape(-1), branch.rows, self._sum.reshape(-1))
            elif branch.conv is not None and branch.wraps:
                self._part.fill(0)
                frame_kernels.scatter_conv(frame, branch.conv, self._part)
                frame_kernels.wrap_24(self._part.reshape(-1))
                self._sum += self._part
            elif branch.conv is not None:
                frame_kernels.scatter_conv(frame, branch.conv, self._sum)


@cache
def fan_in_model(ports: int) -> type:
    """PyFanInModel with ports s_in_0 .. s_in_{ports-1}: Lava wants model and process to name the same ports."""
    named = {f"s_in_{port}": LavaPyType(PyInPort.VEC_DENSE, np.uint8) for port in range(ports)}
    return type(f"PyFanInModel{ports}", (PyFanInModel,), named)


@implements(proc=SpikeSink, protocol=LoihiProtocol)
@requires(CPU)
class PySpikeSinkModel(PyLoihiProcessModel):
    """SpikeSink on the CPU."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.uint8)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._recorder = Recorder(proc_params["ledger"])

    def run_spk(self) -> None:
        """Count the spikes of this step."""
        spikes = self.a_in.recv()
        step = self.time_step - 1
        if self._recorder.in_window(step):
            self._recorder.counts += spikes
        self._recorder.spikes(step, spikes, int(np.count_nonzero(spikes)))
        self._recorder.end_step(step)


@implements(proc=StateSink, protocol=LoihiProtocol)
@requires(CPU)
class PyStateSinkModel(PyLoihiProcessModel):
    """StateSink on the CPU: reads in the management phase, when all neurons have been updated."""

    u: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)
    v: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._recorder = Recorder(proc_params["ledger"])

    def post_guard(self) -> bool:
        """Ask for a management phase in every step."""
        return True

    def run_post_mgmt(self) -> None:
        """Write u and v of this step."""
        self._recorder.states(self.time_step - 1, self.u.read(), self.v.read())


@implements(proc=CurrentSink, protocol=LoihiProtocol)
@requires(CPU)
class PyCurrentSinkModel(PyLoihiProcessModel):
    """CurrentSink on the CPU."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._recorder = Recorder(proc_params["ledger"])
        self._differences: bool = proc_params["differences"]
        self._before: npt.NDArray[np.int32] = np.zeros(proc_params["ledger"].shape, np.int32)

    def run_spk(self) -> None:
        """Write the current of this step."""
        received = self.a_in.recv()
        step = self.time_step - 1
        self._recorder.values(step, received - self._before if self._differences else received)
        if self._differences:
            self._before = received
        self._recorder.end_step(step)


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
class PyConvModelCompiled(PyLoihiProcessModel):
    """Lava's fixed-point Conv, event by event: the same sums modulo 2**24, one step later."""

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

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._input_shape: tuple[int, int, int] = tuple(proc_params["input_shape"])
        self._conv: FrameConv | None = None
        self._wraps = True

    def run_spk(self) -> None:
        """Send the buffered sum, receive, convolve."""
        self.a_out.send(self.a_buf)
        frame = self.s_in.recv()
        graded = int(self.num_message_bits.item()) > 0
        if not graded:
            frame = (frame != 0).view(np.uint8)
        if self._conv is None:
            self._conv = self._tables()
            # A spike adds each weight once at most, so a kernel that is small enough in all never wraps.
            reach = int(np.abs(self.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max())
            self._wraps = graded or reach >= fixedpoint.STATE_LIMIT
        self.a_buf.fill(0)
        frame_kernels.scatter_conv(frame, self._conv, self.a_buf)
        if self._wraps:
            frame_kernels.wrap_24(self.a_buf.reshape(-1))

    def _tables(self) -> FrameConv:
        return frame_conv(
            self.weight[:, ::-1, ::-1, :],
            source=self._input_shape[:2],
            stride=_pair(self.stride),
            padding=_pair(self.padding),
            dilation=_pair(self.dilation),
            groups=int(self.groups[0]),
        )

    def on_var_update(self) -> None:
        """A Var was set: build the tables again."""
        self._conv = None


def _pair(values: np.ndarray[Any, Any]) -> tuple[int, int]:
    return (int(values[0]), int(values[1]))


class _CompiledMatrix(PyLoihiProcessModel):
    """Lava's fixed-point Dense or Sparse, event by event."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.uint8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=16)
    a_buff: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=16)
    num_message_bits: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int8, precision=5)
    weights: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._ready = False
        self._exponent: int = proc_params.get("weight_exp", 0)

    def run_spk(self) -> None:
        """Send the buffered sum, receive, multiply."""
        self.a_out.send(self.a_buff)
        frame = self.s_in.recv()
        if int(self.num_message_bits.item()) == 0:
            frame = (frame != 0).view(np.uint8)
        if not self._ready:
            bits: int = self.proc_params.get("num_weight_bits", 8)
            mode = self.proc_params.get("sign_mode") or determine_sign_mode(self.weights)
            self._prepare(truncate_weights(clip_weights(self.weights, mode, num_bits=8), mode, bits))
            self._ready = True
        self.a_buff.fill(0)
        self._add(frame)
        if self._exponent > 0:
            np.left_shift(self.a_buff, self._exponent, out=self.a_buff)
        elif self._exponent < 0:
            np.right_shift(self.a_buff, -self._exponent, out=self.a_buff)

    def on_var_update(self) -> None:
        """A Var was set: prepare the weights again."""
        self._ready = False


@implements(proc=Dense, protocol=LoihiProtocol)
@requires(CPU)
class PyDenseModelCompiled(_CompiledMatrix):
    """Lava's Dense, the weights transposed so that a spike adds one row."""

    weights: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=8)

    def _prepare(self, weights: np.ndarray[Any, Any]) -> None:
        self._rows = np.ascontiguousarray(weights.T, np.int32)

    def _add(self, frame: FrameArray) -> None:
        frame_kernels.scatter_rows(frame, self._rows, self.a_buff)


@implements(proc=Sparse, protocol=LoihiProtocol)
@requires(CPU)
class PySparseModelCompiled(_CompiledMatrix):
    """Lava's Sparse, stored by columns so that a spike visits its own synapses."""

    weights: csr_matrix = LavaPyType(csr_matrix, np.int32, precision=8)

    def _prepare(self, weights: csr_matrix) -> None:
        columns = weights.tocsc()
        self._columns = [part.astype(np.int32) for part in (columns.indptr, columns.indices, columns.data)]

    def _add(self, frame: FrameArray) -> None:
        start, target, weight = self._columns
        frame_kernels.scatter_columns(frame, start, target, weight, self.a_buff)


class _CompiledLif(PyLoihiProcessModel):
    """Lava's fixed-point LIF in one pass; records its own spikes where `proc_params["ledger"]` asks for it."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8)
    u: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    du: int = LavaPyType(int, np.uint16, precision=12)
    dv: int = LavaPyType(int, np.uint16, precision=12)
    bias_mant: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int16, precision=13)
    bias_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int16, precision=3)
    vth: int = LavaPyType(int, np.int32, precision=17)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        ledger = proc_params.get("ledger")
        self._recorder = Recorder(ledger) if ledger is not None else None
        self._bias: npt.NDArray[np.int32] | None = None
        self._spikes: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)

    def run_spk(self) -> None:
        """Receive, reset where due, update, send."""
        received = np.ascontiguousarray(self.a_in.recv(), np.int32)
        if self._bias is None:
            wide = self.bias_mant.astype(np.int32)
            exponent = self.bias_exp.astype(np.int32)
            scaled = np.where(exponent >= 0, wide << np.maximum(exponent, 0), wide >> np.maximum(-exponent, 0))
            self._bias = np.ascontiguousarray(scaled, np.int32).reshape(-1)
            self._spikes = np.zeros(received.shape, np.uint8)
        if self._resets():
            self.u.fill(0)
            self.v.fill(0)
        fired = frame_kernels.lif_frame(
            received.reshape(-1),
            self.u.reshape(-1),
            self.v.reshape(-1),
            self._bias,
            fixedpoint.current_multiplier(int(self.du)),
            fixedpoint.voltage_multiplier(int(self.dv)),
            int(self.vth) << fixedpoint.ACTIVATION_SHIFT,
            self._spikes.reshape(-1),
        )
        self.s_out.send(self._spikes)
        if self._recorder is not None:
            self._record(self._recorder, int(fired))

    def _resets(self) -> bool:
        return False

    def _record(self, recorder: Recorder, fired: int) -> None:
        step = self.time_step - 1
        if fired and recorder.in_window(step):
            frame_kernels.count_spikes(self._spikes.reshape(-1), recorder.counts.reshape(-1))
        recorder.spikes(step, self._spikes, fired)
        recorder.states(step, self.u, self.v)
        recorder.end_step(step)

    def on_var_update(self) -> None:
        """A Var was set: scale the bias again."""
        self._bias = None


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(CPU)
class PyLifModelCompiled(_CompiledLif):
    """Lava's LIF."""


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
class PyLifResetModelCompiled(_CompiledLif):
    """Lava's LIFReset: u = v = 0 before the update where time_step % interval == offset % interval."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._interval: int = proc_params["reset_interval"]
        self._offset: int = proc_params["reset_offset"] % self._interval

    def _resets(self) -> bool:
        return bool(self.time_step % self._interval == self._offset)
