"""Ctrl-C and SIGTERM as requests that cannot get lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests(*, at_once: bool) -> Iterator[Callable[[], None]]:
    """Make the yielded function raise KeyboardInterrupt after either signal; `at_once`, the signal itself raises it too.

    Python raises it wherever the main thread happens to be; in a destructor or a weak reference's callback, of which
    Dask has many, it is printed and forgotten. Whoever loops must therefore ask. A second signal always raises at once.
    Outside the main thread nothing changes.
    """
    asked = False

    def stop(number: int, frame: Any) -> None:
        nonlocal asked
        again, asked = asked, True
        if at_once or again:
            raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
