"""Training a SLAYER network: Adam, a cosine of the learning rate, and a batch order drawn from the seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from netx_export.errors import ConfigError
from netx_export.slayer.states import reset_states
from training.config import TrainingConfig
from training.interrupts import deferred_interrupt
from training.losses import centernet_loss, make_targets
from training.slayer.checkpoint import SlayerInfo
from training.slayer.integrator import compiled_integrator
from training.slayer.networks import EventClassifier
from training.slayer.recordings import Crops, with_silence
from training.window_store import WindowStore

LossOf = Callable[[nn.Module, list[int], list[bool]], Tensor]

_VOTE_GAIN = 0.5
"""From a difference of spikes to logits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained network in evaluation mode and its loss per update."""

    module: nn.Module
    losses: npt.NDArray[np.float64]


def detector_loss(windows: WindowStore, info: SlayerInfo) -> LossOf:
    """CenterNet's loss of the time mean of the heads."""
    weights = TrainingConfig()

    def loss(module: nn.Module, numbers: list[int], mirrored: list[bool]) -> Tensor:
        x = with_silence(windows.batch(numbers, mirrored), after=info.after)
        targets = make_targets(windows.batch_boxes(numbers, mirrored), info.task)
        # SLAYER's last step is one that hardware does not run.
        outputs = {name: value[..., :-1].movedim(-1, 0) for name, value in module(x).items()}
        return centernet_loss(outputs, targets, weights).total

    return loss


def classifier_loss(crops: Crops, info: SlayerInfo) -> LossOf:
    """Cross entropy of the spikes per class; classes weigh the same however many crops they have."""
    counts = np.bincount(crops.labels)
    weights = torch.from_numpy(counts.sum() / (len(counts) * np.maximum(counts, 1))).float()

    def loss(module: nn.Module, numbers: list[int], mirrored: list[bool]) -> Tensor:
        cubes = crops.cubes[:, numbers]
        turned = np.where(np.array(mirrored)[None, :, None, None, None], cubes[..., ::-1], cubes)
        spikes = module(with_silence(turned, after=info.after))
        labels = torch.from_numpy(crops.labels[numbers])
        return F.cross_entropy(_VOTE_GAIN * EventClassifier.votes(spikes), labels, weight=weights)

    return loss


def train_slayer(info: SlayerInfo, loss_of: LossOf, count: int, *, progress: bool = False) -> Trained:
    """Train the network of `info` on `count` samples. Raises ConfigError where the loss is no longer finite.

    Ctrl-C ends the update that runs and raises KeyboardInterrupt.
    """
    settings = info.settings
    torch.manual_seed(settings.seed)
    module = info.build().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    losses: list[float] = []
    with (
        compiled_integrator(),
        deferred_interrupt() as stopped,
        tqdm(total=settings.updates, desc=f"training {info.network}", unit="update", disable=not progress) as bar,
    ):
        for number in range(settings.updates):
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(number, settings.updates, settings.learning_rate)
            if number == settings.updates - round(settings.fixed_means * settings.updates):
                _fix_means(module)
            reset_states(module)
            optimiser.zero_grad()
            loss = loss_of(module, *_batch(number, count, settings.batch, settings.seed))
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm))
            if not math.isfinite(norm):
                raise ConfigError(
                    f"training diverged at update {number + 1}: gradient norm {norm}; choose a smaller learning rate"
                )
            optimiser.step()
            losses.append(float(loss.detach()))
            bar.update()
            if number % 10 == 9:
                bar.set_postfix(loss=f"{np.mean(losses[-30:]):.3f}")
            if stopped():
                raise KeyboardInterrupt(f"stopped after update {number + 1} of {settings.updates}; nothing was written")
    reset_states(module)
    return Trained(module=module.eval(), losses=np.array(losses))


def _fix_means(module: nn.Module) -> None:
    """Let lava-dl's norms subtract their running means from now on, as exported biases do, not the means of the batch."""
    for part in module.modules():
        if hasattr(part, "running_mean"):
            setattr(part, "update", False)  # noqa: B010 - lava-dl's switch, unknown to torch's types


def _learning_rate(number: int, updates: int, peak: float) -> float:
    warm = max(1, updates // 10)
    if number < warm:
        return peak * (number + 1) / warm
    return peak * 0.5 * (1.0 + math.cos(math.pi * (number - warm) / max(1, updates - warm)))


def _batch(number: int, count: int, batch: int, seed: int) -> tuple[list[int], list[bool]]:
    """Sample numbers of an update and which are mirrored: every sample once per epoch."""
    numbers, mirrored = [], []
    for place in range(number * batch, (number + 1) * batch):
        epoch, index = divmod(place, count)
        rng = np.random.default_rng([seed, epoch])
        numbers.append(int(rng.permutation(count)[index]))
        mirrored.append(bool((rng.random(count) < 0.5)[index]))
    return numbers, mirrored
