"""Compiled models of Lava's own neuron processes: LIF, LIFReset, TernaryLIF, RF, RF_IZ, Sigma, Delta, SigmaDelta.

They compute what Lava's fixed-point models compute, bit for bit, and are chosen through the run configuration
`lava_runtime.simulation.CompiledSimCfg`. Where `proc_params["ledger"]` asks for it they record what they send. Sources:
lava-nc 0.10.0, `proc/{lif,rf,rf_iz,sdn}/models.py`.
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
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta

from lava_runtime.simulation import frame_neurons
from lava_runtime.simulation.recorder import FrameArray, Recorder
from netx_export.graph import fixedpoint

Int32Array = npt.NDArray[np.int32]


class _CompiledNeuron(PyLoihiProcessModel):
    """Receives, resets where due, updates, sends, records."""

    s_out: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        ledger = proc_params.get("ledger")
        self._recorder = Recorder(ledger) if ledger is not None else None
        self._interval: int = proc_params.get("reset_interval") or 0
        self._offset: int = proc_params.get("reset_offset", 0) % self._interval if self._interval else 0

    def _due(self) -> bool:
        """True where the states are set to zero before the update, as LIFReset does."""
        return self._interval > 0 and bool(self.time_step % self._interval == self._offset)

    def _send(self, sent: FrameArray, u: Int32Array, v: Int32Array) -> None:
        self.s_out.send(sent)
        if self._recorder is not None:
            step = self.time_step - 1
            self._recorder.messages(step, sent)
            self._recorder.states(step, u, v)
            self._recorder.end_step(step)


def _current(port: Any) -> Int32Array:
    return np.ascontiguousarray(port.recv(), np.int32).reshape(-1)


class _CompiledLif(_CompiledNeuron):
    """Lava's fixed-point LIF dynamics in one pass."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    u: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    du: int = LavaPyType(int, np.uint16, precision=12)
    dv: int = LavaPyType(int, np.uint16, precision=12)
    bias_mant: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int16, precision=13)
    bias_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int16, precision=3)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._bias: Int32Array | None = None

    def run_spk(self) -> None:
        """Receive, reset where due, update, send."""
        received = _current(self.a_in)
        if self._bias is None:
            self._bias = self._scaled_bias()
            self._spikes: FrameArray = np.zeros(self.u.shape, self._dtype())
        if self._due():
            self.u.fill(0)
            self.v.fill(0)
        self._update(received, self.u.reshape(-1), self.v.reshape(-1), self._bias)
        self._send(self._spikes, self.u, self.v)

    def _scaled_bias(self) -> Int32Array:
        wide = self.bias_mant.astype(np.int32)
        exponent = self.bias_exp.astype(np.int32)
        scaled = np.where(exponent >= 0, wide << np.maximum(exponent, 0), wide >> np.maximum(-exponent, 0))
        return np.array(np.broadcast_to(scaled, self.u.shape), np.int32).reshape(-1)

    def _dtype(self) -> type:
        return np.uint8

    def _multipliers(self) -> tuple[int, int]:
        return fixedpoint.current_multiplier(int(self.du)), fixedpoint.voltage_multiplier(int(self.dv))

    def _update(self, current: Int32Array, u: Int32Array, v: Int32Array, bias: Int32Array) -> None:
        threshold = int(self.vth) << fixedpoint.ACTIVATION_SHIFT
        frame_neurons.lif_frame(current, u, v, bias, *self._multipliers(), threshold, self._spikes.reshape(-1))

    def on_var_update(self) -> None:
        """A Var was set: scale the bias again."""
        self._bias = None


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyLifModelCompiled(_CompiledLif):
    """Lava's LIF."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8)
    vth: int = LavaPyType(int, np.int32, precision=17)


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyLifResetModelCompiled(_CompiledLif):
    """Lava's LIFReset: u = v = 0 before the update where time_step % interval == offset % interval."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8)
    vth: int = LavaPyType(int, np.int32, precision=17)


@implements(proc=TernaryLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyTernaryLifModelCompiled(_CompiledLif):
    """Lava's TernaryLIF: -1 below vth_lo, +1 above vth_hi."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8, precision=2)
    vth_hi: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    vth_lo: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)

    def _dtype(self) -> type:
        return np.int8

    def _update(self, current: Int32Array, u: Int32Array, v: Int32Array, bias: Int32Array) -> None:
        low, high = (int(vth.item()) << fixedpoint.ACTIVATION_SHIFT for vth in (self.vth_lo, self.vth_hi))
        spikes = self._spikes.reshape(-1)
        frame_neurons.ternary_lif_frame(current, u, v, bias, *self._multipliers(), low, high, spikes)


class _CompiledResonator(_CompiledNeuron):
    """Lava's fixed-point resonate-and-fire dynamics in one pass."""

    a_real_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_imag_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.uint8)
    real: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    imag: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    sin_decay: int = LavaPyType(int, np.int32, precision=12)
    cos_decay: int = LavaPyType(int, np.int32, precision=12)
    state_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=3)
    decay_bits: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=3)
    vth: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    izhikevich = False

    def run_spk(self) -> None:
        """Receive, reset where due, update, send."""
        received = _current(self.a_real_in), _current(self.a_imag_in)
        if self._due():
            self.real.fill(0)
            self.imag.fill(0)
        spikes = np.empty(self.real.shape, np.uint8)
        frame_neurons.resonator_frame(
            *received,
            self.real.reshape(-1),
            self.imag.reshape(-1),
            int(self.sin_decay),
            int(self.cos_decay),
            int(self.decay_bits.item()),
            int(self.state_exp.item()),
            int(self.vth.item()),
            self.izhikevich,
            spikes.reshape(-1),
        )
        self._send(spikes, self.real, self.imag)


@implements(proc=RF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRfModelCompiled(_CompiledResonator):
    """Lava's RF."""


@implements(proc=RF_IZ, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRfIzModelCompiled(_CompiledResonator):
    """Lava's RF_IZ."""

    izhikevich = True


@implements(proc=Sigma, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySigmaModelCompiled(_CompiledNeuron):
    """Lava's Sigma."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    sigma: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)

    def run_spk(self) -> None:
        """Receive, reset where due, add, send."""
        received = self.a_in.recv()
        if self._due():
            self.sigma.fill(0)
        self.sigma += received.astype(np.int32, copy=False)
        self._send(self.sigma, self.sigma, np.zeros_like(self.sigma))


class _CompiledDelta(_CompiledNeuron):
    """Sends the change of an activation once it is large enough."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    sigma: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    act: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    residue: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    error: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    spike_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=3)
    state_exp: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=3)
    cum_error: np.ndarray[Any, Any] = LavaPyType(np.ndarray, bool, precision=1)

    def _reset_where_due(self) -> None:
        if self._due():
            for state in (self.sigma, self.act, self.residue, self.error):
                state.fill(0)

    def _encode(self, activation: Int32Array) -> Int32Array:
        """The messages of this step; `act` and `residue` are updated."""
        sent = np.empty(self.act.shape, np.int32)
        state_exp = int(self.state_exp.item())
        if bool(self.cum_error.item()):
            delta = activation.reshape(self.act.shape) - self.act + self.residue
            self.error += delta
            due = np.where(np.abs(self.error) >= self.vth, delta, np.int32(0))
            self.error[np.abs(due) > 0] = 0
            self.residue[:] = delta - due
            self.act[:] = activation.reshape(self.act.shape)
            np.right_shift(due, state_exp, out=sent)
            return sent
        frame_neurons.delta_frame(
            activation.reshape(-1),
            self.act.reshape(-1),
            self.residue.reshape(-1),
            int(self.vth.item()),
            state_exp,
            sent.reshape(-1),
        )
        return sent


@implements(proc=Delta, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDeltaModelCompiled(_CompiledDelta):
    """Lava's Delta."""

    def run_spk(self) -> None:
        """Receive, reset where due, encode, send."""
        activation = np.left_shift(_current(self.a_in), int(self.spike_exp.item()) + int(self.state_exp.item()))
        self._reset_where_due()
        self._send(self._encode(activation), self.act, self.residue)


@implements(proc=SigmaDelta, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySigmaDeltaModelCompiled(_CompiledDelta):
    """Lava's SigmaDelta."""

    bias: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=16)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._relu = proc_params["act_mode"] == ActivationMode.RELU

    def run_spk(self) -> None:
        """Receive, reset where due, add, activate, encode, send."""
        received = _current(self.a_in)
        self._reset_where_due()
        flat = self.sigma.reshape(-1)
        flat += received
        activation = np.empty_like(flat)
        frame_neurons.activation_frame(flat, self.bias.reshape(-1), self._relu, activation)
        self._send(self._encode(activation), self.sigma, self.residue)
