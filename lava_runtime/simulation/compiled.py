"""How the frame kernels are compiled: cached on disk, and made anew when a source of this package or the engine changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from lava_runtime.engine.compiled import compiled as engine_compiled

Function = TypeVar("Function", bound=Callable[..., Any])


def _newest_source() -> tuple[float, int]:
    """Time of the last change and total size of all sources that a frame kernel may hold."""
    here = Path(__file__).parent
    states = [path.stat() for path in sorted([*here.glob("*.py"), *(here.parent / "engine").glob("*.py")])]
    return max(state.st_mtime for state in states), sum(state.st_size for state in states)


_STAMP = _newest_source()


def compiled(function: Function) -> Function:
    """`function` compiled by numba on first use; from the cache afterwards, if a cache folder can be written."""
    dispatcher: Any = engine_compiled(function)
    # numba compares the cache with the file of the outer function alone, but a kernel holds the code of what it calls.
    file = getattr(dispatcher._cache, "_cache_file", None)
    if file is not None:
        file._source_stamp = _STAMP
    return cast(Function, dispatcher)
