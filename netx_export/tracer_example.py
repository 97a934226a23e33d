"""torch.fx's tracer with our leaves, run on an example: every node has its value beside it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, cast

import torch
from torch import fx, nn

from netx_export.errors import ExportError
from netx_export.tracer_layers import check_hooks
from netx_export.tracer_neurons import is_neuron

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)

_MODULE_CALL = nn.Module.__call__


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

    # Without these Python would turn `y += x` into `y = y + x`, which leaves other names of the same tensor as they were.
    def __iadd__(self, other: Any) -> Any:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(operator.itruediv, other)

    def _in_place(self, operation: Callable[[Any, Any], Any], other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})


def _value(proxy: fx.Proxy) -> Any:
    return cast(ExampleTracer, proxy.tracer).values[proxy.node]


def is_torch_layer(module: nn.Module) -> bool:
    """True for torch.nn's own layers and a user's subclasses of them; containers are none."""
    return any(
        cls.__module__.startswith("torch.nn.modules.") and cls not in _CONTAINERS for cls in type(module).__mro__
    )


class ExampleTracer(fx.Tracer):
    """Traces and runs at once. `values` and `scopes` (module paths) by node; `running` says what was reached last."""

    def __init__(self, example: torch.Tensor) -> None:
        super().__init__()
        self.example = example
        self.values: dict[fx.Node, Any] = {}
        self.scopes: dict[fx.Node, str] = {}
        self.running = ""
        self._overwritten: dict[fx.Node, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Neurons and the layers we translate are not looked into; containers are."""
        return is_neuron(m) or is_torch_layer(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return cast(fx.Proxy, _ShapedProxy(node, self))

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters and buffers are constants of the network: code may compute with them freely."""
        return attr_val

    def create_arg(self, a: Any) -> Any:
        """Constants get a value as all nodes do; fx would make a node without one, and store it in the user's module."""
        if isinstance(a, torch.Tensor):
            node = self.create_node("get_attr", "constant", (), {})
            self.values[node] = a
            return node
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return type(a)(*(self.create_arg(value) for value in a))
        if is_dataclass(a) and not isinstance(a, type):
            return {field.name: self.create_arg(getattr(a, field.name)) for field in fields(a)}
        return super().create_arg(a)

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **options: Any) -> fx.Node:
        """A node; raises ExportError when it reads what another operation has overwritten."""
        node = cast(fx.Node, super().create_node(kind, target, args, kwargs, *rest, **options))
        for source in node.all_input_nodes:
            if source in self._overwritten:
                raise ExportError(
                    f"{self._overwritten[source]} changes its operand in place, and {source.name!r}, which shares that "
                    f"memory, is read again by {node.name!r}; in the network each wire has one value. Assign the "
                    "result of an operation that is not in place (y = y + x)."
                )
        return node

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
        self.running = self.describe(node)
        read = [self.values[source] for source in node.all_input_nodes]
        versions = [_version(value) for value in read]
        result = self._execute(node)
        for value, version in zip(read, versions, strict=True):
            if _version(value) != version:
                self._overwrite(value, node)
        self.values[node] = result
        return proxy

    def _overwrite(self, changed: torch.Tensor, by: fx.Node) -> None:
        """Mark every earlier node whose memory `by` wrote into."""
        place = changed.untyped_storage().data_ptr()
        for node, value in self.values.items():
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() == place:
                self._overwritten[node] = _capital(self.describe(by))

    def describe(self, node: fx.Node) -> str:
        """The module or operation that `node` calls, for messages."""
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
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            if is_neuron(module):
                current = self.values[node.all_input_nodes[0]]
                check_hooks(module, f"Neuron {node.target!r}", current)
                return torch.zeros_like(current)
            with _untraced():
                return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return cast(Callable[..., Any], node.target)(*args, **kwargs)


def _version(value: Any) -> int:
    """How often a tensor was written to; tensors of the inference mode do not count, and cannot be written to here."""
    return value._version if isinstance(value, torch.Tensor) and not value.is_inference() else 0


@contextmanager
def _untraced() -> Iterator[None]:
    """Modules behave as outside of tracing: fx replaces this method of all modules while it traces."""
    traced = nn.Module.__call__
    setattr(nn.Module, "__call__", _MODULE_CALL)  # noqa: B010 - a plain assignment is no assignment to a method for mypy
    try:
        yield
    finally:
        setattr(nn.Module, "__call__", traced)  # noqa: B010


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


__all__ = ["ExampleTracer", "is_torch_layer"]
