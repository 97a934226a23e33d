"""What a fit check found."""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.suggestions import Suggestion

Utilization = dict[str, tuple[int, int | None]]
"""Resource -> (used, max); max is None where nobody published a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFit:
    """Use of the fullest core per register of one layer, what binds, and what to change where it does not fit."""

    population: str
    source: str
    neurons: int
    cores: int
    tile: tuple[int, int, int]
    utilization: Utilization
    binding: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFit:
    """Chips that the network needs on one of the chip's boards, and chips that it has."""

    board: str
    needed: int
    chips: int

    @property
    def fits(self) -> bool:
        """True where the board has chips enough."""
        return self.needed <= self.chips


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCheck:
    """Does the network fit, layer by layer; no run is needed.

    `suggestions` are changes that were tried out, the most helpful first. `boards` counts chips on every board of the chip
    and is empty where a layer fits no number of cores.
    """

    profile: str
    board: str
    fits: bool
    cores: tuple[int, int | None]
    chips: tuple[int, int | None]
    layers: tuple[LayerFit, ...]
    problems: tuple[str, ...]
    suggestions: tuple[Suggestion, ...] = ()
    boards: tuple[BoardFit, ...] = ()
