"""How the loops of training are compiled: once for one thread and once for all, and which of the two runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_WORTH_SHARING = 1 << 16
"""Elements of the first array from which waking other threads pays."""


def exact(function: F) -> F:
    """Compile without fused multiply-adds and reordering: the result does not depend on the processor."""
    return _compiled(function, fastmath=False)


def reordered(function: F) -> F:
    """Compile with sums reordered for vector units: the last bits may differ between processors."""
    return _compiled(function, fastmath={"nsz", "reassoc"})


def _compiled(function: F, *, fastmath: Any) -> F:
    alone = _jit(function, fastmath, parallel=False)
    shared = _jit(function, fastmath, parallel=True)

    @wraps(function)
    def call(first: Any, *others: Any) -> Any:
        if first.size < _WORTH_SHARING or numba.get_num_threads() == 1:
            return alone(first, *others)
        return shared(first, *others)

    return cast(F, call)


def _jit(function: Callable[..., Any], fastmath: Any, *, parallel: bool) -> Callable[..., Any]:
    named = FunctionType(function.__code__, function.__globals__, function.__name__)
    # numba's cache on disk tells functions apart by name and line, not by how they were compiled.
    named.__qualname__ = f"{function.__name__}_{'shared' if parallel else 'alone'}_{'fast' if fastmath else 'exact'}"
    named.__module__, named.__doc__ = function.__module__, function.__doc__
    # The numpy model: a division by zero gives an infinity, which the loop reports, instead of a ZeroDivisionError.
    compiled: Callable[..., Any] = numba.njit(
        cache=True, nogil=True, fastmath=fastmath, error_model="numpy", parallel=parallel
    )(named)
    return compiled
