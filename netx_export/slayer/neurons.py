"""SLAYER's neurons as integer neurons: decays, thresholds and folded norms.

SLAYER computes its dynamics in integers: u and v in 1/4096, weights and thresholds in 1/64, decays in 1/4096. So the
integers here are read, not rounded. Sources: lava-dl 0.6.0 `slayer/neuron/*.py`, `slayer/axon/delta.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import ExportError
from netx_export.graph import Delta, Lif, Rf, RfIz, Sigma, SigmaDelta, fixedpoint
from netx_export.slayer.numbers import STATE_SCALE, WEIGHT_SCALE, values, whole

_BIAS_EXP = 6
"""NetX biases are in units of 1/64, as weights are."""

_SPIKE_EXP = 6
_STATE_EXP = 6
"""Sigma-delta states are in 1/2**18: weights in 1/2**6 times messages in 1/2**12."""


def check_plain_spikes(neuron: Any, path: str) -> None:
    """Raise ExportError where the neurons send more than 0/1, or scale by something that is not quantised."""
    if getattr(neuron, "graded_spike", False):
        raise ExportError(
            f"Block {path!r} has graded_spike=True: its spikes carry a voltage. Train with graded_spike=False; only 0/1 "
            "spikes travel."
        )
    if neuron.w_scale != WEIGHT_SCALE or neuron.s_scale != STATE_SCALE:
        raise ExportError(
            f"Block {path!r} has neurons of scale {neuron.w_scale}, Lava's fixed-point neurons need {WEIGHT_SCALE}; leave "
            "`scale` at its default."
        )


def _one(value: Any, path: str, what: str) -> int:
    """A parameter that all neurons of the block share."""
    array = np.asarray(value).reshape(-1)
    if len(set(array.tolist())) != 1:
        raise ExportError(
            f"Block {path!r} has a {what} of its own for every channel, from {array.min()} to {array.max()}; a population "
            "shares one. Build its neurons with shared_param=True."
        )
    return int(array[0])


def cuba(neuron: Any, path: str) -> Lif:
    """Lif of a cuba.Neuron; its norm becomes the bias."""
    check_plain_spikes(neuron, path)
    if neuron.threshold is None or neuron.v_th_mant <= 0:
        raise ExportError(
            f"Block {path!r} has the threshold {neuron.threshold}, the limit is 1/{WEIGHT_SCALE}; SLAYER does not reset "
            "neurons below it."
        )
    current_decay = _one(neuron.cx_current_decay, path, "current_decay")
    exponent, bias = _folded_norm(neuron.norm, path, current_decay)
    if exponent:
        raise ExportError(
            f"Block {path!r} has a WgtScaleBatchNorm that divides its current by 2**{exponent} after the current's decay, "
            "which no Lava neuron does. Use slayer.neuron.norm.MeanOnlyBatchNorm, which folds into the bias exactly."
        )
    return Lif(
        vth_mant=int(neuron.v_th_mant),
        du=fixedpoint.du_from_netx(current_decay),
        dv=_one(neuron.cx_voltage_decay, path, "voltage_decay"),
        bias_mant=bias.astype(np.int32),
        bias_exp=_BIAS_EXP if bias.any() else 0,
        unit=1 / STATE_SCALE,
    )


def _folded_norm(norm: Any, path: str, current_decay: int) -> tuple[int, npt.NDArray[np.int64]]:
    """The exponent by which a norm divides, and the bias it adds, in 1/64."""
    if norm is None:
        return 0, np.zeros(1, np.int64)
    kind = type(norm).__name__
    if kind not in ("MeanOnlyBatchNorm", "WgtScaleBatchNorm"):
        raise ExportError(f"Block {path!r} has the norm {kind}; the exporter folds lava-dl's MeanOnlyBatchNorm.")
    bias = whole(
        values(norm.bias).reshape(-1),
        1,
        f"Block {path!r}: the quantised mean of its norm, in units of 1/{WEIGHT_SCALE},",
        "let the norm's pre_hook_fx be the neuron's quantize_8bit.",
    )
    if kind == "MeanOnlyBatchNorm":
        return 0, bias
    return round(float(np.log2(values(norm.std(norm.running_var)).reshape(-1)[0]))), bias


def resonator(neuron: Any, path: str, family: str) -> Rf | RfIz:
    """Rf or RfIz of a rf.Neuron or rf_iz.Neuron."""
    check_plain_spikes(neuron, path)
    if neuron.real_norm is not None or neuron.imag_norm is not None:
        raise ExportError(
            f"Block {path!r} has a norm on resonate-and-fire neurons, which have no bias to fold it into; train without."
        )
    kind = Rf if family == "rf" else RfIz
    return kind(
        sin=_one(neuron.cx_sin_decay, path, "sin_decay"),
        cos=_one(neuron.cx_cos_decay, path, "cos_decay"),
        vth_mant=int(neuron.v_th_mant),
        state_exp=fixedpoint.ACTIVATION_SHIFT,
    )


def _delta_units(neuron: Any, path: str, bias: npt.NDArray[np.float64]) -> tuple[int, int, npt.NDArray[np.int32]]:
    """vth, spike_exp and bias of a sigma-delta neuron: in 1/64 where that holds them, else in 1/4096."""
    threshold = values(neuron.delta.threshold).reshape(-1)
    if len(set(threshold.tolist())) != 1:
        raise ExportError(
            f"Block {path!r} has a threshold of its own for every channel; a population shares one. Use shared_param=True."
        )
    both = np.concatenate([threshold[:1], bias.reshape(-1)])
    coarse = bool(np.all(both * WEIGHT_SCALE == np.rint(both * WEIGHT_SCALE)))
    scale = WEIGHT_SCALE if coarse else STATE_SCALE
    integers = whole(both, scale, f"Block {path!r}: threshold or bias", f"round it to multiples of 1/{STATE_SCALE}.")
    spike_exp = _SPIKE_EXP if coarse else 0
    return int(integers[0]), spike_exp, integers[1:].reshape(bias.shape).astype(np.int32)


def sigma_delta(neuron: Any, path: str) -> SigmaDelta:
    """SigmaDelta of a sigma_delta.Neuron; its norm and bias become one bias."""
    bias = values(neuron.bias) if neuron.bias_is_set else np.zeros(1)
    if neuron.norm is not None:
        if type(neuron.norm).__name__ != "MeanOnlyBatchNorm":
            raise ExportError(
                f"Block {path!r} has the norm {type(neuron.norm).__name__}; the exporter folds lava-dl's MeanOnlyBatchNorm."
            )
        mean = values(neuron.norm.bias).reshape(-1) / WEIGHT_SCALE
        bias = bias + (mean.reshape(-1, 1, 1) if bias.ndim == 3 else mean)
    vth, spike_exp, mantissa = _delta_units(neuron, path, bias)
    return SigmaDelta(
        vth=vth, bias=mantissa, spike_exp=spike_exp, state_exp=_STATE_EXP, activation=_activation(neuron, path)
    )


def _activation(neuron: Any, path: str) -> Any:
    name = getattr(neuron.activation, "__name__", type(neuron.activation).__name__).lower()
    if name == "relu":
        return "relu"
    if name in ("identity", "unit"):
        return "unit"
    raise ExportError(f"Block {path!r} has the activation {name!r}; Lava's sigma-delta neurons have relu and identity.")


def delta_encoder(neuron: Any, path: str) -> Delta:
    """Delta of the neurons of a sigma-delta input block."""
    vth, spike_exp, _ = _delta_units(neuron, path, np.zeros(1))
    if spike_exp != _SPIKE_EXP:
        raise ExportError(
            f"Block {path!r} has an input threshold of {vth}/{STATE_SCALE}; use a multiple of 1/{WEIGHT_SCALE}."
        )
    return Delta(vth=vth, spike_exp=spike_exp, state_exp=_STATE_EXP)


def sigma() -> Sigma:
    """Sigma of a sigma-delta output block, in units of 1/2**18."""
    return Sigma()
