"""What a checkpoint says about itself, beside its weights; no torch needed to read it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netx_export.errors import CheckpointError, ConfigError
from training.config import CenterNetConfig, DetectorTask, TrainingConfig, from_json, to_json

FORMAT = "basalt-checkpoint"
RESUME_FORMAT = "basalt-resume"
SLAYER_FORMAT = "basalt-slayer-checkpoint"
VERSION = 1
_KEY = "basalt"
_HEADER_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """Where weights come from and what they are for.

    `command` made them in `updates` updates; `scores` are what the float network reached, `versions` the libraries used.
    """

    preset: str
    task: DetectorTask
    model: CenterNetConfig
    training: TrainingConfig
    command: str
    updates: int
    data: str = "generated"
    scores: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of weights, order and mirroring."""
        return self.training.seed

    def to_json(self) -> dict[str, Any]:
        """A dictionary that json can write; a score that is not a number becomes null."""
        return {
            "preset": self.preset,
            "task": self.task.to_json(),
            "model": to_json(self.model),
            "training": to_json(self.training),
            "command": self.command,
            "updates": self.updates,
            "data": self.data,
            "scores": {name: value if math.isfinite(value) else None for name, value in self.scores.items()},
            "versions": dict(self.versions),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any], source: str) -> CheckpointInfo:
        """The inverse of `to_json`; raises CheckpointError that names `source` for anything missing or ill-typed."""
        try:
            scores = {str(k): math.nan if v is None else float(v) for k, v in values["scores"].items()}
            return CheckpointInfo(
                preset=str(values["preset"]),
                task=DetectorTask.from_json(values["task"]),
                model=from_json(CenterNetConfig, values["model"], "model"),
                training=from_json(TrainingConfig, values["training"], "training"),
                command=str(values["command"]),
                updates=int(values["updates"]),
                data=str(values["data"]),
                scores=scores,
                versions={str(k): str(v) for k, v in values["versions"].items()},
            )
        except KeyError as error:
            raise CheckpointError(
                f"{source}: the configuration lacks {error}; write the checkpoint again with this version"
            ) from error
        except (ConfigError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{source}: the configuration beside the weights is not usable ({error}); "
                "write the checkpoint again with this version"
            ) from error


def read_info(path: str | Path) -> CheckpointInfo:
    """Read what a checkpoint says about itself, without its weights; raises CheckpointError."""
    return CheckpointInfo.from_json(read_metadata(path, FORMAT), str(path))


def format_of(path: str | Path) -> str:
    """Which kind of checkpoint a file is: the `format` it declares, "" for any other file."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            text = stream.read(length) if 2 <= length <= _HEADER_LIMIT else b""
        declared = json.loads(json.loads(text)["__metadata__"][_KEY])["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(declared)


def read_metadata(path: str | Path, kind: str) -> dict[str, Any]:
    """The JSON that a safetensors file of this kind carries; raises CheckpointError for any other file."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the path of a checkpoint, or train one with train.py")
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            text = stream.read(length) if 2 <= length <= _HEADER_LIMIT else b""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    try:
        if not length or len(text) != length:
            raise ValueError(f"the first 8 bytes announce a header of {length} bytes")
        metadata = json.loads(json.loads(text)["__metadata__"][_KEY])
        found, version, values = metadata["format"], metadata["version"], metadata["configuration"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of Basalt, or cut or corrupt ({type(error).__name__}: {error}); "
            "copy it again or train it with train.py"
        ) from error
    if found != kind:
        raise CheckpointError(f"{path}: a file of kind {found!r} where {kind!r} is needed; give the other file")
    if version != VERSION:
        raise CheckpointError(
            f"{path}: version {version} of the format, this Basalt reads version {VERSION}; install the matching one"
        )
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: its configuration is a {type(values).__name__}, not an object; copy it again")
    return values


def metadata_for(kind: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Safetensors metadata for a JSON-able value; the same value gives the same bytes."""
    # One entry alone: safetensors writes several in an order that changes from run to run.
    content = {"format": kind, "version": VERSION, "configuration": values}
    return {_KEY: json.dumps(content, sort_keys=True, allow_nan=False)}
