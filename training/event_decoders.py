"""Bytes to events, piece by piece: DAT, EVT2 and EVT3 as state machines over arrays.

A decoder takes the state in which the piece before it ended, so a file may be cut anywhere between two words.
Source: Prophesee, "DAT file format", "EVT 2.0 format" and "EVT 3.0 format".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netx_export.errors import RecordingError
from training.event_files import EVENT_DTYPE

Array = npt.NDArray[Any]

State = tuple[int, ...]
"""What a decoder carries from one piece to the next; -1 where nothing has been said yet."""

_DAT_CLOCK = 1 << 32
_EVT2_TIME, _EVT3_TIME_LOW, _EVT3_TIME_HIGH, _EVT3_Y, _EVT3_X, _EVT3_BASE, _EVT3_12, _EVT3_8 = 8, 6, 8, 0, 2, 3, 4, 5
_EVT2_TYPES = (0x0, 0x1, 0x8, 0xA, 0xE, 0xF)
_EVT3_TYPES = (0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0xA, 0xE, 0xF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """`decode(name, bytes, offset, state)` gives the events, EVENT_DTYPE (N,), and the state after them."""

    word_bytes: int
    start: State
    decode: Callable[[str, bytes, int, State], tuple[Array, State]]


def _decode_dat(name: str, raw: bytes, offset: int, state: State) -> tuple[Array, State]:
    """State: (last 32-bit time, how often the clock has passed 2^32 us)."""
    words = np.frombuffer(raw, dtype="<u4").reshape(-1, 2)
    turns, (last, turn) = _unwrapped(words[:, 0].astype(np.int64), state[0], state[1], _DAT_CLOCK)
    packed = words[:, 1]
    return _events(turns, packed & 0x3FFF, (packed >> 14) & 0x3FFF, packed >> 28), (last, turn)


def _decode_evt2(name: str, raw: bytes, offset: int, state: State) -> tuple[Array, State]:
    """State: (last 28-bit time word or -1, how often it has passed 2^28). A word is type:4, time:6, x:11, y:11."""
    words = np.frombuffer(raw, dtype="<u4")
    kind = (words >> 28).astype(np.uint8)
    _check_types(name, kind, _EVT2_TYPES, offset, 4)
    high = np.flatnonzero(kind == _EVT2_TIME)
    highs, (last, turn) = _unwrapped((words[high] & 0x0FFFFFFF).astype(np.int64), state[0], state[1], 1 << 28)
    # Events before the first time word have no time; the format's own decoder leaves them out too.
    chosen = np.flatnonzero(
        (kind <= 1) & ((np.arange(words.size) > (high[0] if high.size else words.size)) | (state[0] >= 0))
    )
    before = np.searchsorted(high, chosen) - 1
    carried = state[0] + (state[1] << 28)
    base = np.where(before >= 0, highs[before] if high.size else 0, carried)
    event = words[chosen]
    t = (base << 6) | ((event >> 22) & 0x3F)
    return _events(t, (event >> 11) & 0x7FF, event & 0x7FF, kind[chosen]), (last, turn)


def _decode_evt3(name: str, raw: bytes, offset: int, state: State) -> tuple[Array, State]:
    """State: (last time-high word or -1, its turns, time low, y, x of the vector, polarity of the vector)."""
    words = np.frombuffer(raw, dtype="<u2").astype(np.int64)
    kind = words >> 12
    _check_types(name, kind, _EVT3_TYPES, offset, 2)
    place = np.arange(words.size)
    high_at = np.flatnonzero(kind == _EVT3_TIME_HIGH)
    highs, (last, turn) = _unwrapped(words[high_at] & 0xFFF, state[0], state[1], 1 << 12)
    high = np.full(words.size, state[0] + (state[1] << 12), np.int64)
    high[high_at] = highs
    high = _held(high, kind == _EVT3_TIME_HIGH)
    # A new upper half starts at the lower half 0, until a lower half follows.
    low = np.where(kind == _EVT3_TIME_LOW, words & 0xFFF, 0)
    low = _held(low, (kind == _EVT3_TIME_LOW) | (kind == _EVT3_TIME_HIGH), state[2])
    y = _held(words & 0x7FF, kind == _EVT3_Y, state[3])
    polarity = _held((words >> 11) & 1, kind == _EVT3_BASE, state[5])
    # The vector's x runs on by 12 or 8 with every vector word after its base.
    width = np.where(kind == _EVT3_12, 12, np.where(kind == _EVT3_8, 8, 0))
    run = np.cumsum(width)
    base = _held((words & 0x7FF) - run, kind == _EVT3_BASE, state[4])
    x = base + run - width
    after: State = (last, turn, state[2], state[3], state[4], state[5])
    if words.size:
        after = (last, turn, int(low[-1]), int(y[-1]), int(base[-1] + run[-1]), int(polarity[-1]))

    known = high >= 0
    chosen = place[known & ((kind == _EVT3_X) | (width > 0))]
    single = kind[chosen] == _EVT3_X
    valid = np.where(single, 1, words[chosen] & ((1 << width[chosen]) - 1))
    row, bit = np.nonzero((valid[:, None] >> np.arange(12)) & 1)
    source = chosen[row]
    one = single[row]
    return (
        _events(
            (high[source] << 12) | low[source],
            np.where(one, words[source] & 0x7FF, x[source] + bit),
            y[source],
            np.where(one, (words[source] >> 11) & 1, polarity[source]),
        ),
        after,
    )


def _unwrapped(values: Array, last: int, turn: int, clock: int) -> tuple[Array, tuple[int, int]]:
    """Counter values (N,) without their wrap: a step back by more than half of `clock` is one more turn."""
    if not values.size:
        return values, (last, turn)
    steps = np.diff(values, prepend=values[0] if last < 0 else last)
    turns = turn + np.cumsum(steps < -(clock // 2))
    return values + turns * clock, (int(values[-1]), int(turns[-1]))


def _held(values: Array, said: Array, before: int | None = None) -> Array:
    """`values` where `said`, and the last one that was said everywhere after; `before` (or the value) until then."""
    place = np.maximum.accumulate(np.where(said, np.arange(values.size), -1)) if values.size else values
    return np.where(place >= 0, values[place], values if before is None else before) if values.size else values


def _check_types(name: str, kind: Array, known: tuple[int, ...], offset: int, word_bytes: int) -> None:
    wrong = np.flatnonzero(~np.isin(kind, known))
    if wrong.size:
        raise RecordingError(
            f"{name}: word of type 0x{int(kind[wrong[0]]):X} at byte {offset + word_bytes * int(wrong[0])}; the format "
            "has no such type, copy the recording again"
        )


def _events(t: Array, x: Array, y: Array, p: Array) -> Array:
    events = np.empty(t.size, dtype=EVENT_DTYPE)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


DECODERS: dict[str, Decoder] = {
    "dat": Decoder(word_bytes=8, start=(-1, 0), decode=_decode_dat),
    "evt2": Decoder(word_bytes=4, start=(-1, 0), decode=_decode_evt2),
    "evt3": Decoder(word_bytes=2, start=(-1, 0, 0, 0, 0, 0), decode=_decode_evt3),
}
