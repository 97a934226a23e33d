"""Models of this project's own processes: sources, fan-ins, and sinks that write results themselves."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

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

from lava_runtime.lava.processes import CurrentSink, FanIn, GradedSource, SpikeSink, SpikeSource, StateSink
from lava_runtime.simulation.messages import History
from lava_runtime.simulation.recorder import FrameArray, Recorder
from lava_runtime.simulation.synapse_sums import BranchSum


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
        sources = proc_params["sources"]
        branches = proc_params["branches"]
        graded = proc_params["graded"]
        sizes = [int(np.prod(shape)) for shape in sources]
        self._branches = [
            (branch.port, BranchSum(branch, source_size=sizes[branch.port], graded=graded[branch.port]))
            for branch in branches
        ]
        self._past = [
            History(size, graded=graded[port], length=1 + max(b.delay for b in branches if b.port == port))
            for port, size in enumerate(sizes)
        ]
        self._sum = np.zeros(proc_params["shape"], np.int32)

    def run_spk(self) -> None:
        """a_out = sum over the projections of what arrived one step ago."""
        self.a_out.send(self._sum)
        for port, past in enumerate(self._past):
            past.push(getattr(self, f"s_in_{port}").recv().reshape(-1))
        flat = self._sum.reshape(-1)
        flat.fill(0)
        for port, branch in self._branches:
            branch.add(self._past[port], flat)


@cache
def fan_in_model(ports: int) -> type:
    """PyFanInModel with ports s_in_0 .. s_in_{ports-1}: Lava wants model and process to name the same ports."""
    named = {f"s_in_{port}": LavaPyType(PyInPort.VEC_DENSE, np.uint8) for port in range(ports)}
    return type(f"PyFanInModel{ports}", (PyFanInModel,), named)


@implements(proc=SpikeSink, protocol=LoihiProtocol)
@requires(CPU)
class PySpikeSinkModel(PyLoihiProcessModel):
    """SpikeSink on the CPU."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._recorder = Recorder(proc_params["ledger"])
        self._states: bool = proc_params["ledger"].states

    def run_spk(self) -> None:
        """Count the messages of this step."""
        spikes = self.a_in.recv()
        step = self.time_step - 1
        self._recorder.messages(step, spikes)
        if self._states:
            # What a Sigma sends is its state.
            self._recorder.states(step, spikes, np.zeros_like(spikes))
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
