"""Spoil thousands of `.net` files and read them: python -m tests.golden.fuzz_reader --count 20000 --seed 0

Each is read, and then comes back from a written copy with the same digest, or is refused with a NetxError that names
the file; within 5 s (of processor time: the clock belongs to whoever shares the machine) and 500 MB; and no other file
is opened, which inotify watches.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from tqdm import tqdm

import netx_export
from netx_export.errors import BasaltError, NetxError
from netx_export.netx.guard_service import GuardService
from netx_export.netx.reader import graph_of
from netx_export.netx.tree import Group
from tests.conformance.lava_dl_files import FOLDER as WHEEL
from tests.golden import mutations
from tests.unit.netx.networks import (
    FLAT,
    START,
    complex_conv,
    concat,
    conv,
    dense,
    edit,
    foreign,
    pool,
    recurrent,
    sdnn,
    unpool,
)

GOLDEN = Path(__file__).resolve().parent
UNEXPECTED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BasaltError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
SECONDS = 5.0
MEGABYTES = 500


class Watch:
    """Counts the openings of files in a folder, by anyone, as the kernel reports them."""

    _OPENED = 0x20

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        if self._handle < 0 or self._libc.inotify_add_watch(self._handle, os.fsencode(folder), self._OPENED) < 0:
            raise OSError(ctypes.get_errno(), "inotify is not available")

    def openings(self) -> int:
        """Openings since the last call."""
        try:
            events = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return 0
        count, at = 0, 0
        while at < len(events):
            count += 1
            at += 16 + struct.unpack_from("iIII", events, at)[3]
        return count

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)


@dataclass(slots=True)
class Summary:
    """What became of the spoiled files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_processor: float = 0.0
    child_kib: int = 0
    parent_kib: int = 0
    opened: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        parts = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return (
            f"{total} spoiled files: {parts}; {len(self.failures)} failures; slowest {self.slowest_processor:.2f} s of "
            f"processor time, {self.slowest:.2f} s on the clock; peak memory "
            f"{self.child_kib / 1024:.0f} MB in the child and {self.parent_kib / 1024:.0f} MB in the reader, {self.opened} "
            f"other files opened; {self.seconds:.0f} s in all"
        )


def originals(folder: Path) -> list[Path]:
    """Files to spoil: the golden ones, small ones of every foreign kind, and some that others trained."""
    made = {
        "plain": (START, conv(), FLAT, dense()),
        "sigma_delta": ({**START, "neuron": sdnn()}, conv(neuron=sdnn()), FLAT, dense(neuron=sdnn(sigma_output=True))),
        "recurrent": (START, conv(), FLAT, recurrent()),
        "complex": (START, complex_conv(), FLAT, dense(delay=np.arange(4) * 3)),
        "pooled": (START, pool(), unpool(shape=[2, 4, 4], weight=np.full((1, 1, 2, 2), 9.0)), conv(shape=[3, 3, 3])),
        "joined": (START, conv(), conv(weight=np.ones((3, 3, 1, 1))), concat([1], shape=[6, 3, 3])),
        "averaged": (START, conv(), FLAT, dense(), {"type": b"average", "shape": [2]}),
    }
    made["joined"] += ({**FLAT, "shape": [54]}, dense(weight=np.ones((4, 54))))
    written = [foreign(folder / f"{name}.net", *layers, simulation={"tSample": 5}) for name, layers in made.items()]
    theirs = [path for path in (WHEEL / "tiny.net",) if path.exists()]
    return [*sorted(GOLDEN.glob("*.net")), *written, *written, *theirs]


def spoil(path: Path, rng: np.random.Generator, sentinel: Path) -> str:
    """Change the file at `path` in one to three ways; the names of the ways."""
    ways = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if rng.random() < 0.45:
            change = mutations.BYTES[int(rng.integers(len(mutations.BYTES)))]
            change(path, rng, sentinel)
            ways.append(change.__name__)
            # h5py in this process must not meet damaged structures.
            break
        alter = mutations.OBJECTS[int(rng.integers(len(mutations.OBJECTS)))]
        with h5py.File(path, "r+") as file:
            try:
                alter(file, rng, sentinel)
            except (ValueError, OSError, TypeError, KeyError, RuntimeError, OverflowError):
                # What h5py cannot write is no file to read.
                ways.append("(nothing)")
        ways.append(alter.__name__)
    return "+".join(ways)


def seal(path: Path, rng: np.random.Generator, way: str) -> None:
    """Make the checksum right again, as an attacker would, in half of the well-formed files of ours."""
    objects = {change.__name__ for change in mutations.OBJECTS} - {"links", "elsewhere", "huge", "bomb", "crowd"}
    if set(way.split("+")) <= objects and rng.random() < 0.5:
        with h5py.File(path, "r") as file:
            ours = "basalt" in file and isinstance(file["basalt"], h5py.Group) and "checksum" in file["basalt"].attrs
        if ours:
            edit(path, lambda file: None)


def examine(path: Path, load: Callable[[Path], Group], digest: str, again: Path) -> str:
    """Read one file: `the same network`, `another network`, `refused`, or what went wrong."""
    try:
        graph = graph_of(load(path))[0]
    except NetxError as error:
        text = str(error)
        return "refused" if text.startswith(str(path)) and len(text) < 1500 else f"FAILED message {text[:200]}"
    except UNEXPECTED as error:
        return f"FAILED {type(error).__name__} {str(error)[:200]}"
    if graph.digest == digest:
        return "the same network"
    netx_export.write(graph, again)
    if graph_of(load(again))[0].digest != graph.digest:
        return "FAILED a copy differs"
    return "another network"


def fuzz(count: int, seed: int, *, progress: bool = False, keep: Path | None = None) -> Summary:
    """Spoil and read `count` files; failures are kept in `keep`."""
    summary = Summary()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, GuardService() as service:
        folder = Path(name)
        outside = folder / "outside"
        outside.mkdir()
        sentinel = foreign(outside / "secret.net")
        # What this process held before (other tests, say) is not the reader's.
        already = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        bases = originals(folder)
        digests = {path: graph_of(service.load(path))[0].digest for path in bases}
        path = folder / "x.net"
        with Watch(outside) as watch:
            for index in tqdm(range(count), disable=not progress, unit="file"):
                rng = np.random.default_rng([seed, index])
                base = bases[int(rng.integers(len(bases)))]
                path.write_bytes(base.read_bytes())
                way = spoil(path, rng, sentinel)
                seal(path, rng, way)
                watch.openings()
                before, used = time.monotonic(), time.process_time()
                result = examine(path, service.load, digests[base], folder / "again.net")
                took, worked = time.monotonic() - before, time.process_time() - used + service.last_seconds
                opened = watch.openings()
                summary.slowest = max(summary.slowest, took)
                summary.slowest_processor = max(summary.slowest_processor, worked)
                summary.opened += opened
                parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - already
                grown = max(service.peak_kib, parent) > MEGABYTES * 1024 > max(summary.child_kib, summary.parent_kib)
                summary.child_kib, summary.parent_kib = service.peak_kib, parent
                if worked > SECONDS or opened or grown:
                    result = f"FAILED {worked:.1f} s, {opened} opened, {service.peak_kib} and {parent} KiB ({result})"
                summary.outcomes[result if not result.startswith("FAILED") else "failed"] += 1
                summary.kinds[way.split("+")[0]] += 1
                if result.startswith("FAILED"):
                    summary.failures.append(f"{index} {base.name} {way}: {result}")
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{seed}_{index}.net").write_bytes(path.read_bytes())
    summary.seconds = time.monotonic() - started
    return summary


def main() -> int:
    """Fuzz, print, and fail where anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    options = parser.parse_args()
    # A reader that takes more fails, instead of the machine.
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    summary = fuzz(options.count, options.seed, progress=True, keep=options.keep)
    print(summary)
    print(", ".join(f"{name} {count}" for name, count in summary.kinds.most_common()))
    for failure in summary.failures[:20]:
        print(failure)
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
