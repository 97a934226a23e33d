"""How the engine's kernels are compiled: without the interpreter lock, cached on disk where a disk allows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import types as numba_types
from numba.extending import intrinsic as numba_intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# numba's own annotations come and go with its versions.
numba_module: Any = numba
types: Any = numba_types
intrinsic: Any = numba_intrinsic
carray: Any = numba_module.carray


def _newest_source() -> tuple[float, int]:
    """Time of the last change and total size of the engine's sources."""
    states = [path.stat() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return max(state.st_mtime for state in states), sum(state.st_size for state in states)


_STAMP = _newest_source()


def compiled(function: Function) -> Function:
    """`function` compiled by numba on first use; from the cache afterwards, if a cache folder can be written."""
    try:
        dispatcher: Any = numba_module.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder it may write to
        return cast(Function, numba_module.njit(nogil=True)(function))
    # numba compares the cache with the file of the outer function alone, but a kernel holds the code of all that
    # it calls: a change anywhere in the engine must make every cached kernel stale.
    dispatcher._cache._cache_file._source_stamp = _STAMP
    return cast(Function, dispatcher)


def _pointer(element: Any) -> Any:
    def typing(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return intrinsic(typing)


int8_pointer: Any = _pointer(types.int8)
int32_pointer: Any = _pointer(types.int32)
int64_pointer: Any = _pointer(types.int64)
"""An int64 address as a pointer, for carray. Such arrays have no owner, so no references are counted in inner loops;
whoever passes the address keeps the memory alive."""


def _fetch_add(typing_context: Any, address: Any, amount: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "monotonic")

    return types.int64(types.int64, types.int64), generate


fetch_add: Any = intrinsic(_fetch_add)
"""fetch_add(address, amount): add to the int64 there in one indivisible step; returns what was there before."""


def inlined(function: Function) -> Function:
    """`function` as part of each kernel that calls it: a call would count references of every array it is handed."""
    return cast(Function, numba_module.njit(inline="always", nogil=True)(function))
