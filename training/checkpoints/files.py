"""Checkpoint files: weights as safetensors, configuration as JSON in its metadata; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from netx_export.errors import CheckpointError
from netx_export.files import replace_file
from training.checkpoints.info import FORMAT, CheckpointInfo, metadata_for, read_info, read_metadata
from training.models.spiking_centernet import SpikingCenterNet


def save_model(path: str | Path, module: SpikingCenterNet, info: CheckpointInfo) -> None:
    """Write weights and `info` to `path` in one step; raises CheckpointError when the module is another model."""
    if module.config != info.model:
        raise CheckpointError(
            f"{path}: the module was built from {module.config}, its description says {info.model}; describe it as it is"
        )
    write_tensors(path, module.state_dict(), FORMAT, info.to_json())


def load_model(path: str | Path) -> tuple[SpikingCenterNet, CheckpointInfo]:
    """The network in evaluation mode, and what the file says about it; raises CheckpointError."""
    info = read_info(path)
    # The weights are replaced at once, so the caller's random numbers are left as they were.
    with torch.random.fork_rng(devices=[]):
        module = SpikingCenterNet(info.model)
    load_weights(module, read_tensors(path), str(path))
    return module.eval(), info


def load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Fill a module; raises CheckpointError naming the key and the shapes unless every tensor fits and is finite."""
    wanted = module.state_dict()
    for name in sorted(set(wanted) - set(tensors)):
        raise CheckpointError(
            f"{source}: lacks {name} {tuple(wanted[name].shape)}; it belongs to another model, "
            "load it with the configuration it was saved with"
        )
    for name in sorted(set(tensors) - set(wanted)):
        raise CheckpointError(
            f"{source}: holds {name} {tuple(tensors[name].shape)}, which the model has not; it belongs to another "
            "model, load it with the configuration it was saved with"
        )
    for name, tensor in tensors.items():
        target = wanted[name]
        if tensor.shape != target.shape or tensor.dtype != target.dtype:
            raise CheckpointError(
                f"{source}: {name} is {tuple(tensor.shape)} {tensor.dtype}, the model needs {tuple(target.shape)} "
                f"{target.dtype}; load it with the configuration it was saved with"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{source}: {name} {tuple(tensor.shape)} holds values that are not finite; the training diverged, "
                "use an earlier checkpoint or a smaller learning rate"
            )
    module.load_state_dict(dict(tensors))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], kind: str, values: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able values as one safetensors file, in one step; the same content, the same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    payload = save(plain, metadata=metadata_for(kind, values))
    with replace_file(path) as temporary:
        temporary.write_bytes(payload)


def read_tensors(path: str | Path, kind: str = FORMAT) -> dict[str, Tensor]:
    """All tensors of a file of this kind; raises CheckpointError for a foreign, cut or corrupt file."""
    read_metadata(path, kind)
    try:
        with safetensors.safe_open(str(path), framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dictionary
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cut or corrupt ({error}); copy it again or train it with train.py") from error


def library_versions() -> dict[str, str]:
    """Versions of Basalt and torch, as a checkpoint keeps them."""
    try:
        own = metadata.version("basalt-snn")
    except metadata.PackageNotFoundError:
        own = "not installed"
    return {"basalt": own, "torch": torch.__version__}
