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

MESSAGE_BITS_MAX = 16


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
    """Leaky integrate-and-fire, hard reset to zero, in Lava's fixed-point rules.

    u[t] = wrap24(tz(u[t-1]*(4096-(du+1)), 12) + (a_in[t] << 6))
    v[t] = clip24(tz(v[t-1]*(4096-dv), 12) + u[t] + (bias_mant << bias_exp))
    s[t] = v[t] > (vth_mant << 6);  v[t] = 0 where s[t]

    `du` = 4095 makes the current last one step. `bias_mant` is per channel (C,) or per neuron (C,H,W).
    `unit` is the real value of one unit of v, kept so that reports can speak in training's units.
    Source: lava-nc 0.10.0 `PyLifModelBitAcc`.
    """

    vth_mant: int
    du: int = fixedpoint.NO_CURRENT_STATE
    dv: int = 0
    bias_mant: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))
    bias_exp: int = 0
    unit: float = 1.0

    def __post_init__(self) -> None:
        _check_range(
            "Lif vth_mant", self.vth_mant, 0, fixedpoint.VTH_MANT_MAX, "scale weights and threshold down together."
        )
        _check_range("Lif du", self.du, 0, 4095, "du is a 12-bit decay.")
        _check_range("Lif dv", self.dv, 0, 4095, "dv is a 12-bit decay.")
        _check_range("Lif bias_exp", self.bias_exp, 0, fixedpoint.BIAS_EXP_MAX, "choose another scale for this layer.")
        bias = frozen_int_array(self.bias_mant, np.int32, "Lif bias_mant")
        if bias.ndim not in (1, 3):
            raise GraphError(f"Lif bias_mant has {bias.ndim} axes {bias.shape}; give (C,) or (C,H,W).")
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
        bias = frozen_int_array(self.bias, np.int32, "Readout bias")
        if bias.ndim not in (1, 3):
            raise GraphError(f"Readout bias has {bias.ndim} axes {bias.shape}; give (C,) or (C,H,W).")
        object.__setattr__(self, "bias", bias)


NeuronSpec = Input | Lif | Or | Readout


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
        case Lif() | Or():
            return True
        case Input():
            return neuron.message_bits == 0
        case Readout():
            return False
