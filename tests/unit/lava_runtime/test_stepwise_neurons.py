"""Every neuron of the stepwise kernels against Lava's own process models, fed by hand with the same currents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lava_runtime.backend import Probes, run
from netx_export.graph import (
    Delta,
    Graph,
    Input,
    Lif,
    NeuronSpec,
    Population,
    Projection,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Wire,
)

pytest.importorskip("lava")

from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc
from lava.proc.rf.models import PyRFModelFixed
from lava.proc.rf_iz.models import PyRF_IZModelFixed
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import ActivationMode

SHAPE = (3, 4, 7)
STEPS, SAMPLES = 24, 2


class Port:
    """A port of a process model that runs without Lava's runtime: hands over one array, keeps one."""

    def __init__(self) -> None:
        self.data = np.zeros(SHAPE, np.int32)

    def recv(self) -> Any:
        return self.data.copy()

    def send(self, data: Any) -> None:
        self.data = np.asarray(data).astype(np.int32)


def model(kind: type[Any], **values: Any) -> Any:
    """A Lava process model with its variables set, as the builder would do."""
    made = object.__new__(kind)
    made.proc_params = values.pop("proc_params", {})
    for name, value in values.items():
        setattr(made, name, value)
    return made


def state() -> Any:
    return np.zeros(SHAPE, np.int32)


def scalar(value: int) -> Any:
    return np.array([value], np.int32)


def lava_model(neuron: NeuronSpec) -> tuple[Any, list[str], str, str]:
    """The model, its input ports, and the names of what a Trace calls u and v."""
    match neuron:
        case Lif():
            made = model(PyLifResetModelBitAcc if neuron.reset_interval else PyLifModelBitAcc)
            if neuron.reset_interval:
                made.reset_interval = neuron.reset_interval
                made.reset_offset = neuron.reset_offset % neuron.reset_interval
            made.ds_offset, made.dm_offset, made.isthrscaled, made.effective_bias = 1, 0, False, 0
            made.uv_bitwidth, made.max_uv_val, made.decay_shift, made.decay_unity = 24, 2**23, 12, 4096
            made.vth_shift = made.act_shift = 6
            made.du, made.dv, made.vth = neuron.du, neuron.dv, neuron.vth_mant
            made.bias_mant = np.zeros(SHAPE, np.int16) + neuron.bias_mant.reshape(-1, 1, 1).astype(np.int16)
            made.bias_exp = np.int16(neuron.bias_exp)
            made.u, made.v = state(), state()
            return made, ["a_in"], "u", "v"
        case Delta() | SigmaDelta():
            scale = neuron.spike_exp + neuron.state_exp
            made = model(PyDeltaModelFixed if isinstance(neuron, Delta) else PySigmaDeltaModelFixed)
            made.vth, made.spike_exp, made.state_exp = (
                scalar(neuron.vth << scale),
                scalar(neuron.spike_exp),
                scalar(neuron.state_exp),
            )
            made.cum_error = False
            made.act, made.residue, made.sigma, made.error = state(), state(), state(), state()
            if isinstance(neuron, SigmaDelta):
                made.act_mode = ActivationMode.RELU if neuron.activation == "relu" else ActivationMode.UNIT
                made.bias = np.zeros(SHAPE, np.int32) + (neuron.bias.reshape(-1, 1, 1) << scale)
            return made, ["a_in"], "act" if isinstance(neuron, Delta) else "sigma", "residue"
        case Sigma():
            made = model(PySigmaModelFixed)
            made.sigma, made.nothing = state(), state()
            return made, ["a_in"], "sigma", "nothing"
        case Rf() | RfIz():
            made = model(PyRFModelFixed if isinstance(neuron, Rf) else PyRF_IZModelFixed)
            made.neg_voltage_limit, made.pos_voltage_limit = -np.int32(2**23) + 1, np.int32(2**23) - 1
            made.sin_decay, made.cos_decay = scalar(neuron.sin), scalar(neuron.cos)
            made.state_exp, made.decay_bits = scalar(neuron.state_exp), scalar(12)
            made.vth = scalar(neuron.vth_mant << neuron.state_exp)
            made.real, made.imag = state(), state()
            return made, ["a_real_in", "a_imag_in"], "real", "imag"
    raise AssertionError(neuron)


CASES = {
    "lif": (Lif(vth_mant=40, du=800, dv=300, bias_mant=np.array([3, -2, 5]), bias_exp=6), 60),
    "lif that keeps its current": (Lif(vth_mant=90, du=-1, dv=4096), 60),
    "integrator": (Lif(vth_mant=1 << 17, du=4095, dv=0), 1 << 12),
    "lif that wraps": (Lif(vth_mant=4000, du=10, dv=10), 1 << 30),
    "lif with reset": (Lif(vth_mant=60, du=100, dv=30, reset_interval=5, reset_offset=7), 30),
    "delta": (Delta(vth=20, spike_exp=2, state_exp=3), 60),
    "delta that wraps": (Delta(vth=1 << 25, spike_exp=3, state_exp=2), 1 << 30),
    "delta without threshold": (Delta(vth=0), 1 << 31),
    "sigma-delta": (SigmaDelta(vth=30, bias=np.array([9, -4, 0]), spike_exp=1, state_exp=2), 90),
    "sigma-delta of a unit": (SigmaDelta(vth=30, bias=np.array([9, -4, 0]), state_exp=2, activation="unit"), 90),
    "sigma-delta that wraps": (SigmaDelta(vth=1 << 30, bias=np.array([1 << 30]), activation="unit"), 1 << 31),
    "sigma": (Sigma(), 1 << 30),
    "rf": (Rf(sin=1200, cos=3700, vth_mant=30), 40),
    "rf that turns back": (Rf(sin=-2000, cos=-3000, vth_mant=10, state_exp=3), 40),
    "rf at its limits": (Rf(sin=4096, cos=4096, vth_mant=0), 1 << 26),
    "rf_iz": (RfIz(sin=1200, cos=3700, vth_mant=50), 40),
    "rf_iz without threshold": (RfIz(sin=700, cos=-3700, vth_mant=0, state_exp=0), 40),
    "rf_iz at its limits": (RfIz(sin=-4096, cos=4000, vth_mant=(1 << 17) - 1), 1 << 31),
}


@pytest.mark.parametrize("name", CASES)
def test_neuron_computes_what_lavas_model_computes(name: str) -> None:
    neuron, reach = CASES[name]
    made, ports, first_state, second_state = lava_model(neuron)
    graded = isinstance(neuron, Delta | SigmaDelta | Sigma)
    graph = Graph(
        populations=(
            *(Population(id=port, shape=SHAPE, neuron=Input(message_bits=32)) for port in ports),
            Population(id="n", shape=SHAPE, neuron=neuron),
        ),
        projections=tuple(
            Projection(src=port, dst="n", synapse=Wire(), port=part if len(ports) > 1 else "")
            for port, part in zip(ports, ("re", "im"), strict=False)
        ),
        timing="as_given",
        messages="graded" if graded else "binary",
    )
    rng = np.random.default_rng(len(name))
    given = {
        port: (rng.integers(-reach, reach, (STEPS, SAMPLES, *SHAPE)) * (rng.random((STEPS, SAMPLES, *SHAPE)) < 0.4))
        for port in ports
    }
    trace = run(graph, given, backend="fast", probes=Probes(rasters="all", states=("n",)), threads=1)
    sent = 0
    for sample in range(SAMPLES):
        made = lava_model(neuron)[0]
        feeds = {port: Port() for port in ports}
        for port, feed in feeds.items():
            setattr(made, port, feed)
        made.s_out = Port()
        for step in range(STEPS):
            for port, feed in feeds.items():
                feed.data = given[port][step, sample].astype(np.int32)
            made.time_step = step + 1
            made.run_spk()
            row = sample * STEPS + step
            np.testing.assert_array_equal(trace.rasters["n"][row].astype(np.int32), made.s_out.data, f"step {step}")
            np.testing.assert_array_equal(trace.outputs["n"][row], made.s_out.data)
            np.testing.assert_array_equal(trace.u["n"][row], getattr(made, first_state))
            np.testing.assert_array_equal(trace.v["n"][row], getattr(made, second_state))
            sent += np.count_nonzero(made.s_out.data)
    assert sent == trace.spike_counts["n"].sum()
    assert (sent > 0) == (name != "integrator")
