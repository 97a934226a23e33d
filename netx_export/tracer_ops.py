"""What each torch layer, function and method becomes in a FloatGraph; everything else is refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netx_export.errors import ExportError
from netx_export.float_graph import (
    AddNode,
    BatchNormNode,
    ConcatNode,
    ConvNode,
    FlattenNode,
    LinearNode,
    MaxPoolNode,
    NeuronNode,
    Node,
    ScaleNode,
    UpsampleNode,
)
from netx_export.graph import FloatLif, Shape
from netx_export.passes.wires import TRAVEL_WORDS, Travel, travel_of
from netx_export.tracer_arguments import array, conv_padding, is_scalar, is_whole, pair, shown
from netx_export.tracer_layers import check_same_layer
from netx_export.tracer_remedies import nearest_form


class Wire(str):
    """The id of the FloatGraph node that an argument of a call stands for."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call seen while tracing. `args` hold Wire where a node is meant; `values` are what travelled there."""

    name: str
    path: str
    target: Any
    neuron: FloatLif | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    values: tuple[torch.Tensor, ...]
    result: torch.Tensor
    described: str

    @property
    def wires(self) -> tuple[str, ...]:
        """Ids of the nodes read, in order, as often as they are read."""
        found: list[str] = []
        torch.fx.node.map_aggregate(
            (self.args, dict(self.kwargs)), lambda value: found.append(value) if isinstance(value, Wire) else None
        )
        return tuple(found)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


class Translator:
    """Collects the nodes of a FloatGraph, one call after the other. `lead` are the example's (T,B) or (B,)."""

    def __init__(self, *, lead: Sequence[int]) -> None:
        self.lead = tuple(lead)
        self.nodes: list[Node] = []
        self.by_id: dict[str, Node] = {}
        self._travel: dict[str, Travel] = {}

    def add(self, node: Node) -> str:
        """Append `node`; returns its id. Raises ExportError when the id is taken."""
        if node.id in self.by_id:
            raise ExportError(
                f"Neuron {node.id!r} is called twice, or shares its name with the input; both places would share one state. "
                "Give each place a neuron of its own."
            )
        self.nodes.append(node)
        self.by_id[node.id] = node
        self._travel[node.id] = travel_of(node, [self._travel[name] for name in node.inputs])
        return node.id

    def translate(self, call: Call) -> str:
        """Add the node that `call` stands for; returns the id of what it sends."""
        if call.neuron is not None:
            return self._neuron(call)
        if isinstance(call.target, nn.Module):
            for kind, translate in _MODULES.items():
                if isinstance(call.target, kind):
                    if len(call.values) == 1:
                        check_same_layer(call.target, kind, call.values[0], call.path)
                    return translate(self, call)
            raise self._refusal(call)
        found = _FUNCTIONS.get(call.target)
        if found is None:
            raise self._refusal(call)
        return found(self, call)

    def check_lead(self, value: torch.Tensor, what: str) -> Shape:
        """(C,H,W) of a value whose leading axes must be the example's, T and B folded or not."""
        frame = tuple(value.shape[-3:]) if value.ndim >= 4 else (*value.shape[-1:], 1, 1)
        lead = tuple(value.shape[: value.ndim - (3 if value.ndim >= 4 else 1)])
        if lead not in (self.lead, (int(np.prod(self.lead)),)):
            raise ExportError(
                f"{_capital(what)} has shape {tuple(value.shape)}: time and batch {self.lead} of the example did not survive. "
                "The network works on every step alone; reduce over time, or reorder axes, after the run."
            )
        return (int(frame[0]), int(frame[1]), int(frame[2]))

    # -- one method per kind of call -----------------------------------------------------------------------------

    def _common(self, call: Call, count: int = 1) -> dict[str, Any]:
        wires = call.wires
        if len(wires) != count:
            raise self._refusal(call)
        return {
            "id": f"%{call.name}",
            "source": call.path,
            "inputs": wires,
            "shape": self.check_lead(call.result, call.described),
        }

    def _neuron(self, call: Call) -> str:
        common = self._common(call)
        return self.add(NeuronNode(**(common | {"id": call.path}), neuron=cast(FloatLif, call.neuron)))

    def _alias(self, call: Call) -> str:
        return self._common(call)["inputs"][0]  # type: ignore[no-any-return]

    def _dropout(self, call: Call) -> str:
        if call.argument(2, "training", True):
            raise ExportError(
                f"{_capital(call.described)} drops values of {self._what(call)} in evaluation mode too; pass "
                "training=self.training, or use nn.Dropout."
            )
        return self._alias(call)

    def _cast(self, call: Call) -> str:
        if not call.result.is_floating_point():
            raise ExportError(
                f"{_capital(call.described)} turns {self._what(call)} into {call.result.dtype}, whose arithmetic is another; "
                "stay in floating point."
            )
        return self._alias(call)

    def _conv(self, call: Call) -> str:
        layer = cast(nn.Conv2d, call.target)
        if layer.padding_mode != "zeros" and layer.padding != (0, 0):
            raise ExportError(
                f"Convolution {call.path!r} pads with {layer.padding_mode!r}; hardware pads with silence. Use "
                "padding_mode='zeros'."
            )
        return self.add(
            ConvNode(
                **self._common(call),
                weight=array(layer.weight),
                bias=None if layer.bias is None else array(layer.bias),
                stride=pair(layer.stride),
                padding=conv_padding(layer, call.path),
                dilation=pair(layer.dilation),
                groups=layer.groups,
            )
        )

    def _linear(self, call: Call) -> str:
        layer = cast(nn.Linear, call.target)
        if call.values[0].ndim > 3:
            raise ExportError(
                f"Linear {call.path!r} got {tuple(call.values[0].shape)} and works on the last axis only; flatten to (T,B,N) "
                "first, or use a 1x1 Conv2d."
            )
        bias = None if layer.bias is None else array(layer.bias)
        return self.add(LinearNode(**self._common(call), weight=array(layer.weight), bias=bias))

    def _batch_norm(self, call: Call) -> str:
        layer = cast(nn.BatchNorm1d | nn.BatchNorm2d, call.target)
        if layer.running_mean is None or layer.running_var is None:
            raise ExportError(
                f"Batch norm {call.path!r} keeps no running statistics, so it depends on the batch; train it with "
                "track_running_stats=True."
            )
        if type(layer) is nn.BatchNorm1d and call.values[0].ndim > 2:
            raise ExportError(
                f"Batch norm {call.path!r} got {tuple(call.values[0].shape)} and takes its second axis for the channels; "
                "fold T and B into one axis before it."
            )
        scale = 1.0 / np.sqrt(array(layer.running_var) + layer.eps)
        if layer.affine:
            scale = scale * array(layer.weight)
        shift = -array(layer.running_mean) * scale + (array(layer.bias) if layer.affine else 0.0)
        return self.add(BatchNormNode(**self._common(call), scale=scale, shift=shift))

    def _max_pool(self, call: Call) -> str:
        if isinstance(call.target, nn.MaxPool2d):
            layer = call.target
            options = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
        else:
            options = tuple(
                call.argument(1 + index, name, default)
                for index, (name, default) in enumerate(
                    (("kernel_size", None), ("stride", None), ("padding", 0), ("dilation", 1), ("ceil_mode", False))
                )
            )
        kernel, stride, padding, dilation, ceil_mode = options
        if ceil_mode:
            raise ExportError(f"Max-pool {call.path!r} uses ceil_mode=True; use padding so that the windows fit.")
        common = self._common(call)
        # A pool has no state: the same module may stand in several places, each is a population of its own.
        base = call.path if isinstance(call.target, nn.Module) else ".".join(p for p in (call.path, call.name) if p)
        name, number = base, 2
        while name in self.by_id:
            name, number = f"{base}@{number}", number + 1
        return self.add(
            MaxPoolNode(
                **(common | {"id": name, "source": base}),
                kernel=pair(kernel),
                stride=pair(kernel if stride is None else stride),
                padding=pair(padding),
                dilation=pair(dilation),
            )
        )

    def _upsample(self, call: Call) -> str:
        mode = call.target.mode if isinstance(call.target, nn.Upsample) else call.argument(3, "mode", "nearest")
        common = self._common(call)
        if mode not in ("nearest", "nearest-exact"):
            raise ExportError(
                f"Upsampling {call.path or call.name!r} is {mode!r}: of {self._what(call)} it would make fractions, and only "
                "0/1 spikes travel between layers. Use mode='nearest', or a transposed convolution before the neuron."
            )
        before, after = self.by_id[common["inputs"][0]].shape, common["shape"]
        factor = after[1] // before[1]
        if (
            factor < 1
            or not is_whole(self._factor(call))
            or after != (before[0], before[1] * factor, before[2] * factor)
        ):
            raise ExportError(
                f"Upsampling {call.path or call.name!r} makes {after} of {before}; the exporter repeats whole pixels, by the "
                "same whole factor on both sides. On (T,B,C,H,W) fold T and B first, or use scale_factor=(1, f, f)."
            )
        return self.add(UpsampleNode(**common, factor=factor))

    @staticmethod
    def _factor(call: Call) -> Any:
        """What an upsampling was told to scale by: torch finds source pixels with it, not with the sizes."""
        return call.target.scale_factor if isinstance(call.target, nn.Upsample) else call.argument(2, "scale_factor")

    def _concat(self, call: Call) -> str:
        parts = call.argument(0, "tensors")
        common = self._common(call, count=len(parts))
        shapes = [self.by_id[name].shape for name in common["inputs"]]
        if common["shape"] != (sum(s[0] for s in shapes), *shapes[0][1:]):
            raise ExportError(
                f"{_capital(call.described)} joins {shapes} to {common['shape']}, not along the channels; use dim=-3 for "
                "maps (dim=2 of (T,B,C,H,W), dim=1 of (B,C,H,W)), or dim=-1 for (T,B,N)."
            )
        return self.add(ConcatNode(**common))

    def _add(self, call: Call) -> str:
        sign = -1.0 if call.target in _SUBTRACTIONS else 1.0
        factor = sign * float(call.kwargs.get("alpha", 1.0))
        operands = (call.argument(0, "input"), call.argument(1, "other"))
        if not all(isinstance(operand, Wire) for operand in operands):
            raise ExportError(
                f"{_capital(call.described)} adds a constant to {self._what(call)}; a constant belongs into the bias of the "
                "layer before the neuron."
            )
        common = self._common(call, count=2)
        first, second = operands
        shapes = (self.by_id[first].shape, self.by_id[second].shape)
        if shapes[0] != shapes[1]:
            raise ExportError(
                f"{_capital(call.described)} adds maps of different shapes {shapes}; hardware does not broadcast."
            )
        if factor != 1.0:
            scaled = ScaleNode(
                id=f"{common['id']}.scaled", shape=shapes[1], source=call.path, inputs=(second,), factor=factor
            )
            second = self.add(scaled)
        return self.add(AddNode(**(common | {"inputs": (first, second)})))

    def _scale(self, call: Call) -> str:
        operands = (call.argument(0, "input"), call.argument(1, "other"))
        constants = [value for value in operands if not isinstance(value, Wire)]
        if len(constants) != 1 or not is_scalar(constants[0]):
            raise ExportError(
                f"{_capital(call.described)} multiplies {self._what(call)}"
                + ("; a product of activations" if not constants else f" by {shown(constants[0])}; such a product")
                + " has no spiking form. Nearest: add the two as currents into one neuron, or use a convolution for "
                "fixed factors (one per channel: a 1x1 depthwise convolution)."
            )
        factor = float(constants[0])
        if call.target in _DIVISIONS:
            rounds = call.kwargs.get("rounding_mode") is not None
            if rounds or not isinstance(operands[0], Wire) or factor == 0.0:
                raise self._refusal(call)
            factor = 1.0 / factor
        return self.add(ScaleNode(**self._common(call), factor=factor))

    def _reshape(self, call: Call) -> str:
        common = self._common(call)
        before, after = self.by_id[common["inputs"][0]].shape, common["shape"]
        if after == before:
            return cast(str, common["inputs"][0])
        if after == (int(np.prod(before)), 1, 1):
            return self.add(FlattenNode(**common))
        raise ExportError(
            f"{_capital(call.described)} turns frames of {before} into {after}; the exporter follows (C,H,W) -> (N) and the "
            "folding of T and B only."
        )

    # -- refusals ------------------------------------------------------------------------------------------------

    def _what(self, call: Call) -> str:
        kinds = dict.fromkeys(TRAVEL_WORDS[self._travel[name]] for name in call.wires)
        sources = ", ".join(dict.fromkeys(repr(self.by_id[n].source or self.by_id[n].id) for n in call.wires))
        return f"{' and '.join(kinds)} of {sources}"

    def _refusal(self, call: Call) -> ExportError:
        target = call.target
        kind = type(target).__name__ if isinstance(target, nn.Module) else getattr(target, "__name__", str(target))
        names = [cls.__name__ for cls in type(target).__mro__] if isinstance(target, nn.Module) else [kind]
        return ExportError(
            f"{_capital(call.described)} ({kind}) has no spiking form. What travelled on the wire: {self._what(call)}. "
            f"Nearest spiking form: {nearest_form(names)}"
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_Translation = Callable[[Translator, Call], str]

_MODULES: Mapping[type[nn.Module], _Translation] = {
    nn.Conv2d: Translator._conv,
    nn.Linear: Translator._linear,
    nn.BatchNorm2d: Translator._batch_norm,
    nn.BatchNorm1d: Translator._batch_norm,
    nn.MaxPool2d: Translator._max_pool,
    nn.Upsample: Translator._upsample,
    nn.Flatten: Translator._reshape,
    nn.Unflatten: Translator._reshape,
    nn.Identity: Translator._alias,
    nn.Dropout: Translator._alias,
    nn.Dropout2d: Translator._alias,
}

_SUBTRACTIONS: frozenset[Any] = frozenset({operator.sub, operator.isub, torch.sub, "sub", "sub_"})
_DIVISIONS: frozenset[Any] = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})

_FUNCTIONS: Mapping[Any, _Translation] = {
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), Translator._concat),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_", *_SUBTRACTIONS), Translator._add),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_", *_DIVISIONS), Translator._scale),
    F.interpolate: Translator._upsample,
    F.max_pool2d: Translator._max_pool,
    torch.max_pool2d: Translator._max_pool,
    **dict.fromkeys((F.dropout, F.dropout2d), Translator._dropout),
    **dict.fromkeys(("contiguous", "detach", "clone"), Translator._alias),
    **dict.fromkeys(("float", "double", "to"), Translator._cast),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), Translator._reshape),
    **dict.fromkeys(("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze"), Translator._reshape),
}
