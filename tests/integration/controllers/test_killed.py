"""Controllers killed at random instants: whatever they were doing is neither lost nor done twice.

While controller manager and scheduler are killed (as `kill -9`) again and again, a Job runs to its end, a Deployment is
rolled out and a StatefulSet is scaled, on hollow nodes. A watch sees every state of every pod in order, so that what
must hold at all times is checked at each of them, not only at the end.

`PYKUBE_KILLS=full` runs 1,000 completions, 50 rollouts and 200 scalings; `PYKUBE_KILLS_SEED` repeats a run's instants.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from api import errors
from api.codec import from_dict
from api.types.apps_v1 import Deployment, ReplicaSet, StatefulSet
from api.types.batch_v1 import Job
from api.types.core_v1 import Pod, ServiceAccount
from bench.hollow.cluster import Cluster, cluster
from bench.hollow.nodes import HollowNodes
from client.api import Api
from client.informer import Informer

FULL = os.environ.get("PYKUBE_KILLS") == "full"
SEED = int(os.environ.get("PYKUBE_KILLS_SEED", "1"))
VICTIMS = ("controller-manager", "scheduler")
#: The next one acts at once, rather than when the dead one's Lease has run out.
ALONE = "--leader-elect=false"
FINALIZER = "batch.kubernetes.io/job-tracking"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Size:
    completions: int
    parallelism: int
    rollouts: int
    scalings: int
    seconds: float


SIZE = Size(1_000, 50, 50, 200, 3_000) if FULL else Size(60, 12, 3, 6, 170)


class History:
    """Every pod there ever was, and what went wrong at the moment it did."""

    def __init__(self, api: Api) -> None:
        self.created: dict[str, dict[str, str]] = defaultdict(dict)  # by app: uid -> name
        self.succeeded: set[str] = set()
        self.wrong: list[str] = []
        self._line: dict[int, Pod] = {}  # the StatefulSet's pods by ordinal
        self.pods = Informer(api, Pod, namespace="default")
        self.pods.add_handler(on_add=self._added, on_update=self._updated, on_delete=self._deleted)

    def _added(self, pod: Pod) -> None:
        app, name = (pod.metadata.labels or {})["app"], pod.metadata.name or ""
        self.created[app][pod.metadata.uid or ""] = name
        if app != "line":
            return
        number = int(name.rpartition("-")[2])
        for lower in range(number):
            before = self._line.get(lower)
            if before is None or not _ready(before) or before.metadata.deletion_timestamp:
                self.wrong.append(f"{name} was made while line-{lower} was not ready")
        self._line[number] = pod

    def _updated(self, old: Pod, new: Pod) -> None:
        if new.status.phase == "Succeeded":
            self.succeeded.add(new.metadata.uid or "")
        if old.spec.node_name and old.spec.node_name != new.spec.node_name:
            self.wrong.append(f"{new.metadata.name} moved from {old.spec.node_name} to {new.spec.node_name}")
        if (new.metadata.labels or {})["app"] != "line":
            return
        number = int((new.metadata.name or "").rpartition("-")[2])
        if new.metadata.deletion_timestamp and not old.metadata.deletion_timestamp:
            above = [other for other in self._line if other > number]
            if above:
                self.wrong.append(f"{new.metadata.name} was deleted before {above}")
        self._line[number] = new

    def _deleted(self, pod: Pod) -> None:
        if (pod.metadata.labels or {})["app"] == "line":
            del self._line[int((pod.metadata.name or "").rpartition("-")[2])]


def _ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def template(app: str, image: str = "work:1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


class Run:
    """One of the three works; each ends with what has to be exact."""

    def __init__(self, api: Api, history: History, chance: random.Random) -> None:
        self.api, self.history, self.chance = api, history, chance

    async def until(self, kind: type[Any], name: str, holds: Callable[[Any], bool]) -> Any:
        while True:
            found = await self.api.get(kind, name, namespace="default")
            if holds(found):
                return found
            await asyncio.sleep(0.05)

    async def complete(self) -> None:
        spec = {
            "completions": SIZE.completions,
            "parallelism": SIZE.parallelism,
            "template": template("work", restartPolicy="Never"),
        }
        meta = {"name": "work", "namespace": "default"}
        await self.api.create(from_dict(Job, {"metadata": meta, "spec": spec}))
        job = await self.until(
            Job, "work", lambda j: any(c.type in ("Complete", "Failed") for c in j.status.conditions or ())
        )
        assert (job.status.succeeded, job.status.failed, job.status.active) == (SIZE.completions, None, None)
        uncounted = job.status.uncounted_terminated_pods
        assert uncounted is None or not (uncounted.succeeded or uncounted.failed)
        created = self.history.created["work"]
        assert len(created) == SIZE.completions
        assert created.keys() <= self.history.succeeded
        pods = (await self.api.list(Pod, namespace="default", labels="app=work")).items
        assert {p.metadata.uid for p in pods} == created.keys()
        assert not [p.metadata.name for p in pods if FINALIZER in (p.metadata.finalizers or ())]

    async def roll_out(self) -> None:
        replicas = 8
        spec = {
            "replicas": replicas,
            "revisionHistoryLimit": SIZE.rollouts + 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("web"),
        }
        meta = {"name": "web", "namespace": "default"}
        await self.api.create(from_dict(Deployment, {"metadata": meta, "spec": spec}))
        for version in range(2, SIZE.rollouts + 2):
            await self.until(Deployment, "web", _rolled_out)
            container = {"name": "main", "image": f"work:{version}"}
            change = {"spec": {"template": {"spec": {"containers": [container]}}}}
            await self.api.patch(Deployment, "web", change, namespace="default", type="strategic")
            await asyncio.sleep(self.chance.random() * 0.3)
        await self.until(Deployment, "web", _rolled_out)
        sets = (await self.api.list(ReplicaSet, namespace="default", labels="app=web")).items
        revisions = {int((rs.metadata.annotations or {})[REVISION]): rs for rs in sets}
        assert sorted(revisions) == list(range(1, SIZE.rollouts + 2)) and len(sets) == len(revisions)
        newest = revisions[SIZE.rollouts + 1]
        assert [rs.spec.template.spec.containers[0].image for _, rs in sorted(revisions.items())] == [
            f"work:{version}" for version in range(1, SIZE.rollouts + 2)
        ]
        assert {number: rs.spec.replicas for number, rs in revisions.items() if rs.spec.replicas} == {
            SIZE.rollouts + 1: replicas
        }

        def settled() -> bool:
            pods = [p for p in self.history.pods.list() if (p.metadata.labels or {})["app"] == "web"]
            owners = {ref.uid for p in pods for ref in p.metadata.owner_references or ()}
            return len(pods) == replicas and owners == {newest.metadata.uid}

        while not settled():
            await asyncio.sleep(0.05)

    async def scale(self) -> None:
        spec = {
            "replicas": 2,
            "serviceName": "line",
            "selector": {"matchLabels": {"app": "line"}},
            "template": template("line"),
        }
        meta = {"name": "line", "namespace": "default"}
        wanted = 2
        await self.api.create(from_dict(StatefulSet, {"metadata": meta, "spec": spec}))
        for _ in range(SIZE.scalings):
            if self.chance.random() < 0.7:  # else the next one comes in the middle of this one
                await self.until(StatefulSet, "line", functools.partial(_scaled, wanted))
            wanted = self.chance.randrange(6)
            await self.api.patch(StatefulSet, "line", {"spec": {"replicas": wanted}}, namespace="default")
            await asyncio.sleep(self.chance.random() * 0.2)
        await self.until(StatefulSet, "line", functools.partial(_scaled, wanted))
        pods = (await self.api.list(Pod, namespace="default", labels="app=line")).items
        assert sorted(p.metadata.name or "" for p in pods) == [f"line-{number}" for number in range(wanted)]


def _rolled_out(deployment: Deployment) -> bool:
    status, replicas = deployment.status, deployment.spec.replicas
    return (
        status.observed_generation == deployment.metadata.generation
        and status.updated_replicas == status.replicas == status.available_replicas == replicas
    )


def _scaled(wanted: int, owner: StatefulSet) -> bool:
    status = owner.status
    return (
        status.observed_generation == owner.metadata.generation
        and (status.replicas or 0) == wanted
        and (status.ready_replicas or 0) == wanted
    )


async def kill_forever(made: Cluster, chance: random.Random, kills: list[str]) -> None:
    """Each of them once, then as chance has it; mostly in the middle of work, now and then while it still starts."""
    while True:
        await asyncio.sleep(chance.random() * chance.choice((0.3, 3.0)))
        victim = VICTIMS[len(kills)] if len(kills) < len(VICTIMS) else chance.choices(VICTIMS, (3, 1))[0]
        await asyncio.to_thread(made.kill, victim)
        kills.append(victim)
        await made.start(victim, ALONE)


@pytest_asyncio.fixture
async def running() -> AsyncIterator[tuple[Cluster, Api]]:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (package etcd-server)")
    async with cluster(dict.fromkeys(VICTIMS, (ALONE,))) as made, made.client() as api:
        yield made, api


@pytest.mark.timeout(SIZE.seconds)
async def test_controllers_killed_at_any_moment_leave_exact_counts(running: tuple[Cluster, Api]) -> None:
    made, api = running
    chance = random.Random(SEED)
    hollow = HollowNodes(api, 10, start_after=0.02, run_for=0.1)
    history = History(api)
    kills: list[str] = []
    background = [asyncio.create_task(hollow.run()), asyncio.create_task(history.pods.run())]
    try:
        await asyncio.gather(hollow.ready.wait(), history.pods.synced())
        await _account(api)
        background.append(asyncio.create_task(kill_forever(made, chance, kills)))
        run = Run(api, history, chance)
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(work) for work in (run.complete(), run.roll_out(), run.scale())]
            for task in background:
                task.add_done_callback(lambda ended: _fail(ended, works))
        print(f"{len(kills)} kills")
        assert not history.wrong
        assert set(kills) == set(VICTIMS), f"too few kills to mean anything: {kills}"
    finally:
        for task in reversed(background):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _fail(ended: asyncio.Task[Any], works: list[asyncio.Task[None]]) -> None:
    """Nobody waits in vain for what has broken."""
    if not ended.cancelled():
        for work in works:
            work.cancel()


async def _account(api: Api) -> None:
    while True:
        try:
            await api.get(ServiceAccount, "default", namespace="default")
            return
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
            await asyncio.sleep(0.1)
