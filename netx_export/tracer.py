"""From a torch module to a FloatGraph, with torch.fx.

The module is run once on the example while it is traced, so shapes are known everywhere and Python code that asks for
them works. Neurons are not run: they keep the shape and their state. A module is a neuron when it offers
`neuron_spec()` or its class was registered.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import fx, nn

from netx_export.errors import ExportError
from netx_export.float_graph import FloatArray, FloatGraph, InputNode, OutputNode, live_nodes
from netx_export.float_run import FloatRun
from netx_export.graph import FloatLif, Shape
from netx_export.graph.neurons import MESSAGE_BITS_MAX
from netx_export.tracer_ops import Call, Translator, Wire

SpecFunction = Callable[[Any], FloatLif]

_USER_CODE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a user's forward may raise while it is traced; each becomes one clear error."""

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)

_MODULE_CALL = nn.Module.__call__
_MODULE_GETATTR = nn.Module.__getattr__

_REGISTERED: dict[type[nn.Module], SpecFunction] = {}


def register_neuron(cls: type[nn.Module], spec_function: SpecFunction) -> None:
    """Treat modules of `cls` as neurons; `spec_function(module)` returns their FloatLif. Raises ExportError if taken."""
    if cls in _REGISTERED:
        raise ExportError(f"Neuron class {cls.__name__!r} is already registered; register each class once.")
    _REGISTERED[cls] = spec_function


def neuron_spec_of(module: nn.Module, path: str) -> FloatLif | None:
    """The FloatLif that `module` stands for, or None when it is no neuron. Raises ExportError for other answers."""
    registered = next((_REGISTERED[cls] for cls in type(module).__mro__ if cls in _REGISTERED), None)
    if registered is not None:
        spec = registered(module)
    elif callable(getattr(module, "neuron_spec", None)):
        spec = cast(Any, module).neuron_spec()
    else:
        return None
    if not isinstance(spec, FloatLif):
        raise ExportError(
            f"Neuron {path!r} ({type(module).__name__}) describes itself as {type(spec).__name__}; the exporter knows "
            "FloatLif (leaky integrate-and-fire, hard reset to zero). Use such a neuron, or register one for this class."
        )
    return spec


def is_neuron(module: nn.Module) -> bool:
    """True when `module` offers `neuron_spec()` or its class was registered."""
    return callable(getattr(module, "neuron_spec", None)) or any(cls in _REGISTERED for cls in type(module).__mro__)


class _ShapedProxy(fx.Proxy):
    """A proxy that knows the value of the example run, so that code may ask for shapes."""

    @property
    def shape(self) -> Any:
        return _value(self).shape

    @property
    def ndim(self) -> Any:
        return _value(self).ndim

    @property
    def dtype(self) -> Any:
        return _value(self).dtype

    @property
    def device(self) -> Any:
        return _value(self).device

    def dim(self) -> Any:
        return _value(self).dim()

    def size(self, *axes: int) -> Any:
        return _value(self).size(*axes)

    def __len__(self) -> int:
        return len(_value(self))


def _is_torch_layer(cls: type) -> bool:
    """True for torch.nn's own layers; a user's subclass of one has it among its bases."""
    return cls.__module__.startswith("torch.nn.modules.") and cls not in _CONTAINERS


def _value(proxy: fx.Proxy) -> Any:
    return cast(_Tracer, proxy.tracer).values[proxy.node]


class _Tracer(fx.Tracer):
    """fx's tracer with our leaves and the example's values beside the nodes."""

    def __init__(self, example: torch.Tensor) -> None:
        super().__init__()
        self.example = example
        self.values: dict[fx.Node, Any] = {}
        self.scopes: dict[fx.Node, str] = {}
        self.running = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Neurons and the layers we translate are not looked into; containers are."""
        return is_neuron(m) or any(_is_torch_layer(cls) for cls in type(m).__mro__)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return cast(fx.Proxy, _ShapedProxy(node, self))

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> fx.Proxy:
        proxy = cast(fx.Proxy, super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn))
        node = proxy.node
        stack = node.meta.get("nn_module_stack") or {}
        self.scopes[node] = list(stack.values())[-1][0] if stack else ""
        self.running = self._describe(node)
        self.values[node] = self._execute(node)
        return proxy

    def _describe(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"module {node.target!r}"
        name = getattr(node.target, "__name__", str(node.target))
        scope = self.scopes[node]
        return f"operation {name!r} in {f'module {scope!r}' if scope else 'the forward of the exported module'}"

    def _execute(self, node: fx.Node) -> Any:
        args = fx.node.map_arg(node.args, lambda n: self.values[n])
        kwargs = fx.node.map_arg(node.kwargs, lambda n: self.values[n])
        if node.op == "placeholder":
            # The first argument is the example; others keep their default.
            return self.example if len(self.values) == 0 else next(iter(node.args), None)
        if node.op == "get_attr":
            return _attribute(self.root, str(node.target))
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            if is_neuron(module):
                return torch.zeros_like(args[0])
            with _untraced():
                return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return cast(Callable[..., Any], node.target)(*args, **kwargs)


@contextmanager
def _untraced() -> Iterator[None]:
    """Modules behave as outside of tracing: fx replaces these two methods of all modules while it traces."""
    traced = (nn.Module.__call__, nn.Module.__getattr__)
    setattr(nn.Module, "__call__", _MODULE_CALL)  # noqa: B010 - a plain assignment is no assignment to a method for mypy
    setattr(nn.Module, "__getattr__", _MODULE_GETATTR)  # noqa: B010
    try:
        yield
    finally:
        setattr(nn.Module, "__call__", traced[0])  # noqa: B010
        setattr(nn.Module, "__getattr__", traced[1])  # noqa: B010


def _attribute(root: nn.Module, path: str) -> Any:
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part)
    return value


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


def _check_example(example: torch.Tensor, input_bits: int) -> None:
    if input_bits == 0:
        other = example[(example != 0) & (example != 1)]
        if other.numel():
            raise ExportError(
                f"The input holds {float(other.flatten()[0])!r}; a binary network takes 0/1 events only. "
                "Bin the input to 0/1, or export with input_bits=N for integers of N bits, sign included."
            )
        return
    limit = 1 << (input_bits - 1)
    if not 2 <= input_bits <= MESSAGE_BITS_MAX:
        raise ExportError(f"input_bits is {input_bits}, the limit is 2..{MESSAGE_BITS_MAX}, or 0 for 0/1 events.")
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
    sample = torch.as_tensor(np.asarray(example)) if not isinstance(example, torch.Tensor) else example.detach()
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is not None:
        sample = sample.to(dtype=parameter.dtype, device=parameter.device)
    shape = example_shape(sample)
    _check_example(sample, input_bits)
    if is_neuron(module):
        raise ExportError("The exported module is itself a neuron; wrap it with the layer that feeds it.")
    if any(_is_torch_layer(cls) for cls in type(module).__mro__):
        module = nn.Sequential(module)
    tracer = _Tracer(sample)
    with evaluating(module), torch.no_grad():
        try:
            graph = tracer.trace(module)
        except _USER_CODE_ERRORS as error:
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
    sample = torch.as_tensor(np.asarray(example)) if not isinstance(example, torch.Tensor) else example.detach()
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
            returned = twin(sample.double().cpu())
    except _USER_CODE_ERRORS as error:
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


def _translate(tracer: _Tracer, graph: fx.Graph, shape: Shape, input_bits: int) -> FloatGraph:
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
                    f"{tracer._describe(node).capitalize()} makes a {type(tracer.values[node]).__name__}, not a tensor; "
                    "a layer passes one tensor on. Read channels through a 1x1 convolution instead of splitting."
                )
            continue
        wired[node] = translator.translate(_call(tracer, node, wired))
    return FloatGraph(nodes=live_nodes(translator.nodes))


def _call(tracer: _Tracer, node: fx.Node, wired: dict[fx.Node, str]) -> Call:
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
        described=tracer._describe(node),
    )


def _outputs(tracer: _Tracer, translator: Translator, returned: Any, wired: dict[fx.Node, str]) -> None:
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
                f"Output {name!r} has the name of another population; rename the key in what forward returns."
            )
        source = translator.by_id[wired[value]]
        translator.add(OutputNode(id=name, shape=source.shape, source=source.source, inputs=(source.id,)))
    if not any(isinstance(node, OutputNode) for node in translator.nodes):
        raise ExportError(f"The forward of {type(tracer.root).__name__} returns no tensor; return what is to be read.")


def _named(returned: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Output names: dictionary keys, tuple fields or positions (`output0`, `output1`), `output` for a single tensor."""
    prefix = "" if name == "output" else f"{name}."
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
