"""Event and box files: genuine GEN1 bytes, round trips, and one clear error for every kind of damage."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netx_export.errors import RecordingError
from training.event_files import (
    BOX_DTYPE,
    EVENT_DTYPE,
    GEN1_BOX_DTYPE,
    PROPHESEE_BOX_DTYPE,
    read_boxes,
    read_dat,
    read_times,
    write_boxes,
    write_dat,
    write_npy,
)

NCARS = Path(__file__).parents[3] / ".." / "shared" / "data" / "events" / "NCARS_obj_004397_td.dat"
HEADER = b"% Data file containing Event2D events.\n% Version 2\n% Height 240\n% Width 304\n\x00\x08"
SLOW_MACHINE = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def make_events(count: int, seed: int = 0, sensor: tuple[int, int] = (240, 304)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = np.zeros(count, dtype=EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 500_000, count))
    events["y"], events["x"] = rng.integers(0, sensor[0], count), rng.integers(0, sensor[1], count)
    events["p"] = rng.integers(0, 2, count)
    return events


def raw(*events: tuple[int, int, int, int], header: bytes = HEADER) -> bytes:
    words = np.array([(t, x | y << 14 | p << 28) for t, x, y, p in events], dtype="<u4")
    return header + words.tobytes()


def test_a_real_recording_decodes_to_its_published_events() -> None:
    if not NCARS.exists():
        pytest.skip("the NCARS sample is not beside this checkout")
    truth = np.load(NCARS.with_suffix(".npy"))
    events = read_dat(NCARS)
    assert events.size == 4407
    assert events.dtype == EVENT_DTYPE
    for name in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(events[name], truth[name])
    with pytest.raises(RecordingError, match=r"out of bounds, event \d+ has x = \d+ but the sensor is 20 x 20"):
        read_dat(NCARS, sensor=(20, 20))


def test_written_bytes_are_the_format(tmp_path: Path) -> None:
    path = tmp_path / "a_td.dat"
    events = np.array([(5, 3, 2, 1), (2**32 - 1, 303, 239, 0)], dtype=EVENT_DTYPE)
    write_dat(path, events, (240, 304))
    assert path.read_bytes() == raw((5, 3, 2, 1), (2**32 - 1, 303, 239, 0))
    np.testing.assert_array_equal(read_dat(path), events)


@SLOW_MACHINE
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 303), st.integers(0, 239), st.integers(0, 1)),
        min_size=1,
        max_size=40,
    )
)
def test_events_round_trip(tmp_path: Path, rows: list[tuple[int, int, int, int]]) -> None:
    events = np.array(sorted(rows), dtype=EVENT_DTYPE)
    path = tmp_path / "a_td.dat"
    write_dat(path, events)
    np.testing.assert_array_equal(read_dat(path), events)
    first = path.read_bytes()
    write_dat(path, events)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty \(0 bytes\); copy"),
        (raw((1, 2, 3, 0), header=b""), r"header-less, byte 0 is 0x01 and not '%'; give a Prophesee DAT"),
        (b"%%%%%%", r"header line at byte 0 has no newline within 6 bytes \(cut there\); copy"),
        (b"% Version 2\n% Hei", r"header line at byte 12 has no newline"),
        (b"% " + b"a" * 100_000 + b"\n\x00\x08", r"no newline within 65536 bytes \(beyond the limit\)"),
        (HEADER[:-2], r"the event type and size \(2 bytes\) are missing"),
        (HEADER[:-1], r"cut at byte \d+, the event type"),
        (HEADER[:-2] + b"\x02\x08" + b"\0" * 8, r"event type 0x02 of 8 bytes at byte 76; only contrast events"),
        (HEADER[:-2] + b"\x00\x10" + b"\0" * 16, r"event type 0x00 of 16 bytes"),
        (HEADER, r"holds no events; give a recording"),
        (raw((1, 2, 3, 0))[:-3], r"cut, 5 bytes of events after byte 78 are no multiple of 8 \(5 left over\); copy"),
        (raw((5, 2, 3, 0), (4, 2, 3, 0)), r"unsorted, event 1 has time 4 us after 5 us; sort"),
        (raw((1, 2, 3, 0), (2, 304, 3, 0)), r"out of bounds, event 1 has x = 304 but .* is 240 x 304 \(H x W\); drop"),
        (raw((1, 2, 240, 0)), r"out of bounds, event 0 has y = 240"),
        (raw((1, 2, 3, 3)), r"out of bounds, event 0 has p = 3 but polarity is 0 or 1"),
        (b"% Height 240\n\x00\x08" + b"\0" * 8, r"the header has Height alone; give both"),
        (b"% Height x\n% Width 304\n\x00\x08" + b"\0" * 8, r"line at byte 0 gives Height b'x'; a whole number from 1"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken_td.dat"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        read_dat(path)
    assert str(path) in str(caught.value)


def test_a_header_without_lines_on_the_sensor_leaves_the_bounds_to_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a_td.dat"
    path.write_bytes(raw((1, 640, 3, 0), header=b"% Version 2\n\x0c\x08"))
    assert read_dat(path, sensor=None)["x"].tolist() == [640]
    with pytest.raises(RecordingError, match="x = 640 but the sensor is 240 x 304"):
        read_dat(path)


def test_missing_misnamed_and_endless_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        read_dat(tmp_path / "absent_td.dat")
    pipe = tmp_path / "pipe_td.dat"
    os.mkfifo(pipe)
    with pytest.raises(RecordingError, match="no such file"):
        read_dat(pipe)
    other = tmp_path / "events.raw"
    other.write_bytes(raw((1, 2, 3, 0)))
    with pytest.raises(RecordingError, match=r"the name ends in '\.raw'; event files are named"):
        read_dat(other)
    link = tmp_path / "link_td.dat"
    link.symlink_to(other)
    with pytest.raises(RecordingError, match="expelliarmus refuses it"):
        read_dat(link)


def test_nothing_is_written_for_events_that_cannot_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a_td.dat"
    events = make_events(3)
    for field, value, message in (("t", 2**32, "does not fit"), ("t", -1, "time -1 us"), ("x", 304, "x = 304")):
        wrong = events.copy()
        wrong[field][-1] = value
        with pytest.raises(RecordingError, match=message):
            write_dat(path, wrong)
    with pytest.raises(RecordingError, match="unsorted"):
        write_dat(path, events[np.argsort(-events["t"])])
    with pytest.raises(RecordingError, match="holds no events"):
        write_dat(path, events[:0])
    assert list(tmp_path.iterdir()) == []


@settings(SLOW_MACHINE, max_examples=300)
@given(data=st.data())
def test_any_cut_or_changed_file_is_read_right_or_refused_at_once(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(raw(*[(10 * i, i % 304, i % 240, i % 2) for i in range(20)]))
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(content) - 1) if content else st.just(0))
        match data.draw(st.sampled_from(["cut", "set", "drop", "insert", "percent"])):
            case "cut":
                del content[position:]
            case "set" if content:
                content[position] = data.draw(st.integers(0, 255))
            case "drop":
                del content[position : position + data.draw(st.integers(1, 90))]
            case "insert":
                content[position:position] = data.draw(st.binary(max_size=20))
            case "percent":
                content[:position] = b"%" * position
    path = tmp_path / "fuzz_td.dat"
    path.write_bytes(content)
    started = time.monotonic()
    try:
        events = read_dat(path)
    except RecordingError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        # What was accepted are the file's own last bytes, in order and inside the sensor.
        words = np.frombuffer(bytes(content[-8 * events.size :]), dtype="<u4").reshape(-1, 2)
        np.testing.assert_array_equal(events["t"], words[:, 0])
        np.testing.assert_array_equal(events["x"], words[:, 1] & 0x3FFF)
        np.testing.assert_array_equal(events["y"], words[:, 1] >> 14 & 0x3FFF)
        np.testing.assert_array_equal(events["p"], words[:, 1] >> 28)
        assert np.all(np.diff(events["t"]) >= 0)
        assert events["x"].max() < 304
        assert events["y"].max() < 240
        assert events["p"].max() < 2
    assert time.monotonic() - started < 2.0


def make_boxes(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    boxes = np.zeros(count, dtype=BOX_DTYPE)
    boxes["t"] = np.sort(rng.integers(0, 10**7, count))
    for name in ("x", "y", "w", "h"):
        boxes[name] = rng.uniform(-20, 200, count)
    boxes["class_id"], boxes["track_id"] = rng.integers(0, 2, count), rng.integers(0, 99, count)
    boxes["class_confidence"] = rng.uniform(size=count)
    return boxes


@pytest.mark.parametrize("count", [0, 1, 17])
def test_both_box_layouts_round_trip(tmp_path: Path, count: int) -> None:
    boxes = make_boxes(count)
    for layout, dtype in (("gen1", GEN1_BOX_DTYPE), ("prophesee", PROPHESEE_BOX_DTYPE)):
        path = tmp_path / f"{layout}_bbox.npy"
        write_boxes(path, boxes, layout=layout)
        assert np.load(path).dtype == dtype
        assert dtype.itemsize == {"gen1": 33, "prophesee": 40}[layout]
        np.testing.assert_array_equal(read_boxes(path), boxes)
    with pytest.raises(RecordingError, match="box layout 'coco' is unknown; use 'gen1' or 'prophesee'"):
        write_boxes(tmp_path / "a_bbox.npy", boxes, layout="coco")


def test_box_fields_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    boxes = make_boxes(5)
    order = ["track_id", "h", "class_id", "w", "y", "class_confidence", "x", "t"]
    shuffled = np.zeros(5, dtype=[(name, BOX_DTYPE[name]) for name in order])
    for name in order:
        shuffled[name] = boxes[name]
    np.save(tmp_path / "a_bbox.npy", shuffled)
    np.testing.assert_array_equal(read_boxes(tmp_path / "a_bbox.npy"), boxes)


def test_broken_box_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_bbox.npy"

    def expect(message: str) -> None:
        with pytest.raises(RecordingError, match=message) as caught:
            read_boxes(path)
        assert str(path) in str(caught.value)

    expect("no such file")
    path.write_bytes(b"not numpy")
    expect(r"not an \.npy table")
    np.save(path, np.zeros(3))
    path.write_bytes(path.read_bytes().replace(b"'<f8'", b"',  '"))
    expect(r"not an \.npy table \(invalid syntax")
    np.save(path, np.zeros((3, 4)))
    expect(r"float64 and shape \(3, 4\); a 1-D table with named box fields")
    np.save(path, np.array([{"t": 1}], dtype=object), allow_pickle=True)
    expect("only plain, complete tables are read")
    boxes = make_boxes(4)
    np.save(path, boxes[["t", "x", "y", "w", "h"]])
    expect("no field named class_id among")
    write_boxes(path, boxes[::-1])
    expect(r"box 1 has time \d+ us after \d+ us; sort boxes")
    boxes["w"][2] = np.nan
    write_boxes(path, boxes)
    expect("box 2 has w = nan; every coordinate must be finite")
    write_boxes(path, make_boxes(4))
    path.write_bytes(path.read_bytes()[:-5])
    expect("127 bytes of data where .* needs 132")
    text = np.zeros(2, dtype=[(name, "U3" if name == "x" else BOX_DTYPE[name]) for name in BOX_DTYPE.names])
    np.save(path, text)
    expect("field x has type <U3; a plain number")


@settings(SLOW_MACHINE, max_examples=150)
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_mutated_box_files_never_escape_the_error(tmp_path: Path, position: int, value: int, cut: int) -> None:
    path = tmp_path / "a_bbox.npy"
    write_boxes(path, make_boxes(2))
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content[: max(0, len(content) - max(0, cut - 200))])
    try:
        boxes = read_boxes(path)
    except RecordingError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert boxes.dtype == BOX_DTYPE


def test_annotation_times_round_trip_and_must_ascend(tmp_path: Path) -> None:
    path = tmp_path / "a_times.npy"
    write_npy(path, np.array([1, 5, 9], dtype="<i8"))
    assert read_times(path).tolist() == [1, 5, 9]
    write_npy(path, np.array([1, 5, 5], dtype="<i8"))
    with pytest.raises(RecordingError, match=r"annotation time 2 \(5 us\) does not ascend"):
        read_times(path)
    write_npy(path, np.zeros((2, 2)))
    with pytest.raises(RecordingError, match="a 1-D array of whole us is needed"):
        read_times(path)
