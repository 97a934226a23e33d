"""From a torch module to a FloatGraph, with torch.fx.

The module is run once on the example while it is traced, so shapes are known everywhere and Python code that asks for
them works. Neurons are not run: they keep the shape and their state. A module is a neuron when it offers
`neuron_spec()` or its class was registered.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import fx, nn

from netx_export.errors import ExportError
from netx_export.float_graph import FloatArray, FloatGraph, InputNode, OutputNode, live_nodes
from netx_export.float_run import FloatRun
from netx_export.graph import Shape
from netx_export.tracer_example import ExampleTracer, is_torch_layer
from netx_export.tracer_layers import check_hooks
from netx_export.tracer_neurons import USER_CODE_ERRORS, is_neuron, neuron_spec_of, register_neuron
from netx_export.tracer_ops import Call, Translator, Wire

INPUT_BITS_MAX = 16
"""Widest input of an exported network; files of others may have messages of 32 bits."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` in evaluation mode, every submodule's own mode restored afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def example_shape(example: torch.Tensor) -> Shape:
    """(C,H,W) of one frame of an example (T,B,C,H,W), (B,C,H,W), (T,B,N) or (B,N)."""
    if example.ndim in (4, 5):
        return (int(example.shape[-3]), int(example.shape[-2]), int(example.shape[-1]))
    if example.ndim in (2, 3):
        return (int(example.shape[-1]), 1, 1)
    raise ExportError(
        f"The example has shape {tuple(example.shape)}; give (T,B,C,H,W) or (B,C,H,W), or (T,B,N) or (B,N) for a "
        "network of linear layers."
    )


def _sample(module: Any, example: Any) -> torch.Tensor:
    """The example as a real tensor of its own, which the module may overwrite."""
    if not isinstance(module, nn.Module):
        raise ExportError(
            f"A {type(module).__name__} was given to export; give a torch.nn.Module, which holds layers and neurons by name."
        )
    if isinstance(example, torch.Tensor):
        sample = example.detach().clone()
    else:
        try:
            sample = torch.tensor(np.asarray(example))
        except (TypeError, ValueError) as error:
            raise ExportError(
                f"The example is a {type(example).__name__} that is no array of numbers ({error}); give a tensor or array "
                "(T,B,C,H,W)."
            ) from None
    if sample.is_complex():
        raise ExportError(f"The example holds {sample.dtype} numbers; give real ones.")
    return sample


def _check_example(example: torch.Tensor, input_bits: int) -> None:
    if input_bits == 0:
        other = example[(example != 0) & (example != 1)]
        if other.numel():
            raise ExportError(
                f"The input holds {float(other.flatten()[0])!r}; a binary network takes 0/1 events only. "
                "Bin the input to 0/1, or export with input_bits=N for integers of N bits, sign included."
            )
        return
    if not isinstance(input_bits, int) or not 2 <= input_bits <= INPUT_BITS_MAX:
        raise ExportError(
            f"input_bits is {input_bits!r}, the limit is 2..{INPUT_BITS_MAX}, or 0 for 0/1 events; give the width of the "
            "input's integers, sign included."
        )
    limit = 1 << (input_bits - 1)
    worst = float(example.abs().max()) if example.numel() else 0.0
    if worst >= limit or bool((example != example.floor()).any()):
        raise ExportError(
            f"The input reaches {worst!r} or holds fractions; input_bits={input_bits} carries integers below {limit} in "
            "magnitude. Round and scale the input, or raise input_bits."
        )


def trace(module: nn.Module, example: Any, *, input_bits: int = 0) -> FloatGraph:
    """Trace `module` on `example` into a FloatGraph.

    `example` is (T,B,C,H,W) for modules that take all steps at once, (B,C,H,W) for modules called step by step; networks
    of linear layers take (T,B,N) or (B,N). Raises ExportError naming the torch module, what travelled on the wire and
    the nearest spiking form for everything that is neither linear nor a spiking neuron.
    """
    sample = _sample(module, example)
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is not None:
        sample = sample.to(dtype=parameter.dtype, device=parameter.device)
    shape = example_shape(sample)
    _check_example(sample, input_bits)
    if is_neuron(module):
        raise ExportError("The exported module is itself a neuron; wrap it with the layer that feeds it.")
    if is_torch_layer(module):
        module = nn.Sequential(module)
    check_hooks(module, "The exported module", sample)
    tracer = ExampleTracer(sample)
    with evaluating(module), torch.inference_mode(False), torch.no_grad():
        try:
            graph = tracer.trace(module)
        except USER_CODE_ERRORS as error:
            reached = f" The last thing reached was {tracer.running}." if tracer.running else ""
            raise ExportError(
                f"{type(module).__name__} could not be traced: {type(error).__name__}: {error}.{reached} The example has "
                f"shape {tuple(sample.shape)}. Control flow may depend on shapes, not on values; put what does into a "
                "neuron module that offers neuron_spec()."
            ) from error
        return _translate(tracer, graph, shape, input_bits)


def record(module: nn.Module, example: Any) -> FloatRun:
    """What `module` does with `example` (T,B,C,H,W) or (T,B,N), in float64 on a copy: spikes by neuron path, outputs by name.

    Raises ExportError for an example of one time step, whose later steps nobody could know.
    """
    sample = _sample(module, example)
    if sample.ndim not in (3, 5):
        raise ExportError(
            f"check=True compares whole samples, the example has shape {tuple(sample.shape)}; give (T,B,C,H,W)."
        )
    spikes: dict[str, FloatArray] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_: nn.Module, __: Any, sent: torch.Tensor) -> None:
            spikes[path] = _frames(sent, sample)

        return hook

    try:
        twin = copy.deepcopy(module).double().cpu()
        for path, part in twin.named_modules():
            if is_neuron(part):
                part.register_forward_hook(keep(path))
        with evaluating(twin), torch.no_grad():
            returned = twin(sample.to(device="cpu", dtype=torch.float64, copy=True))
    except USER_CODE_ERRORS as error:
        raise ExportError(
            f"{type(module).__name__} could not be run in float64 on a copy, which check=True needs: {type(error).__name__}: "
            f"{error}. Let it work in the type of its input, or export without the check."
        ) from error
    outputs = {name: _frames(value, sample) for name, value in _named(returned, "output") if value is not None}
    return FloatRun(spikes=spikes, outputs=outputs)


def _frames(value: torch.Tensor, sample: torch.Tensor) -> FloatArray:
    """`value` as (T,B,C,H,W), whether or not T and B are folded."""
    array = cast(FloatArray, value.detach().numpy())
    frame = array.shape[-3:] if array.ndim >= 4 else (array.shape[-1], 1, 1)
    return array.reshape(*sample.shape[:2], *frame)


def _translate(tracer: ExampleTracer, graph: fx.Graph, shape: Shape, input_bits: int) -> FloatGraph:
    translator = Translator(lead=tracer.example.shape[: tracer.example.ndim - (3 if tracer.example.ndim > 3 else 1)])
    wired: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            if translator.nodes:
                if node.users:
                    raise ExportError(
                        f"The forward of {type(tracer.root).__name__} takes a second input {node.name!r}; export takes "
                        "modules with one input tensor."
                    )
                continue
            translator.add(InputNode(id="input", shape=shape, message_bits=input_bits))
            wired[node] = "input"
            continue
        if node.op == "output":
            _outputs(tracer, translator, node.args[0], wired)
            continue
        if not any(source in wired for source in node.all_input_nodes):
            continue
        if not isinstance(tracer.values[node], torch.Tensor):
            if node.users:
                raise ExportError(
                    f"{tracer.describe(node).capitalize()} makes a {type(tracer.values[node]).__name__}, not a tensor; "
                    "a layer passes one tensor on. Read channels through a 1x1 convolution instead of splitting."
                )
            continue
        wired[node] = translator.translate(_call(tracer, node, wired))
    return FloatGraph(nodes=live_nodes(translator.nodes))


def _call(tracer: ExampleTracer, node: fx.Node, wired: dict[fx.Node, str]) -> Call:
    module = tracer.root.get_submodule(str(node.target)) if node.op == "call_module" else None
    path = str(node.target) if module is not None else tracer.scopes[node]
    spec = neuron_spec_of(module, path) if module is not None else None
    return Call(
        name=node.name,
        path=path,
        target=module if module is not None else node.target,
        neuron=spec,
        args=fx.node.map_arg(node.args, lambda n: Wire(wired[n]) if n in wired else tracer.values[n]),
        kwargs=dict(fx.node.map_arg(node.kwargs, lambda n: Wire(wired[n]) if n in wired else tracer.values[n])),
        values=tuple(tracer.values[n] for n in node.all_input_nodes if n in wired),
        result=tracer.values[node],
        described=tracer.describe(node),
    )


def _outputs(tracer: ExampleTracer, translator: Translator, returned: Any, wired: dict[fx.Node, str]) -> None:
    for name, value in _named(returned, "output"):
        if not isinstance(value, fx.Node) or value not in wired:
            if value is None:
                continue
            raise ExportError(
                f"Output {name!r} of {type(tracer.root).__name__} does not depend on the input; return tensors that the "
                "network computes."
            )
        translator.check_lead(tracer.values[value], f"output {name!r}")
        if name in translator.by_id:
            raise ExportError(
                f"Output {name!r} has the name of another population; rename the key in what forward returns, or that "
                "module."
            )
        source = translator.by_id[wired[value]]
        translator.add(OutputNode(id=name, shape=source.shape, source=source.source, inputs=(source.id,)))
    if not any(isinstance(node, OutputNode) for node in translator.nodes):
        raise ExportError(f"The forward of {type(tracer.root).__name__} returns no tensor; return what is to be read.")


def _named(returned: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Output names: keys, fields or positions (`output0`, `output1`) of what is returned, `output` for a single tensor."""
    prefix = "" if name == "output" else f"{name}."
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        returned = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    if isinstance(returned, dict):
        for key, value in returned.items():
            yield from _named(value, f"{prefix}{key}")
    elif isinstance(returned, tuple | list):
        fields: Sequence[str] = getattr(returned, "_fields", ())
        for index, value in enumerate(returned):
            yield from _named(value, f"{prefix}{fields[index]}" if fields else f"{name}{index}")
    else:
        yield name, returned


__all__ = ["evaluating", "example_shape", "is_neuron", "neuron_spec_of", "record", "register_neuron", "trace"]
