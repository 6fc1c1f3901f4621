"""Keeps a node's programs running: starts each, starts it again when it ends, stops it when told to.

A program that keeps ending is started at growing intervals (`FIRST_DELAY` up to `LAST_DELAY`); one that ran for
`STABLE` counts as sound again. Signals go to the program alone: what it started (containers!) outlives it, which is
what lets a container engine or a kubelet be replaced under running pods. Orphans are reaped by the container's init.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence

log = logging.getLogger("node")

FIRST_DELAY = 0.2
LAST_DELAY = 10.0
STABLE = 10.0
"""Seconds."""


class Program:
    """One supervised program. `run` for as long as it is wanted, then `stop`."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.name, self.command = name, list(command)
        self.env = {**os.environ, **(env or {})}
        self.process: asyncio.subprocess.Process | None = None
        self.restarts = 0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Runs the program until `stop`; returns when it is gone for good."""
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(*self.command, env=self.env, start_new_session=True)
            code = await self.process.wait()
            self.process = None
            if self._stopping.is_set():
                return
            delay = FIRST_DELAY if time.monotonic() - started > STABLE else min(delay * 2, LAST_DELAY)
            log.warning("%s ended (%s), starting it again in %.1f s", self.name, describe(code), delay)
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def stop(self, grace: float, by: signal.Signals = signal.SIGTERM) -> None:
        """Asks the program to end, with the signal `by`, and ends it after `grace` seconds."""
        self._stopping.set()
        process = self.process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(by)
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                log.warning("%s did not end within %.0f s, killing it", self.name, grace)
                process.kill()
                await process.wait()


def describe(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
