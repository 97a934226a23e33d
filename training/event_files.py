"""GEN1 recordings on disk: `<name>_td.dat` (events) and `<name>_bbox.npy` (boxes), read behind guards.

expelliarmus decodes the events, but it hangs on some damaged headers, returns None on others, drops cut tails and
adds 2^32 us after a timestamp that steps back. So the raw bytes are checked here first, with numpy alone; only a file
that passed every check reaches expelliarmus, and what it decodes must agree with the bytes.
"""

from __future__ import annotations

import io
import math
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from netx_export.errors import RecordingError
from netx_export.files import replace_file

Array = npt.NDArray[Any]

GEN1_SENSOR: tuple[int, int] = (240, 304)
EVENT_DTYPE = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
"""One event: t in us, x and y in pixels, p = 1 for brighter and 0 for darker."""

BOX_DTYPE = np.dtype(
    [("t", "<i8"), ("x", "<f4"), ("y", "<f4"), ("w", "<f4"), ("h", "<f4"),
     ("class_id", "<u4"), ("track_id", "<u4"), ("class_confidence", "<f4")]
)  # fmt: skip
"""One box: t in us, x and y of the top-left corner, w and h in pixels, class 0 car, 1 pedestrian."""

GEN1_BOX_DTYPE = np.dtype(
    [("ts", "<u8"), ("x", "<f4"), ("y", "<f4"), ("w", "<f4"), ("h", "<f4"),
     ("class_id", "u1"), ("confidence", "<f4"), ("track_id", "<u4")]
)  # fmt: skip
PROPHESEE_BOX_DTYPE = np.dtype(
    {
        "names": list(BOX_DTYPE.names or ()),
        "formats": ["<i8", "<f4", "<f4", "<f4", "<f4", "<u4", "<u4", "<f4"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32],
        "itemsize": 40,
    }
)

_EVENT_BYTES = 8
_EVENT_TYPES = (0x00, 0x0C)
_HEADER_LIMIT = 1 << 16
# All that numpy lets through when it evaluates the text of a damaged .npy header.
_NPY_HEADER_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
_LARGEST_TIME = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DatHeader:
    """Where the records of a DAT file start (byte offset), and the sensor (H, W) that it declares, if any."""

    data_offset: int
    sensor: tuple[int, int] | None


def read_dat(path: str | Path, *, sensor: tuple[int, int] | None = GEN1_SENSOR) -> Array:
    """Read a `_td.dat` file: EVENT_DTYPE of shape (N,), t ascending in us.

    `sensor` is (H, W) in pixels; None bounds the events by the header's Height and Width alone, where it has them.
    Raises RecordingError for a file that is missing, empty, header-less, cut, unsorted, out of bounds, or without
    events. Source: Prophesee DAT version 2.
    """
    path = Path(path)
    raw = _read_bytes(path)
    header = parse_dat_header(path, raw)
    expected = _decode_records(path, raw, header)
    check_events(expected, header.sensor, f"{path}", "the header's Height x Width")
    check_events(expected, sensor, f"{path}", "the sensor")
    return _decode_with_expelliarmus(path, expected)


def write_dat(path: str | Path, events: Array, sensor: tuple[int, int] = GEN1_SENSOR) -> None:
    """Write events (EVENT_DTYPE fields, sorted by t) of a sensor (H, W) as DAT version 2; same events, same bytes.

    Raises RecordingError for no events, unsorted times, times beyond 2^32-1 us, and events outside the sensor.
    """
    path = Path(path)
    t = events["t"].astype(np.int64)
    if t.size and (t.min() < 0 or t.max() > _LARGEST_TIME):
        raise RecordingError(
            f"{path}: time {int(t.min() if t.min() < 0 else t.max())} us does not fit the format's 0..{_LARGEST_TIME}; "
            "subtract the recording's start or split it"
        )
    check_events(events, sensor, f"{path}", "the sensor")
    records = np.empty((t.size, 2), dtype="<u4")
    records[:, 0] = t
    x, y, p = (events[name].astype(np.uint32) for name in ("x", "y", "p"))
    records[:, 1] = x | (y << np.uint32(14)) | (p << np.uint32(28))
    height, width = sensor
    text = f"% Data file containing Event2D events.\n% Version 2\n% Height {height}\n% Width {width}\n"
    body = text.encode("ascii") + bytes((_EVENT_TYPES[0], _EVENT_BYTES)) + records.tobytes()

    with replace_file(path) as temporary:
        temporary.write_bytes(body)


def read_boxes(path: str | Path) -> Array:
    """Read a `_bbox.npy` file in either published layout as BOX_DTYPE of shape (N,), t ascending in us.

    Fields are found by name, never by position. Raises RecordingError for anything that is not such a table.
    """
    path = Path(path)
    table = _load_npy(path)
    names = set(table.dtype.names or ())
    if table.ndim != 1 or not names:
        raise RecordingError(
            f"{path}: array of type {table.dtype} and shape {table.shape}; a 1-D table with named box fields is needed"
        )
    boxes = np.zeros(table.shape, dtype=BOX_DTYPE)
    for name, sources in _BOX_FIELDS.items():
        source = next((candidate for candidate in sources if candidate in names), None)
        if source is None:
            raise RecordingError(
                f"{path}: no field named {' or '.join(sources)} among {sorted(names)}; "
                "write it in one of the two GEN1 layouts"
            )
        if table.dtype[source].kind not in "iuf":
            raise RecordingError(f"{path}: field {source} has type {table.dtype[source]}; a plain number is needed")
        with np.errstate(invalid="ignore", over="ignore"):
            boxes[name] = table[source]
    for name in ("x", "y", "w", "h"):
        bad = np.flatnonzero(~np.isfinite(boxes[name]))
        if bad.size:
            raise RecordingError(
                f"{path}: box {bad[0]} has {name} = {boxes[name][bad[0]]}; every coordinate must be finite, drop it"
            )
    back = np.flatnonzero(np.diff(boxes["t"]) < 0)
    if back.size:
        first = int(back[0]) + 1
        raise RecordingError(
            f"{path}: box {first} has time {boxes['t'][first]} us after {boxes['t'][first - 1]} us; sort boxes by time"
        )
    return boxes


def write_boxes(path: str | Path, boxes: Array, layout: Literal["gen1", "prophesee"] = "gen1") -> None:
    """Write boxes (BOX_DTYPE fields) as `_bbox.npy`: packed 33 bytes ("gen1") or padded 40 bytes ("prophesee")."""
    path = Path(path)
    if layout not in ("gen1", "prophesee"):
        raise RecordingError(f"{path}: box layout {layout!r} is unknown; use 'gen1' or 'prophesee'")
    table = np.zeros(boxes.shape, dtype=GEN1_BOX_DTYPE if layout == "gen1" else PROPHESEE_BOX_DTYPE)
    for name, sources in _BOX_FIELDS.items():
        target = sources[0] if layout == "prophesee" else sources[-1]
        table[target] = boxes[name]
    write_npy(path, table)


def read_times(path: str | Path) -> npt.NDArray[np.int64]:
    """Read a `_times.npy` file: the annotated moments (N,) in us, strictly ascending, empty ones included."""
    path = Path(path)
    table = _load_npy(path)
    if table.ndim != 1 or table.dtype.kind not in "iu":
        raise RecordingError(f"{path}: {table.dtype} of shape {table.shape}; a 1-D array of whole us is needed")
    times = table.astype(np.int64)
    if np.any(np.diff(times) <= 0):
        first = int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1
        raise RecordingError(f"{path}: annotation time {first} ({times[first]} us) does not ascend; sort the times")
    return times


def write_npy(path: str | Path, table: Array) -> None:
    """Write one array as `.npy`, replacing the file in one step."""
    with replace_file(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(table), allow_pickle=False)  # type: ignore[no-untyped-call]


_BOX_FIELDS: dict[str, tuple[str, ...]] = {
    "t": ("t", "ts"),
    "x": ("x",),
    "y": ("y",),
    "w": ("w",),
    "h": ("h",),
    "class_id": ("class_id",),
    "track_id": ("track_id",),
    "class_confidence": ("class_confidence", "confidence"),
}


def _read_bytes(path: Path) -> bytes:
    # A pipe or a device would block or never end, so only regular files are opened.
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; give the path of a recording")
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def parse_dat_header(path: Path, raw: bytes) -> DatHeader:
    """Walk the `%` lines, then the event type and size bytes; every way to run off the end is an error."""
    if path.suffix != ".dat":
        raise RecordingError(f"{path}: the name ends in {path.suffix!r}; event files are named *_td.dat, rename it")
    if not raw:
        raise RecordingError(f"{path}: the file is empty (0 bytes); copy the recording again")
    if raw[:1] != b"%":
        raise RecordingError(
            f"{path}: header-less, byte 0 is 0x{raw[0]:02x} and not '%'; "
            "give a Prophesee DAT version 2 file (EVT2 and EVT3 files must be converted first)"
        )
    offset = 0
    declared: dict[str, int] = {}
    while raw[offset : offset + 1] == b"%":
        end = raw.find(b"\n", offset, _HEADER_LIMIT)
        if end < 0:
            reason = "beyond the limit" if len(raw) > _HEADER_LIMIT else "cut there"
            raise RecordingError(
                f"{path}: header line at byte {offset} has no newline within {min(len(raw), _HEADER_LIMIT)} bytes "
                f"({reason}); copy the recording again"
            )
        words = raw[offset + 1 : end].split()
        if words and words[0] in (b"Height", b"Width"):
            name = words[0].decode("ascii")
            declared[name] = _header_number(path, name, words, offset)
        offset = end + 1
    if len(raw) < offset + 2:
        raise RecordingError(
            f"{path}: cut at byte {len(raw)}, the event type and size (2 bytes) are missing after the header; "
            "copy the recording again"
        )
    kind, size = raw[offset], raw[offset + 1]
    if kind not in _EVENT_TYPES or size != _EVENT_BYTES:
        raise RecordingError(
            f"{path}: event type 0x{kind:02x} of {size} bytes at byte {offset}; "
            "only contrast events (type 0x00 or 0x0c, 8 bytes) can be read"
        )
    if len(declared) == 1:
        raise RecordingError(
            f"{path}: the header has {next(iter(declared))} alone; give both Height and Width, or none"
        )
    sensor = (declared["Height"], declared["Width"]) if declared else None
    return DatHeader(data_offset=offset + 2, sensor=sensor)


def _header_number(path: Path, name: str, words: list[bytes], offset: int) -> int:
    text = words[1] if len(words) == 2 else b" ".join(words[1:])
    if not (text.isdigit() and 0 < int(text[:9]) <= 1 << 14 and len(text) <= 9):
        raise RecordingError(
            f"{path}: header line at byte {offset} gives {name} {text[:40]!r}; a whole number from 1 to {1 << 14} is needed"
        )
    return int(text)


def _decode_records(path: Path, raw: bytes, header: DatHeader) -> Array:
    body = len(raw) - header.data_offset
    if body % _EVENT_BYTES:
        raise RecordingError(
            f"{path}: cut, {body} bytes of events after byte {header.data_offset} are no multiple of {_EVENT_BYTES} "
            f"({body % _EVENT_BYTES} left over); copy the recording again or remove the tail"
        )
    words = np.frombuffer(raw, dtype="<u4", offset=header.data_offset).reshape(-1, 2)
    events = np.empty(words.shape[0], dtype=EVENT_DTYPE)
    events["t"] = words[:, 0]
    events["x"] = words[:, 1] & 0x3FFF
    events["y"] = (words[:, 1] >> 14) & 0x3FFF
    events["p"] = words[:, 1] >> 28
    return events


def check_events(
    events: Array,
    sensor: tuple[int, int] | None,
    name: str,
    source: str,
    *,
    before: int = 0,
    last_us: int | None = None,
) -> None:
    """RecordingError unless events are there, ascend in time, and lie within the sensor (H, W) that `source` names.

    For a piece of a recording: `before` events of it came earlier, the last one at `last_us`.
    """
    if events.size == 0:
        raise RecordingError(f"{name}: holds no events; give a recording with at least one")
    earlier = events["t"][:1] if last_us is None else np.array([last_us])
    back = np.flatnonzero(np.diff(events["t"], prepend=earlier) < 0)
    if back.size:
        index = int(back[0])
        previous = events["t"][index - 1] if index else last_us
        raise RecordingError(
            f"{name}: unsorted, event {before + index} has time {events['t'][index]} us after {previous} us; "
            "sort the events by time"
        )
    height, width = sensor if sensor is not None else (1 << 14, 1 << 14)
    for axis, limit in (("x", width), ("y", height), ("p", 2)):
        values = events[axis]
        bad = np.flatnonzero((values < 0) | (values >= limit))
        if bad.size:
            index = int(bad[0])
            what = "polarity is 0 or 1" if axis == "p" else f"{source} is {height} x {width} (H x W)"
            raise RecordingError(
                f"{name}: out of bounds, event {before + index} has {axis} = {values[index]} but {what}; "
                "drop such events, or give the sensor that recorded them"
            )


def _decode_with_expelliarmus(path: Path, expected: Array) -> Array:
    # Imported here so that modules that only name the types stay light.
    from expelliarmus import Wizard

    try:
        decoded = Wizard(encoding="dat").read(path)
    except (ValueError, TypeError, RuntimeError) as error:
        raise RecordingError(f"{path}: expelliarmus refuses it ({error}); check the file's name") from error
    if decoded is None or decoded.shape != expected.shape:
        count = 0 if decoded is None else decoded.shape[0]
        raise RecordingError(
            f"{path}: expelliarmus decodes {count} of {expected.size} events; was the file changed while it was read?"
        )
    events = np.empty(expected.shape, dtype=EVENT_DTYPE)
    for name in EVENT_DTYPE.names or ():
        events[name] = decoded[name]
    if not np.array_equal(events, expected):
        index = int(np.flatnonzero(events != expected)[0])
        raise RecordingError(
            f"{path}: expelliarmus reads event {index} as {events[index]}, its bytes say {expected[index]}; "
            "was the file changed while it was read?"
        )
    return events


def _load_npy(path: Path) -> Array:
    """Load an `.npy` without pickles and without trusting the size that its header claims."""
    raw = _read_bytes(path)
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = reader(stream)  # type: ignore[no-untyped-call]
    except _NPY_HEADER_ERRORS as error:
        raise RecordingError(f"{path}: not an .npy table ({error}); write it again with numpy.save") from error
    size = math.prod(shape) * dtype.itemsize
    left = len(raw) - stream.tell()
    if dtype.hasobject or fortran_order or size != left:
        raise RecordingError(
            f"{path}: {left} bytes of data where {dtype} of shape {shape} needs {size}; "
            "only plain, complete tables are read, copy the file again"
        )
    return np.frombuffer(raw, dtype=dtype, offset=stream.tell()).reshape(shape)
