"""The neuron group of a NetX layer as a neuron of the graph, and what stock Lava would make of it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netx_export.errors import GraphError, NetxError
from netx_export.graph import Delta, Lif, NeuronSpec, Rf, RfIz, Shape, Sigma, SigmaDelta, fixedpoint
from netx_export.netx import layer_fields as fields
from netx_export.netx import stock
from netx_export.netx.findings import Findings
from netx_export.netx.tree import Group

_LIF = ("LOIHI", "CUBA")
_RF: Mapping[str, type[Rf] | type[RfIz]] = {"RF_PHASE": Rf, "RF": Rf, "RF_IZHIKEVICH": RfIz, "RF_IZ": RfIz}
_SILENT = {"scaleRho", "tauRho", "theta"}
"""Neuron fields that shape the surrogate gradient, or repeat the threshold, and so decide nothing here."""
_NEUTRAL = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "weight_exp": 0}

_REMEDIES = {
    "ALIF": "adaptive thresholds; lava-dl's loader fails on them",
    "ADRF": "adaptive resonators; lava-dl's loader would run them as plain RF neurons, without saying so",
    "KWTA": "winner-take-all neurons; lava-dl's loader fails on them",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a caller of the reader decides about neurons, as in lava-dl's `hdf5.Network`."""

    reset_interval: int = 0
    reset_offset: int = 0
    spike_exp: int = stock.SPIKE_EXP


def neuron_word(layer: Group) -> str:
    """The type of the layer's neurons: a word that can be read, or "integrator" where there is no neuron group."""
    if "neuron" not in layer.groups:
        return "integrator"
    neuron = layer.groups["neuron"]
    neuron.where = f"{layer.where}, neuron"
    kind = neuron.array("type")
    word = kind[0] if isinstance(kind, tuple) and len(kind) == 1 else None
    if word in (*_LIF, "SDNN", *_RF):
        return str(word)
    reason = next((text for start, text in _REMEDIES.items() if str(word).startswith(start)), None)
    raise NetxError(
        f"{neuron.where}: type {reprlib.repr(word if word is not None else kind)} cannot be read"
        f"{f' ({reason})' if reason else ''}, only {[*_LIF, 'SDNN', *_RF]}; train the network with one of those."
    )


def is_resonator(layer: Group) -> bool:
    """True where the layer's neurons take two currents, real and imaginary."""
    return neuron_word(layer) in _RF


def neurons(layer: Group, shape: Shape, *, flat: bool, settings: Settings, findings: Findings) -> NeuronSpec:
    """The neurons of a layer; constants that the stock loader fixes are as there."""
    word = neuron_word(layer)
    try:
        if word == "integrator":
            return _integrator(layer, shape, flat=flat, settings=settings, findings=findings)
        neuron = layer.groups["neuron"]
        if word in _LIF:
            return _lif(layer, neuron, shape, flat=flat, settings=settings, findings=findings)
        if word == "SDNN":
            return _sigma_delta(layer, neuron, shape, flat=flat, settings=settings, findings=findings)
        return _resonator(layer, neuron, word, settings, findings)
    except GraphError as error:
        raise NetxError(f"{layer.where}, neuron: {error}") from None


def _integrator(layer: Group, shape: Shape, *, flat: bool, settings: Settings, findings: Findings) -> Lif:
    findings.add(
        fields.label(layer),
        "note",
        "no neuron group: by Lava's default its u sums all input and never fires, so the result is read from u or v. "
        "SLAYER's Affine without dynamics means the plain current instead, which is the change of u.",
    )
    return Lif(
        vth_mant=fixedpoint.VTH_NEVER,
        du=fixedpoint.du_from_netx(0),
        dv=fixedpoint.DECAY_ONE,
        bias_mant=fields.bias(layer, shape, flat=flat).astype(np.int32),
        bias_exp=stock.BIAS_EXP,
        reset_interval=settings.reset_interval,
        reset_offset=settings.reset_offset,
    )


def _check_neutral(neuron: Group, names: set[str]) -> None:
    """Fields that the stock loader ignores must not say anything."""
    reasons = {
        "refDelay": "the stock loader ignores refractory delays",
        "gradedSpike": "the stock loader ignores graded spikes",
        "wgtExp": "the stock loader ignores weight exponents",
        "weight_exp": "the stock loader ignores weight exponents; fold the norm into the weights before exporting",
    }
    for name in sorted(names & set(neuron.arrays)):
        value = fields.scalar(neuron, name, uniform=True)
        if value != _NEUTRAL[name]:
            raise NetxError(
                f"{neuron.where}: {name} is {value}, the limit is {_NEUTRAL[name]}: a graph cannot express more, and "
                f"{reasons[name]}, so it would not run as it was trained. Train the layer without it."
            )


def _message_bits(neuron: Group, findings: Findings) -> None:
    if "messageBits" in neuron.arrays:
        fields.scalar(neuron, "messageBits")
        findings.add(
            fields.label(neuron),
            "fails",
            "the neurons say messageBits, on which lava-dl's loader stops; the width of messages is not limited here, "
            "nor in Lava's simulator.",
        )


def _lif(layer: Group, neuron: Group, shape: Shape, *, flat: bool, settings: Settings, findings: Findings) -> Lif:
    neuron.allow(
        attributes=set(),
        arrays={"type", "iDecay", "vDecay", "vThMant", "messageBits"} | set(_NEUTRAL) | _SILENT,
        groups=set(),
    )
    _check_neutral(neuron, set(_NEUTRAL))
    _message_bits(neuron, findings)
    i_decay = fields.scalar(neuron, "iDecay", uniform=True)
    v_decay = fields.scalar(neuron, "vDecay", uniform=True)
    if not 0 <= i_decay <= 4096 or not 0 <= v_decay <= 4096:
        raise NetxError(
            f"{neuron.where}: iDecay is {i_decay} and vDecay is {v_decay}, the limits are 0..4096 and 0..4096; "
            "train with decays inside them."
        )
    threshold = fields.scalar(neuron, "vThMant", uniform=True)
    if threshold >= fixedpoint.VTH_NEVER:
        findings.add(
            fields.label(layer),
            "note",
            f"vThMant is {threshold}: v saturates below it, so these neurons never fire; the result is read from v.",
        )
    return Lif(
        vth_mant=min(threshold, fixedpoint.VTH_NEVER),
        du=fixedpoint.du_from_netx(i_decay),
        dv=v_decay,
        bias_mant=fields.bias(layer, shape, flat=flat).astype(np.int32),
        bias_exp=stock.BIAS_EXP,
        reset_interval=settings.reset_interval,
        reset_offset=settings.reset_offset,
    )


def input_neurons(layer: Group, *, settings: Settings, findings: Findings) -> NeuronSpec:
    """The neurons of an input layer; its `weight` and `bias` belong to the host's transform, not to them."""
    bare = Group(where=layer.where, groups=layer.groups)
    word = neuron_word(bare)
    if word in _LIF:
        return neurons(bare, (1, 1, 1), flat=True, settings=settings, findings=findings)
    neuron = layer.groups["neuron"]
    if word in _RF:
        findings.add(
            fields.label(layer), "fails", "resonators at the input; the host's values go to both of their ports."
        )
        return neurons(bare, (1, 1, 1), flat=True, settings=settings, findings=findings)
    _check_sigma_delta(neuron, findings)
    _note_reset(layer, settings, findings)
    try:
        return Delta(vth=fields.scalar(neuron, "vThMant"), spike_exp=settings.spike_exp, state_exp=stock.STATE_EXP)
    except GraphError as error:
        raise NetxError(f"{neuron.where}: {error}") from None


def _check_sigma_delta(neuron: Group, findings: Findings) -> bool:
    """Check the fields of sigma-delta neurons; True where they only sum (`sigma_output`)."""
    neuron.allow(
        attributes=set(),
        arrays={"type", "vThMant", "activation", "sigma_output", "messageBits"} | set(_NEUTRAL) | _SILENT,
        groups=set(),
    )
    _check_neutral(neuron, {"refDelay", "wgtExp", "weight_exp"})
    _message_bits(neuron, findings)
    if "sigma_output" not in neuron.arrays:
        return False
    only_sums = bool(fields.scalar(neuron, "sigma_output"))
    if not only_sums:
        findings.add(
            fields.label(neuron),
            "differs",
            "sigma_output is false; lava-dl's loader asks only whether the field exists, and would run plain "
            "accumulators.",
        )
    return only_sums


def _note_reset(layer: Group, settings: Settings, findings: Findings) -> None:
    if settings.reset_interval:
        findings.add(
            fields.label(layer),
            "adopted",
            f"reset_interval {settings.reset_interval} has no effect on these neurons; only leaky integrate-and-fire "
            "neurons reset.",
        )


def _sigma_delta(
    layer: Group, neuron: Group, shape: Shape, *, flat: bool, settings: Settings, findings: Findings
) -> NeuronSpec:
    _note_reset(layer, settings, findings)
    if _check_sigma_delta(neuron, findings):
        if fields.bias(layer, shape, flat=flat).any():
            raise NetxError(
                f"{layer.where}: a bias on neurons with sigma_output, which only sum; lava-dl's loader fails on it. Add "
                "the bias on the host, or in the layer before."
            )
        return Sigma()
    kind = neuron.arrays.get("activation", ("relu",))
    word = kind[0] if isinstance(kind, tuple) and len(kind) == 1 else None
    if word not in ("relu", "unit"):
        raise NetxError(
            f"{neuron.where}: activation is {reprlib.repr(word or kind)}, the graph has 'relu' and 'unit'; lava-dl's loader "
            "would use relu without saying so. Train with relu."
        )
    if word == "unit":
        findings.add(
            fields.label(layer), "differs", "the activation is 'unit' (none); lava-dl's loader always takes relu."
        )
    return SigmaDelta(
        vth=fields.scalar(neuron, "vThMant"),
        bias=fields.bias(layer, shape, flat=flat).astype(np.int32),
        spike_exp=settings.spike_exp,
        state_exp=stock.STATE_EXP,
        activation="unit" if word == "unit" else "relu",
    )


def _resonator(layer: Group, neuron: Group, word: str, settings: Settings, findings: Findings) -> Rf | RfIz:
    neuron.allow(
        attributes=set(),
        arrays={"type", "sinDecay", "cosDecay", "vThMant", "messageBits"} | set(_NEUTRAL) | _SILENT,
        groups=set(),
    )
    _check_neutral(neuron, set(_NEUTRAL))
    _message_bits(neuron, findings)
    _note_reset(layer, settings, findings)
    if "bias" in layer.arrays and layer.whole_numbers("bias").any():
        raise NetxError(
            f"{layer.where}: a bias on resonators; lava-dl's loader would drop it without saying so, and a graph has none "
            "for them. Train the layer without norm."
        )
    sin = fields.scalar(neuron, "sinDecay", uniform=True)
    cos = fields.scalar(neuron, "cosDecay", uniform=True)
    loaded = stock.rotation_as_loaded(sin, cos)
    if loaded != (sin, cos):
        findings.add(
            fields.label(layer),
            "differs",
            f"sinDecay {sin} and cosDecay {cos} come out of lava-dl's loader as {loaded[0]} and {loaded[1]} (it goes "
            "through a period and truncates).",
        )
    return _RF[word](
        sin=sin, cos=cos, vth_mant=fields.scalar(neuron, "vThMant", uniform=True), state_exp=stock.STATE_EXP
    )
