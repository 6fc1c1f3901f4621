"""exec and attach on Docker's hijacked connections.

Without a terminal Docker frames its output (one byte stream, three padding, four length); with one it is raw. Closing
our side of the connection closes the process' stdin and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from kubelet.runtime.wire import Connection

READ = 64 * 1024  # bytes
# How Docker says, in the output, that there never was a process.
EXEC_FAILED = b"OCI runtime exec failed: "
NOT_FOUND, NOT_EXECUTABLE = 127, 126


class HijackedStream:
    """`cri.ExecStream` for a connection. The callables are given by whoever knows what runs at its other end."""

    def __init__(
        self,
        connection: Connection,
        *,
        tty: bool,
        exit_code: Callable[[], Awaitable[int]],
        resize: Callable[[int, int], Awaitable[None]],
        hangup: Callable[[], Awaitable[None]] | None = None,
        detects_failure: bool = False,
    ) -> None:
        self._reader, self._writer = connection
        self._tty = tty
        self._exit_code = exit_code
        self._resize = resize
        self._hangup = hangup
        self._detects_failure = detects_failure
        self._code: int | None = None
        self.error = ""  # why no process could be started, once the output has ended

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        first = self._detects_failure
        async for stream, data in self._frames():
            if first and data.startswith(EXEC_FAILED):
                # A process may print the same words: only the exit code tells, and it comes after the output.
                held = [(stream, data)] + [frame async for frame in self._frames()]
                if await self.exit_code() in (NOT_FOUND, NOT_EXECUTABLE):
                    self.error = b"".join(data for _, data in held).decode(errors="replace").strip()
                    return
                for frame in held:
                    yield frame
                return
            first = False
            yield stream, data

    async def _frames(self) -> AsyncIterator[tuple[str, bytes]]:
        try:
            if self._tty:
                while data := await self._reader.read(READ):
                    yield "stdout", data
                return
            while True:
                kind, length = struct.unpack(">BxxxL", await self._reader.readexactly(8))
                while length:
                    data = await self._reader.read(min(length, READ))
                    if not data:
                        return
                    length -= len(data)
                    yield ("stderr" if kind == 2 else "stdout"), data
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def write(self, data: bytes) -> None:
        """Data for a process that has ended is dropped, as a shell would drop it."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    async def resize(self, width: int, height: int) -> None:
        if width > 0 and height > 0:
            await self._resize(width, height)

    async def exit_code(self) -> int:
        if self._code is None:
            self._code = await self._exit_code()
        return self._code

    async def close(self) -> None:
        """If the process still runs: its stdin ends, and its terminal, if it has one, hangs up."""
        self._writer.close()
        if self._code is None and self._tty and self._hangup is not None:
            await self._hangup()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
