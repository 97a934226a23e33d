"""Starting, watching and ending a network of Lava processes, so that nothing is left behind whatever happens.

Every Lava process is an operating-system process. When one of them fails, its neighbours wait for it for ever and Lava's
runtime waits for them; so the parent polls instead of blocking, and ends the processes itself.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ctypes import c_longlong
from io import StringIO
from types import FrameType
from typing import Any

from lava.magma.core.run_conditions import RunSteps
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal
from tqdm import tqdm

from netx_export.errors import RunError

CHANNEL_SLOTS = 2
"""Messages a channel holds. All processes finish a step before any starts the next, so two are enough; Lava's default
of 64 makes every message visit 64 places in memory and fills /dev/shm."""

POLL_SECONDS = 0.02
LATE_SECONDS = 5.0


def run_network(process: Any, run_config: Any, *, steps: int, counter: c_longlong, progress: bool, what: str) -> None:
    """Run the network of `process` for `steps` time steps; `counter` says how far it is.

    Raises RunError with the first failure of any process. Leaves no process behind.
    """
    finished = False
    counter.value = 0
    try:
        # Lava prints the traceback of a process that cannot start; the exception says the same.
        with _children_ignore_interrupt(), redirect_stdout(StringIO()):
            process.create_runtime(run_cfg=run_config, compile_config={"pypy_channel_size": CHANNEL_SLOTS})
        process.run(condition=RunSteps(num_steps=steps, blocking=False))
        _watch(process.runtime, steps=steps, counter=counter, progress=progress, what=what)
        process.wait()
        process.stop()
        finished = True
    except OSError as error:
        raise RunError(
            f"The Lava processes could not be started or reached: {error}. They write into {tempfile.gettempdir()} and "
            "share memory in /dev/shm; make room there, or record less."
        ) from None
    finally:
        if not finished and process.runtime is not None:
            _abandon(process.runtime)


def _watch(runtime: Any, *, steps: int, counter: c_longlong, progress: bool, what: str) -> None:
    """Wait until the run is over, drawing a bar; RunError as soon as one process has failed."""
    answers = runtime.service_to_runtime
    with tqdm(total=steps, desc=what, unit="step", disable=not progress) as bar:
        while not all(port.probe() for port in answers):
            failure = _first_failure(runtime)
            if failure is not None:
                raise RunError(
                    f"A Lava process failed near step {counter.value + 1} of {steps}: {failure}. Run the fast backend on the "
                    "same network and input to see whether the network is at fault."
                )
            bar.update(max(0, counter.value - bar.n))
            time.sleep(POLL_SECONDS)
        if any(enum_equal(port.peek(), MGMT_RESPONSE.ERROR) for port in answers):
            raise RunError(f"A Lava process failed near step {counter.value} of {steps}: {_late_failure(runtime)}.")
        bar.update(steps - bar.n)


def _late_failure(runtime: Any) -> str:
    """What the failed process says; it tells the runtime that it failed before it tells us why."""
    deadline = time.monotonic() + LATE_SECONDS
    while time.monotonic() < deadline:
        failure = _first_failure(runtime)
        if failure is not None:
            return failure
        time.sleep(POLL_SECONDS)
    return "it did not say why"


def _first_failure(runtime: Any) -> str | None:
    """What the first failed process says, if one has failed."""
    for actor in runtime._messaging_infrastructure.actors:
        if actor.exception is not None:
            error, _ = actor.exception
            return f"{type(error).__name__}: {error}"
        if actor.exitcode == -signal.SIGBUS:
            return f"process {actor.pid} found no room in /dev/shm, where messages lie"
        if actor.exitcode not in (None, 0):
            return f"process {actor.pid} ended with exit code {actor.exitcode}"
    return None


def _abandon(runtime: Any) -> None:
    """End all processes of a run that did not finish, and free its shared memory.

    Lava's own `stop` waits for an answer of every process, which a failed network never gives.
    """
    runtime._is_started = False
    infrastructure = runtime._messaging_infrastructure
    if infrastructure is None:
        return
    for actor in infrastructure.actors:
        if actor.is_alive():
            actor.kill()
    infrastructure.stop()


@contextmanager
def _children_ignore_interrupt() -> Iterator[None]:
    """Fork with Ctrl-C ignored: the parent alone hears it and ends its children in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _TerminatedError(BaseException):
    """SIGTERM arrived while processes were running."""


@contextmanager
def termination_after_cleaning() -> Iterator[None]:
    """Let SIGTERM unwind what lies inside, processes and files, and then do what it would have done without us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except _TerminatedError:
        signal.signal(signal.SIGTERM, before)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
