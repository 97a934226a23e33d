"""A spiking detector and an event classifier made of lava-dl's cuba blocks.

Each block delays its spikes by one step, in training as on hardware. So a recording is one silent step (the one that
neurons on hardware run before data arrives), the window's steps, and silence until the last block has answered.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netx_export.errors import NotInstalledError
from netx_export.slayer.states import reset_states

BEFORE = 1
"""Silent steps before the window."""

_INITIAL_HEATMAP = -2.1875
_INITIAL_OFFSET = 0.5
"""CenterNet's initial outputs, in multiples of 1/64 so that they are integers on hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronSettings:
    """What all neurons of a network share; thresholds and decays are SLAYER's, tau_grad and scale_grad its surrogate's.

    lava-dl multiplies them: ds/dv = scale_grad/20/w * exp(-|v - threshold|/w), w = 100 * tau_grad * threshold. The values
    make w the threshold and the slope there 0.6; with those of lava-dl's examples (0.1, 1) it is 0.01, and of the loss
    nothing reaches the first of eight layers.
    """

    threshold: float = 0.5
    current_decay: float = 0.75
    voltage_decay: float = 0.25
    tau_grad: float = 0.01
    scale_grad: float = 6.0


def slayer_library() -> Any:
    """lava-dl's slayer module; NotInstalledError where it is not there. It prints on import, which is kept quiet."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import lava.lib.dl.slayer as slayer
    except ImportError as error:
        raise NotInstalledError(
            f"SLAYER networks need lava-dl, which cannot be imported here ({error}): install Basalt with its slayer extra, "
            "on Python 3.10."
        ) from None
    return slayer


class _Blocks:
    """Makes cuba blocks with the network's neurons and a mean-only norm of the right width."""

    def __init__(self, settings: NeuronSettings) -> None:
        self._slayer = slayer_library()
        self._settings = settings

    def neuron(self, width: int) -> dict[str, Any]:
        norm = self._slayer.neuron.norm.MeanOnlyBatchNorm
        return {
            "threshold": self._settings.threshold,
            "current_decay": self._settings.current_decay,
            "voltage_decay": self._settings.voltage_decay,
            "tau_grad": self._settings.tau_grad,
            "scale_grad": self._settings.scale_grad,
            "norm": lambda: norm(num_features=width),
        }

    def conv(self, channels: int, width: int, kernel: int, *, stride: int = 1, scale: float = 2.0) -> nn.Module:
        block: nn.Module = self._slayer.block.cuba.Conv(
            self.neuron(width), channels, width, kernel, stride=stride, padding=kernel // 2, weight_scale=scale
        )
        return block

    def up(self, channels: int, width: int, *, scale: float = 3.0) -> nn.Module:
        block: nn.Module = self._slayer.block.cuba.ConvT(
            self.neuron(width), channels, width, 2, stride=2, weight_scale=scale
        )
        return block

    def dense(self, count: int, width: int, *, delay: bool = False, scale: float = 2.0) -> nn.Module:
        block: nn.Module = self._slayer.block.cuba.Dense(
            self.neuron(width), count, width, weight_scale=scale, delay=delay
        )
        return block

    def recurrent(self, count: int, width: int, *, scale: float = 2.0) -> nn.Module:
        # No norm: lava-dl runs these neurons step by step, so it would take the mean of each step alone in training.
        neuron = {**self.neuron(width), "norm": None}
        block: nn.Module = self._slayer.block.cuba.Recurrent(neuron, count, width, weight_scale=scale)
        return block

    def flatten(self) -> nn.Module:
        block: nn.Module = self._slayer.block.cuba.Flatten()
        return block

    def readout(self, channels: int, width: int, like: Any) -> nn.Module:
        synapse: nn.Module = self._slayer.synapse.Conv(channels, width, 1, pre_hook_fx=like.neuron.quantize_8bit)
        return synapse


class SlayerDetector(nn.Module):
    """CenterNet's heads on cuba blocks: (B,4,64,80,T) of 0/1 -> heatmap, offset and size (B,C,16,20,T), currents.

    Three skips join by concatenation; two spiking heads, one for classes and one for boxes, are read through synapses.
    """

    LATENCY = 7
    """Steps from a spike of the input to the outputs."""

    def __init__(self, settings: NeuronSettings | None = None, *, channels: int = 4, classes: int = 2) -> None:
        super().__init__()
        make = _Blocks(settings or NeuronSettings())
        self.stem = make.conv(channels, 12, 5, stride=2, scale=3.0)
        self.fine = make.conv(12, 24, 3, stride=2)
        self.coarse = make.conv(24, 32, 3, stride=2)
        self.deep = make.conv(32, 32, 3)
        self.wide = make.up(64, 24)
        self.joined = make.conv(48, 32, 3)
        self.classes = make.conv(32, 24, 3)
        self.boxes = make.conv(56, 24, 3)
        self.heatmap = make.readout(24, classes, self.classes)
        self.offset = make.readout(24, 2, self.boxes)
        self.size = make.readout(24, 2, self.boxes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Currents of the heads at every step."""
        fine = self.fine(self.stem(x))
        coarse = self.coarse(fine)
        deep = self.deep(coarse)
        wide = self.wide(torch.cat([deep, coarse], 1))
        joined = self.joined(torch.cat([wide, fine], 1))
        classes = self.classes(joined)
        boxes = self.boxes(torch.cat([joined, fine], 1))
        return {
            "heatmap": self.heatmap(classes) + _INITIAL_HEATMAP,
            "offset": self.offset(boxes) + _INITIAL_OFFSET,
            "size": self.size(boxes) + 0.0,
        }


class EventClassifier(nn.Module):
    """Crops (B,2,24,24,T) of 0/1 -> spikes (B,classes*VOTERS,T): lava-dl's usual list of blocks.

    A dense block with learned axonal delays feeds a recurrent block. Classes are told by the most spikes.
    """

    LATENCY = 5
    VOTERS = 4
    """Output neurons per class."""

    def __init__(self, settings: NeuronSettings | None = None, *, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        make = _Blocks(settings or NeuronSettings())
        self.blocks = nn.ModuleList(
            [
                make.conv(channels, 12, 5, stride=2, scale=3.0),
                make.conv(12, 16, 3, stride=2),
                make.flatten(),
                make.dense(16 * 6 * 6, 48, delay=True),
                make.recurrent(48, 48),
                make.dense(48, classes * self.VOTERS),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of the last block at every step."""
        for block in self.blocks:
            x = block(x)
        return x

    @classmethod
    def votes(cls, spikes: Tensor) -> Tensor:
        """Spikes per class, (B,classes), of (B,classes*VOTERS,T)."""
        counts: Tensor = spikes.sum(-1).reshape(spikes.shape[0], -1, cls.VOTERS).sum(-1)
        return counts


def shaped(module: nn.Module, example: Tensor) -> nn.Module:
    """`module` after a forward on silence: lava-dl makes the tensors of delays and states only then."""
    was_training = module.training
    module.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module(example)
    reset_states(module)
    module.train(was_training)
    return module


__all__ = ["BEFORE", "EventClassifier", "NeuronSettings", "SlayerDetector", "shaped", "slayer_library"]
