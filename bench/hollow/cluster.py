"""etcd, apiserver, scheduler and controller manager as processes of this machine, with TLS, RBAC and leader election.

Each can be killed and started again by its name; `scheduler-standby` is a second scheduler, and so on. Everything lies
in one temporary folder and listens on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from client.api import Api
from client.transport import TLS

ROOT = Path(__file__).resolve().parents[2]
_PORTS = range(44000, 45000)
_STANDBY = "-standby"
_PATIENCE = 60.0  # seconds a process may take to get ready


def free_port() -> int:
    """A port of ours that nobody listens on just now."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


@dataclass(frozen=True)
class Usage:
    """Of one process so far: CPU in seconds, memory (the most it held at once) in MB."""

    cpu: float
    memory: float


class Cluster:
    """Use `cluster()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pki = folder / "pki"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._health: dict[str, int] = {}
        self._been_up: set[str] = set()
        self._choose_ports("etcd")
        self._choose_ports("apiserver")

    def client(self, who: str = "admin") -> Api:
        return Api.connect(f"127.0.0.1:{self._grpc}", tls=self._tls(who))

    def kubectl(self, who: str = "admin") -> list[str]:
        """How to call kubectl against this cluster."""
        tls = self._tls(who)
        return [
            "kubectl",
            f"--server=https://127.0.0.1:{self._rest}",
            f"--certificate-authority={tls.ca}",
            f"--client-certificate={tls.cert}",
            f"--client-key={tls.key}",
        ]

    async def start(self, name: str, *options: str) -> None:
        """`etcd`, `apiserver`, `scheduler` or `controller-manager`; returns when it is up. Raises RuntimeError."""
        for attempts_left in (2, 1, 0):
            kind = name.removesuffix(_STANDBY).replace("-", "_")
            command = [*getattr(self, f"_{kind}_command")(name), *options]
            environment = dict(os.environ, PYTHONPATH=str(ROOT))
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = await asyncio.to_thread(
                    subprocess.Popen, command, stdout=log, stderr=log, cwd=ROOT, env=environment
                )
            try:
                await self._up(name)
                self._been_up.add(name)
                return
            except RuntimeError:
                # any connection of this machine may have taken the port since it was chosen
                if not attempts_left or "address already in use" not in self.log(name).lower():
                    raise
                self._choose_ports(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and wait for its end."""
        process = self._processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def kill_all(self) -> None:
        for name in reversed(list(self._processes)):
            self.kill(name)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def running(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.poll() is None]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def usage(self, name: str) -> Usage:
        pid = self.pid(name)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024
        return Usage(cpu, peak / 1e6)

    async def metrics(self, name: str) -> list[Metric]:
        url = f"http://127.0.0.1:{self._health[name]}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=30).read().decode())
        return list(text_string_to_metric_families(text))

    def _choose_ports(self, name: str) -> None:
        if name == "etcd":
            self._etcd, self._etcd_peer = free_port(), free_port()
        elif name == "apiserver" and name not in self._been_up:
            self._rest, self._grpc = free_port(), free_port()

    # -- the processes ----------------------------------------------------------------------------------------------

    def _etcd_command(self, name: str) -> list[str]:
        binary = shutil.which("etcd")
        if binary is None:
            raise RuntimeError("etcd is not installed (package etcd-server)")
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._etcd_peer}"
        self._health[name] = self._etcd
        return [
            binary,
            f"--data-dir={self.folder / 'etcd'}",
            "--log-level=error",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            f"--quota-backend-bytes={8 << 30}",
        ]

    def _python(self, module: str, name: str) -> list[str]:
        self._health[name] = free_port()
        return [sys.executable, "-m", module, f"--health-address=127.0.0.1:{self._health[name]}"]

    def _apiserver_command(self, name: str) -> list[str]:
        return [
            *self._python("apiserver", name),
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._rest}",
            f"--grpc-port={self._grpc}",
            f"--tls-cert-file={self._pki / 'apiserver.crt'}",
            f"--tls-private-key-file={self._pki / 'apiserver.key'}",
            f"--client-ca-file={self._pki / 'ca.crt'}",
            f"--service-account-key-file={self._pki / 'sa.pub'}",
            f"--service-account-signing-key-file={self._pki / 'sa.key'}",
            "--advertise-address=192.0.2.1",
        ]

    def _component(self, module: str, name: str) -> list[str]:
        tls = self._tls(name.removesuffix(_STANDBY))
        return [
            *self._python(module, name),
            f"--server=127.0.0.1:{self._grpc}",
            f"--ca-file={tls.ca}",
            f"--cert-file={tls.cert}",
            f"--key-file={tls.key}",
        ]

    def _scheduler_command(self, name: str) -> list[str]:
        return self._component("scheduler", name)

    def _controller_manager_command(self, name: str) -> list[str]:
        return [
            *self._component("controller_manager", name),
            f"--service-account-private-key-file={self._pki / 'sa.key'}",
            "--cluster-cidr=10.64.0.0/10",
        ]

    def _tls(self, who: str) -> TLS:
        return TLS(ca=self._pki / "ca.crt", cert=self._pki / f"{who}.crt", key=self._pki / f"{who}.key")

    async def _up(self, name: str) -> None:
        path = "/health" if name == "etcd" else "/readyz"
        process = self._processes[name]
        async with asyncio.timeout(_PATIENCE):
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._health[name])
                    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                    answer = await reader.read()
                    writer.close()
                    if b" 200 " in answer.split(b"\r\n", 1)[0]:
                        return
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the {name} did not get ready:\n{self.log(name)[-4000:]}")


@contextlib.asynccontextmanager
async def cluster(options: Mapping[str, Sequence[str]] | None = None) -> AsyncIterator[Cluster]:
    """All processes, up, with these further options; ended, and their folder removed, afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pykube-hollow-"))
    made = Cluster(folder)
    try:
        command = [sys.executable, "-m", "deploy.pki", str(folder / "pki")]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        for name in ("etcd", "apiserver", "scheduler", "controller-manager"):
            await made.start(name, *(options or {}).get(name, ()))
        yield made
    finally:
        made.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
