"""A data set in chunks: computed here or on a cluster, kept on disk as they finish, put together in order at the end.

A chunk's file is named by everything that decides what is in it: network, inputs, options and version. An interrupted
run therefore goes on where it stopped, and neither order nor number of workers can change a result.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import h5py
from tqdm import tqdm

from lava_runtime.backend import Inputs, Probes, run
from lava_runtime.trace import Array, Trace
from netx_export.errors import BasaltError, RunError
from netx_export.files import replace_file
from netx_export.graph import Graph

FOLDER, PLAN = "chunks", "plan.json"
_RESULT = "result"
_FORMAT = 1


class Job(Protocol):
    """Some samples of one recording: small, picklable, and able to fetch its inputs wherever it is computed."""

    @property
    def recording(self) -> str:
        """What the samples come from: a failure is counted against it."""
        ...

    @property
    def samples(self) -> int:
        """How many samples it holds."""
        ...

    @property
    def digest(self) -> str:
        """A hash of everything that decides its inputs and its result."""
        ...

    def load(self) -> tuple[Array | Inputs, Any]:
        """The inputs (T,B,C,H,W), and whatever `result` needs beside them."""
        ...

    def result(self, notes: Any, values: dict[str, Any]) -> str:
        """What is kept of the outputs' real values (T,B,C,H,W), by population id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How chunks are computed: engine threads per chunk, what is recorded beside the counters, and by which version."""

    probes: Probes = field(default_factory=Probes)
    outputs: bool = True
    threads: int | None = 1
    version: str = field(default_factory=lambda: metadata.version("basalt-snn"))

    def identity(self, graph: Graph) -> dict[str, Any]:
        """What must be equal for two runs to have chunks in common; threads change nothing."""
        return {
            "format": _FORMAT,
            "version": self.version,
            "network": graph.digest,
            "outputs": self.outputs,
            "rasters": sorted(self.probes.select(graph, "rasters")),
            "states": sorted(self.probes.select(graph, "states")),
        }

    def key(self, graph: Graph, job: Job) -> str:
        """The name of a chunk."""
        return hashlib.sha256(
            json.dumps({**self.identity(graph), "job": job.digest}, sort_keys=True).encode()
        ).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """What came of a job: its trace, and the text that the job made of the outputs."""

    trace: Trace
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job could not be computed; it counts against the job's whole recording."""

    reason: str


Outcome = Chunk | Failure
Pending = Iterable[tuple[str, Job]]
Done = tuple[Job, str, Outcome]
Compute = Callable[[Pending], Generator[Done | None, None, None]]
"""From (key, job) to (job, key, outcome), in any order; None where nothing was finished for a moment."""


def compute_chunk(graph: Graph, job: Job, settings: Settings) -> Outcome:
    """Fetch the inputs of a job, run them in the compiled engine, and keep what the settings ask for."""
    if metadata.version("basalt-snn") != settings.version:
        raise RunError(
            f"A worker has Basalt {metadata.version('basalt-snn')}, this is {settings.version}; install the same version "
            "on every machine of the cluster."
        )
    try:
        inputs, notes = job.load()
        trace = run(graph, inputs, backend="fast", probes=settings.probes, threads=settings.threads)
        result = job.result(notes, dict(trace.values(graph)))
    except BasaltError as error:
        return Failure(reason=str(error))
    return Chunk(trace=trace if settings.outputs else replace(trace, outputs={}), result=result)


def compute_here(graph: Graph, settings: Settings) -> Compute:
    """Chunk after chunk in this process."""

    def compute(pending: Pending) -> Generator[Done | None, None, None]:
        for key, job in pending:
            yield job, key, compute_chunk(graph, job, settings)

    return compute


class ChunkStore:
    """The finished chunks of a run, one file each, in `<run folder>/chunks`."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / FOLDER
        self._identity: dict[str, Any] = {}

    def open(self, identity: dict[str, Any], *, restart: bool = False) -> None:
        """Check that the chunks in the folder, where there are some, are of a run of this identity.

        RunError where an unfinished run of another network, data set or options is there, unless `restart` discards it.
        """
        # As JSON has it, so that tuples and lists do not differ.
        self._identity = json.loads(json.dumps(identity))
        plan = self.folder / PLAN
        if restart or not plan.is_file() or not any(self.folder.glob("*.h5")):
            self.remove()
            return
        try:
            found = json.loads(plan.read_text())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RunError(
                f"{plan}: cannot be read; give --out another folder, or --restart to discard the unfinished run."
            )
        differing = [name for name in self._identity if found.get(name) != self._identity[name]]
        if differing:
            raise RunError(
                f"{self.folder.parent}: holds an unfinished run of another {' and '.join(differing)}; give --out another "
                "folder, or --restart to discard it."
            )

    def path(self, key: str) -> Path:
        """Where the chunk of this name lies, or will lie."""
        return self.folder / f"{key}.h5"

    def save(self, key: str, chunk: Chunk) -> None:
        """Keep a chunk; its file appears whole or not at all."""
        plan = self.folder / PLAN
        if not plan.is_file():
            with replace_file(plan) as temporary:
                temporary.write_text(json.dumps(self._identity, indent=2, sort_keys=True) + "\n")
        with replace_file(self.path(key)) as temporary:
            chunk.trace.save(temporary)
            with h5py.File(temporary, "a") as file:
                file.create_dataset(_RESULT, data=chunk.result, dtype=h5py.string_dtype())

    def load(self, key: str) -> Chunk | None:
        """A finished chunk; None where there is none that can be read, so that it is computed again."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            trace = Trace.load(path)
            with h5py.File(path, "r") as file:
                return Chunk(trace=trace, result=file[_RESULT].asstr()[()])
        except (RunError, OSError, KeyError, ValueError, TypeError):
            return None

    def remove(self) -> None:
        """Delete all chunks, at the end of a run or before a new one."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


@dataclass(slots=True, kw_only=True)
class Finished:
    """What `finish_chunks` leaves: jobs in the order of the data set, with their names, and what failed."""

    jobs: list[tuple[str, Job]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    resumed: int = 0
    """Jobs whose chunks were there already."""

    @property
    def good(self) -> list[tuple[str, Job]]:
        """Jobs of the recordings of which nothing failed."""
        return [(key, job) for key, job in self.jobs if job.recording not in self.failures]

    def chunks(self, store: ChunkStore, *, progress: bool = False) -> Iterator[tuple[Job, Chunk]]:
        """Chunks of the good recordings in the order of the data set, one in memory at a time."""
        for key, job in tqdm(self.good, desc="writing", unit="chunk", disable=not progress, leave=False):
            chunk = store.load(key)
            if chunk is None:
                raise RunError(f"{store.path(key)}: has gone or cannot be read; run the same command again.")
            yield job, chunk


def finish_chunks(
    graph: Graph,
    jobs: Iterable[Job],
    store: ChunkStore,
    settings: Settings,
    compute: Compute,
    *,
    total: int | None = None,
    progress: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Finished:
    """Compute every job whose chunk is not in `store`, and keep each as soon as it is done.

    Jobs are taken one by one, as workers become free. `check` is called all the time, and may raise what `stop_requests`
    raises; a KeyboardInterrupt then says what is finished.
    """
    finished = Finished()
    done = 0
    with tqdm(total=total, unit="window", disable=not progress) as bar:

        def missing() -> Iterator[tuple[str, Job]]:
            for job in jobs:
                check()
                key = settings.key(graph, job)
                finished.jobs.append((key, job))
                if store.load(key) is None:
                    yield key, job
                else:
                    finished.resumed += 1
                    bar.update(job.samples)

        try:
            with closing(compute(missing())) as outcomes:
                for found in outcomes:
                    check()
                    if found is None:
                        continue
                    job, key, outcome = found
                    if isinstance(outcome, Failure):
                        finished.failures.setdefault(job.recording, outcome.reason)
                    else:
                        store.save(key, outcome)
                    done += 1
                    bar.update(job.samples)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {finished.resumed + done} chunks are finished in {store.folder}, and the same command goes on "
                "from there."
            ) from None
    return finished
