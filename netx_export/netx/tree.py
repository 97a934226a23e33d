"""The contents of a `.net` file in memory: groups, attributes, arrays. Reading never trusts the file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from netx_export.errors import NetxError
from netx_export.netx import guard

Attribute = int | float | str | list[int]
Array = npt.NDArray[Any]
Text = tuple[str, ...]

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
"""No number of a network needs more than 32 bits."""

WALL_SECONDS = 20
"""Wall-clock limit of the child; its own limit on processor time is shorter."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(slots=True)
class Group:
    """One HDF5 group. `where` names file and group in messages; typed access raises NetxError."""

    where: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    arrays: dict[str, Array | Text] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def child(self, name: str) -> Group:
        """The group `name`, made when it does not exist yet (for writing)."""
        if name not in self.groups:
            self.groups[name] = Group(where=f"{self.where}/{name}")
        return self.groups[name]

    def group(self, name: str) -> Group:
        """The group `name`; NetxError when it is missing."""
        if name not in self.groups:
            raise NetxError(f"{self.where}: the group {name!r} is missing; the file is incomplete, write it again.")
        return self.groups[name]

    def attribute(self, name: str) -> Attribute:
        """The attribute `name`; NetxError when it is missing."""
        if name not in self.attributes:
            raise NetxError(f"{self.where}: the attribute {name!r} is missing; the file is incomplete, write it again.")
        return self.attributes[name]

    def integer(self, name: str) -> int:
        """An integer attribute."""
        value = self.attribute(name)
        if type(value) is not int or not INT_MIN <= value <= INT_MAX:
            raise NetxError(
                f"{self.where}: attribute {name!r} is {reprlib.repr(value)}, it must be an integer of at most 32 bits."
            )
        return value

    def real(self, name: str) -> float:
        """A finite real attribute."""
        value = self.attribute(name)
        if type(value) is not float or not math.isfinite(value):
            raise NetxError(
                f"{self.where}: attribute {name!r} is {reprlib.repr(value)}, it must be a finite real number."
            )
        return value

    def text(self, name: str) -> str:
        """A text attribute."""
        value = self.attribute(name)
        if not isinstance(value, str):
            raise NetxError(f"{self.where}: attribute {name!r} is {reprlib.repr(value)}, it must be a text.")
        return value

    def integers(self, name: str, count: int) -> tuple[int, ...]:
        """An attribute that is a list of `count` integers."""
        value = self.attribute(name)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(type(entry) is int and INT_MIN <= entry <= INT_MAX for entry in value)
        ):
            raise NetxError(
                f"{self.where}: attribute {name!r} is {reprlib.repr(value)}, it must be {count} integers of at most "
                "32 bits."
            )
        return tuple(value)

    def array(self, name: str) -> Array | Text:
        """The dataset `name`; NetxError when it is missing."""
        if name not in self.arrays:
            raise NetxError(f"{self.where}: the dataset {name!r} is missing; the file is incomplete, write it again.")
        return self.arrays[name]

    def whole_numbers(self, name: str) -> npt.NDArray[np.int64]:
        """A dataset of whole numbers; floats are accepted where they hold whole numbers, as SLAYER writes them."""
        value = self.array(name)
        if isinstance(value, tuple):
            raise NetxError(
                f"{self.where}: dataset {name!r} holds the text {reprlib.repr(value)}, it must hold numbers."
            )
        if value.dtype.kind == "f":
            if not bool(np.isfinite(value).all()):
                raise NetxError(f"{self.where}: dataset {name!r} holds values that are not finite; export it again.")
            fractions = value[value != np.floor(value)]
            if fractions.size:
                raise NetxError(
                    f"{self.where}: dataset {name!r} holds the fraction {fractions.flat[0]}, only whole numbers run on "
                    "the chip; quantise before writing."
                )
        if value.size and (float(value.min()) < INT_MIN or float(value.max()) > INT_MAX):
            raise NetxError(
                f"{self.where}: dataset {name!r} reaches from {value.min()} to {value.max()}, the limit is 32 bits; "
                "quantise with a larger exponent."
            )
        return value.astype(np.int64)

    def allow(self, *, attributes: set[str], arrays: set[str], groups: set[str]) -> None:
        """NetxError when the group holds anything else: nothing is dropped in silence."""
        for kind, found, known in (
            ("attribute", self.attributes, attributes),
            ("dataset", self.arrays, arrays),
            ("group", self.groups, groups),
        ):
            extra = sorted(set(found) - known)
            if extra:
                raise NetxError(
                    f"{self.where}: unknown {kind} {extra[0]!r}; known are {sorted(known) or 'none'}. "
                    "It may change what the network computes, so it is not ignored; remove it."
                )

    def numbered(self) -> list[Group]:
        """Child groups called 0, 1, 2, ... in that order; NetxError when a number is missing."""
        missing = [str(index) for index in range(len(self.groups)) if str(index) not in self.groups]
        if missing:
            raise NetxError(
                f"{self.where}: entry {missing[0]!r} is missing among {sorted(self.groups)[:8]}; entries are counted "
                "from 0 without gaps."
            )
        return [self.groups[str(index)] for index in range(len(self.groups))]

    def checksum(self) -> str:
        """SHA-256 over names, types, shapes and values; the same before writing and after reading."""
        digest = hashlib.sha256()
        self._feed(digest, "")
        return digest.hexdigest()

    def _feed(self, digest: hashlib._Hash, path: str) -> None:
        digest.update(json.dumps([path, sorted(self.attributes.items())]).encode() + b"\n")
        for name, value in sorted(self.arrays.items()):
            if isinstance(value, tuple):
                digest.update(json.dumps([f"{path}/{name}", "text", value]).encode() + b"\n")
            else:
                digest.update(json.dumps([f"{path}/{name}", value.dtype.str, value.shape]).encode() + b"\n")
                digest.update(value.tobytes())
        for name, group in sorted(self.groups.items()):
            group._feed(digest, f"{path}/{name}")


_Integer = TypeVar("_Integer", bound=np.signedinteger[Any])


def narrow(group: Group, name: str, dtype: type[_Integer]) -> npt.NDArray[_Integer]:
    """The whole numbers of dataset `name` as `dtype`; NetxError when one does not fit."""
    values = group.whole_numbers(name)
    info = np.iinfo(dtype)
    if values.size and (values.min() < info.min or values.max() > info.max):
        raise NetxError(
            f"{group.where}: dataset {name!r} reaches from {values.min()} to {values.max()}, the limit is "
            f"{info.min}..{info.max}."
        )
    return values.astype(dtype)


def brief(error: Exception) -> str:
    """The text of an error that may quote names from a file, at most 400 characters of it."""
    text = str(error)
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-90:]}"


def load(path: str | os.PathLike[str]) -> Group:
    """The tree of the file at `path`, read by a child process with limits on time and memory.

    Raises NetxError for files that are missing, empty, cut, not HDF5, damaged or hostile.
    """
    file = Path(path)
    check_header(file)
    try:
        child = subprocess.run(
            guard_command(str(file.resolve())),
            capture_output=True,
            timeout=WALL_SECONDS,
            env=guard_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NetxError(
            f"{file}: HDF5 did not finish reading it within {WALL_SECONDS} s; the file is damaged or hostile."
        ) from None
    return understand(file, child.returncode, child.stdout, child.stderr)


def guard_command(file: str) -> list[str]:
    """The command line of the child. Isolated: no start-up files, nothing from the working directory; packages come
    from where this process has them."""
    packages = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [sys.executable, "-I", "-S", "-B", str(Path(guard.__file__).resolve()), file, *packages]


def guard_environment() -> dict[str, str]:
    """The environment of the child."""
    return {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # No compression plugins are loaded on behalf of a file.
        "HDF5_PLUGIN_PRELOAD": "::",
        **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ},
    }


def understand(file: Path, code: int, answer: bytes, errors: bytes) -> Group:
    """The tree in a child's answer; NetxError for whatever else came of it."""
    if code < 0:
        raise NetxError(
            f"{file}: HDF5 crashed or ran out of its time while reading it (signal {-code}); the file is damaged or "
            "hostile."
        )
    if code > 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise NetxError(f"{file}: the reading process failed ({last[0]}); the file is damaged or hostile.")
    try:
        return _parse(answer, file)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
        raise NetxError(f"{file}: the reading process answered nonsense; the file is damaged or hostile.") from None


def check_header(file: Path) -> None:
    """What can be said without libhdf5: existence, size, signature, and the length the header promises."""
    try:
        if file.is_dir():
            raise NetxError(f"{file}: this is a directory; give the path of a .net file.")
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise NetxError(f"{file}: this is no regular file (a pipe or a device); give the path of a .net file.")
        size = status.st_size
        with file.open("rb") as stream:
            # The signature may follow a user block of 512, 1024, ... bytes.
            start = 0
            head = stream.read(64)
            while not head.startswith(_SIGNATURE) and start < min(size, 1 << 20):
                start = max(512, 2 * start)
                stream.seek(start)
                head = stream.read(64)
    except FileNotFoundError:
        raise NetxError(f"{file}: no such file; check the path, or export the network first.") from None
    except OSError as error:
        raise NetxError(f"{file}: cannot be opened ({error.strerror}); check its permissions.") from None
    except ValueError as error:
        raise NetxError(f"{str(file)!r}: cannot be a path ({error}); check it.") from None
    if size == 0:
        raise NetxError(f"{file}: the file is empty (0 bytes); write it again.")
    if not head.startswith(_SIGNATURE):
        raise NetxError(
            f"{file}: this is not an HDF5 file, so it is no .net file; it begins with {_beginning(file)!r}."
        )
    # Offsets of the end-of-file address in superblocks 0, 1 and 2/3 (HDF5 file format specification, section II.A).
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8] if len(head) > 8 else -1)
    if place is not None and len(head) >= place + 8 and (head[13] if head[8] < 2 else head[9]) == 8:
        promised = struct.unpack_from("<Q", head, place)[0]
        if size < promised:
            raise NetxError(
                f"{file}: the file is cut: its header promises {promised} bytes, it has {size}; copy it again."
            )
    elif place is None or len(head) < place + 8:
        raise NetxError(f"{file}: the file is cut or damaged inside its HDF5 header ({size} bytes); copy it again.")


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(8)


def _parse(answer: bytes, file: Path) -> Group:
    (length,) = struct.unpack_from("<Q", answer)
    tree = json.loads(answer[8 : 8 + length].decode())
    if "error" in tree:
        raise NetxError(f"{file}: {tree['error']}")
    return build(tree, memoryview(answer)[8 + length :], str(file), "")


def build(tree: dict[str, Any], raw: memoryview, file: str, path: str) -> Group:
    """The group at `path` from the guard's JSON and its raw bytes."""
    group = Group(where=f"{file}: {path}" if path else file, attributes=dict(tree["attributes"]))
    for name, entry in tree["arrays"].items():
        if "text" in entry:
            group.arrays[name] = tuple(str(text) for text in entry["text"])
        else:
            part = raw[entry["offset"] : entry["offset"] + entry["size"]]
            group.arrays[name] = np.frombuffer(part, dtype=np.dtype(entry["dtype"])).reshape(entry["shape"])
    for name, child in tree["groups"].items():
        group.groups[name] = build(child, raw, file, f"{path}/{guard.printable(name)}")
    return group
