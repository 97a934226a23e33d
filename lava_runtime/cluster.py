"""Chunks on a Dask cluster: worker processes on this machine, or any cluster by its address.

The only module that imports dask, and only when a cluster is asked for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import platform
import signal
import tempfile
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from lava_runtime.chunks import Chunk, Compute, Done, Failure, Job, Outcome, Pending, Settings, compute_chunk
from netx_export.errors import NotInstalledError, RunError
from netx_export.graph import Graph

CONNECT_S = 5
"""Seconds in which a scheduler must answer."""

WORKERS_S = 60
"""Seconds in which the first worker must have come."""

WORKERS_PER_CORE = 8
"""Most worker processes on this machine for each of its cores; each takes some 200 MB before it computes anything."""

PATIENCE_S = 0.2
"""Seconds after which a wait for results looks up, to see whether it shall stop."""

AHEAD = 2
"""Chunks that are handed out beyond those being computed, per worker thread: enough to keep every worker busy."""


@contextmanager
def cluster(
    graph: Graph, settings: Settings, *, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Compute]:
    """A Compute on `workers` processes of this machine, or on the cluster whose scheduler has the address `scheduler`.

    The graph travels to each worker once. A chunk whose worker dies is computed again on another one; after several deaths
    (Dask's allowed-failures), and as many when it runs alone, it counts as failed. Raises NotInstalledError without
    dask, RunError for a number or address that leads nowhere.
    """
    dask = _dask()
    if (workers is None) == (scheduler is None):
        raise RunError("Give a number of workers on this machine or the address of a scheduler, one of them.")
    if workers is not None and workers < 1:
        raise RunError(f"workers is {workers}; give at least 1, or leave it out to compute in this process.")
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if workers is not None and workers > most:
        raise RunError(
            f"workers is {workers}, the limit on this machine is {most}, {WORKERS_PER_CORE} for each core: more are slower "
            "and fill the memory; give fewer, or --scheduler for a cluster of several machines."
        )
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        client = _local(dask, stack, workers) if workers is not None else _remote(dask, stack, str(scheduler))

        def compute(pending: Pending) -> Generator[Done | None, None, None]:
            return _compute(dask, client, graph, settings, pending)

        yield compute


def _dask() -> Any:
    """The module `distributed`, loaded here alone; its functions carry no types."""
    if importlib.util.find_spec("distributed") is None:
        raise NotInstalledError(
            "Running on a cluster (--workers, --scheduler) needs dask, which is not installed for this Python "
            f"{platform.python_version()}; install it with pip install -e '.[cluster]', or leave the option out."
        )
    import distributed

    return distributed


def dask_setup(worker: Any) -> None:
    """Called by Dask in each of our worker processes: Ctrl-C in a terminal reaches them too, but only the client stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _local(dask: Any, stack: ExitStack, workers: int) -> Any:
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="basalt-workers-", ignore_cleanup_errors=True))
    made = dask.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        scheduler_port=0,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address=None,
        local_directory=scratch,
        silence_logs=logging.CRITICAL,
        preload=[__name__],
    )
    stack.callback(made.close, timeout=10)
    return stack.enter_context(dask.Client(made, timeout=WORKERS_S))


def _remote(dask: Any, stack: ExitStack, address: str) -> Any:
    try:
        client = dask.Client(address, timeout=CONNECT_S)
    except (OSError, asyncio.TimeoutError) as error:
        raise RunError(
            f"No Dask scheduler answers at {address} within {CONNECT_S} s ({type(error).__name__}); start one with "
            "dask scheduler, or give --workers N to compute on this machine."
        ) from None
    except (ValueError, KeyError) as error:
        raise RunError(f"{address} is no address of a Dask scheduler ({error}); write tcp://HOST:8786.") from None
    stack.enter_context(client)
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except asyncio.TimeoutError:
        raise RunError(
            f"The Dask scheduler at {address} has had no worker for {WORKERS_S} s; start some with dask worker {address}."
        ) from None
    return client


def _compute(
    dask: Any, client: Any, graph: Graph, settings: Settings, pending: Pending
) -> Generator[Done | None, None, None]:
    waiting: dict[Any, tuple[str, Job]] = {}
    finished: SimpleQueue[Any] = SimpleQueue()
    suspects: deque[tuple[str, Job]] = deque()
    shared = _share(client, graph, "")

    def submit(key: str, job: Job, suffix: str) -> None:
        future = client.submit(compute_chunk, shared, job, settings, key=f"basalt-{key}{suffix}", pure=True)
        # The same samples may be asked for twice; they are computed once.
        if future not in waiting:
            waiting[future] = key, job
            future.add_done_callback(finished.put)

    todo = iter(pending)
    exhausted = alone = False
    while True:
        room = max(1, sum(client.nthreads().values())) * (1 + AHEAD)
        while not exhausted and len(waiting) < room:
            following = next(todo, None)
            if following is None:
                exhausted = True
            else:
                submit(*following, "")
        if not waiting:
            if not suspects:
                return
            if not alone:
                alone, shared = True, _share(client, graph, "-alone")
            submit(*suspects.popleft(), "-alone")
        try:
            future = finished.get(timeout=PATIENCE_S)
        except Empty:
            yield None
            continue
        key, job = waiting.pop(future)
        try:
            yield job, key, _outcome(future)
        except dask.KilledWorker as error:
            # Dask blames all chunks that a dead worker had been given; who is to blame shows when each runs alone.
            if not alone:
                suspects.append((key, job))
            else:
                yield (
                    job,
                    key,
                    Failure(
                        reason=f"{job.recording}: {error.allowed_failures + 1} workers died while they computed a chunk of it; "
                        "one worker may have too little memory, give fewer workers"
                    ),
                )
        # Nothing keeps the result on the cluster once it is here.
        future.release()


def _share(client: Any, graph: Graph, suffix: str) -> Any:
    """The graph as a future: each worker fetches it once, and when every holder has died it is made anew."""
    with warnings.catch_warnings():
        # The graph is sent once, on purpose; Dask advises against arguments of more than 10 MB.
        warnings.filterwarnings("ignore", message="Sending large graph")
        return client.submit(_same, graph, key=f"basalt-network-{graph.digest}{suffix}", pure=True)


def _outcome(future: Any) -> Outcome:
    try:
        found = future.result()
    except ModuleNotFoundError as error:
        raise RunError(
            f"A worker cannot import {error.name}; install Basalt on every machine of the cluster."
        ) from None
    if not isinstance(found, Chunk | Failure):
        raise RunError(f"A worker returned a {type(found).__name__}; install the same Basalt on every machine.")
    return found


def _same(graph: Graph) -> Graph:
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask reports every lost worker with its traceback; what matters of that is reported here."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
