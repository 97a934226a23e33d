"""Torch modules that the exporter's tests trace: a neuron of their own, layers over time, small networks."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from netx_export.graph import FloatLif  # noqa: E402


class Neuron(nn.Module):
    """A PLIF over (T,B,...), written as plainly as possible."""

    def __init__(self, k: float = 0.5, threshold: float = 1.0) -> None:
        super().__init__()
        self.k = k
        self.threshold = threshold

    def forward(self, x: Any) -> Any:
        v = torch.zeros_like(x[0])
        sent = []
        for current in x:
            v = v + self.k * (current - v)
            spike = (v >= self.threshold).to(x.dtype)
            v = v * (1 - spike)
            sent.append(spike)
        return torch.stack(sent)

    def neuron_spec(self) -> FloatLif:
        return FloatLif(leak=1.0 - self.k, gain=self.k, threshold=self.threshold)


class Integrator(Neuron):
    """No leak, gain 1."""

    def forward(self, x: Any) -> Any:
        v = torch.zeros_like(x[0])
        sent = []
        for current in x:
            v = v + current
            spike = (v >= self.threshold).to(x.dtype)
            v = v * (1 - spike)
            sent.append(spike)
        return torch.stack(sent)

    def neuron_spec(self) -> FloatLif:
        return FloatLif(leak=1.0, gain=1.0, threshold=self.threshold)


def _over_time(kind: Any) -> Any:
    class OverTime(kind):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    OverTime.__name__ = kind.__name__
    return OverTime


Conv = _over_time(nn.Conv2d)
Norm = _over_time(nn.BatchNorm2d)
Pool = _over_time(nn.MaxPool2d)
Average = _over_time(nn.AvgPool2d)
Up = _over_time(nn.Upsample)


class Function(nn.Module):
    """Named modules and a forward given as a function of (modules, x)."""

    def __init__(self, forward: Any, **modules: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        return self.body(self, x)


def wake(module: nn.Module, seed: int = 0, gain: float = 3.0) -> nn.Module:
    """Random weights and statistics with which spikes are neither rare nor constant."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            fan = part.weight[0].numel()
            part.weight.data = torch.randn(part.weight.shape, generator=generator) * gain / math.sqrt(fan)
            if part.bias is not None:
                part.bias.data = torch.randn(part.bias.shape, generator=generator) * 0.3
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.running_mean.normal_(0.0, 0.2, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
            part.weight.data.uniform_(0.8, 1.8, generator=generator)
            part.bias.data.normal_(0.0, 0.3, generator=generator)
    return module.eval()


def events(shape: tuple[int, ...], seed: int = 1, density: float = 0.3) -> Any:
    """0/1 input (T,B,C,H,W)."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < density).float()


def skip_network() -> nn.Module:
    """A small U-shaped network with everything that dissolves: pool, concat, upsampling, depthwise + pointwise."""

    def forward(m: Any, x: Any) -> Any:
        stem = m.pool(m.spike0(m.norm0(m.conv0(x))))
        deep = m.spike1(m.norm1(m.conv1(stem)))
        joined = torch.cat([m.up(deep), stem], dim=2)
        hidden = m.spike2(m.norm2(m.expand(joined)))
        mixed = m.spike3(m.norm4(m.project(m.norm3(m.depthwise(hidden)))))
        return {"heat": m.heat(mixed), "size": m.size(mixed)}

    return wake(
        Function(
            forward,
            conv0=Conv(2, 6, 3, padding=1, bias=False),
            norm0=Norm(6),
            spike0=Neuron(),
            pool=Pool(3, 2, 1),
            conv1=Conv(6, 8, 3, stride=2, padding=1, bias=False),
            norm1=Norm(8),
            spike1=Neuron(0.6),
            up=Up(scale_factor=2, mode="nearest"),
            expand=Conv(14, 10, 1, bias=False),
            norm2=Norm(10),
            spike2=Neuron(0.4),
            depthwise=Conv(10, 10, 3, padding=1, groups=10, bias=False),
            norm3=Norm(10),
            project=Conv(10, 7, 1, bias=False),
            norm4=Norm(7),
            spike3=Neuron(),
            heat=Conv(7, 2, 1),
            size=Conv(7, 2, 3, padding=1),
        )
    )
