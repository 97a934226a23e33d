"""What a neuron computes: one class per kind, integer form for graphs and float form for tracing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError
from netx_export.graph import fixedpoint
from netx_export.graph.arrays import frozen_int_array

MESSAGE_BITS_MAX = 32
"""Graded spikes carry up to 32 bits, sign included."""

STATE_EXP_MAX = 15


def _check_range(what: str, value: int, low: int, high: int, remedy: str) -> None:
    if not low <= value <= high:
        raise GraphError(f"{what} is {value}, the limit is {low}..{high}; {remedy}")


def _real(what: str, value: object) -> float:
    """`value`, a number or an array or tensor that holds a single one, as a float."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise GraphError(f"{what} is {value!r}; give one number, the same for all neurons of the population.") from None
    if not math.isfinite(number):
        raise GraphError(f"{what} is {number}; give a finite number.")
    return number


def _frozen_bias(kind: str, given: npt.NDArray[np.int32], name: str = "bias") -> npt.NDArray[np.int32]:
    bias = frozen_int_array(given, np.int32, f"{kind} {name}")
    if bias.ndim not in (1, 3):
        raise GraphError(f"{kind} {name} has {bias.ndim} axes {bias.shape}; give (C,) or (C,H,W).")
    return bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The network's input: it sends what it is given, at the step it is given.

    `message_bits` = 0 means 0/1 spikes; otherwise signed integers below 2**(message_bits - 1) in magnitude
    travel (graded messages, allowed only here and in files from sigma-delta networks).
    """

    message_bits: int = 0

    def __post_init__(self) -> None:
        _check_range("Input message_bits", self.message_bits, 0, MESSAGE_BITS_MAX, "scale the input down.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lif:
    """Leaky integrate-and-fire (CUBA), hard reset to zero, in Lava's fixed-point rules.

    u[t] = wrap24(tz(u[t-1]*(4096-(du+1)), 12) + (a_in[t] << 6))
    v[t] = clip24(tz(v[t-1]*(4096-dv), 12) + u[t] + (bias_mant << bias_exp))
    s[t] = v[t] > (vth_mant << 6);  v[t] = 0 where s[t]

    `du` = 4095 makes the current last one step, `du` = -1 keeps it for ever; `dv` = 4096 gives v no memory.
    A `vth_mant` of 2**17 never fires (an integrator, read by its v). With `reset_interval` > 0 (timing `as_given` only) u = v = 0 before step n, counted from 1, where
    n % reset_interval == reset_offset % reset_interval: Lava's LIFReset. `bias_mant` is per channel (C,) or per neuron (C,H,W).
    `unit` is the real value of one unit of v, kept so that reports can speak in training's units.
    Source: lava-nc 0.10.0 `PyLifModelBitAcc`.
    """

    vth_mant: int
    du: int = fixedpoint.NO_CURRENT_STATE
    dv: int = 0
    bias_mant: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    bias_exp: int = 0
    unit: float = 1.0
    reset_interval: int = 0
    reset_offset: int = 0

    def __post_init__(self) -> None:
        _check_range(
            "Lif vth_mant", self.vth_mant, 0, fixedpoint.VTH_NEVER, "scale weights and threshold down together."
        )
        _check_range("Lif du", self.du, -1, 4095, "du + 1 is a decay in 1/4096.")
        _check_range("Lif dv", self.dv, 0, 4096, "dv is a decay in 1/4096.")
        for name in ("reset_interval", "reset_offset"):
            if getattr(self, name) < 0:
                raise GraphError(f"Lif {name} is {getattr(self, name)}; give a number of steps >= 0.")
        _check_range("Lif bias_exp", self.bias_exp, 0, fixedpoint.BIAS_EXP_MAX, "choose another scale for this layer.")
        bias = _frozen_bias("Lif", self.bias_mant, "bias_mant")
        if bias.size and (bias.min() < fixedpoint.BIAS_MANT_MIN or bias.max() > fixedpoint.BIAS_MANT_MAX):
            raise GraphError(
                f"Lif bias_mant reaches from {bias.min()} to {bias.max()}, the limit is "
                f"{fixedpoint.BIAS_MANT_MIN}..{fixedpoint.BIAS_MANT_MAX} (13 bits); use a larger bias_exp."
            )
        object.__setattr__(self, "bias_mant", bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Or:
    """Logical OR of the incoming spikes, without state: s[t] = a_in[t] > 0. All weights must be >= 0.

    Binary max-pooling and relays are Or populations. In Lava: LIF with vth = 0, du = dv = 4095.
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readout:
    """Non-spiking output: y[t] = a_in[t] + bias, read by the host once per real step.

    `bias` is per channel (C,) in units of the current; a real value is `y * unit`.
    In Lava: Sigma, of which the sink takes differences; the host adds the bias.
    """

    bias: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    unit: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", _frozen_bias("Readout", self.bias))


def _check_delta(kind: str, vth: int, spike_exp: int, state_exp: int) -> None:
    for name, value in (("spike_exp", spike_exp), ("state_exp", state_exp)):
        _check_range(f"{kind} {name}", value, 0, STATE_EXP_MAX, "choose a smaller scale for the messages.")
    limit = ((1 << 31) - 1) >> (spike_exp + state_exp)
    _check_range(f"{kind} vth", vth, 0, limit, "vth << (spike_exp + state_exp) must fit 32 bits; lower one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Delta encoder: sends the change of its input once it is large enough. All in wrapping 32 bits.

    x[t] = a_in[t] << (spike_exp + state_exp)
    d = x[t] - x[t-1] + residue[t-1];  s = d if |d| >= (vth << (spike_exp + state_exp)) else 0
    residue[t] = d - s;  the message s >> state_exp is sent where it is not 0
    d = -2**31 is never sent, as |d| does not exist in 32 bits.
    State: u = x (`act`), v = residue. Source: lava-nc 0.10.0 `PyDeltaModelFixed` (without `cum_error`).
    """

    vth: int
    spike_exp: int = 0
    state_exp: int = 0

    def __post_init__(self) -> None:
        _check_delta("Delta", self.vth, self.spike_exp, self.state_exp)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigmaDelta:
    """Sigma-delta neuron: sums what arrives, applies an activation, sends its changes. All in wrapping 32 bits.

    sigma[t] = sigma[t-1] + a_in[t];  act[t] = f(sigma[t] + (bias << (spike_exp + state_exp)))
    d = act[t] - act[t-1] + residue[t-1];  s = d if |d| >= (vth << (spike_exp + state_exp)) else 0
    residue[t] = d - s;  the message s >> state_exp is sent where it is not 0
    d = -2**31 is never sent, as |d| does not exist in 32 bits. a_in is not shifted.
    f is max(., 0) for `relu`, the identity for `unit`. State: u = sigma, v = residue.
    `bias` is per channel (C,) or per neuron (C,H,W). Source: lava-nc 0.10.0 `PySigmaDeltaModelFixed`.
    """

    vth: int
    bias: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    spike_exp: int = 0
    state_exp: int = 0
    activation: Literal["relu", "unit"] = "relu"

    def __post_init__(self) -> None:
        _check_delta("SigmaDelta", self.vth, self.spike_exp, self.state_exp)
        if self.activation not in ("relu", "unit"):
            raise GraphError(f"SigmaDelta activation is {self.activation!r}; Lava has 'relu' and 'unit'.")
        bias = _frozen_bias("SigmaDelta", self.bias)
        limit = ((1 << 31) - 1) >> (self.spike_exp + self.state_exp)
        if bias.size and max(-int(bias.min()), int(bias.max())) > limit:
            raise GraphError(
                f"SigmaDelta bias reaches from {bias.min()} to {bias.max()}, the limit is {-limit}..{limit} at "
                f"spike_exp + state_exp = {self.spike_exp + self.state_exp}; lower one of them."
            )
        object.__setattr__(self, "bias", bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigma:
    """Accumulator: sigma[t] = sigma[t-1] + a_in[t], in wrapping 32 bits; sends sigma as a message where it is not 0.

    State: u = sigma, v = 0. Source: lava-nc 0.10.0 `PySigmaModelFixed`.
    """


def _check_resonator(kind: str, neuron: Rf | RfIz) -> None:
    for name in ("sin", "cos"):
        _check_range(
            f"{kind} {name}",
            getattr(neuron, name),
            -fixedpoint.DECAY_ONE,
            fixedpoint.DECAY_ONE,
            "it is a rotation in 1/4096.",
        )
    _check_range(f"{kind} state_exp", neuron.state_exp, 0, STATE_EXP_MAX, "Lava uses 6.")
    limit = (fixedpoint.STATE_LIMIT - 1) >> neuron.state_exp
    _check_range(f"{kind} vth_mant", neuron.vth_mant, 0, limit, "vth_mant << state_exp must stay below 2**23.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rf:
    """Resonate-and-fire: a damped rotation; spikes when the phase crosses zero with a large real part.

    re[t] = clip24(tz(cos*re[t-1], 12) - tz(sin*im[t-1], 12) + (a_re[t] << state_exp))
    im[t] = clip24(tz(sin*re[t-1], 12) + tz(cos*im[t-1], 12) + (a_im[t] << state_exp))
    s[t] = (re[t] >= (vth_mant << state_exp)) and im[t] >= 0 and im[t-1] < 0
    a << state_exp wraps at 32 bits, the products and sums do not.
    Projections end in port "re" or "im": a complex dense layer is two Dense that share their source. No bias, no reset.
    State: u = re, v = im. Source: lava-nc 0.10.0 `PyRFModelFixed`; NetX calls it "RF_PHASE".
    """

    sin: int
    cos: int
    vth_mant: int
    state_exp: int = fixedpoint.ACTIVATION_SHIFT

    def __post_init__(self) -> None:
        _check_resonator("Rf", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RfIz:
    """Resonate-and-fire after Izhikevich: the dynamics of Rf; spikes when the imaginary part reaches the threshold.

    s[t] = im[t] >= (vth_mant << state_exp);  then re[t] = 0, im[t] = (vth_mant << state_exp) - 1
    State: u = re, v = im. Source: lava-nc 0.10.0 `PyRF_IZModelFixed`.
    """

    sin: int
    cos: int
    vth_mant: int
    state_exp: int = fixedpoint.ACTIVATION_SHIFT

    def __post_init__(self) -> None:
        _check_resonator("RfIz", self)


NeuronSpec = Input | Lif | Or | Readout | Delta | SigmaDelta | Sigma | Rf | RfIz

RESONATORS = (Rf, RfIz)
"""Neurons with two input ports, "re" and "im"."""

GRADED = (Delta, SigmaDelta, Sigma)
"""Neurons that send integers; legal only in a Graph whose `messages` are "graded"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatLif:
    """A trained leaky integrate-and-fire neuron before quantisation.

    v[t] = leak*v[t-1] + gain*x[t];  s[t] = v[t] >= threshold;  v[t] = 0 where s[t]
    A PLIF with decay k = sigmoid(w) has leak = 1 - k and gain = k. State starts at 0 with every sample.
    """

    leak: float
    gain: float = 1.0
    threshold: float = 1.0
    reset: Literal["zero"] = "zero"

    def __post_init__(self) -> None:
        for name in ("leak", "gain", "threshold"):
            object.__setattr__(self, name, _real(f"FloatLif {name}", getattr(self, name)))
        if self.reset != "zero":
            raise GraphError(f"FloatLif reset is {self.reset!r}, only 'zero' exists: train with a hard reset to zero.")
        if not 0.0 <= self.leak <= 1.0:
            raise GraphError(
                f"FloatLif leak is {self.leak}, the limit is 0..1; a leak multiplies the voltage each step."
            )
        if not self.gain > 0.0:
            raise GraphError(f"FloatLif gain is {self.gain}, it must be > 0; put the sign into the weights.")
        if not self.threshold > 0.0:
            raise GraphError(
                f"FloatLif threshold is {self.threshold}, it must be > 0 so that a silent input stays silent."
            )


FloatNeuronSpec = FloatLif
"""What a module's `neuron_spec()` returns."""


def is_spiking(neuron: NeuronSpec) -> bool:
    """True where the population emits 0/1 spikes (Input counts when it carries no graded messages)."""
    match neuron:
        case Lif() | Or() | Rf() | RfIz():
            return True
        case Input():
            return neuron.message_bits == 0
        case Readout() | Delta() | SigmaDelta() | Sigma():
            return False


def message_limit(neuron: NeuronSpec) -> int:
    """Largest magnitude of one message: 1 for spikes, 2**(bits - 1) for a graded input, 2**31 for sigma-delta."""
    match neuron:
        case Input():
            return 1 << max(neuron.message_bits - 1, 0)
        case Lif() | Or() | Rf() | RfIz():
            return 1
        case Readout() | Delta() | SigmaDelta() | Sigma():
            return 1 << 31


def bias_of(neuron: NeuronSpec) -> npt.NDArray[np.int32] | None:
    """The bias array of a neuron that has one, unscaled."""
    match neuron:
        case Lif():
            return neuron.bias_mant
        case Readout() | SigmaDelta():
            return neuron.bias
        case Input() | Or() | Delta() | Sigma() | Rf() | RfIz():
            return None


def has_states(neuron: NeuronSpec) -> bool:
    """True where the neuron keeps the two state variables that a Trace records as u and v."""
    return isinstance(neuron, Lif | Delta | SigmaDelta | Sigma | Rf | RfIz)
