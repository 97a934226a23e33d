"""What torch's layers and functions are told, as plain numbers and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from netx_export.errors import ExportError
from netx_export.float_graph import FloatArray
from netx_export.graph import Pair


def array(tensor: Any) -> FloatArray:
    """The values of a tensor, float64."""
    return cast(FloatArray, tensor.detach().to(device="cpu", dtype=torch.float64).numpy())


def pair(value: Any) -> Pair:
    """(vertical, horizontal) of a number or a pair."""
    if isinstance(value, Sequence):
        return (int(value[0]), int(value[-1]))
    return (int(value), int(value))


def conv_padding(layer: nn.Conv2d, path: str) -> Pair:
    """Padding per side, with words resolved. Raises ExportError for one that differs from side to side."""
    if layer.padding == "valid":
        return (0, 0)
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(pair(layer.dilation), pair(layer.kernel_size), strict=True)]
        if any(extent % 2 for extent in total):
            raise ExportError(
                f"Convolution {path!r} pads 'same' with an even kernel, more on one side than on the other; use an odd kernel."
            )
        return (total[0] // 2, total[1] // 2)
    return pair(layer.padding)


def is_whole(factor: Any) -> bool:
    """True when a scale factor, or each of several, is a whole number or not given."""
    factors = factor if isinstance(factor, Sequence) else (factor,)
    return all(value is None or float(value).is_integer() for value in factors)


def shown(value: Any) -> str:
    """A constant, for messages."""
    return f"a constant of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


def is_scalar(value: Any) -> bool:
    """True for one number."""
    return isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)
