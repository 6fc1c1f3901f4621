"""A real etcd for one test: started from PATH on free ports of 127.0.0.1, with its data in a temporary directory."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ports import free_port


class Etcd:
    """One member. It can be killed and started again on the same data and ports."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._client = f"http://127.0.0.1:{free_port()}"
        self._peer = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return self._client

    async def start(self) -> None:
        """Until it answers."""
        binary = shutil.which("etcd")
        if binary is None:
            pytest.skip("etcd is not installed (package etcd-server)")
        self._process = subprocess.Popen(  # noqa: ASYNC220  (returns at once)
            [
                binary,
                "--data-dir",
                str(self._directory / "data"),
                "--listen-client-urls",
                self._client,
                "--advertise-client-urls",
                self._client,
                "--listen-peer-urls",
                self._peer,
                "--initial-advertise-peer-urls",
                self._peer,
                "--initial-cluster",
                f"default={self._peer}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        host, _, port = self._client.removeprefix("http://").rpartition(":")
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise RuntimeError("etcd did not start")

    def kill(self) -> None:
        """As `kill -9`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.asynccontextmanager
async def running_etcd() -> AsyncIterator[Etcd]:
    directory = Path(tempfile.mkdtemp(prefix="pk-etcd-"))
    member = Etcd(directory)
    try:
        await member.start()
        yield member
    finally:
        member.kill()
        shutil.rmtree(directory, ignore_errors=True)
