"""How the loops of training are compiled: once for one thread and once for all, and which of the two runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
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
    return _compiled(function, fastmath={"nnan", "ninf", "nsz", "reassoc"})


def _compiled(function: F, *, fastmath: Any) -> F:
    alone = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    shared = numba.njit(cache=True, nogil=True, fastmath=fastmath, parallel=True)(function)

    @wraps(function)
    def call(first: Any, *others: Any) -> Any:
        if first.size < _WORTH_SHARING or numba.get_num_threads() == 1:
            return alone(first, *others)
        return shared(first, *others)

    return cast(F, call)
