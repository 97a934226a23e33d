"""Reading many untrusted files: one guard that has h5py loaded and forks for each file, under the same limits."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from netx_export.errors import NetxError
from netx_export.netx import tree

_FRAME = struct.Struct("<QQQQ")


class GuardService:
    """`with GuardService() as service: service.load(path)`: as `tree.load`, ten times as quick from the second file on."""

    def __init__(self) -> None:
        self.peak_kib = 0
        """Peak memory of the children so far, in KiB."""
        self.last_seconds = 0.0
        """Processor time of the last child."""
        self._server: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> GuardService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
            self._server = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def load(self, path: str | os.PathLike[str]) -> tree.Group:
        """The tree of the file at `path`; errors as in `tree.load`."""
        file = Path(path)
        tree.check_header(file)
        name = os.fsencode(str(file.resolve()))
        if b"\n" in name:
            raise NetxError(f"{file}: the path has a line break; rename the file.")
        server, errors = self._running()
        if server.stdin is None or server.stdout is None:
            raise NetxError(f"{file}: the reading process has no pipes; start again.")
        errors.seek(0)
        errors.truncate()
        server.stdin.write(name + b"\n")
        server.stdin.flush()
        deadline = time.monotonic() + tree.WALL_SECONDS
        status, peak, microseconds, length = _FRAME.unpack(self._take(server.stdout, _FRAME.size, deadline, file))
        answer = self._take(server.stdout, length, deadline, file)
        self.peak_kib = max(self.peak_kib, peak)
        self.last_seconds = microseconds / 1e6
        errors.seek(0)
        return tree.understand(file, os.waitstatus_to_exitcode(status), answer, errors.read())

    def _running(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        if self._server is None or self._server.poll() is not None or self._errors is None:
            self.close()
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            self._server = subprocess.Popen(
                tree.guard_command("--serve"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=tree.guard_environment(),
                bufsize=0,
            )
        return self._server, self._errors

    def _take(self, stream: IO[bytes], size: int, deadline: float, file: Path) -> bytes:
        """Exactly `size` bytes from the server before `deadline`."""
        parts: list[bytes] = []
        missing = size
        while missing:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(stream.fileno(), min(missing, 1 << 20)) if ready else b""
            if not part:
                self.close()
                raise NetxError(
                    f"{file}: HDF5 did not finish reading it within {tree.WALL_SECONDS} s; the file is damaged or hostile."
                )
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)
