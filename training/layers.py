"""torch.nn's own layers over time: they take (T,B,C,H,W), fold T and B together, and give (T,B,C,H,W) back.

They are subclasses, so whoever recognises torch.nn's classes (a tracer, a counter of operations) recognises these.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from netx_export.errors import ConfigError
from training import norm_kernels


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d at every time step: (T,B,C,H,W) -> (T,B,C',H',W')."""

    def forward(self, x: Tensor) -> Tensor:
        return _unfold(super().forward(_fold(x)), x)


class BatchNorm2d(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d with statistics over T, B, H and W: (T,B,C,H,W) -> the same shape.

    Training on a CPU takes compiled loops, which share the work among threads where torch's do not.
    """

    def forward(self, x: Tensor) -> Tensor:
        folded = _fold(x)
        plain = not (self.training and self.affine and self.track_running_stats)
        if plain or x.device.type != "cpu" or x.dtype != torch.float32:
            return _unfold(super().forward(folded), x)
        y, mean, variance = _CompiledNorm.apply(folded, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        self._track(mean, variance, folded.numel() // folded.shape[1])
        return _unfold(y, x)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as torch does: the running variance is the unbiased one."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), share)


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


class _CompiledNorm(torch.autograd.Function):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta over (N,C,H,W), mean and biased variance over N, H and W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty_like(x)
        rows = _flat(x)
        count = rows.size // x.shape[1]
        total, squares = norm_kernels.sums(rows, rows, x.shape[1])
        mean = total / count
        variance = np.maximum(squares / count - mean * mean, 0.0)
        inverse = 1.0 / np.sqrt(variance + eps)
        scale = gamma.detach().double().numpy() * inverse
        shift = beta.detach().double().numpy() - mean * scale
        norm_kernels.scale_shift(rows, scale.astype(np.float32), shift.astype(np.float32), _flat(y))
        ctx.save_for_backward(x, gamma)
        ctx.mean, ctx.inverse = mean, inverse
        statistics = torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(variance.astype(np.float32))
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gamma = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        mean, inverse = ctx.mean, ctx.inverse
        rows, upstream = _flat(x), _flat(gradient)
        count = rows.size // x.shape[1]
        to_beta, weighted = norm_kernels.sums(upstream, rows, x.shape[1])
        # Sum of gradient * normalised x, which is dL/dgamma.
        to_gamma = (weighted - mean * to_beta) * inverse
        a = gamma.detach().double().numpy() * inverse
        b = -a * inverse * to_gamma / count
        c = -a * to_beta / count - b * mean
        to_x = torch.empty_like(x)
        single = np.float32
        norm_kernels.combine(upstream, rows, a.astype(single), b.astype(single), c.astype(single), _flat(to_x))
        return to_x, torch.from_numpy(to_gamma.astype(single)), torch.from_numpy(to_beta.astype(single)), None


def _flat(x: Tensor) -> npt.NDArray[np.float32]:
    """The memory of a channels-last (N,C,H,W) tensor, (N*H*W*C,)."""
    flat: npt.NDArray[np.float32] = x.detach().permute(0, 2, 3, 1).view(-1).numpy()
    return flat


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
