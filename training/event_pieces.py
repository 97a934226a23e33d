"""Event recordings of any length, read in pieces of bounded memory: Prophesee DAT, EVT2 and EVT3, with numpy alone.

`index_events` reads a file once, checks every event, and keeps where each piece starts, the decoder's state there, its
times and a hash of its bytes. `read_piece` decodes one piece again, wherever the file can be seen, and refuses bytes that
have changed since.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from netx_export.errors import RecordingError
from training.event_decoders import DECODERS, State
from training.event_files import check_events, parse_dat_header

Array = npt.NDArray[Any]

PIECE_BYTES = 1 << 20
"""Bytes of a file that are decoded together; the most that one piece holds in memory is a small multiple."""

_HEAD_BYTES = 1 << 17
_SUFFIXES = (".dat", ".raw")
_ENCODINGS = {"2.0": "evt2", "3.0": "evt3", "EVT2": "evt2", "EVT3": "evt3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a file: bytes [offset, offset + size), the decoder's state before it, its times in us, its SHA-256."""

    offset: int
    size: int
    state: State
    first_us: int
    last_us: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventIndex:
    """What one pass over a recording found: its encoding, its pieces in order, and how many events they hold."""

    path: Path
    encoding: str
    pieces: tuple[Piece, ...]
    events: int

    @property
    def first_us(self) -> int:
        """Time of the first event."""
        return self.pieces[0].first_us

    @property
    def last_us(self) -> int:
        """Time of the last event."""
        return self.pieces[-1].last_us

    def between(self, start_us: int, end_us: int) -> tuple[Piece, ...]:
        """The pieces that hold the events in [start, end) us."""
        return pieces_between(self.pieces, start_us, end_us)


def pieces_between(pieces: tuple[Piece, ...], start_us: int, end_us: int) -> tuple[Piece, ...]:
    """Those of ascending pieces that hold the events in [start, end) us."""
    first = bisect_left(pieces, start_us, key=lambda piece: piece.last_us)
    return pieces[first : max(first, bisect_left(pieces, end_us, key=lambda piece: piece.first_us))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    encoding: str
    data_offset: int
    sensor: tuple[int, int] | None


def index_events(path: str | Path, *, sensor: tuple[int, int] | None) -> EventIndex:
    """Read a recording once, in pieces, and check it: `*.dat` (DAT version 2) or `*.raw` (EVT2, EVT3).

    `sensor` is (H, W) in pixels; None leaves the bounds to the header. Raises RecordingError for a file that is missing,
    empty, header-less, cut, unsorted, out of bounds, or without events.
    """
    path = Path(path)
    layout = _read_layout(path)
    decoder = DECODERS[layout.encoding]
    body = path.stat().st_size - layout.data_offset
    if body % decoder.word_bytes:
        raise RecordingError(
            f"{path}: cut, {body} bytes of events after byte {layout.data_offset} are no multiple of "
            f"{decoder.word_bytes} ({body % decoder.word_bytes} left over); copy the recording again or remove the tail"
        )
    pieces: list[Piece] = []
    state, offset, count, last_us = decoder.start, layout.data_offset, 0, None
    with path.open("rb") as stream:
        stream.seek(offset)
        while raw := stream.read(PIECE_BYTES):
            events, following = decoder.decode(f"{path}", raw, offset, state)
            if events.size:
                check_events(events, layout.sensor, f"{path}", "the header's size", before=count, last_us=last_us)
                check_events(events, sensor, f"{path}", "the sensor", before=count, last_us=last_us)
                last_us = int(events["t"][-1])
                pieces.append(
                    Piece(
                        offset=offset,
                        size=len(raw),
                        state=state,
                        first_us=int(events["t"][0]),
                        last_us=last_us,
                        digest=hashlib.sha256(raw).hexdigest(),
                    )
                )
            count += events.size
            state, offset = following, offset + len(raw)
    if not pieces:
        raise RecordingError(f"{path}: holds no events; give a recording with at least one")
    return EventIndex(path=path, encoding=layout.encoding, pieces=tuple(pieces), events=count)


def read_piece(path: Path, encoding: str, piece: Piece) -> Array:
    """Decode one piece: EVENT_DTYPE (N,). RecordingError where the file is gone or its bytes have changed."""
    try:
        with path.open("rb") as stream:
            stream.seek(piece.offset)
            raw = stream.read(piece.size)
    except OSError as error:
        raise RecordingError(
            f"{path}: cannot be read ({error.strerror}); every worker needs the recording under the same path"
        ) from None
    if hashlib.sha256(raw).hexdigest() != piece.digest:
        raise RecordingError(
            f"{path}: bytes {piece.offset} to {piece.offset + piece.size} have changed since the recording was checked; "
            "run again when nobody writes to it"
        )
    return DECODERS[encoding].decode(f"{path}", raw, piece.offset, piece.state)[0]


def _read_layout(path: Path) -> _Layout:
    # A pipe or a device would block or never end, so only regular files are opened.
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; give the path of a recording")
    if path.suffix not in _SUFFIXES:
        raise RecordingError(
            f"{path}: the name ends in {path.suffix!r}; recordings are *.dat (DAT) or *.raw (EVT2, EVT3), rename it"
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if path.suffix == ".dat":
        header = parse_dat_header(path, head)
        return _Layout(encoding="dat", data_offset=header.data_offset, sensor=header.sensor)
    return _raw_layout(path, head)


def _raw_layout(path: Path, head: bytes) -> _Layout:
    """Walk the lines of a RAW header: `% evt 3.0` or `% format EVT3;height=720;width=1280`, until `% end` or data."""
    offset = 0
    encoding: str | None = None
    sensor: tuple[int, int] | None = None
    while head[offset : offset + 2] == b"% ":
        end = head.find(b"\n", offset)
        if end < 0:
            raise RecordingError(
                f"{path}: header line at byte {offset} has no newline within {len(head)} bytes; copy the recording again"
            )
        words = head[offset + 2 : end].decode("latin-1").split()
        offset = end + 1
        match words:
            case ["end"]:
                break
            case ["evt", version]:
                encoding = _encoding(path, version)
            case ["format", text]:
                name, *fields = text.split(";")
                encoding = _encoding(path, name)
                sizes = dict(field.split("=", 1) for field in fields if "=" in field)
                if {"height", "width"} <= set(sizes):
                    sensor = _size(path, sizes["height"], sizes["width"])
            case ["geometry", text] if text.count("x") == 1:
                width, height = text.split("x")
                sensor = _size(path, height, width)
            case _:
                continue
    if encoding is None:
        raise RecordingError(
            f"{path}: the header does not say 'evt 2.0' or 'evt 3.0'; give a RAW recording with its header"
        )
    return _Layout(encoding=encoding, data_offset=offset, sensor=sensor)


def _encoding(path: Path, name: str) -> str:
    if name not in _ENCODINGS:
        raise RecordingError(
            f"{path}: the header says {name[:20]!r}; EVT 2.0 and 3.0 can be read, convert the recording"
        )
    return _ENCODINGS[name]


def _size(path: Path, height: str, width: str) -> tuple[int, int]:
    if not all(
        text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= 1 << 14 for text in (height, width)
    ):
        raise RecordingError(
            f"{path}: the header gives the size {height[:10]!r} x {width[:10]!r}; whole numbers from 1 to {1 << 14} are needed"
        )
    return int(height), int(width)
