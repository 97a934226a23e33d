"""Spiking CenterNet: event windows in, heat maps of object centres, offsets and sizes out, binary spikes in between.

The encoder is a ResNet without its residual additions, the decoder M2U-Net's with nearest upsampling; every skip joins
binary spikes by concatenation. Module names become the names of populations in files and reports.
Source: Bodden et al. 2024, Spiking CenterNet (arXiv 2402.01287); M2U-Net (Laibacher et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netx_export.errors import ConfigError
from training.config import CenterNetConfig
from training.layers import BatchNorm2d, Conv2d, MaxPool2d, Upsample
from training.neurons import Plif

OUTPUTS = ("heatmap", "offset", "size")
"""Names of the heads, in the order of the outputs."""


class SpikingCenterNet(nn.Module):
    """Spiking CenterNet at stride 4.

    Input (T,B,C,H,W) of 0/1, H and W multiples of `config.stride`; any other raises ConfigError. Output, real-valued
    at every step:
    `heatmap` (T,B,classes,H/4,W/4) logits, `offset` (T,B,2,H/4,W/4) x and y of the centre inside its cell,
    `size` (T,B,2,H/4,W/4) logarithms of width and height in cells. Decoding averages over T.
    """

    def __init__(self, config: CenterNetConfig) -> None:
        """Build the network with fresh weights (Kaiming uniform; heads N(0, 1e-3), from torch's global generator)."""
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.heads = nn.ModuleDict(
            {
                "heatmap": _head(config, self.decoder.channels, config.classes, config.heatmap_bias),
                "offset": _head(config, self.decoder.channels, 2, config.offset_bias),
                "size": _head(config, self.decoder.channels, 2, config.size_bias),
            }
        )
        # A hook, because a tracer records what forward does, and it should record layers alone.
        self.register_forward_pre_hook(_check_input)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs per time step, (T,B,C,H,W) -> {"heatmap", "offset", "size"}."""
        features = self.decoder(self.encoder(x))
        return {name: self.heads[name](features) for name in OUTPUTS}


class Encoder(nn.Module):
    """Stem and stages; returns the spikes of every stage, finest first."""

    def __init__(self, config: CenterNetConfig) -> None:
        super().__init__()
        kernel = config.stem_kernel
        self.stem = nn.Sequential()
        self.stem.add_module(
            "conv",
            _conv(config.in_channels, config.stem_channels, kernel, stride=2, padding=kernel // 2),
        )
        self.stem.add_module("norm", BatchNorm2d(config.stem_channels))
        self.stem.add_module("spike", Plif(config.initial_k))
        # Among 0/1 spikes the maximum is a logical OR, so what it gives is spikes again.
        self.stem.add_module("pool", MaxPool2d(kernel_size=3, stride=2, padding=1))
        self.count = len(config.stages)
        channels = config.stem_channels
        for number, width in enumerate(config.stages, 1):
            self.add_module(f"stage{number}", _stage(config, channels, width, first_stride=1 if number == 1 else 2))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """(T,B,C,H,W) -> the spikes of stages 1.. at strides 4, 8, ..."""
        x = self.stem(x)
        skips = []
        for number in range(1, self.count + 1):
            x = self.get_submodule(f"stage{number}")(x)
            skips.append(x)
        return skips


class Decoder(nn.Module):
    """One block per skip, coarsest first, up to stride 4; `channels` is the width of what it gives."""

    def __init__(self, config: CenterNetConfig) -> None:
        super().__init__()
        channels = config.stages[-1]
        self.count = len(config.stages) - 1
        for number, skip in enumerate(reversed(config.stages[:-1]), 1):
            block = DecoderBlock(config, channels, skip)
            self.add_module(f"block{number}", block)
            channels = block.channels
        self.channels = channels

    def forward(self, skips: list[Tensor]) -> Tensor:
        """The encoder's spikes, finest first -> (T,B,channels,H/4,W/4)."""
        x = skips[-1]
        for number in range(1, self.count + 1):
            x = self.get_submodule(f"block{number}")(x, skips[-1 - number])
        return x


class DecoderBlock(nn.Module):
    """Upsample, join the skip, then pointwise - PLIF - depthwise - pointwise - PLIF.

    No neuron stands between depthwise and second pointwise convolution, so both are one convolution at deployment.
    """

    def __init__(self, config: CenterNetConfig, below: int, skip: int) -> None:
        super().__init__()
        joined = below + skip
        hidden = round(joined * config.expansion)
        self.channels = joined // 2
        self.upsample = Upsample(2)
        self.expand = _conv(joined, hidden, 1)
        self.expand_norm = BatchNorm2d(hidden)
        self.expand_spike = Plif(config.initial_k)
        self.depthwise = _conv(hidden, hidden, 3, padding=1, groups=hidden)
        self.depthwise_norm = BatchNorm2d(hidden)
        self.project = _conv(hidden, self.channels, 1)
        self.project_norm = BatchNorm2d(self.channels)
        self.project_spike = Plif(config.initial_k)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(T,B,below,h,w) and (T,B,skip,2h,2w) -> (T,B,channels,2h,2w)."""
        joined = torch.cat([self.upsample(x), skip], dim=2)
        hidden = self.expand_spike(self.expand_norm(self.expand(joined)))
        mixed = self.project(self.depthwise_norm(self.depthwise(hidden)))
        spikes: Tensor = self.project_spike(self.project_norm(mixed))
        return spikes


def _check_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raise ConfigError unless the input is (T,B,C,H,W) with the right channels and a grid the strides divide."""
    config = module.config
    if not isinstance(config, CenterNetConfig):
        raise ConfigError(f"Spiking CenterNet: its config is a {type(config).__name__}; give a CenterNetConfig")
    shape = tuple(inputs[0].shape)
    if len(shape) != 5 or shape[2] != config.in_channels or shape[3] % config.stride or shape[4] % config.stride:
        raise ConfigError(
            f"Spiking CenterNet: input has shape {shape}; give (T,B,{config.in_channels},H,W) with H and W multiples "
            f"of {config.stride}"
        )


def _stage(config: CenterNetConfig, channels: int, width: int, *, first_stride: int) -> nn.Sequential:
    stage = nn.Sequential()
    for number in range(1, config.convolutions + 1):
        stride = first_stride if number == 1 else 1
        stage.add_module(f"conv{number}", _conv(channels, width, 3, stride=stride, padding=1))
        stage.add_module(f"norm{number}", BatchNorm2d(width))
        stage.add_module(f"spike{number}", Plif(config.initial_k))
        channels = width
    return stage


def _head(config: CenterNetConfig, channels: int, outputs: int, bias: float) -> nn.Sequential:
    head = nn.Sequential()
    head.add_module("conv", _conv(channels, config.head_channels, 3, padding=1, bias=not config.head_norm))
    if config.head_norm:
        head.add_module("norm", BatchNorm2d(config.head_channels))
    head.add_module("spike", Plif(config.initial_k))
    out = Conv2d(config.head_channels, outputs, 1)
    nn.init.normal_(out.weight, std=1e-3)
    _fill_bias(out, bias)
    head.add_module("out", out)
    return head


def _conv(
    channels: int,
    width: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = False,
) -> Conv2d:
    conv = Conv2d(channels, width, kernel, stride=stride, padding=padding, groups=groups, bias=bias)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    if bias:
        _fill_bias(conv, 0.0)
    return conv


def _fill_bias(conv: Conv2d, value: float) -> None:
    if conv.bias is not None:
        nn.init.constant_(conv.bias, value)
