"""The cluster under test, and what tests do with it: kubectl, pykubectl, machines to stop and kill, waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).resolve().parents[2]
NODES = ("node1", "node2", "node3")
TOOLBOX = "localhost:5000/pykube/toolbox"
T = TypeVar("T")


class CommandFailed(AssertionError):
    def __init__(self, command: list[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.done = done
        self.stderr = done.stderr
        self.stdout = done.stdout
        self.code = done.returncode


def run(
    command: list[str], *, stdin: str | None = None, env: dict[str, str] | None = None, timeout: float = 180
) -> str:
    """What `command` prints; raises `CommandFailed`. `timeout` in seconds."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout, env=os.environ | (env or {})
    )
    if done.returncode:
        raise CommandFailed(command, done)
    return done.stdout


def until(condition: Callable[[], T], what: str, timeout: float = 60, every: float = 0.2) -> T:
    """The first true value of `condition`; a failing assertion or command counts as not yet. `timeout` in seconds."""
    deadline = time.monotonic() + timeout
    last: Any = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (AssertionError, OSError, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}; at last: {last}")
        time.sleep(every)


# The images have no pkill. Prints the ids of what it killed.
_KILL = """
import os, pathlib, signal, sys
for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    words = entry.read_bytes().split(b"\\0")
    if words[0].rpartition(b"/")[2].startswith(b"python3") and words[1:3] == [b"-m", sys.argv[1].encode()]:
        print(entry.parent.name, flush=True)
        os.kill(int(entry.parent.name), signal.SIGKILL)
"""


@dataclass
class Cluster:
    """A running compose project."""

    project: str
    subnet: str  # first three octets of the machines' network
    kubeconfig: Path

    # -- clients --------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        return run(["kubectl", *arguments], stdin=stdin, env={"KUBECONFIG": str(self.kubeconfig)}, timeout=timeout)

    def pykubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        command = [sys.executable, "-m", "cli", *arguments]
        env = {"KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(ROOT)}
        return run(command, stdin=stdin, env=env, timeout=timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return value

    # -- machines -------------------------------------------------------------------------------------------------

    def container(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def docker(self, *arguments: str, timeout: float = 120) -> str:
        return run(["docker", *arguments], timeout=timeout)

    def on(self, service: str, *command: str, timeout: float = 60) -> str:
        """Run a command in one of the cluster's machines."""
        return self.docker("exec", self.container(service), *command, timeout=timeout)

    def kill(self, service: str, module: str) -> None:
        """`kill -9` of the process that runs `python3 -m module` in one of the machines."""
        try:
            killed = self.on(service, "python3", "-c", _KILL, module)
        except CommandFailed as failed:
            # A container ends with its first process, and takes along who killed that.
            if failed.code != 128 + signal.SIGKILL:
                raise
            killed = failed.stdout
        assert killed.strip(), f"no {module} runs in {service}"

    def node_ip(self, node: str) -> str:
        return f"{self.subnet}.{10 + int(node.removeprefix('node'))}"

    def ready_nodes(self) -> list[str]:
        ready = []
        for node in self.get("nodes")["items"]:
            conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
            if conditions.get("Ready") == "True":
                ready.append(node["metadata"]["name"])
        return sorted(ready)


@dataclass
class Space:
    """A namespace of the cluster, for one test."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin, timeout=timeout)

    def pykubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        return self.cluster.pykubectl("-n", self.name, *arguments, stdin=stdin, timeout=timeout)

    def apply(self, *objects: dict[str, Any]) -> str:
        return self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return value

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-l", selector)["items"]
        return found

    def exec(self, pod: str, *command: str, container: str | None = None, timeout: float = 60) -> str:
        chosen = ["-c", container] if container else []
        return self.kubectl("exec", pod, *chosen, "--", *command, timeout=timeout)

    def wait_ready(self, *names: str, timeout: float = 90) -> None:
        """Until these pods are Ready."""
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={timeout:.0f}s", *(f"pod/{n}" for n in names))

    def rolled_out(self, workload: str, timeout: float = 120) -> str:
        return self.kubectl("rollout", "status", workload, f"--timeout={timeout:.0f}s", timeout=timeout + 10)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events about one object, oldest first."""
        found: list[dict[str, Any]] = self.get("events", f"--field-selector=involvedObject.name={name}")["items"]
        return sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")


def pod(name: str, *command: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod of one toolbox container `main` that runs a shell command (default: sleeps)."""
    container: dict[str, Any] = {"name": "main", "image": TOOLBOX}
    container["command"] = ["sh", "-c", *command] if command else ["sleep", "infinity"]
    container |= spec.pop("container", {})
    metadata: dict[str, Any] = {"name": name, "labels": labels or {}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def container(name: str, *command: str, **more: Any) -> dict[str, Any]:
    """A toolbox container that runs a shell command."""
    return {"name": name, "image": TOOLBOX, "command": ["sh", "-c", *command], **more}


def http_get(url: str, timeout: float = 5) -> str:
    """The body of a page fetched over a connection of its own; an HTTP error is an OSError."""
    request = urllib.request.Request(url, headers={"Connection": "close"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as response:
        body: bytes = response.read()
        return body.decode()


#: A page that names the pod which serves it: busybox' httpd on port 8080.
SERVE_NAME = "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"
