"""What travels from one NetX layer to the next: the output of one population, or of several behind one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netx_export.errors import NetxError
from netx_export.graph import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The whole output of one population."""

    population: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Parts behind one another along the channels; `flat` without height and width, in C,H,W order of each part.

    `host` marks the bare input of a network, whose (C,H,W) a dense layer may read without a flatten layer.
    """

    parts: tuple[Part, ...]
    flat: bool = False
    host: bool = False

    @property
    def size(self) -> int:
        """Number of neurons."""
        return sum(math.prod(part.shape) for part in self.parts)

    @property
    def shape(self) -> Shape:
        """(C,H,W) of all parts together."""
        if self.flat:
            return (self.size, 1, 1)
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])


def joined(signals: list[Signal], where: str, declared: Shape) -> Signal:
    """All of `signals` behind one another; NetxError where their maps differ or `declared` is another shape."""
    flat = all(signal.flat for signal in signals) or all(
        part.shape[1:] == (1, 1) for signal in signals for part in signal.parts
    )
    shapes = [signal.shape for signal in signals]
    if not flat and (any(signal.flat for signal in signals) or len({shape[1:] for shape in shapes}) > 1):
        raise NetxError(
            f"{where}: joins {shapes}; all maps must have the same height and width, or all be flat. Refer to the layers "
            "before their flatten layers."
        )
    whole = Signal(
        parts=tuple(part for signal in signals for part in signal.parts), flat=any(signal.flat for signal in signals)
    )
    if declared != whole.shape and not (flat and math.prod(declared) == whole.size):
        raise NetxError(
            f"{where}: shape is {declared}, but the layer before it and the listed ones make {whole.shape} of {shapes}; "
            "give in 'layers' the other layers alone."
        )
    return whole
