"""What travels between SLAYER blocks: concatenated and added pieces of what populations send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from netx_export.errors import ExportError
from netx_export.graph import Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Channels [first,last) of a population, each pixel repeated `upsample` times per side.

    `offset`: the population's hardware step minus SLAYER's step. `delays` (C,) are the population's axonal delays.
    """

    population: str
    shape: Shape
    first: int
    last: int
    offset: int
    upsample: int = 1
    delays: npt.NDArray[np.int32] | None = None

    @property
    def channels(self) -> int:
        return self.last - self.first

    @property
    def whole(self) -> bool:
        """True where nothing of the population is left out or repeated."""
        return (self.first, self.last) == (0, self.shape[0]) and self.upsample == 1

    @property
    def size(self) -> int:
        """Neurons that this part stands for, repeated ones counted."""
        return self.channels * self.shape[1] * self.shape[2] * self.upsample**2

    def axon_delays(self) -> npt.NDArray[np.int32] | None:
        """The delays of the channels read, per axon (C,H,W)."""
        if self.delays is None:
            return None
        read = self.delays[self.first : self.last] if self.delays.size > 1 else self.delays
        return np.ascontiguousarray(np.broadcast_to(read[:, None, None], (self.channels, *self.shape[1:])))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """Terms that are added; each is a concatenation of parts along the channels, or along all neurons once `flat`."""

    terms: tuple[tuple[Part, ...], ...]
    flat: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all terms."""
        return tuple(part for term in self.terms for part in term)

    @property
    def frame(self) -> tuple[int, int]:
        """(H,W) of every part; (1,1) once flat."""
        part = self.terms[0][0]
        return (1, 1) if self.flat else (part.shape[1] * part.upsample, part.shape[2] * part.upsample)

    @property
    def length(self) -> int:
        """Channels, or neurons once flat."""
        return sum(part.size if self.flat else part.channels for part in self.terms[0])


def concatenated(signals: Sequence[Signal], where: str) -> Signal:
    """The signals one behind the other along the channels."""
    if any(len(signal.terms) != 1 for signal in signals):
        raise ExportError(
            f"{where} concatenates a sum of spikes; add behind the concatenation, or let a block read the sum."
        )
    flat = signals[0].flat
    if any(_flat_like(signal) != _flat_like(signals[0]) for signal in signals):
        raise ExportError(f"{where} concatenates flattened and unflattened spikes; flatten all of them first.")
    return Signal(terms=(tuple(part for signal in signals for part in signal.terms[0]),), flat=flat)


def _flat_like(signal: Signal) -> bool:
    return signal.flat or signal.frame == (1, 1)


def added(signals: Sequence[Signal], where: str) -> Signal:
    """Their sum: each block that reads it has one projection per term, with one kernel."""
    first = signals[0]
    for other in signals[1:]:
        if (other.length, other.frame) != (first.length, first.frame):
            raise ExportError(
                f"{where} adds {(first.length, *first.frame)} and {(other.length, *other.frame)}; both must have one shape."
            )
    return Signal(terms=tuple(term for signal in signals for term in signal.terms), flat=first.flat)


def sliced(signal: Signal, start: int, stop: int, where: str) -> Signal:
    """Channels [start,stop) of a signal that is not flat."""
    if signal.flat and signal.frame != (1, 1):
        raise ExportError(f"{where} slices flattened spikes; slice channels before they are flattened.")
    if signal.flat and any(part.size != part.channels for part in signal.parts):
        raise ExportError(f"{where} slices flattened spikes; slice channels before they are flattened.")
    terms = []
    for term in signal.terms:
        at, kept = 0, []
        for part in term:
            low, high = max(start - at, 0), min(stop - at, part.channels)
            if low < high:
                kept.append(replace(part, first=part.first + low, last=part.first + high))
            at += part.channels
        terms.append(tuple(kept))
    return Signal(terms=tuple(terms), flat=signal.flat)


def upsampled(signal: Signal, times: int) -> Signal:
    """Every pixel repeated `times` times per side."""
    terms = tuple(tuple(replace(part, upsample=part.upsample * times) for part in term) for term in signal.terms)
    return Signal(terms=terms, flat=False)


def later(signal: Signal, steps: int) -> Signal:
    """The signal as it is `steps` steps later in SLAYER's time."""
    terms = tuple(tuple(replace(part, offset=part.offset - steps) for part in term) for term in signal.terms)
    return replace(signal, terms=terms)
