"""Arrays inside frozen types: copied once, read-only, shared afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import GraphError


def frozen_int_array(value: Any, dtype: type[np.signedinteger[Any]], what: str) -> npt.NDArray[Any]:
    """A read-only C-ordered copy of `value` as integers of `dtype`.

    Raises GraphError when `value` holds fractions or integers that `dtype` cannot hold.
    """
    array = np.asarray(value)
    if (
        isinstance(value, np.ndarray)
        and value.dtype == dtype
        and not value.flags.writeable
        and value.flags.c_contiguous
    ):
        return value
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and bool(np.all(array == np.floor(array)))):
        raise GraphError(f"{what}: values must be integers, found dtype {array.dtype}; quantise first.")
    info = np.iinfo(dtype)
    if array.size and (array.min() < info.min or array.max() > info.max):
        raise GraphError(
            f"{what}: values reach from {array.min()} to {array.max()}, the limit is {info.min}..{info.max}; "
            "use a larger exponent."
        )
    copy = np.array(array, dtype=dtype, order="C", copy=True)
    copy.flags.writeable = False
    return copy
