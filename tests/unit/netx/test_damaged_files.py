"""Files that are cut, damaged, hostile or not networks at all: one clear error each, never a crash or a hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import netx_export
from netx_export.errors import NetxError
from netx_export.netx import guard, tree
from tests.unit.netx.networks import branched, foreign, sequential


@pytest.fixture(params=[sequential, branched], ids=["netx", "extended"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    netx_export.write(request.param(), tmp_path / "x.net")
    return tmp_path / "x.net"


def refusal(path: Path | str) -> str:
    with pytest.raises(NetxError) as caught:
        netx_export.read(path)
    return str(caught.value)


# -- not a whole HDF5 file ------------------------------------------------------------------------------------------


def test_cut_files(path: Path) -> None:
    whole = path.read_bytes()
    for offset in np.random.default_rng(0).integers(64, len(whole), 50):
        path.write_bytes(whole[:offset])
        message = refusal(path)
        assert "x.net: the file is cut" in message
        assert str(len(whole)) in message
        assert str(offset) in message
        assert "copy it again" in message


def test_cut_inside_the_header(path: Path) -> None:
    whole = path.read_bytes()
    for length in (8, 9, 30, 47):
        path.write_bytes(whole[:length])
        assert "cut or damaged inside its HDF5 header" in refusal(path)


def test_a_cut_file_whose_header_hides_it(path: Path) -> None:
    data = bytearray(path.read_bytes()[:-1000])
    data[40:48] = len(data).to_bytes(8, "little")
    path.write_bytes(data)
    assert "x.net" in refusal(path)


def test_no_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "x.net"
    assert "x.net: no such file; check the path" in refusal(file)
    file.write_bytes(b"")
    assert "x.net: the file is empty (0 bytes)" in refusal(file)
    file.write_text("layer: 0\n" * 100)
    assert "not an HDF5 file, so it is no .net file; it begins with b'layer: 0'" in refusal(file)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(3000))
    assert "it begins with b'\\x89PNG" in refusal(file)
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(200)))
    assert "x.net" in refusal(file)
    assert "this is a directory; give the path of a .net file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.net")
    assert "no regular file (a pipe or a device)" in refusal(tmp_path / "pipe.net")
    assert "cannot be opened (Not a directory); check its permissions" in refusal(tmp_path / "x.net" / "y.net")
    assert "cannot be a path" in refusal("a\0b.net")


def test_any_other_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.net", "w") as file:
        file["weights"] = np.zeros(4)
    assert "x.net: the group 'layer' is missing" in refusal(tmp_path / "x.net")


def test_a_user_block_before_the_file_is_read(tmp_path: Path) -> None:
    with (
        h5py.File(foreign(tmp_path / "a.net")) as whole,
        h5py.File(tmp_path / "b.net", "w", userblock_size=1024) as file,
    ):
        whole.copy("layer", file)
    assert netx_export.read(tmp_path / "b.net").digest == netx_export.read(tmp_path / "a.net").digest


# -- hostile --------------------------------------------------------------------------------------------------------


def test_a_shape_of_terabytes(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        del root["layer/1/weight"]
        root["layer/1"].create_dataset("weight", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(64, 64))
    message = refusal(file)
    assert "/layer/1/weight: shape (1048576, 1048576) brings the file to 87960930" in message
    assert f"the limit is {guard.DATA_LIMIT}" in message


def test_links_that_lead_out(tmp_path: Path) -> None:
    links: dict[str, Any] = {
        "SoftLink": h5py.SoftLink("/layer/1/weight"),
        "ExternalLink": h5py.ExternalLink("/etc/passwd", "/"),
    }
    for kind, link in links.items():
        file = foreign(tmp_path / "x.net")
        with h5py.File(file, "r+") as root:
            root["layer/1/bias"] = link
        assert f"/layer/1/bias: {kind} is not allowed; store the data itself in the file" in refusal(file)


def test_data_in_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(12)))
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        root["layer/1"].create_dataset("bias", shape=(3,), dtype="i4", external=[(str(tmp_path / "secret"), 0, 12)])
    assert "/layer/1/bias: the data lies in another file" in refusal(file)
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        layout = h5py.VirtualLayout(shape=(3,), dtype="i4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "data", shape=(3,))
        root["layer/1"].create_virtual_dataset("bias", layout)
    assert "/layer/1/bias: the data lies in another file" in refusal(file)


def test_loops_and_depth(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        root["layer/1/neuron/self"] = root["layer"]
    assert "/layer/1/neuron/self: the group contains itself; a network file is a tree" in refusal(file)
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        root.create_group("layer/1/" + "a/" * 500)
    assert "nested deeper than the limit of 6 levels" in refusal(file)


def test_many_objects_and_foreign_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = foreign(tmp_path / "x.net")
    monkeypatch.setattr(guard, "OBJECT_LIMIT", 10)
    assert "holds more than the limit of 10 objects" in guard.collect(str(file))[0]["error"]
    cases: dict[str, Any] = {
        "only numbers and texts are allowed": np.zeros(2, [("a", "i4"), ("b", "f4")]),
        "2000 texts in one dataset, the limit is 1024": [b"conv"] * 2000,
        "the dataset is empty": h5py.Empty("f4"),
        "a Datatype is not part of a network file": np.dtype("i4"),
    }
    for message, value in cases.items():
        file = foreign(tmp_path / "x.net")
        with h5py.File(file, "r+") as root:
            root["layer/1/bias"] = value
        assert message in refusal(file)


def test_an_unknown_compression(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        root["layer/1"].create_dataset("bias", data=np.zeros(30, "i4"), scaleoffset=0)
    assert "/layer/1/bias: compressed in an unknown way; use one of gzip" in refusal(file)


def test_compressed_data_is_read(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    plain = netx_export.read(file).digest
    with h5py.File(file, "r+") as root:
        weight = root["layer/1/weight"][()]
        del root["layer/1/weight"]
        root["layer/1"].create_dataset("weight", data=weight.astype(">f8"), compression="gzip", shuffle=True)
    assert netx_export.read(file).digest == plain


def test_odd_names_and_words_are_printable(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        root["layer/1"].create_group(b"\xff\n\x1b[31m")
    assert "/layer/1: the name b'\\xff\\n\\x1b[31m' is not UTF-8; rename it" in refusal(file)
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        del root["layer/1/type"]
        root["layer/1/type"] = "\x1b[31m" * 1000
    message = refusal(file)
    assert "\x1b" not in message
    assert len(message) < 500
    with h5py.File(file, "r+") as root:
        del root["layer/1/type"]
        root["layer/1/type"] = np.bytes_(b"\xff\xfe")
    assert "x.net: HDF5 cannot read it" in refusal(file)


# -- the child ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", "HDF5 crashed or ran out of its time while reading it (signal 11)"),
        ("exec sleep 30", "HDF5 did not finish reading it within 0.3 s"),
        ("echo boom >&2; exit 1", "the reading process failed (boom)"),
        ("echo gibberish", "the reading process answered nonsense"),
        (r"printf '\003\000\000\000\000\000\000\000[1]'", "the reading process answered nonsense"),
    ],
)
def test_whatever_the_child_does(
    script: str, message: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{script}\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(tree.sys, "executable", str(interpreter))
    monkeypatch.setattr(tree, "WALL_SECONDS", 0.3 if "sleep" in script else 20)
    text = refusal(path)
    assert f"x.net: {message}" in text
    assert "the file is damaged or hostile" in text


def test_the_child_limits_itself(tmp_path: Path) -> None:
    """By the size of the file: 400 MiB and 2 s for a small one."""
    with h5py.File(tmp_path / "x.net", "w") as file:
        file.create_dataset("layer/0/weight", shape=(200 << 20,), dtype="i1")
    size = (tmp_path / "x.net").stat().st_size
    code = (
        f"import sys, resource; sys.path.insert(0, {str(Path(guard.__file__).parent)!r}); import guard\n"
        "guard.FREE_NUMBERS = 1 << 40; guard.main()\n"
        "print([resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.net")]
    answer = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert b"reading it needs more memory than a file of its size may take; it is damaged or hostile" in answer.stdout
    assert f"[{(400 << 20) + 8 * size}, 2, 0]".encode() in answer.stdout


def test_bombs_are_refused_before_they_are_read(tmp_path: Path) -> None:
    file = foreign(tmp_path / "x.net")
    with h5py.File(file, "r+") as root:
        del root["layer/1/weight"]
        root["layer/1"].create_dataset("weight", data=np.zeros(9 << 20, "i1"), compression="gzip")
    message = refusal(file)
    assert "/layer/1/weight: shape (9437184,) brings the file to 94372" in message
    assert "numbers, the limit for its size is 8" in message
    with h5py.File(file, "r+") as root:
        del root["layer/1/weight"]
        root["layer/1"].create_dataset("weight", shape=(1 << 19,), dtype="i1", chunks=(4,))
    assert "/layer/1/weight: stored in 131072 pieces, the limit is 65536; use larger chunks" in refusal(file)
