"""What is measured, one after the other, each as a row of the table."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.apiserver import watchers
from bench.apiserver.load import Connection, Request, Result, Target, hammer
from bench.apiserver.local import Local, usage

_CONNECTIONS = (1, 16, 64)
_FILLERS = 32  # connections that make the pods for the LIST
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Row:
    """`figure` names what Kubernetes reached and pykube is to reach (`__main__`)."""

    what: str
    figure: str
    here: str
    cpu: str = ""  # of the server, per request
    load: str = ""  # load average of the machine meanwhile: everything else that ran


def pod(name: str) -> bytes:
    """A pod like those of a Deployment: about 3 kB when it is stored."""
    environment = [{"name": f"VARIABLE_{n}", "value": f"some value of a usual length, number {n}"} for n in range(12)]
    container = {
        "name": "main",
        "image": "registry.example.com/team/application:1.2.3",
        "env": environment,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
    }
    metadata = {"name": name, "labels": {"app": "bench", "tier": "web"}, "annotations": {"note": "x" * 200}}
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "schedulerName": "nobody",
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).encode()


class Bench:
    """`pid` is the server's process, if it is on this machine: only then are CPU and memory known."""

    def __init__(self, target: Target, *, pid: int = 0, seconds: float = 5.0, say: Callable[[str], None]) -> None:
        self._target = target
        self._pid = pid
        self._seconds = seconds
        self._say = say
        self._connection = Connection(target)
        self.rows: list[Row] = []
        self._namespace = f"bench-{uuid.uuid4().hex[:6]}"
        self._base = f"/api/v1/namespaces/{self._namespace}/pods"
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """A namespace with its service account, as no controller may be there to make it."""
        body = json.dumps({"metadata": {"name": self._namespace}}).encode()
        self._connection.request("POST", "/api/v1/namespaces", body)
        account = json.dumps({"metadata": {"name": "default"}}).encode()
        try:
            self._connection.request("POST", f"/api/v1/namespaces/{self._namespace}/serviceaccounts", account)
        except RuntimeError as error:
            if " 409 " not in str(error):
                raise

    def clean_up(self) -> None:
        self._connection.request("DELETE", f"{self._base}?gracePeriodSeconds=0")
        self._connection.request("DELETE", f"/api/v1/namespaces/{self._namespace}")

    # -- single objects -------------------------------------------------------------------------------------------

    def creates(self) -> None:
        for connections in _CONNECTIONS:
            self._hammer("pod creates", f"create {connections}", connections, self._creates())

    def gets(self) -> None:
        request = Request("GET", f"{self._base}/p0000000")
        for connections in _CONNECTIONS:
            self._hammer("GET one pod", f"get {connections}", connections, itertools.repeat(request))

    def _creates(self) -> Iterator[Request]:
        before, after = pod("NAME").split(b"NAME")
        for number in self._numbers:
            yield Request("POST", self._base, b"%bp%07d%b" % (before, number, after))

    def _hammer(self, what: str, figure: str, connections: int, requests: Iterator[Request]) -> None:
        before = self._cpu()
        result = hammer(self._target, connections, requests, seconds=self._seconds)
        self._add(f"{what}, {connections} connections", figure, _shown(result), before, result.requests)

    # -- many -----------------------------------------------------------------------------------------------------

    def lists(self, pods: int) -> None:
        """Fill up to that many pods, and list them three times in each form."""
        missing = pods - next(self._numbers)
        if missing > 0:
            self._say(f"making {missing:,} pods")
            hammer(self._target, _FILLERS, itertools.islice(self._creates(), missing))
        for name, accept in (("JSON", "application/json"), ("Table", _TABLE)):
            before, times = self._cpu(), []
            for _ in range(3):
                start = time.perf_counter()
                listing = self._connection.request("GET", self._base, accept=accept)
                times.append(time.perf_counter() - start)
            count, size = listing.count(b'"uid"'), len(listing) / 1e6
            what = f"LIST {count:,} pods as {name} ({size:.0f} MB)"
            self._add(what, f"list {name}", f"{min(times):.2f} s (worst {max(times):.2f} s)", before, 3)

    def watchers(self, number: int) -> None:
        before = self._cpu()
        found = watchers.measure(self._target, self._namespace, number, self._seconds)
        shown = f"{found.events / found.seconds:,.0f} events/s, lag p50 {found.lag_p50 * 1e3:.0f}"
        shown += f" p99 {found.lag_p99 * 1e3:.0f} ms"
        if found.missing:
            shown += f", {found.missing:,} never came"
        self._add(f"{number} watchers, {found.writes} updates", "watch", shown, before, found.events)

    # -- the process ----------------------------------------------------------------------------------------------

    def memory(self, what: str, figure: str) -> None:
        if self._pid:
            self.rows.append(Row(f"memory {what}", figure, f"{usage(self._pid).memory:.0f} MB"))

    def _cpu(self) -> float:
        return usage(self._pid).cpu if self._pid else 0.0

    def _add(self, what: str, figure: str, here: str, before: float, requests: int) -> None:
        cpu = ""
        if self._pid and requests:
            used = (self._cpu() - before) / requests
            cpu = f"{used * 1e6:,.0f} us" if used < 0.01 else f"{used:.2f} s"
        self.rows.append(Row(what, figure, here, cpu, _load()))
        self._say(f"{what}: {here} {cpu}")


def started(what: str, figure: str, server: Local) -> Row:
    """Start it, and wait until it is ready."""
    seconds = server.start()
    assert server.process is not None
    cpu = usage(server.process.pid).cpu
    return Row(f"start to ready{what}", figure, f"{seconds:.2f} s", f"{cpu:.2f} s", _load())


def against(bench: Bench, *, pods: int, watching: int) -> None:
    """Everything that can be measured from outside."""
    bench.prepare()
    bench.memory("idle", "memory idle")
    bench.creates()
    bench.gets()
    if watching:
        bench.watchers(watching)
    if pods:
        bench.lists(pods)
        bench.memory(f"with {pods:,} pods, after the LISTs", "memory full")


def against_local(server: Local, *, seconds: float, pods: int, watching: int, say: Callable[[str], None]) -> list[Row]:
    """The same, and what only whoever starts the server sees."""
    rows = [started("", "start", server)]
    assert server.process is not None
    bench = Bench(server.target, pid=server.process.pid, seconds=seconds, say=say)
    against(bench, pods=pods, watching=watching)
    rows += bench.rows
    if pods:
        server.stop()
        rows.append(started(f" with {pods:,} pods", "start full", server))
        assert server.process is not None
        memory = usage(server.process.pid).memory
        rows.append(Row(f"memory then, with {pods:,} pods", "memory full", f"{memory:.0f} MB"))
    return rows


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _shown(result: Result) -> str:
    p50, p99 = (result.percentile(share) * 1e3 for share in (0.5, 0.99))
    return f"{result.rate:,.0f}/s (p50 {p50:.1f}, p99 {p99:.1f} ms)"
