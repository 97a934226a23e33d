"""lava-dl's SLAYER blocks, recognised by their public classes, read as integer neurons and synapses.

Sources: lava-dl 0.6.0 `slayer/block/*.py`, `slayer/neuron/*.py`; conventions of scale in `numbers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import ExportError
from netx_export.graph import Conv, ConvTranspose, Dense, NeuronSpec, Pair, Readout
from netx_export.slayer.neurons import cuba, delta_encoder, resonator, sigma, sigma_delta
from netx_export.slayer.numbers import WEIGHT_SCALE, kernel_of, values, whole

_HOME = "lava.lib.dl.slayer.block."
_SYNAPSES = "lava.lib.dl.slayer.synapse.layer"
_READOUTS = ("Dense", "Conv", "ConvTranspose")

_REFUSED = {
    "Average": "it averages spikes to real numbers; leave it out and average the exported network's spikes on the host",
    "KWTA": "its winners inhibit each other by a rule no Lava process holds; use a Recurrent block with trained inhibition",
    "TimeDecimation": "it sums steps to integers; decimate on the host, before the network or behind it",
    "alif": "its adaptive threshold has no Lava process; train with cuba neurons",
    "adrf": "its adaptive threshold has no Lava process; train with rf neurons",
    "adrf_iz": "its adaptive threshold has no Lava process; train with rf_iz neurons",
}

Synapse = Conv | ConvTranspose | Dense


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A SLAYER block as integers.

    `synapses` by port: one with port "" , or "re" and "im" of a complex block. `recurrent` leads from the block to itself.
    `shift` is 1 where the block delays its output by one step (`delay_shift`). `delays` (C,) are whole axonal delays.
    `direct` marks an input block: its neurons receive the host's numbers without a synapse, `scale` units for 1.0.
    `flattens` marks what only reorders axes; such a block has no neuron. A synapse without neurons is a readout of its
    currents, in 1/64.
    """

    path: str
    kind: str
    neuron: NeuronSpec | None = None
    synapses: dict[str, Synapse] = field(default_factory=dict)
    recurrent: Dense | None = None
    shift: int = 0
    delays: npt.NDArray[np.int32] | None = None
    direct: bool = False
    flattens: bool = False


def block_kind(module: object) -> str | None:
    """`family.Class` of a SLAYER block ("cuba.Dense"), "synapse.Class" of a synapse alone, None for other modules."""
    for cls in type(module).__mro__:
        if cls.__module__ == _SYNAPSES and cls.__name__ in _READOUTS:
            return f"synapse.{cls.__name__}"
        if cls.__module__.startswith(_HOME) and not cls.__name__.startswith("Abstract"):
            return f"{cls.__module__.removeprefix(_HOME)}.{cls.__name__}"
    return None


def check_block(module: Any, path: str) -> str:
    """The kind of a SLAYER block; ExportError for what needs no run to be refused."""
    kind = block_kind(module)
    if kind is None:
        raise ExportError(f"Module {path!r} ({type(module).__name__}) is no SLAYER block.")
    family, name = kind.split(".")
    if _forward_of(module, kind) is not type(module).forward:
        raise ExportError(
            f"Block {path!r} ({type(module).__name__}) has a forward of its own; the exporter knows what {kind} computes. "
            "Put what is added into a module around the block."
        )
    reason = _REFUSED.get(family) or _REFUSED.get(name)
    if reason is not None:
        raise ExportError(f"Block {path!r} is a {kind}: {reason}.")
    if getattr(module, "count_log", False):
        raise ExportError(f"Block {path!r} has count_log=True and returns a pair; set it to False for the export.")
    if getattr(getattr(getattr(module, "neuron", None), "delta", None), "cum_error", False):
        raise ExportError(
            f"Block {path!r} has cum_error=True, which NetX files cannot hold; train with cum_error=False."
        )
    if name in ("Pool", "Unpool"):
        _check_tiles(module.synapse, path, name)
    return kind


def read_block(module: Any, path: str) -> Block:
    """`module`, a SLAYER block that ran once, as integers.

    Raises ExportError for what has no exact form on hardware, QuantisationError for numbers that are none; both name
    the block and the remedy.
    """
    kind = check_block(module, path)
    family, name = kind.split(".")
    if family == "synapse":
        synapses = _synapses(module, path, "ConvT" if name == "ConvTranspose" else name)
        return Block(path=path, kind=kind, neuron=Readout(unit=1 / WEIGHT_SCALE), synapses=synapses)
    if name == "Flatten":
        return Block(path=path, kind=kind, flattens=True)
    if name == "Input":
        return _read_input(module, path, kind)
    if name == "Affine":
        return _read_affine(module, path, kind)
    if name == "Output":
        return Block(path=path, kind=kind, neuron=sigma(), synapses=_synapses(module.synapse, path, "Dense"))
    plain = Block(
        path=path,
        kind=kind,
        neuron=_neuron(family, module.neuron, path),
        shift=int(bool(getattr(module, "delay_shift", False))),
        delays=_axonal_delays(module, path),
    )
    if name == "Recurrent":
        own = _synapses(module.recurrent_synapse, path, "Dense").get("")
        given = _synapses(module.input_synapse, path, "Dense")
        if not isinstance(own, Dense) or "" not in given:
            raise ExportError(
                f"Block {path!r} is a complex recurrent block, which lava-dl never finished; use cuba blocks."
            )
        return replace(plain, synapses=given, recurrent=own)
    if name not in _LAYERS:
        raise ExportError(
            f"Block {path!r} is a {kind}, which the exporter does not know; it knows {', '.join(_LAYERS)}."
        )
    return replace(plain, synapses=_synapses(module.synapse, path, name))


def _forward_of(module: object, kind: str) -> Any:
    """The forward of lava-dl's own class."""
    for cls in type(module).__mro__:
        if f"{cls.__module__}.{cls.__name__}" in (_HOME + kind, _SYNAPSES + kind.removeprefix("synapse")):
            return cls.forward  # type: ignore[attr-defined]
    return None


def _neuron(family: str, neuron: Any, path: str) -> NeuronSpec:
    match family:
        case "cuba":
            return cuba(neuron, path)
        case "sigma_delta":
            return sigma_delta(neuron, path)
        case "rf" | "rf_iz":
            return resonator(neuron, path, family)
        case _:
            raise ExportError(
                f"Block {path!r} is of family {family!r}; the exporter knows cuba, sigma_delta, rf and rf_iz."
            )


def _read_input(module: Any, path: str, kind: str) -> Block:
    shift = int(bool(getattr(module, "delay_shift", False)))
    if module.neuron is None:
        return Block(path=path, kind=kind, shift=shift)
    for name in ("weight", "bias"):
        if getattr(module, name) is not None:
            raise ExportError(
                f"Block {path!r} scales its input by a trained {name}; on hardware the host does that. Build the block "
                f"without {name}, and apply it to the recordings."
            )
    if kind == "sigma_delta.Input":
        return Block(path=path, kind=kind, neuron=delta_encoder(module.neuron, path), direct=True)
    neuron = _neuron(kind.split(".")[0], module.neuron, path)
    return Block(path=path, kind=kind, neuron=neuron, direct=True, shift=shift)


def _read_affine(module: Any, path: str, kind: str) -> Block:
    if module.dynamics:
        raise ExportError(
            f"Block {path!r} is a {kind} with dynamics: it returns voltages, real numbers. Set dynamics=False to export its "
            "currents as a readout, or use a Dense block."
        )
    synapses = _synapses(module.synapse, path, "Dense")
    if "" not in synapses:
        raise ExportError(f"Block {path!r} is a complex Affine; a readout has one current. Use a Dense block.")
    return Block(path=path, kind=kind, neuron=Readout(unit=1 / WEIGHT_SCALE), synapses=synapses)


def _axonal_delays(module: Any, path: str) -> npt.NDArray[np.int32] | None:
    """Delays per channel in whole steps: SLAYER shifts by their whole part, and so does its own exporter."""
    if getattr(module, "delay", None) is None:
        return None
    module.delay.clamp()
    found = np.floor(values(module.delay.delay)).astype(np.int32).reshape(-1)
    if module.delay.sampling_time != 1:
        raise ExportError(
            f"Block {path!r} has delays in units of {module.delay.sampling_time} steps; use sampling_time=1."
        )
    return found if found.any() else None


# -- synapses ----------------------------------------------------------------------------------------------------


def _synapses(synapse: Any, path: str, name: str) -> dict[str, Synapse]:
    if hasattr(synapse, "imag"):
        return {port: _LAYERS[name](part, path) for port, part in (("re", synapse.real), ("im", synapse.imag))}
    return {"": _LAYERS[name](synapse, path)}


def _weights(synapse: Any, path: str) -> npt.NDArray[np.int64]:
    """The weights as they multiply, in units of 1/64, without the time axis."""
    if synapse.pre_hook_fx is None:
        raise ExportError(
            f"Block {path!r} has pre_hook_fx=None: its weights are not quantised. Leave pre_hook_fx at its default "
            "(quantize_8bit) and train on."
        )
    return whole(
        values(synapse.pre_hook_fx(synapse.weight))[..., 0],
        WEIGHT_SCALE,
        f"Block {path!r}: the quantised weight",
        "let pre_hook_fx be the neuron's quantize_8bit.",
    )


def _pair(value: Any) -> Pair:
    return (int(value[0]), int(value[1]))


def _dense(synapse: Any, path: str) -> Dense:
    weights = _weights(synapse, path)
    return Dense(kernel=kernel_of(weights.reshape(len(weights), -1), f"Block {path!r}: the weight"))


def _conv(synapse: Any, path: str) -> Conv:
    return Conv(
        kernel=kernel_of(_weights(synapse, path), f"Block {path!r}: the weight"),
        stride=_pair(synapse.stride),
        padding=_pair(synapse.padding),
        dilation=_pair(synapse.dilation),
        groups=int(synapse.groups),
    )


def _conv_transpose(synapse: Any, path: str) -> ConvTranspose:
    return ConvTranspose(
        kernel=kernel_of(_weights(synapse, path), f"Block {path!r}: the weight"),
        stride=_pair(synapse.stride),
        padding=_pair(synapse.padding),
        output_padding=_pair(synapse.output_padding),
        dilation=_pair(synapse.dilation),
        groups=int(synapse.groups),
    )


def _check_tiles(synapse: Any, path: str, what: str) -> None:
    """Pool and Unpool lay all channels below one another: only windows that tile a channel stay inside it."""
    kernel, stride = _pair(synapse.kernel_size), _pair(synapse.stride)
    if kernel != stride or _pair(synapse.padding) != (0, 0) or _pair(synapse.dilation) != (1, 1):
        raise ExportError(
            f"Block {path!r} is a {what} with kernel {kernel}, stride {stride}, padding {_pair(synapse.padding)}: lava-dl lays "
            "all channels below one another, so such windows mix the rows of neighbouring channels. Use stride = kernel "
            "without padding or dilation, or a grouped convolution."
        )


def _pool(synapse: Any, path: str) -> Conv:
    """One kernel for all channels, (1,1,kh,kw) here; the network repeats it for the channels that are there."""
    return Conv(kernel=kernel_of(_weights(synapse, path), f"Block {path!r}: the weight"), stride=_pair(synapse.stride))


def _unpool(synapse: Any, path: str) -> ConvTranspose:
    kernel = kernel_of(_weights(synapse, path), f"Block {path!r}: the weight")
    return ConvTranspose(kernel=kernel, stride=_pair(synapse.stride))


_LAYERS: dict[str, Callable[[Any, str], Synapse]] = {
    "Dense": _dense,
    "Conv": _conv,
    "ConvT": _conv_transpose,
    "Pool": _pool,
    "Unpool": _unpool,
}

__all__ = ["Block", "Synapse", "block_kind", "read_block"]
