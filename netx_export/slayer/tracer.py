"""Tracing networks of SLAYER blocks: a `blocks` list, or any module that joins blocks by concatenation, sums and slices."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from netx_export.errors import ExportError
from netx_export.graph import Graph, Shape
from netx_export.slayer.blocks import Block, block_kind, check_block, read_block
from netx_export.slayer.network import Network
from netx_export.slayer.signals import Signal, added, concatenated, sliced, upsampled
from netx_export.slayer.states import reset_states
from netx_export.tracer_example import ExampleTracer, is_torch_layer
from netx_export.tracer_layers import check_hooks
from netx_export.tracer_neurons import USER_CODE_ERRORS

_INPUT_BLOCK_BITS = 10
"""SLAYER clamps an input to [-256, 254] units of 1/64."""

_LAYOUT = "(B,C,H,W,T), or (B,C,T) for networks of dense blocks: time comes last, as in lava-dl"


def holds_blocks(module: object) -> bool:
    """True for a torch module that has SLAYER blocks inside."""
    return isinstance(module, nn.Module) and any(block_kind(part) for part in module.modules())


def export_slayer(
    module: nn.Module,
    example: Any,
    *,
    steps: int | None = None,
    meta: Mapping[str, str] | None = None,
    input_bits: int = 0,
) -> Graph:
    """The Graph of a network of SLAYER blocks, run once on `example` (B,C,H,W,T) or (B,C,T) to learn its shapes.

    Nothing is rounded and nothing re-balanced: SLAYER's quantised arithmetic is Lava's. Step t of a block with
    `delay_shift` is hardware step t; on hardware all neurons run one step before data arrives, so networks with a bias
    equal SLAYER on recordings that begin with one silent frame (SLAYER's step t+1 is then hardware step t), others always.
    Raises ExportError or QuantisationError naming the block, and what to change.
    """
    sample = torch.as_tensor(example).detach().clone()
    parameter = next((p for p in module.parameters() if p.is_floating_point()), sample)
    sample = sample.to(dtype=torch.float32, device=parameter.device)
    if sample.ndim not in (3, 5):
        raise ExportError(f"The example has shape {tuple(sample.shape)}; give {_LAYOUT}.")
    shape = _frame(sample)
    with _at_rest(module), torch.no_grad():
        network = Network(shape, input_bits=_message_bits(module, sample, input_bits))
        sequence = _blocks_list(module, sample)
        if sequence is not None:
            signal, value = network.input, sample
            for path, block in sequence:
                value = block(value)
                signal = network.apply(_read(block, path), signal, _frame(value))
            network.add_output("output", signal)
        else:
            _trace_calls(module, sample, network)
        return network.graph(steps=steps or int(sample.shape[-1]), meta=dict(meta or {}))


def _message_bits(module: nn.Module, sample: torch.Tensor, input_bits: int) -> int:
    """0 for spikes; the width of what an input block's neurons are given, unless `input_bits` says it."""
    if input_bits:
        return input_bits
    for part in module.modules():
        if (block_kind(part) or "").endswith(".Input") and getattr(part, "neuron", None) is not None:
            return _INPUT_BLOCK_BITS
    other = sample[(sample != 0) & (sample != 1)]
    if other.numel():
        raise ExportError(
            f"The input holds {float(other.flatten()[0])!r}; a network without an input block takes 0/1 spikes. Bin the input "
            "to 0/1, begin with an Input block that has neurons, or export with input_bits=N."
        )
    return 0


def _frame(value: torch.Tensor) -> Shape:
    """(C,H,W) of a tensor (B,C,H,W,T) or (B,C,T)."""
    if value.ndim == 5:
        return (int(value.shape[1]), int(value.shape[2]), int(value.shape[3]))
    return (int(value.shape[1]), 1, 1)


@contextmanager
def _at_rest(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode; modes are restored afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _read(module: nn.Module, path: str) -> Block:
    check_hooks(module, f"Block {path!r}", torch.zeros(0))
    return read_block(module, path)


def _blocks_list(module: nn.Module, example: torch.Tensor) -> list[tuple[str, nn.Module]] | None:
    """The blocks of lava-dl's usual network, whose forward runs `self.blocks` one after the other; None for others.

    That it does so is tried: both ways must give the same on random spikes.
    """
    if block_kind(module):
        return [("block", module)]
    blocks = getattr(module, "blocks", None)
    if not isinstance(blocks, nn.ModuleList | nn.Sequential) or not all(block_kind(part) for part in blocks):
        return None
    if any(block_kind(part) for name, part in module.named_modules() if not name.startswith("blocks.")):
        return None
    noise = (torch.rand(example.shape, generator=torch.Generator().manual_seed(0)) < 0.5).to(example)
    try:
        returned = module(noise)
        expected = noise
        reset_states(module)
        for block in blocks:
            expected = block(expected)
        reset_states(module)
    except USER_CODE_ERRORS:
        return None
    first = returned[0] if isinstance(returned, tuple | list) and len(returned) else returned
    if not isinstance(first, torch.Tensor) or first.shape != expected.shape or not torch.equal(first, expected):
        return None
    return [(f"blocks.{number}", block) for number, block in enumerate(blocks)]


# -- modules with a forward of their own -------------------------------------------------------------------------


class _BlockTracer(ExampleTracer):
    """Blocks are leaves and are run; their shapes are what their example gives."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return block_kind(m) is not None or is_torch_layer(m)


def _trace_calls(module: nn.Module, example: torch.Tensor, network: Network) -> None:
    tracer = _BlockTracer(example)
    with torch.inference_mode(False), torch.no_grad():
        try:
            calls = tracer.trace(module)
        except USER_CODE_ERRORS as error:
            for path, part in module.named_modules():
                if block_kind(part):
                    check_block(part, path)
            reached = f" The last thing reached was {tracer.running}." if tracer.running else ""
            raise ExportError(
                f"{type(module).__name__} could not be traced: {type(error).__name__}: {error}.{reached} Keep logs and losses "
                "out of forward, or give a network whose forward runs its `blocks` list."
            ) from error
    signals: dict[fx.Node, Signal] = {}
    refused: dict[fx.Node, str] = {}
    for node in calls.nodes:
        if node.op == "placeholder":
            if not signals:
                signals[node] = network.input
            continue
        if node.op == "output":
            _outputs(node.args[0], signals, refused, network, type(module).__name__)
            continue
        if not any(source in signals or source in refused for source in node.all_input_nodes):
            continue
        broken = next((refused[source] for source in node.all_input_nodes if source in refused), None)
        if broken is not None:
            refused[node] = broken
            continue
        _one_call(tracer, node, signals, refused, network)


def _one_call(
    tracer: _BlockTracer,
    node: fx.Node,
    signals: dict[fx.Node, Signal],
    refused: dict[fx.Node, str],
    network: Network,
) -> None:
    value = tracer.values[node]
    where = tracer.describe(node)
    where = where[:1].upper() + where[1:]
    if node.op == "call_module":
        target = tracer.root.get_submodule(str(node.target))
        if block_kind(target):
            signals[node] = network.apply(
                _read(target, str(node.target)), signals[node.all_input_nodes[0]], _frame(value)
            )
            return
        operation: Any = type(target)
    else:
        operation = node.target
    translate = _OPERATIONS.get(operation)
    if translate is None or not isinstance(value, torch.Tensor):
        # Only what reaches an output is an error: networks count their spikes on the side.
        refused[node] = (
            f"{where} has no spiking form between SLAYER blocks: spikes may be concatenated, added, sliced by channels, "
            "flattened and repeated (upsampled). Return the blocks' spikes and compute the rest on the host"
        )
        return
    constant = _constant_added(node, signals)
    if constant is not None:
        signals[node] = network.add_constant(signals[node.all_input_nodes[0]], constant, where)
    else:
        signals[node] = translate(node, tracer, signals, where)


def _constant_added(node: fx.Node, signals: dict[fx.Node, Signal]) -> float | None:
    """c of `x + c`, `c + x` and `x - c`."""
    if _OPERATIONS.get(node.target) not in (_add, _subtract) or len(node.args) != 2:
        return None
    first, second = node.args
    if isinstance(first, fx.Node) and first in signals and isinstance(second, int | float):
        return -float(second) if _OPERATIONS.get(node.target) is _subtract else float(second)
    if isinstance(second, fx.Node) and second in signals and isinstance(first, int | float):
        return float(first) if _OPERATIONS.get(node.target) is _add else None
    return None


def _outputs(
    returned: Any, signals: dict[fx.Node, Signal], refused: dict[fx.Node, str], network: Network, name: str
) -> None:
    found: list[tuple[str, Signal]] = []
    for label, value in _named(returned, "output"):
        if isinstance(value, fx.Node) and value in refused:
            raise ExportError(f"Output {label!r} of {name}: {refused[value]}.")
        if isinstance(value, fx.Node) and value in signals:
            found.append((label, signals[value]))
    if not found:
        raise ExportError(f"The forward of {name} returns no spikes of a block; return what is to be read.")
    for label, signal in found:
        network.add_output(label, signal)


def _named(returned: Any, name: str) -> Iterator[tuple[str, Any]]:
    prefix = "" if name == "output" else f"{name}."
    if isinstance(returned, dict):
        for key, value in returned.items():
            yield from _named(value, f"{prefix}{key}")
    elif isinstance(returned, tuple | list):
        for index, value in enumerate(returned):
            yield from _named(value, f"{name}{index}")
    else:
        yield name, returned


# -- operations between blocks -----------------------------------------------------------------------------------

_Translate = Callable[[fx.Node, ExampleTracer, dict[fx.Node, Signal], str], Signal]


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _concatenate(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    pieces = _argument(node, 0, "tensors")
    axis = _argument(node, 1, "dim", 0)
    axis = axis if axis >= 0 else axis + tracer.values[node].ndim
    if axis != 1 or not all(isinstance(piece, fx.Node) and piece in signals for piece in pieces):
        raise ExportError(
            f"{where} concatenates along axis {axis} or with constants; concatenate spikes along channels (1)."
        )
    return concatenated([signals[piece] for piece in pieces], where)


def _add(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    terms = [_argument(node, 0, "input"), _argument(node, 1, "other")]
    if not all(isinstance(term, fx.Node) and term in signals for term in terms):
        raise ExportError(f"{where} adds a constant to spikes; put it into a norm (bias) of the next block.")
    return added([signals[term] for term in terms], where)


def _subtract(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    raise ExportError(f"{where} subtracts spikes from one another; let the next block have a negative weight for them.")


def _flatten(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    source = node.all_input_nodes[0]
    before, after = tracer.values[source], tracer.values[node]
    signal = signals[source]
    if after.shape == before.shape:
        return signal
    count = int(before.shape[1:-1].numel())
    if after.shape[0] != before.shape[0] or after.shape[-1] != before.shape[-1] or after.shape[1:-1].numel() != count:
        raise ExportError(
            f"{where} turns {tuple(before.shape)} into {tuple(after.shape)}; between blocks only (B,C,H,W,T) -> (B,N,T) is known."
        )
    if after.ndim == 3 or after.shape[2:-1].numel() == 1:
        return Signal(terms=signal.terms, flat=True)
    raise ExportError(f"{where} unfolds neurons into {tuple(after.shape)}; let a block read them flat.")


def _index(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    source, index = node.args[0], node.args[1]
    if not isinstance(source, fx.Node) or source not in signals:
        raise ExportError(f"{where} indexes by spikes; index by numbers.")
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        place, axes = index.index(Ellipsis), tracer.values[source].ndim
        index = (*index[:place], *[slice(None)] * (axes - len(index) + 1), *index[place + 1 :])
    wanted = index[1] if len(index) > 1 else slice(None)
    others = [part for place, part in enumerate(index) if place != 1]
    if not isinstance(wanted, slice) or wanted.step not in (None, 1) or any(p != slice(None) for p in others):
        raise ExportError(f"{where} takes {index!r}; slice channels only, as in x[:, 2:6].")
    start, stop, _ = wanted.indices(signals[source].length)
    return sliced(signals[source], start, stop, where)


def _upsample(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    source = node.all_input_nodes[0]
    before, after = tracer.values[source], tracer.values[node]
    repeated = before
    times = after.shape[2] // before.shape[2] if before.ndim == 5 else 0
    if times:
        repeated = before.repeat_interleave(times, 2).repeat_interleave(times, 3)
    noise = torch.rand(before.shape, generator=torch.Generator().manual_seed(0)).to(before)
    again = _rerun(tracer, node, noise) if times else noise
    if (
        not times
        or repeated.shape != after.shape
        or not torch.equal(again, noise.repeat_interleave(times, 2).repeat_interleave(times, 3))
    ):
        raise ExportError(
            f"{where} turns {tuple(before.shape)} into {tuple(after.shape)}; spikes may be repeated a whole number of times in "
            "H and W (mode='nearest', scale_factor=(2,2,1))."
        )
    return upsampled(signals[source], int(times))


def _rerun(tracer: ExampleTracer, node: fx.Node, value: torch.Tensor) -> torch.Tensor:
    """The operation of `node` on another value."""
    if node.op == "call_module":
        result: torch.Tensor = tracer.root.get_submodule(str(node.target))(value)
        return result
    args = [value if isinstance(a, fx.Node) else a for a in node.args]
    kwargs = {k: value if isinstance(v, fx.Node) else v for k, v in node.kwargs.items()}
    function: Any = node.target
    found: torch.Tensor = function(*args, **kwargs)
    return found


def _same(node: fx.Node, tracer: ExampleTracer, signals: dict[fx.Node, Signal], where: str) -> Signal:
    return signals[node.all_input_nodes[0]]


_OPERATIONS: dict[Any, _Translate] = {
    torch.cat: _concatenate,
    torch.concat: _concatenate,
    torch.concatenate: _concatenate,
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    "add": _add,
    operator.sub: _subtract,
    torch.sub: _subtract,
    "sub": _subtract,
    torch.flatten: _flatten,
    "flatten": _flatten,
    "reshape": _flatten,
    "view": _flatten,
    torch.reshape: _flatten,
    nn.Flatten: _flatten,
    operator.getitem: _index,
    F.interpolate: _upsample,
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    nn.Identity: _same,
    nn.Dropout: _same,
    "contiguous": _same,
    "clone": _same,
}

__all__ = ["export_slayer", "holds_blocks"]
