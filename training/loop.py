"""The training loop: deterministic, interruptible, and resumed to the bit.

The order of windows, their mirroring and the learning rate follow from seed and update number alone, so a run that was
stopped goes on exactly as if it had not been (with the same number of threads and the same libraries).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from netx_export.errors import ConfigError
from training.checkpoints.files import library_versions, save_model
from training.checkpoints.info import CheckpointInfo
from training.checkpoints.resume import read_resume, write_resume
from training.config import Preset, TrainingConfig
from training.curves import COLUMNS, write_curves
from training.flat_parameters import FlatParameters
from training.interrupts import deferred_interrupt
from training.losses import centernet_loss, make_targets
from training.models.spiking_centernet import SpikingCenterNet
from training.training_state import TrainingState
from training.window_store import WindowStore

CHECKPOINT = "model.safetensors"
RESUME = "resume.safetensors"


def train(
    preset: Preset,
    windows: WindowStore,
    folder: str | Path,
    *,
    command: str = "",
    data: str = "generated",
    resume: bool = False,
    stop_after: int | None = None,
    progress: bool = False,
) -> tuple[SpikingCenterNet, CheckpointInfo]:
    """Train a detector; returns it in evaluation mode with its description, and leaves in `folder`:

    `model.safetensors` (the network), `resume.safetensors` (the run, every `checkpoint_every` updates and at the end),
    `curves.csv`, `curves.png`. `resume` goes on from `resume.safetensors`, which must come from the same settings.
    `stop_after` ends this call early, at that update. Ctrl-C ends the update, saves the run and raises
    KeyboardInterrupt that says so. Raises CheckpointError for a run that cannot be resumed and ConfigError for windows
    of another task or losses that are no longer finite.
    """
    folder = Path(folder)
    config = preset.training
    if windows.task != preset.task:
        raise ConfigError(f"windows were binned for {windows.task}, the preset's task is {preset.task}; bin them anew")
    if not len(windows):
        raise ConfigError("there are no windows to train on; give recordings with annotated moments")
    info = describe(preset, command=command, data=data)
    state = start(preset)
    if resume:
        read_resume(folder / RESUME, info, state)
    last = config.updates if stop_after is None else min(stop_after, config.updates)
    order = WindowOrder(len(windows), config)
    state.module.train()
    rows = list(state.history)
    with (
        deferred_interrupt() as stopped,
        tqdm(total=config.updates, initial=state.updates, desc="training", unit="update", disable=not progress) as bar,
    ):
        for number in range(state.updates, last):
            row = update(state, windows, order, number, config)
            rows.append(row)
            bar.update()
            if number % 20 == 19:
                bar.set_postfix(loss=f"{np.mean([recent[0] for recent in rows[-50:]]):.3f}")
            done = number + 1
            if done % config.checkpoint_every == 0 or done == last or stopped():
                state.history = np.array(rows)
                write_resume(folder / RESUME, dataclasses.replace(info, updates=done), state)
                write_curves(folder, state.history)
            if stopped():
                raise KeyboardInterrupt(f"stopped after update {done} of {config.updates}; go on with --resume")
    info = dataclasses.replace(info, updates=state.updates)
    save_model(folder / CHECKPOINT, state.module, info)
    return state.module.eval(), info


def describe(preset: Preset, *, command: str, data: str) -> CheckpointInfo:
    """What a run of these settings says about itself before its first update."""
    return CheckpointInfo(
        preset=preset.name,
        task=preset.task,
        model=preset.model,
        training=preset.training,
        command=command,
        updates=0,
        data=data,
        versions=library_versions(),
    )


def start(preset: Preset) -> TrainingState:
    """A run before its first update: weights drawn from the seed, torch's global generator set to it."""
    torch.manual_seed(preset.training.seed)
    module = SpikingCenterNet(preset.model)
    flat = FlatParameters(module)
    optimiser = torch.optim.AdamW(flat.groups(preset.training.weight_decay), lr=preset.training.learning_rate)
    return TrainingState(module=module, flat=flat, optimiser=optimiser, history=np.zeros((0, len(COLUMNS))))


def update(
    state: TrainingState, windows: WindowStore, order: WindowOrder, number: int, config: TrainingConfig
) -> npt.NDArray[np.float64]:
    """Do update `number` (from 0); returns its row of COLUMNS. Raises ConfigError when the loss is not finite."""
    numbers, mirrored = order.batch(number)
    x = torch.from_numpy(windows.batch(numbers, mirrored)).to(torch.float32)
    targets = make_targets(windows.batch_boxes(numbers, mirrored), windows.task)
    rate = learning_rate(number, config)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.flat.clear_gradients()
    losses = centernet_loss(state.module(x), targets, config)
    backward(losses.total)
    norm = state.flat.clip_gradients(config.clip_norm)
    if not math.isfinite(norm):
        raise ConfigError(
            f"training diverged at update {number + 1}: gradient norm {norm}, learning rate {rate:.3g}; "
            "choose a smaller learning rate"
        )
    state.optimiser.step()
    parts = (losses.total, losses.heatmap, losses.offset, losses.size)
    return np.array([*(float(part.detach()) for part in parts), norm, rate])


def backward(loss: Tensor) -> None:
    """Back-propagate a scalar."""
    loss.backward()  # type: ignore[no-untyped-call]


def learning_rate(number: int, config: TrainingConfig) -> float:
    """Rate of update `number` (from 0): linear warm-up over `warm_up` of the updates, then a cosine to 0."""
    warm = max(1, round(config.warm_up * config.updates))
    if number < warm:
        return config.learning_rate * (number + 1) / warm
    progress = (number - warm) / max(1, config.updates - warm)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


class WindowOrder:
    """Which windows make up which update: every window once per epoch, in an order drawn from seed and epoch."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        self._count, self._config = count, config
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._mirrored: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def batch(self, number: int) -> tuple[list[int], list[bool]]:
        """Window numbers of update `number` (from 0), and which of them are mirrored."""
        numbers, mirrored = [], []
        for place in range(number * self._config.batch, (number + 1) * self._config.batch):
            epoch, index = divmod(place, self._count)
            if epoch != self._epoch:
                generator = np.random.default_rng([self._config.seed, epoch])
                self._order = generator.permutation(self._count)
                self._mirrored = generator.random(self._count) < 0.5
                self._epoch = epoch
            numbers.append(int(self._order[index]))
            mirrored.append(bool(self._mirrored[index]) and self._config.flip)
        return numbers, mirrored
