"""The child process that opens untrusted HDF5 files, so that libhdf5 can crash or loop without harm.

Run as a script: `python -I -S guard.py FILE FOLDER...`, the folders being where numpy and h5py may lie. It imports
the standard library, numpy and h5py alone, limits its own memory and processor time, copies what a `.net` file may
hold out of `/layer`, `/simulation` and `/basalt`, and writes it to standard output as

    8 bytes little-endian length | JSON | raw array bytes

The JSON is {"error": text} or the tree {"attributes", "arrays", "groups"} whose arrays point into the raw bytes.
The parent (`netx_export.netx.tree`) never hands the file to libhdf5 itself.

With `--serve` instead of FILE it reads one path per line from standard input and answers each as a child of its own,
forked after h5py was imported, under the same limits:

    8 bytes each: wait status, peak memory in KiB, microseconds of processor time, length | the answer above
"""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 400 << 20
MEMORY_PER_BYTE = 8
"""A file of n bytes may take MEMORY_LIMIT + n * MEMORY_PER_BYTE bytes of address space."""
CPU_SECONDS = 2
BYTES_PER_CPU_SECOND = 20 << 20
"""A file of n bytes may take CPU_SECONDS + n / BYTES_PER_CPU_SECOND seconds of processor time."""
CHUNK_LIMIT = 1 << 16
"""Pieces that one array may be stored in; HDF5 keeps a record of each in memory."""
DATA_LIMIT = 1 << 28
"""Bytes that all arrays of a file may declare together."""
FREE_NUMBERS = 8 << 20
NUMBERS_PER_BYTE = 8
"""A file of n bytes may declare FREE_NUMBERS + n * NUMBERS_PER_BYTE numbers: compressed arrays, but no bombs."""
DEPTH_LIMIT = 6
OBJECT_LIMIT = 200_000
ATTRIBUTE_BYTES = 1 << 16
ROOT_GROUPS = ("layer", "simulation", "basalt")
"""NetX says of all other fields that they are not used for network exchange."""
WITH_ATTRIBUTES = "/basalt"
FILTERS = ("gzip", "shuffle", "fletcher32", "lzf")


def printable(name: str) -> str:
    """A name as a message can carry it: bytes that are not UTF-8, and control characters, escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name[:80])


class UntrustedError(Exception):
    """The file holds something that no `.net` file needs."""


class Collector:
    """Copies a tree of groups, arrays and attributes out of an open file, refusing whatever could do harm."""

    def __init__(self, file_size: int = 0) -> None:
        self.payload: list[bytes] = []
        self.offset = 0
        self.declared = 0
        self.objects = 0
        self.numbers = 0
        self.numbers_limit = FREE_NUMBERS + NUMBERS_PER_BYTE * file_size

    def group(self, group: Any, path: str, ancestors: tuple[int, ...]) -> dict[str, Any]:
        """The contents of `group`; `ancestors` are the file addresses of the groups around it."""
        import h5py

        address = int(h5py.h5o.get_info(group.id).addr)
        if address in ancestors:
            raise UntrustedError(f"{path}: the group contains itself; a network file is a tree.")
        if len(ancestors) >= DEPTH_LIMIT:
            raise UntrustedError(f"{path}: groups are nested deeper than the limit of {DEPTH_LIMIT} levels.")
        tree: dict[str, Any] = {"attributes": self.attributes(group, path), "arrays": {}, "groups": {}}
        for name in group:
            if not ancestors and name not in ROOT_GROUPS:
                continue
            if not isinstance(name, str):
                raise UntrustedError(f"{path}: the name {name[:40]!r} is not UTF-8; rename it.")
            where = f"{path.rstrip('/')}/{printable(name)}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UntrustedError(
                    f"{where}: {type(link).__name__} is not allowed; store the data itself in the file."
                )
            self.objects += 1
            if self.objects > OBJECT_LIMIT:
                raise UntrustedError(f"{where}: the file holds more than the limit of {OBJECT_LIMIT} objects.")
            child = group[name]
            if isinstance(child, h5py.Group):
                tree["groups"][name] = self.group(child, where, (*ancestors, address))
            elif isinstance(child, h5py.Dataset):
                tree["arrays"][name] = self.array(child, where)
            else:
                raise UntrustedError(f"{where}: a {type(child).__name__} is not part of a network file.")
        return tree

    def attributes(self, group: Any, path: str) -> dict[str, Any]:
        """Numbers, texts and short lists of numbers; only this project's own group carries any."""
        if not f"{path}/".startswith(f"{WITH_ATTRIBUTES}/"):
            return {}
        found: dict[str, Any] = {}
        for name in group.attrs:
            if not isinstance(name, str):
                raise UntrustedError(f"{path}: the attribute name {name[:40]!r} is not UTF-8; rename it.")
            attribute = group.attrs.get_id(name)
            if attribute.get_storage_size() > ATTRIBUTE_BYTES:
                raise UntrustedError(f"{path}: attribute {name!r} is larger than the limit of {ATTRIBUTE_BYTES} bytes.")
            value = group.attrs[name]
            plain = value.tolist() if hasattr(value, "tolist") else value
            if isinstance(plain, bytes):
                plain = plain.decode("utf-8")
            if not isinstance(plain, (int, float, str)) and not (
                isinstance(plain, list) and all(isinstance(entry, int) for entry in plain)
            ):
                raise UntrustedError(f"{path}: attribute {name!r} is neither a number nor a text.")
            found[name] = plain
        return found

    def array(self, dataset: Any, path: str) -> dict[str, Any]:
        """One dataset: little-endian numbers as raw bytes, texts inside the JSON."""
        import h5py
        import numpy as np

        if dataset.shape is None:
            raise UntrustedError(f"{path}: the dataset is empty; it must hold numbers or a text.")
        if dataset.external or dataset.is_virtual:
            raise UntrustedError(f"{path}: the data lies in another file; store it in this one.")
        numbers = int(np.prod([int(extent) for extent in dataset.shape], dtype=object))
        self.declared += numbers * dataset.dtype.itemsize
        self.numbers += numbers
        if self.declared > DATA_LIMIT:
            raise UntrustedError(
                f"{path}: shape {dataset.shape} brings the file to {self.declared} bytes, the limit is {DATA_LIMIT}."
            )
        if self.numbers > self.numbers_limit:
            raise UntrustedError(
                f"{path}: shape {dataset.shape} brings the file to {self.numbers} numbers, the limit for its size is "
                f"{self.numbers_limit}."
            )
        chunks = -(-numbers // max(1, int(np.prod(dataset.chunks or (numbers,), dtype=object))))
        if chunks > CHUNK_LIMIT:
            raise UntrustedError(f"{path}: stored in {chunks} pieces, the limit is {CHUNK_LIMIT}; use larger chunks.")
        pipeline = dataset.id.get_create_plist()
        for index in range(pipeline.get_nfilters()):
            if pipeline.get_filter(index)[0] not in (1, 2, 3, 32000):
                raise UntrustedError(f"{path}: compressed in an unknown way; use one of {', '.join(FILTERS)}.")
        if h5py.check_string_dtype(dataset.dtype) is not None:
            if dataset.size > 1024:
                raise UntrustedError(f"{path}: {dataset.size} texts in one dataset, the limit is 1024.")
            texts = np.asarray(dataset[()], dtype=object).reshape(-1)
            return {"text": [t.decode("utf-8") if isinstance(t, bytes) else str(t) for t in texts]}
        if dataset.dtype.kind not in "iufb":
            raise UntrustedError(f"{path}: holds {dataset.dtype}, only numbers and texts are allowed.")
        values = np.asarray(dataset[()])
        values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(dataset.shape)
        raw = values.tobytes()
        entry = {"dtype": values.dtype.str, "shape": list(values.shape), "offset": self.offset, "size": len(raw)}
        self.payload.append(raw)
        self.offset += len(raw)
        return entry


def collect(path: str) -> tuple[dict[str, Any], list[bytes]]:
    """The answer for one file: the tree, or {"error": text}, and the raw bytes."""
    import h5py

    try:
        collector = Collector(Path(path).stat().st_size)
        with h5py.File(path, "r", locking=False) as file:
            return collector.group(file, "/", ()), collector.payload
    except UntrustedError as error:
        return {"error": str(error)}, []
    except MemoryError:
        return {"error": "reading it needs more memory than a file of its size may take; it is damaged or hostile."}, []
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, AttributeError) as error:
        # What h5py raises when libhdf5 meets damaged structures, strings that are not UTF-8 among them.
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {"error": f"HDF5 cannot read it ({text}); it is damaged."}, []


def limit_process(path: str) -> None:
    """Bound the memory and the processor time of this process by the size of the file, and forbid it to write files."""
    import resource

    try:
        size = Path(path).stat().st_size
    except OSError:
        size = 0
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_LIMIT + MEMORY_PER_BYTE * size),
        (resource.RLIMIT_CPU, CPU_SECONDS + size // BYTES_PER_CPU_SECOND),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def answer(path: str, stream: Any) -> None:
    """Write the answer for one file to `stream`."""
    tree, payload = collect(path)
    header = json.dumps(tree).encode()
    stream.write(struct.pack("<Q", len(header)) + header)
    for raw in payload:
        stream.write(raw)
    stream.flush()


def serve() -> None:
    """Answer one path per line, each in a forked child under limits, until standard input ends."""
    import h5py  # noqa: F401 - once, before any fork

    for line in sys.stdin.buffer:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            path = os.fsdecode(line.rstrip(b"\n"))
            limit_process(path)
            with os.fdopen(writing, "wb") as stream:
                answer(path, stream)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            content = stream.read()
        _, status, usage = os.wait4(child, 0)
        sys.stdout.buffer.write(frame(status, usage, len(content)) + content)
        sys.stdout.buffer.flush()


def frame(status: int, usage: Any, length: int) -> bytes:
    """The head of a served answer."""
    microseconds = round(1e6 * (usage.ru_utime + usage.ru_stime))
    return struct.pack("<QQQQ", status, usage.ru_maxrss, microseconds, length)


def main() -> None:
    """Read the file named on the command line, under limits, and answer on standard output; or serve."""
    sys.path.extend(sys.argv[2:])
    if sys.argv[1] == "--serve":
        serve()
        return
    limit_process(sys.argv[1])
    answer(sys.argv[1], sys.stdout.buffer)


if __name__ == "__main__":
    main()
