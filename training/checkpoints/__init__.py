"""Checkpoints: safetensors with their configuration beside the weights."""

from __future__ import annotations

from pathlib import Path

from netx_export.errors import CheckpointError

_FOLDER = Path(__file__).resolve().parent


def shipped(name: str = "tiny") -> Path:
    """Path of a checkpoint that comes with Basalt; raises CheckpointError when there is none of that name."""
    path = _FOLDER / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in _FOLDER.glob("*.safetensors"))) or "none"
        raise CheckpointError(
            f"checkpoint {name!r} is not among those shipped ({known}); train it with `python train.py --preset {name}`"
        )
    return path
