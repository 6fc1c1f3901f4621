"""How soon a cluster is there: `docker compose up` to three Ready nodes and answering DNS, from nothing and again.

Images must be built (`make images`). It starts a cluster of its own beside a running one, and removes it.
Run: `python -m bench.cluster_start`.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "pykube-bench"
SETTINGS = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "PYKUBE_SUBNET": "172.30.88",
    "PYKUBE_API_PORT": "26443",
    "PYKUBE_REGISTRY_PORT": "25000",
}


def compose(*arguments: str) -> str:
    command = ["docker", "compose", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | SETTINGS, check=True, capture_output=True, text=True
    ).stdout


def probe(script: str) -> subprocess.CompletedProcess[str]:
    """Run a few lines of Python as the cluster's admin, inside of the API server's machine."""
    command = ["docker", "exec", "-i", f"{PROJECT}-apiserver-1", "python3", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)


_READY = """
import json, ssl, urllib.request
context = ssl.create_default_context(cafile="/pki/ca.crt")
context.load_cert_chain("/pki/admin.crt", "/pki/admin.key")
def get(path):
    return json.load(urllib.request.urlopen("https://localhost:6443" + path, context=context, timeout=5))
def ready(o):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in o["status"].get("conditions", ()))
nodes = sum(ready(n) for n in get("/api/v1/nodes")["items"])
pods = get("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns")["items"]
print(json.dumps([nodes, any(ready(p) for p in pods)]))
"""


def answers_dns() -> bool:
    """A node asks the DNS Service for the API server's address, as a pod would."""
    command = [
        "docker",
        "exec",
        f"{PROJECT}-node1-1",
        "busybox",
        "nslookup",
        "kubernetes.default.svc.cluster.local",
        "10.96.0.10",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "10.96.0.1" in done.stdout


def wait(begin: float) -> tuple[float, float]:
    """Seconds until three nodes are Ready, and until DNS answers as well."""
    nodes_at = 0.0
    while time.perf_counter() - begin < 180:
        done = probe(_READY)
        if done.returncode == 0:
            nodes, dns = json.loads(done.stdout)
            if nodes == 3 and not nodes_at:
                nodes_at = time.perf_counter() - begin
            if nodes == 3 and dns and answers_dns():
                return nodes_at, time.perf_counter() - begin
        time.sleep(0.1)
    raise SystemExit("the cluster did not become ready within 180 s; see `docker compose logs`")


@click.command()
def main() -> None:
    table = Table("what", "3 nodes Ready", "and DNS answers", "target", title="cluster start (seconds)")
    compose("down", "--volumes", "--timeout", "1")
    try:
        for what, command in (
            ("docker compose up, from nothing", ["up", "-d"]),
            ("docker compose restart", ["restart"]),
        ):
            begin = time.perf_counter()
            compose(*command)
            table.add_row(what, *(f"{t:.1f}" for t in wait(begin)), "15")
    finally:
        compose("down", "--volumes", "--timeout", "1")
    Console().print(table)


if __name__ == "__main__":
    main()
