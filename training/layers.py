"""torch.nn's own layers over time: they take (T,B,C,H,W), fold T and B together, and give (T,B,C,H,W) back.

They are subclasses, so whoever recognises torch.nn's classes (a tracer, a counter of operations) recognises these.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from netx_export.errors import ConfigError


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d at every time step: (T,B,C,H,W) -> (T,B,C',H',W')."""

    def forward(self, x: Tensor) -> Tensor:
        return _unfold(super().forward(_fold(x)), x)


class BatchNorm2d(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d with statistics over T, B, H and W: (T,B,C,H,W) -> the same shape."""

    def forward(self, x: Tensor) -> Tensor:
        return _unfold(super().forward(_fold(x)), x)


class MaxPool2d(nn.MaxPool2d):
    """torch.nn.MaxPool2d at every time step; on 0/1 spikes a logical OR: (T,B,C,H,W) -> (T,B,C,H',W')."""

    def forward(self, x: Tensor) -> Tensor:
        return _unfold(cast(Tensor, super().forward(_fold(x))), x)


class Upsample(nn.Upsample):
    """torch.nn.Upsample (nearest) at every time step; spikes stay 0/1: (T,B,C,H,W) -> (T,B,C,f*H,f*W)."""

    def __init__(self, scale_factor: int = 2) -> None:
        super().__init__(scale_factor=scale_factor, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        return _unfold(super().forward(_fold(x)), x)


def _fold(x: Tensor) -> Tensor:
    """(T,B,C,H,W) -> (T*B,C,H,W); raises ConfigError for any other number of axes."""
    if x.dim() != 5:
        raise ConfigError(f"a layer over time got an input of shape {tuple(x.shape)}; give (T,B,C,H,W)")
    return x.flatten(0, 1)


def _unfold(y: Tensor, x: Tensor) -> Tensor:
    return y.view(x.shape[0], x.shape[1], *y.shape[1:])


def channels_last(x: Tensor) -> Tensor:
    """(T,B,C,H,W) with the channels innermost in memory, which convolutions on a CPU prefer."""
    return _unfold(_fold(x).contiguous(memory_format=torch.channels_last), x)
