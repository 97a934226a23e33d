"""Recordings read piece by piece: the same events whatever the piece, real EVT3 bytes, clocks that wrap, and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netx_export.errors import RecordingError
from training import event_pieces
from training.event_files import read_dat
from training.event_pieces import EventIndex, index_events, read_piece

EVENTS = Path(__file__).resolve().parents[4] / "shared/data/events"
DAT_HEADER = b"% Height 240\n% Width 304\n\x00\x08"
EVT2_HEADER = b"% evt 2.0\n% end\n"
EVT3_HEADER = b"% format EVT3;height=240;width=304\n% end\n"


def decoded(index: EventIndex) -> np.ndarray:
    return np.concatenate([read_piece(index.path, index.encoding, piece) for piece in index.pieces])


def rows(events: np.ndarray) -> list[tuple[int, int, int, int]]:
    return [tuple(int(event[name]) for name in ("t", "x", "y", "p")) for event in events]


def dat(*events: tuple[int, int, int, int]) -> bytes:
    return DAT_HEADER + np.array([(t, x | y << 14 | p << 28) for t, x, y, p in events], "<u4").tobytes()


def words(header: bytes, kind: str, *values: int) -> bytes:
    return header + np.array(values, kind).tobytes()


@pytest.mark.parametrize("size", [1 << 20, 8000, 64])
def test_a_real_dat_recording_in_pieces_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = EVENTS / "NCARS_obj_004397_td.dat"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    monkeypatch.setattr(event_pieces, "PIECE_BYTES", size)
    index = index_events(path, sensor=(240, 304))
    assert (index.events, len(index.pieces)) == (4407, -(-4407 * 8 // size))
    np.testing.assert_array_equal(decoded(index), read_dat(path))


@pytest.mark.parametrize("size", [1 << 20, 8000, 64])
def test_a_real_evt3_recording_in_pieces_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """x, y and polarity agree with expelliarmus. So do times, until its clock gains 4096 us where a time-low word steps
    back inside one time-high: ours end in the time-high word that the file ends with."""
    path = EVENTS / "evt3_sample.raw"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    from expelliarmus import Wizard

    monkeypatch.setattr(event_pieces, "PIECE_BYTES", size)
    index = index_events(path, sensor=(720, 1280))
    found, other = decoded(index), Wizard(encoding="evt3").read(path)
    assert index.events == 219_596
    for name in ("x", "y", "p"):
        np.testing.assert_array_equal(found[name], other[name])
    same = found["t"] == other["t"]
    assert same[:20_000].all()
    raw = path.read_bytes()
    body = np.frombuffer(raw[raw.index(b"% system_ID 48\n") + 15 :], "<u2")
    last_high = int(body[body >> 12 == 8][-1]) & 0xFFF
    assert found["t"][-1] >> 12 == last_high
    assert other["t"][-1] >> 12 != last_high


def test_evt2_and_evt3_words_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evt2 = tmp_path / "two.raw"
    event = lambda on, low, x, y: on << 28 | low << 22 | x << 11 | y  # noqa: E731
    # The first event has no time yet; the clock then passes 2^28 * 64 us.
    evt2.write_bytes(
        words(
            EVT2_HEADER,
            "<u4",
            event(1, 5, 1, 1),
            8 << 28 | 0xFFFFFFF,
            event(1, 63, 300, 2),
            8 << 28 | 1,
            event(0, 0, 7, 9),
        )
    )
    top = (0xFFFFFFF << 6) + 63
    assert rows(decoded(index_events(evt2, sensor=(240, 304)))) == [(top, 300, 2, 1), ((1 << 34) + 64, 7, 9, 0)]
    evt3 = tmp_path / "three.raw"
    evt3.write_bytes(
        words(
            EVT3_HEADER, "<u2",
            0x8FFF, 0x6010, 0x0005, 0x2803,  # time, y = 5, x = 3 on
            0x3014, 0x4000 | 0b100000000001, 0x5000 | 0b10,  # from x = 20 off: 20, 31, then 8 from 32: 33
            0x8000, 0x6001, 0x2001,  # the 24-bit clock wraps
        )
    )  # fmt: skip
    low, wrapped = (0xFFF << 12) + 16, (1 << 24) + 1
    expected = [(low, 3, 5, 1), (low, 20, 5, 0), (low, 31, 5, 0), (low, 33, 5, 0), (wrapped, 1, 5, 0)]
    for size in (1 << 20, 4, 2):
        monkeypatch.setattr(event_pieces, "PIECE_BYTES", size)
        assert rows(decoded(index_events(evt3, sensor=(240, 304)))) == expected


def test_a_dat_clock_that_wraps_after_71_minutes(tmp_path: Path) -> None:
    path = tmp_path / "long_td.dat"
    path.write_bytes(dat((2**32 - 1, 1, 2, 0), (4, 3, 4, 1)))
    index = index_events(path, sensor=(240, 304))
    assert [t for t, *_ in rows(decoded(index))] == [2**32 - 1, 2**32 + 4]
    with pytest.raises(RecordingError, match="unsorted, event 1 has time 4 us"):
        read_dat(path)


def test_pieces_between_two_times_hold_all_events_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pieces, "PIECE_BYTES", 16)
    path = tmp_path / "a_td.dat"
    times = [0, 5, 5, 5, 5, 9, 20, 20, 31, 40]
    path.write_bytes(dat(*((t, n, 0, 0) for n, t in enumerate(times))))
    index = index_events(path, sensor=None)
    for start in range(-1, 45):
        for end in range(start, 46):
            found = [row for piece in index.between(start, end) for row in rows(read_piece(path, "dat", piece))]
            wanted = [n for n, t in enumerate(times) if start <= t < end]
            assert [x for t, x, *_ in found if start <= t < end] == wanted
            assert len(found) <= len(wanted) + 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.raw", b"", "the header does not say 'evt 2.0' or 'evt 3.0'"),
        ("a.raw", b"% evt 2.1\n", "the header says '2.1'; EVT 2.0 and 3.0 can be read"),
        ("a.raw", b"% evt 3.0", "header line at byte 0 has no newline within 9 bytes"),
        ("a.raw", b"% evt 3.0\n% geometry 0x9\n", "the header gives the size '9' x '0'; whole numbers from 1"),
        ("a.raw", EVT3_HEADER + b"\x00", "cut, 1 bytes of events after byte 41 are no multiple of 2"),
        (
            "a.raw",
            words(EVT3_HEADER, "<u2", 0x8000, 0x1000),
            "word of type 0x1 at byte 43; the format has no such type",
        ),
        ("a.raw", words(EVT2_HEADER, "<u4", 0x50000000), "word of type 0x5 at byte 16"),
        (
            "a.raw",
            words(EVT3_HEADER, "<u2", 0x8000, 0x2001 + 400),
            "out of bounds, event 0 has x = 401 but the header's",
        ),
        ("a.raw", EVT3_HEADER, "holds no events"),
        ("a_td.dat", DAT_HEADER + b"\x00", "cut, 1 bytes of events"),
        ("a_td.dat", b"", r"the file is empty \(0 bytes\)"),
        ("a_td.dat", dat((5, 0, 0, 0), (6, 0, 0, 0), (4, 0, 0, 0)), "unsorted, event 2 has time 4 us after 6 us; sort"),
        ("a_td.dat", dat((5, 0, 0, 0), (6, 0, 0, 0), (7, 0, 0, 2)), "out of bounds, event 2 has p = 2"),
        ("a.aedat", b"", r"the name ends in '\.aedat'; recordings are \*\.dat"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, name: str, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pieces, "PIECE_BYTES", 16)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        index_events(path, sensor=(240, 304))
    assert str(path) in str(caught.value)


def test_a_file_that_changes_or_goes_after_the_check_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_td.dat"
    path.write_bytes(dat((1, 1, 1, 1), (2, 2, 2, 0)))
    (piece,) = index_events(path, sensor=None).pieces
    path.write_bytes(dat((1, 1, 1, 1), (3, 2, 2, 0)))
    with pytest.raises(RecordingError, match=r"bytes 27 to 43 have changed since the recording was checked"):
        read_piece(path, "dat", piece)
    path.unlink()
    with pytest.raises(RecordingError, match="every worker needs the recording under the same path"):
        read_piece(path, "dat", piece)
    with pytest.raises(RecordingError, match="no such file"):
        index_events(path, sensor=None)
