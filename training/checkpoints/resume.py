"""The state of an interrupted run: weights, optimiser, generator and history in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from netx_export.errors import CheckpointError
from training.checkpoints.files import load_weights, read_tensors, write_tensors
from training.checkpoints.info import RESUME_FORMAT, CheckpointInfo, read_metadata
from training.config import to_json
from training.curves import COLUMNS
from training.training_state import TrainingState

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_SETTINGS = ("preset", "task", "model", "training", "data")


def write_resume(path: str | Path, info: CheckpointInfo, state: TrainingState) -> None:
    """Write everything that the next update depends on, in one step."""
    tensors: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in state.module.state_dict().items()}
    for group, vector in zip(("weights", "others"), (state.flat.weights, state.flat.others), strict=True):
        for moment in _MOMENTS:
            tensors[f"optimiser.{group}.{moment}"] = state.optimiser.state[vector][moment]
    tensors["generator"] = torch.get_rng_state()
    tensors["history"] = torch.from_numpy(state.history)
    write_tensors(path, tensors, RESUME_FORMAT, info.to_json())


def read_resume(path: str | Path, info: CheckpointInfo, state: TrainingState) -> None:
    """Put a run back to where `write_resume` found it; raises CheckpointError unless its settings are those of `info`."""
    saved = check_resume(path, info)
    tensors = read_tensors(path, RESUME_FORMAT)
    model = {name.removeprefix("model."): tensors.pop(name) for name in list(tensors) if name.startswith("model.")}
    load_weights(state.module, model, str(path))
    for group, vector in zip(("weights", "others"), (state.flat.weights, state.flat.others), strict=True):
        shapes = {"step": torch.Size([]), "exp_avg": vector.shape, "exp_avg_sq": vector.shape}
        state.optimiser.state[vector] = {
            moment: _take(path, tensors, f"optimiser.{group}.{moment}", shapes[moment]) for moment in _MOMENTS
        }
    history = _take(path, tensors, "history", torch.Size([saved.updates, len(COLUMNS)]))
    state.history = history.numpy()
    torch.set_rng_state(_take(path, tensors, "generator", torch.get_rng_state().shape))


def check_resume(path: str | Path, wanted: CheckpointInfo) -> CheckpointInfo:
    """What a saved run says about itself; CheckpointError unless there is one and its settings are those of `wanted`."""
    if not Path(path).exists():
        raise CheckpointError(
            f"{path}: no such file, there is no run to go on with; leave --resume out, or name its --out"
        )
    saved = CheckpointInfo.from_json(read_metadata(path, RESUME_FORMAT), str(path))
    for part in _SETTINGS:
        before, now = getattr(saved, part), getattr(wanted, part)
        if before == now:
            continue
        if isinstance(before, str):
            raise CheckpointError(
                f"{path}: this run has {part} = {before!r}, not {now!r}; resume it with the same, or start in another folder"
            )
        old, new = to_json(before), to_json(now)
        name = next(entry for entry in old if old[entry] != new[entry])
        raise CheckpointError(
            f"{path}: this run has {part} {name} = {old[name]}, not {new[name]}; resume it with the same settings, "
            "or start in another folder"
        )
    return saved


def _take(path: str | Path, tensors: dict[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    if name not in tensors:
        raise CheckpointError(f"{path}: lacks {name} {tuple(shape)}; the file is incomplete, start the run again")
    if tensors[name].shape != shape:
        raise CheckpointError(
            f"{path}: {name} is {tuple(tensors[name].shape)}, this run needs {tuple(shape)}; start the run again"
        )
    return tensors.pop(name)
