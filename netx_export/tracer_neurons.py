"""Which torch modules are neurons: those that offer `neuron_spec()`, and those of registered classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from netx_export.errors import ExportError, GraphError
from netx_export.graph import FloatLif

SpecFunction = Callable[[Any], FloatLif]

USER_CODE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What a user's code may raise while it is traced; each becomes one clear error."""

_REGISTERED: dict[type[nn.Module], SpecFunction] = {}


def register_neuron(cls: type[nn.Module], spec_function: SpecFunction) -> None:
    """Treat modules of `cls` as neurons; `spec_function(module)` returns their FloatLif. Raises ExportError if taken."""
    if cls in _REGISTERED:
        raise ExportError(f"Neuron class {cls.__name__!r} is already registered; register each class once.")
    _REGISTERED[cls] = spec_function


def neuron_spec_of(module: nn.Module, path: str) -> FloatLif | None:
    """The FloatLif that `module` stands for, or None when it is no neuron. Raises ExportError for other answers."""
    if not is_neuron(module):
        return None
    registered = next((_REGISTERED[cls] for cls in type(module).__mro__ if cls in _REGISTERED), None)
    try:
        spec = registered(module) if registered is not None else cast(Any, module).neuron_spec()
    except USER_CODE_ERRORS as error:
        raise ExportError(
            f"Neuron {path!r} ({type(module).__name__}) could not describe itself: {type(error).__name__}: {error}. Its "
            "neuron_spec() must return a FloatLif."
        ) from error
    except GraphError as error:
        raise ExportError(f"Neuron {path!r} ({type(module).__name__}): {error}") from error
    if not isinstance(spec, FloatLif):
        raise ExportError(
            f"Neuron {path!r} ({type(module).__name__}) describes itself as {type(spec).__name__}; the exporter knows "
            "FloatLif (leaky integrate-and-fire, hard reset to zero). Use such a neuron, or register one for this class."
        )
    return spec


def is_neuron(module: nn.Module) -> bool:
    """True when `module` offers `neuron_spec()` or its class was registered."""
    return callable(getattr(module, "neuron_spec", None)) or any(cls in _REGISTERED for cls in type(module).__mro__)


__all__ = ["USER_CODE_ERRORS", "is_neuron", "neuron_spec_of", "register_neuron"]
