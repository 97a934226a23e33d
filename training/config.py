"""Settings of detectors and of their training: frozen, checked, and free of torch, so that deployment can read them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_type_hints

from netx_export.errors import ConfigError
from training.windows import Binning

Settings = TypeVar("Settings")


def check_range(what: str, value: float, low: float | None, high: float | None) -> None:
    """Raise ConfigError when `value` is not a finite number in low..high (None: open)."""
    limits = f"{'' if low is None else low}..{'' if high is None else high}"
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{what} is {value}, the limit is {limits}; choose a value within it")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorTask:
    """What a detector sees and what its outputs mean; travels with every checkpoint and `.net` file.

    Windows: `steps` steps of `step_us` us in `micro_bins` bins per polarity, sensor pixels divided by `scale`, padded to
    `grid` (H, W). Outputs: one cell per `output_stride` grid pixels; a size output s means a side of
    exp(s) * `box_scale` cells. The outputs of all steps are averaged before decoding.
    """

    steps: int = 5
    step_us: int = 20_000
    micro_bins: int = 2
    scale: int = 2
    grid: tuple[int, int] = (128, 160)
    sensor: tuple[int, int] = (240, 304)
    output_stride: int = 4
    box_scale: float = 1.0
    classes: tuple[str, ...] = ("car", "pedestrian")

    def __post_init__(self) -> None:
        for name in ("steps", "step_us", "micro_bins", "scale", "output_stride"):
            check_range(f"task {name}", getattr(self, name), 1, None)
        check_range("task box_scale", self.box_scale, 1e-3, 1e3)
        if not self.classes:
            raise ConfigError("task classes is empty; name at least one class")
        for name, side in (("grid", self.grid), ("sensor", self.sensor)):
            if len(side) != 2 or min(side) < 1:
                raise ConfigError(f"task {name} is {side}; give (H, W), both at least 1")
        for padded, pixels in zip(self.grid, self.sensor, strict=True):
            if padded * self.scale < pixels or padded % self.output_stride:
                raise ConfigError(
                    f"task grid is {self.grid}; at scale {self.scale} it must hold the sensor {self.sensor} and be a "
                    f"multiple of output_stride {self.output_stride}"
                )

    @property
    def channels(self) -> int:
        """Input channels, 2 * micro_bins: one per bin and polarity."""
        return 2 * self.micro_bins

    @property
    def output_grid(self) -> tuple[int, int]:
        """(h, w) of the outputs."""
        return self.grid[0] // self.output_stride, self.grid[1] // self.output_stride

    @property
    def cell_px(self) -> float:
        """Sensor pixels per output cell."""
        return float(self.scale * self.output_stride)

    def binning(self) -> Binning:
        """The same settings as `training.windows` takes them."""
        return Binning(
            steps=self.steps, step_us=self.step_us, micro_bins=self.micro_bins, grid=self.grid, scale=self.scale
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary that json can write."""
        return to_json(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> DetectorTask:
        """The inverse of `to_json`; raises ConfigError for an unknown, missing or ill-typed entry."""
        return from_json(DetectorTask, values, "task")


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterNetConfig:
    """Sizes of a Spiking CenterNet.

    `stages` are the encoder's channels after the stem; `convolutions` per stage. The decoder's width halves
    upsampled + skip channels, its hidden width is `expansion` times their sum. `head_norm` puts a batch norm into the
    heads (and drops their hidden bias).
    """

    in_channels: int = 4
    classes: int = 2
    stem_channels: int = 64
    stem_kernel: int = 7
    stages: tuple[int, ...] = (64, 128, 256, 512)
    convolutions: int = 4
    expansion: float = 1.16
    head_channels: int = 64
    head_norm: bool = False
    initial_k: float = 0.5
    heatmap_bias: float = -2.19
    offset_bias: float = 0.5
    size_bias: float = 1.0

    def __post_init__(self) -> None:
        for name in ("in_channels", "classes", "stem_channels", "convolutions", "head_channels"):
            check_range(f"model {name}", getattr(self, name), 1, None)
        check_range("model stem_kernel", self.stem_kernel, 1, 15)
        if self.stem_kernel % 2 == 0:
            raise ConfigError(f"model stem_kernel is {self.stem_kernel}; an odd kernel keeps the grid centred")
        if len(self.stages) < 2 or min(self.stages) < 1:
            raise ConfigError(f"model stages is {self.stages}; give at least two widths, each at least 1")
        check_range("model expansion", self.expansion, 0.01, 16.0)
        check_range("model initial_k", self.initial_k, 1e-3, 1.0 - 1e-3)
        for name in ("heatmap_bias", "offset_bias", "size_bias"):
            check_range(f"model {name}", getattr(self, name), -20.0, 20.0)

    @property
    def stride(self) -> int:
        """Grid pixels per cell of the deepest stage; the grid must be a multiple of it."""
        return int(4 * 2 ** (len(self.stages) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a detector is trained: AdamW, warm-up then cosine, one mirrored copy per window at random.

    `windows` annotated windows (or as many as `updates` of `batch` look at, where that is less) come from generated
    recordings of `recording_s` seconds with `annotation_hz` windows per second, seeds counted from `first_recording`; a
    folder given as data replaces them.
    """

    updates: int = 2700
    batch: int = 2
    seed: int = 0
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    warm_up: float = 0.15
    clip_norm: float = 1.0
    flip: bool = True
    offset_weight: float = 1.0
    size_weight: float = 1.0
    windows: int = 3000
    recording_s: float = 2.1
    annotation_hz: float = 8.0
    first_recording: int = 0
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "windows", "checkpoint_every"):
            check_range(f"training {name}", getattr(self, name), 1, None)
        check_range("training seed", self.seed, 0, 2**31 - 1)
        check_range("training first_recording", self.first_recording, 0, 2**31 - 1)
        check_range("training learning_rate", self.learning_rate, 1e-7, 1.0)
        check_range("training weight_decay", self.weight_decay, 0.0, 1.0)
        check_range("training warm_up", self.warm_up, 0.0, 0.9)
        check_range("training clip_norm", self.clip_norm, 1e-6, 1e6)
        check_range("training offset_weight", self.offset_weight, 0.0, 1e3)
        check_range("training size_weight", self.size_weight, 0.0, 1e3)
        check_range("training annotation_hz", self.annotation_hz, 0.1, 20.0)
        check_range("training recording_s", self.recording_s, 0.2, 600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that one name on the command line stands for."""

    name: str
    task: DetectorTask
    model: CenterNetConfig
    training: TrainingConfig


TINY = Preset(
    name="tiny",
    task=DetectorTask(),
    model=CenterNetConfig(
        stem_channels=16,
        stem_kernel=5,
        stages=(16, 32, 32, 48),
        convolutions=2,
        head_channels=16,
        head_norm=True,
    ),
    training=TrainingConfig(),
)
FULL = Preset(
    name="full",
    task=DetectorTask(scale=1, grid=(256, 320)),
    model=CenterNetConfig(),
    training=TrainingConfig(batch=32, learning_rate=1e-4),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, FULL)}


def preset(name: str) -> Preset:
    """The preset of that name; raises ConfigError for any other."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def to_json(settings: Any) -> dict[str, Any]:
    """A settings dataclass as a dictionary that json can write; tuples become lists."""
    values: dict[str, Any] = dataclasses.asdict(settings)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(kind: type[Settings], values: Mapping[str, Any], what: str) -> Settings:
    """Settings from what json read; raises ConfigError for an unknown, missing or ill-typed entry."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what} settings are a {type(values).__name__}; an object with named entries is needed")
    hints = get_type_hints(kind)
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    unknown, missing = sorted(set(values) - set(names)), sorted(set(names) - set(values))
    if unknown or missing:
        raise ConfigError(
            f"{what} settings have unknown entries {unknown} and lack {missing}; "
            "they were written by another version, convert or write them again"
        )
    return kind(**{name: _typed(hints[name], values[name], f"{what} {name}") for name in names})


def _typed(hint: Any, value: Any, what: str) -> Any:
    scalar: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
    if hint in scalar:
        if not isinstance(value, scalar[hint]) or (isinstance(value, bool) and hint is not bool):
            raise ConfigError(f"{what} is {value!r}; a value of type {hint.__name__} is needed")
        return hint(value)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{what} is {value!r}; a list is needed")
    inner = hint.__args__[0]
    return tuple(_typed(inner, entry, what) for entry in value)
