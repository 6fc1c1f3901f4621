"""Statuses reach the API, and stay there when somebody else has other ideas."""

from __future__ import annotations

import asyncio

from api import codec
from api.types.core_v1 import Container, Pod, PodCondition, PodSpec, PodStatus
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from kubelet.status_manager import StatusManager


def status(ready: str) -> PodStatus:
    return PodStatus(phase="Running", conditions=[PodCondition(type="Ready", status=ready)])


def readiness(api: FakeApi) -> str:
    pod = api.one(Pod, "p", "d")
    assert pod is not None
    return (pod.status.conditions or [])[0].status


async def test_a_pod_that_the_node_controller_gave_up_is_ready_again_when_the_node_is_heard_of() -> None:
    spec = PodSpec(containers=[Container(name="c")], node_name="n1")
    api = FakeApi()
    pod = await api.create(Pod(metadata=ObjectMeta(name="p", namespace="d"), spec=spec))
    statuses = StatusManager(api)
    task = asyncio.create_task(statuses.run())
    try:
        statuses.set(pod, status("True"))
        await statuses.flush(pod.metadata.uid or "")
        assert readiness(api) == "True"
        writes = len(api.writes("pods"))
        statuses.observed(pod)  # an event from before what was sent
        await asyncio.sleep(0.02)
        assert len(api.writes("pods")) == writes
        given_up = codec.deepcopy(api.one(Pod, "p", "d"))
        assert given_up is not None
        given_up.status = status("False")
        given_up = await api.update_status(given_up)
        statuses.observed(given_up)
        await statuses.flush(pod.metadata.uid or "")
        assert readiness(api) == "True"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
