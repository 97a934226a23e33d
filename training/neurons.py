"""Spiking neurons with surrogate gradients: the parametric leaky integrate-and-fire neuron (PLIF).

Training on a CPU spends more time in the neurons than in the convolutions when every step is a chain of tensor
operations. So the CPU path runs all steps of a block of neurons in one compiled loop and keeps only H for the way back:
the spikes, the voltages before and after the reset and the input all follow from it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from netx_export.errors import ConfigError
from netx_export.graph.neurons import FloatLif
from training import plif_kernels

THRESHOLD = 1.0
SURROGATE_ALPHA = 2.0


class Plif(nn.Module):
    """Parametric LIF over all time steps: (T,B,C,H,W) -> spikes 0/1 of the same shape.

    H[t] = V[t-1] + k*(X[t] - V[t-1]),  k = sigmoid(w);  S[t] = H[t] >= 1;  V[t] = 0 where S[t], else H[t]

    k is one learnable number per layer, V[-1] = 0 for every sample. The reset is hard and detached, the derivative of
    the step is that of ATan(2): 1 / (1 + (pi*(H-1))^2). Source: Fang et al. 2021 (PLIF); Spiking CenterNet, section III.
    """

    def __init__(self, initial_k: float = 0.5) -> None:
        """Start with the decay k = `initial_k`, 0 < k < 1; raises ConfigError outside."""
        super().__init__()
        if not 0.0 < initial_k < 1.0:
            raise ConfigError(f"Plif: initial_k = {initial_k}; it must lie between 0 and 1, both excluded")
        self.w = nn.Parameter(torch.tensor(math.log(initial_k / (1.0 - initial_k))))

    @property
    def k(self) -> float:
        """The decay sigmoid(w)."""
        return float(torch.sigmoid(self.w.detach().double()))

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (T,B,C,H,W) for currents (T,B,C,H,W); raises ConfigError for any other number of axes."""
        if x.dim() != 5:
            raise ConfigError(f"Plif: input has shape {tuple(x.shape)}; give (T,B,C,H,W)")
        k = torch.sigmoid(self.w)
        if x.device.type == "cpu" and x.dtype == torch.float32:
            spikes: Tensor = _CompiledPlif.apply(x, k)  # type: ignore[no-untyped-call]
            return spikes
        return plif_steps(x, k)

    def neuron_spec(self) -> FloatLif:
        """The neuron as the exporter sees it: leak 1 - k, gain k, threshold 1, hard reset."""
        return FloatLif(leak=1.0 - self.k, gain=self.k, threshold=THRESHOLD)

    def extra_repr(self) -> str:
        """k, for print(module)."""
        return f"k={self.k:.4f}"


def plif_steps(x: Tensor, k: Tensor) -> Tensor:
    """The same neuron step by step in tensor operations, for any device and type: (T, ...) -> (T, ...)."""
    v = torch.zeros_like(x[0])
    spikes = []
    for current in x:
        h = v + k * (current - v)
        spike = atan_spike(h)
        v = h * (1.0 - spike.detach())
        spikes.append(spike)
    return torch.stack(spikes)


def atan_spike(h: Tensor) -> Tensor:
    """1 where h >= 1, else 0; backward multiplies by 1 / (1 + (pi*(h-1))^2)."""
    spikes: Tensor = _AtanSpike.apply(h)  # type: ignore[no-untyped-call]
    return spikes


class _AtanSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        ctx.save_for_backward(h)
        spikes: Tensor = (h >= THRESHOLD).to(h.dtype)
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        slope = SURROGATE_ALPHA / 2 / (1.0 + (math.pi * SURROGATE_ALPHA / 2 * (h - THRESHOLD)) ** 2)
        to_h: Tensor = gradient * slope
        return to_h


class _CompiledPlif(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor) -> Tensor:
        x = dense(x)
        h, spikes = torch.empty_like(x), torch.empty_like(x)
        plif_kernels.forward(_rows(x), np.float32(k.item()), _rows(h), _rows(spikes))
        ctx.save_for_backward(h, k)
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        h, k = ctx.saved_tensors
        upstream = _like(gradient, h)
        to_input = torch.empty_like(h)
        to_k = plif_kernels.backward(_rows(upstream), _rows(h), np.float32(k.item()), _rows(to_input))
        return to_input, torch.tensor(to_k, dtype=k.dtype)


def dense(x: Tensor) -> Tensor:
    """`x` (T,B,C,H,W) without gaps between its elements: as it is when channels come last or it is contiguous."""
    return x if x.is_contiguous() or x.permute(0, 1, 3, 4, 2).is_contiguous() else x.contiguous()


def _like(x: Tensor, pattern: Tensor) -> Tensor:
    """`x` in the memory order of `pattern`."""
    return x if x.stride() == pattern.stride() else torch.empty_like(pattern).copy_(x)


def _rows(x: Tensor) -> npt.NDArray[np.float32]:
    """The memory of a dense (T,B,C,H,W) tensor as (T, B*C*H*W), in the order in which it lies."""
    flat = x if x.is_contiguous() else x.permute(0, 1, 3, 4, 2)
    rows: npt.NDArray[np.float32] = flat.detach().view(x.shape[0], -1).numpy()
    return rows


__all__ = ["SURROGATE_ALPHA", "THRESHOLD", "Plif", "atan_spike", "dense", "plif_steps"]
