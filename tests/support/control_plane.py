"""A control plane of real processes for one test module: etcd, apiserver, controller manager, scheduler. No node runs
anything: nodes are objects that tests make, and pods on them are what tests say they are.

`kubectl` is the real one, with a kubeconfig and a cache of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from tests.support.etcd import Etcd
from tests.support.ports import free_port
from tests.support.processes import ROOT, ApiServerProcess

T = TypeVar("T")


def make_pki(directory: Path) -> Path:
    """All certificates of a cluster."""
    subprocess.run([sys.executable, "-m", "deploy.pki", str(directory)], check=True, cwd=ROOT, capture_output=True)
    return directory


class Component:
    """A controller manager or scheduler; `log` has what it said."""

    def __init__(self, directory: Path, name: str, certificate: str, server: ApiServerProcess, *options: str) -> None:
        pki = server.pki
        self.log = directory / f"{name}.log"
        command = [
            sys.executable,
            "-m",
            name,
            f"--server=127.0.0.1:{server.grpc_port}",
            f"--ca-file={pki / 'ca.crt'}",
            f"--cert-file={pki / f'{certificate}.crt'}",
            f"--key-file={pki / f'{certificate}.key'}",
            f"--health-address=127.0.0.1:{free_port()}",
            *options,
        ]
        with self.log.open("wb") as log:
            environment = dict(os.environ, PYTHONPATH=str(ROOT))
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class ControlPlane:
    """Made by `control_plane`."""

    def __init__(self, directory: Path, pki: Path, server: ApiServerProcess) -> None:
        self.directory = directory
        self.pki = pki
        self.server = server
        self.url = f"https://127.0.0.1:{server.rest_port}"
        self.kubeconfig = self.write_kubeconfig("admin", "admin")
        self.components: list[Component] = []

    def write_kubeconfig(self, name: str, certificate: str = "", **user: str) -> Path:
        """A kubeconfig of its own for a user: with a certificate of the PKI, or a token."""
        if certificate:
            user = {
                "client-certificate": str(self.pki / f"{certificate}.crt"),
                "client-key": str(self.pki / f"{certificate}.key"),
            }
        cluster = {"server": self.url, "certificate-authority": str(self.pki / "ca.crt")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name, "namespace": "default"}}],
            "current-context": "test",
        }
        path = self.directory / f"{name}.conf"
        path.write_text(yaml.safe_dump(document))
        return path

    def run(self, *arguments: str, input: Any = None, kubeconfig: Path | None = None, **environment: str) -> Any:
        """kubectl, to its end. `input` is text, or objects that become a List."""
        if input is not None and not isinstance(input, str):
            input = json.dumps(
                {"apiVersion": "v1", "kind": "List", "items": input} if isinstance(input, list) else input
            )
        return subprocess.run(
            ["kubectl", f"--cache-dir={self.directory / 'cache'}", *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(os.environ, KUBECONFIG=str(kubeconfig or self.kubeconfig), **environment),
            cwd=self.directory,
        )

    def kubectl(self, *arguments: str, input: Any = None, **more: Any) -> str:
        """What it printed; fails the test if it failed."""
        done = self.run(*arguments, input=input, **more)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def refused(self, *arguments: str, input: Any = None, **more: Any) -> str:
        """What it complained about; fails the test if it did not."""
        done = self.run(*arguments, input=input, **more)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} was not refused: {done.stdout}"
        return str(done.stderr)

    def get(self, *arguments: str) -> Any:
        """An object, or a list's items."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found["items"] if found["kind"] == "List" else found

    def node(self, name: str, **labels: str) -> None:
        """A node that is ready and has room, on which nothing ever runs."""
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}
        self.kubectl("create", "-f", "-", input={"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        room = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is ready"}
            ],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "osImage": "Debian GNU/Linux 13 (trixie)",
                "kernelVersion": "6.1.0",
                "containerRuntimeVersion": "docker://26.1.5",
                "architecture": "amd64",
                "operatingSystem": "linux",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
            },
        }
        self.kubectl("patch", "node", name, "--subresource=status", "-p", json.dumps({"status": status}))

    def pod_runs(self, namespace: str, name: str, ip: str = "10.244.0.9") -> None:
        """What a kubelet would say of a pod whose containers all run."""
        pod = self.get("pod", name, "-n", namespace)
        started = "2026-01-01T00:00:00Z"
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": f"docker-pullable://{container['image']}@sha256:0",
                "containerID": f"docker://{container['name']}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": started}},
            }
            for container in pod["spec"]["containers"]
        ]
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": started}
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "hostIP": "192.0.2.1",
            "startTime": started,
            "containerStatuses": containers,
            "conditions": conditions,
        }
        self.kubectl(
            "patch", "pod", name, "-n", namespace, "--subresource=status", "-p", json.dumps({"status": status})
        )


def eventually(check: Callable[[], T], timeout: float = 30.0) -> T:
    """What `check` answers once it is true; its last failure if it never is."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError, LookupError, TypeError):
            if found := check():
                return found
        time.sleep(0.1)
    found = check()
    assert found, f"never came true: {check}"
    return found


@contextlib.contextmanager
def control_plane(*options: str, controllers: bool = True, scheduler: bool = True) -> Iterator[ControlPlane]:
    """`options` are the apiserver's."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (package kubernetes-client)")
    directory = Path(tempfile.mkdtemp(prefix="pk-plane-"))
    etcd = Etcd(directory / "etcd")
    server: ApiServerProcess | None = None
    plane: ControlPlane | None = None
    try:
        (directory / "etcd").mkdir()
        pki = make_pki(directory / "pki")
        asyncio.run(etcd.start())
        server = ApiServerProcess(directory, pki, etcd.endpoint, *options)
        asyncio.run(server.start())
        plane = ControlPlane(directory, pki, server)
        if controllers:
            signing = (
                f"--cluster-signing-cert-file={pki / 'ca.crt'}",
                f"--cluster-signing-key-file={pki / 'ca.key'}",
                f"--service-account-private-key-file={pki / 'sa.key'}",
                "--node-monitor-grace-period=1h",
                "--leader-elect=false",
            )
            plane.components.append(Component(directory, "controller_manager", "controller-manager", server, *signing))
        if scheduler:
            plane.components.append(Component(directory, "scheduler", "scheduler", server, "--leader-elect=false"))
        yield plane
    finally:
        for component in plane.components if plane else ():
            component.stop()
        if server is not None:
            server.kill()
        etcd.kill()
        shutil.rmtree(directory, ignore_errors=True)
