"""A published or own measurement beside our estimate, with the error stated.

A measurement is a JSON object: title, chip (name of the profile of the chip that was measured), steps of one sample,
energy_mj (total, static, dynamic) per inference, power_w, step_us, grade, source, note. A figure below zero is flagged and
never compared: static and dynamic power are told apart by a second measurement, and noise or waiting for the host can
turn the difference negative.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netx_export.errors import ProfileError

Range = tuple[float, float]

SHIPPED = Path(__file__).parent / "measurements.json"

_TEXTS = ("title", "chip", "grade", "source", "note")
_PARTS = ("total", "static", "dynamic")
_KEYS = (*_TEXTS, "steps", "energy_mj", "power_w", "step_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a board drew and how long it took: energies in mJ per inference, powers in W, the time of a step in us."""

    name: str
    title: str
    chip: str
    steps: int
    grade: str
    source: str
    note: str = ""
    energy_mj: dict[str, float] = field(default_factory=dict)
    power_w: dict[str, float] = field(default_factory=dict)
    step_us: float | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """A sentence for each figure that cannot be what it is called."""
        figures = {f"{part} energy, mJ": value for part, value in self.energy_mj.items()}
        figures |= {f"{rail} power, W": value for rail, value in self.power_w.items()}
        if self.step_us is not None:
            figures["time of a step, us"] = self.step_us
        return tuple(
            f"{what}: {value:g} is below zero, which no energy, power or time can be; it is a difference of two "
            "measurements, often of a run that waited for its host, and is not compared."
            for what, value in figures.items()
            if value < 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationLine:
    """One quantity, measured and estimated; `error` is (estimate - measured) / measured, low and high.

    `estimate` is None where no price is published, `error` also where the measured figure is flagged.
    """

    quantity: str
    unit: str
    measured: float
    estimate: Range | None
    error: Range | None
    flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A measurement beside the estimate of one profile."""

    title: str
    chip: str
    source: str
    grade: str
    lines: tuple[CalibrationLine, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...]


def measurements() -> tuple[str, ...]:
    """Names of the measurements that come with Basalt."""
    return tuple(json.loads(SHIPPED.read_text(encoding="utf-8")))


def load_measurement(name_or_path: str | os.PathLike[str]) -> Measurement:
    """The measurement of that name, or of a JSON file of your own.

    Raises ProfileError naming the file, the key and the remedy.
    """
    text = os.fspath(name_or_path)
    if not text.endswith(".json"):
        known = json.loads(SHIPPED.read_text(encoding="utf-8"))
        if text not in known:
            raise ProfileError(
                f"Measurement {text!r} does not exist; choose one of {', '.join(known)}, or give the path of a .json file."
            )
        return _measurement(text, text, known[text])
    try:
        document = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{text}: cannot be read ({error.strerror}); give the path of a measurement.") from None
    except ValueError as error:
        raise ProfileError(f"{text}: is no JSON ({error}); docs/reports.md shows a measurement.") from None
    return _measurement(text, Path(text).stem, document)


def _measurement(where: str, name: str, document: Any) -> Measurement:
    if not isinstance(document, dict):
        raise ProfileError(
            f"{where}: holds a {type(document).__name__}; a measurement is an object, see docs/reports.md."
        )
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise ProfileError(f"{where}: key {unknown[0]!r} is unknown; the keys are {', '.join(_KEYS)}.")
    for key in ("title", "chip", "grade", "source"):
        if not isinstance(document.get(key), str) or not document[key]:
            raise ProfileError(
                f"{where}: {key}: is {document.get(key)!r}; give a text, a measurement needs its source."
            )
    steps = document.get("steps")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ProfileError(f"{where}: steps: is {steps!r}; give the time steps of one sample, a whole number >= 1.")
    parts = {key: _figures(where, key, document.get(key, {})) for key in ("energy_mj", "power_w")}
    unknown = sorted(set(parts["energy_mj"]) - set(_PARTS))
    if unknown:
        raise ProfileError(f"{where}: energy_mj.{unknown[0]}: is unknown; energies are {', '.join(_PARTS)}.")
    step = document.get("step_us")
    return Measurement(
        name=name,
        title=document["title"],
        chip=document["chip"],
        steps=steps,
        grade=document["grade"],
        source=document["source"],
        note=str(document.get("note", "")),
        step_us=None if step is None else _figure(where, "step_us", step),
        **parts,
    )


def _figures(where: str, key: str, given: Any) -> dict[str, float]:
    if not isinstance(given, dict):
        raise ProfileError(f'{where}: {key}: is {given!r}; give an object such as {{"total": 1.5}}.')
    return {str(name): _figure(where, f"{key}.{name}", value) for name, value in given.items()}


def _figure(where: str, key: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ProfileError(f"{where}: {key}: is {given!r}; give a finite number, or leave an unmeasured figure out.")
    return float(given)


def calibrate(
    measured: Measurement,
    *,
    profile: str,
    steps: int,
    samples: int,
    dynamic_pj: Range | None,
    static_pj: Range | None,
    step_ns: Range | None,
) -> Calibration:
    """The estimate of a run of `samples` samples beside `measured`; energies of the whole run in pJ.

    ProfileError where the run's samples have another number of steps.
    """
    if steps != measured.steps:
        raise ProfileError(
            f"Measurement {measured.name!r} is of samples of {measured.steps} steps, the run's have {steps}; "
            "compare a run of the same steps."
        )
    total = None
    if dynamic_pj is not None and static_pj is not None:
        total = (dynamic_pj[0] + static_pj[0], dynamic_pj[1] + static_pj[1])
    energies = dict(measured.energy_mj)
    if "static" not in energies and {"total", "dynamic"} <= set(energies):
        energies["static"] = energies["total"] - energies["dynamic"]
    lines = [
        _line(f"{part} energy per inference", "mJ", energies[part], estimate, 1e-9 / samples)
        for part, estimate in (("dynamic", dynamic_pj), ("static", static_pj), ("total", total))
        if part in energies
    ]
    if measured.step_us is not None:
        lines.append(_line("time of a step", "us", measured.step_us, step_ns, 1e-3))
    notes = [measured.note] if measured.note else []
    if profile != measured.chip:
        notes.append(
            f"Measured on {measured.chip}, priced with {profile}: the error holds the difference between the chips too."
        )
    if dynamic_pj is not None and static_pj is None:
        notes.append("No static power is published for the priced chip, so its total has no estimate.")
    return Calibration(
        title=measured.title,
        chip=measured.chip,
        source=measured.source,
        grade=measured.grade,
        lines=tuple(lines),
        flags=measured.flags,
        notes=tuple(notes),
    )


def _line(quantity: str, unit: str, measured: float, estimate: Range | None, factor: float) -> CalibrationLine:
    scaled = None if estimate is None else (estimate[0] * factor, estimate[1] * factor)
    error = None
    if scaled is not None and measured > 0:
        error = ((scaled[0] - measured) / measured, (scaled[1] - measured) / measured)
    return CalibrationLine(
        quantity=quantity, unit=unit, measured=measured, estimate=scaled, error=error, flagged=measured < 0
    )
