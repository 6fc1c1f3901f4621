"""Two of each: when the one that leads is killed, the other goes on in the middle of the work; counts stay exact."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from api import errors
from api.codec import from_dict
from api.types.batch_v1 import Job
from api.types.coordination_v1 import Lease
from api.types.core_v1 import Pod, ServiceAccount
from bench.hollow.cluster import Cluster, cluster
from bench.hollow.nodes import HollowNodes
from client.api import Api

COMPLETIONS = 40
LEADERS = ("controller-manager", "scheduler")
QUICK = (
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=500ms",
)


@pytest_asyncio.fixture
async def made() -> AsyncIterator[tuple[Cluster, Api]]:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (package etcd-server)")
    async with cluster(dict.fromkeys(LEADERS, QUICK)) as started, started.client() as api:
        yield started, api


async def until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    while True:
        with contextlib.suppress(errors.StatusError):
            found = await read()
            if holds(found):
                return found
        await asyncio.sleep(0.05)


def work(api: Api) -> Callable[[], Any]:
    return lambda: api.get(Job, "work", namespace="default")


def ended(job: Job) -> bool:
    return any(c.type in ("Complete", "Failed") for c in job.status.conditions or ())


async def holder(api: Api, name: str) -> tuple[str, int]:
    """Who leads, and how often that has changed."""
    lease = await api.get(Lease, f"kube-{name}", namespace="kube-system")
    return lease.spec.holder_identity or "", lease.spec.lease_transitions or 0


@pytest.mark.timeout(300)
async def test_the_other_one_goes_on_where_the_killed_one_was(made: tuple[Cluster, Api]) -> None:
    started, api = made
    hollow = HollowNodes(api, 4, start_after=0.02, run_for=0.2)
    pretending = asyncio.create_task(hollow.run())
    try:
        await hollow.ready.wait()
        await until(lambda: api.get(ServiceAccount, "default", namespace="default"), bool)
        before = {name: await holder(api, name) for name in LEADERS}
        for name in LEADERS:
            await started.start(f"{name}-standby", *QUICK)
        template = {
            "metadata": {"labels": {"app": "work"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]},
        }
        spec = {"completions": COMPLETIONS, "parallelism": 6, "template": template}
        job = {"metadata": {"name": "work", "namespace": "default"}, "spec": spec}
        await api.create(from_dict(Job, job))
        await until(work(api), lambda found: (found.status.succeeded or 0) >= COMPLETIONS // 4)
        assert {name: await holder(api, name) for name in LEADERS} == before
        for name in LEADERS:
            await asyncio.to_thread(started.kill, name)
        assert not ended(await work(api)())
        done = await until(work(api), ended)
        assert (done.status.succeeded, done.status.failed, done.status.active) == (COMPLETIONS, None, None)
        pods = (await api.list(Pod, namespace="default", labels="app=work")).items
        assert len(pods) == COMPLETIONS
        for name in LEADERS:
            identity, changes = await holder(api, name)
            assert identity != before[name][0]
            assert changes == before[name][1] + 1
    finally:
        pretending.cancel()
        await asyncio.gather(pretending, return_exceptions=True)
