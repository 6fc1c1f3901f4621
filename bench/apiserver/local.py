"""A server of its own for a measurement: etcd and `python -m apiserver` with certificates, in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.apiserver.load import Connection, Target

_PATIENCE = 60.0  # seconds a process may take to answer


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Local:
    """The server can be stopped and started again over the same etcd."""

    folder: Path
    etcd_port: int
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.crt"))
        context.load_cert_chain(self.folder / "pki" / "admin.crt", self.folder / "pki" / "admin.key")
        return Target(f"https://127.0.0.1:{self.port}", tls=context)

    def start(self) -> float:
        """Start the server; answers the seconds until /readyz said ok. Raises RuntimeError if it does not."""
        pki = self.folder / "pki"
        command = [sys.executable, "-m", "apiserver", "--etcd-servers", f"http://127.0.0.1:{self.etcd_port}"]
        command += ["--bind-address", "127.0.0.1", "--secure-port", str(self.port), "--grpc-port", str(free_port())]
        command += ["--tls-cert-file", str(pki / "apiserver.crt"), "--tls-private-key-file", str(pki / "apiserver.key")]
        command += ["--client-ca-file", str(pki / "ca.crt"), "--health-address", f"127.0.0.1:{free_port()}"]
        command += ["--service-account-key-file", str(pki / "sa.pub")]
        command += ["--service-account-signing-key-file", str(pki / "sa.key"), "--advertise-address", "192.0.2.10"]
        with (self.folder / "apiserver.log").open("ab") as log:
            start = time.perf_counter()
            self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log)
        while time.perf_counter() - start < _PATIENCE:
            with contextlib.suppress(OSError, RuntimeError):
                connection = Connection(self.target)
                try:
                    connection.request("GET", "/readyz")
                finally:
                    connection.close()
                return time.perf_counter() - start
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the API server did not start: {(self.folder / 'apiserver.log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            _end(self.process)
            self.process = None


@contextlib.contextmanager
def local(*options: str, folder: Path | None = None) -> Iterator[Local]:
    """etcd and a server (not started yet) with these further options; gone afterwards, unless `folder` is given."""
    etcd = shutil.which("etcd")
    if etcd is None:
        raise RuntimeError("etcd is not installed (package etcd-server)")
    made = folder or Path(tempfile.mkdtemp(prefix="pykube-bench-"))
    subprocess.run([sys.executable, "-m", "deploy.pki", str(made / "pki")], check=True, stdout=subprocess.DEVNULL)
    port, peer = free_port(), free_port()
    command = [etcd, "--data-dir", str(made / "etcd"), "--log-level", "error"]
    command += ["--listen-client-urls", f"http://127.0.0.1:{port}", "--advertise-client-urls"]
    command += [f"http://127.0.0.1:{port}", "--listen-peer-urls", f"http://127.0.0.1:{peer}"]
    command += ["--quota-backend-bytes", str(8 << 30)]
    with (made / "etcd.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Local(made, port, options)
    try:
        _await_port(port)
        yield server
    finally:
        server.stop()
        _end(process)
        if folder is None:
            shutil.rmtree(made, ignore_errors=True)


def _await_port(port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("etcd did not start")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Usage:
    """What a process (and its children) has used so far: CPU in seconds, memory in MB."""

    cpu: float
    memory: float


def usage(pid: int) -> Usage:
    """Reads /proc. Raises OSError if the process is gone."""
    cpu = memory = 0.0
    for one in (pid, *_children(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(cpu, memory)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]
