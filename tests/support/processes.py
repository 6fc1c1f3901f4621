"""The API server as its own process, as a cluster runs it: TLS, RBAC, a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from client.api import Api
from client.transport import TLS
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


class ApiServerProcess:
    """Can be killed and started again; `log` has what it said."""

    def __init__(self, directory: Path, pki: Path, etcd: str, *options: str) -> None:
        self.pki = pki
        self._etcd = etcd
        self._options = options
        self.rest_port, self.grpc_port = free_port(), free_port()
        self._health_port = free_port()
        self.log = directory / f"apiserver-{self.rest_port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def tls(self, who: str) -> TLS:
        """The credentials of a component."""
        return TLS(ca=self.pki / "ca.crt", cert=self.pki / f"{who}.crt", key=self.pki / f"{who}.key")

    def client(self, who: str = "admin") -> Api:
        return Api.connect(f"127.0.0.1:{self.grpc_port}", tls=self.tls(who))

    async def start(self) -> None:
        """Until it is ready."""
        pki = self.pki
        command = [
            sys.executable,
            "-m",
            "apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.rest_port}",
            f"--grpc-port={self.grpc_port}",
            f"--health-address=127.0.0.1:{self._health_port}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--advertise-address=192.0.2.1",
            *self._options,
        ]
        with self.log.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=dict(os.environ, PYTHONPATH=str(ROOT)),
            )
        for _ in range(600):
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._health_port)
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if b" 200 " in answer.split(b"\r\n", 1)[0]:
                    return
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the apiserver did not get ready:\n{self.log.read_text()[-4000:]}")

    def kill(self, number: int = signal.SIGKILL) -> int | None:
        """Send a signal and wait; answers the exit code."""
        if self._process is None:
            return None
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code
