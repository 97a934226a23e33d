"""What a NetX file says, and what lava-dl's own loader would make of it: every place where the two part."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

Effect = Literal["differs", "fails", "adopted", "note"]
"""`differs`: the stock loader runs something else in silence, here the file's meaning is computed. `fails`: the stock
loader stops, here the file's meaning is computed. `adopted`: the file says more than Lava does, and Lava is followed.
`note`: nothing differs, but a reader of the file should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place of a file: `layer` as in `layer 3 (dense)`, or empty for the whole file."""

    layer: str
    effect: Effect
    text: str

    def __str__(self) -> str:
        words = {
            "differs": "stock Lava differs",
            "fails": "stock Lava stops",
            "adopted": "as in stock Lava",
            "note": "note",
        }
        return f"{self.layer or 'file'}: {words[self.effect]}: {self.text}"


@dataclass(slots=True)
class Findings:
    """Findings as they are made, in the order of the layers."""

    found: list[Finding] = field(default_factory=list)

    def add(self, layer: str, effect: Effect, text: str) -> None:
        """Add one finding."""
        self.found.append(Finding(layer=layer, effect=effect, text=text))

    def as_json(self) -> str:
        """The findings as one text, for a graph's `meta`."""
        return json.dumps([str(finding) for finding in self.found])
