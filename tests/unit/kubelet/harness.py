"""A whole kubelet on a runtime and an API in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from api import codec, errors
from api.types.core_v1 import ContainerStatus, Event, Node, NodeSpec, Pod
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from kubelet.agent import Kubelet
from kubelet.config import Config
from kubelet.cri import Runtime
from tests.support.runtime import FakeRuntime

NODE = "n1"
IMAGE = "app:1"


def container(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", **fields}


def make_pod(name: str = "web", *containers: dict[str, Any], **spec: Any) -> Pod:
    return codec.from_dict(
        Pod,
        {
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
            "spec": {
                "nodeName": NODE,
                "containers": list(containers) or [container()],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                **spec,
            },
        },
    )


class Harness:
    def __init__(self, root: Path) -> None:
        self.api = FakeApi(Node(metadata=ObjectMeta(name=NODE), spec=NodeSpec(pod_cidr="10.244.0.0/24")))
        self.runtime = FakeRuntime(IMAGE)
        self.config = Config(
            node_name=NODE, node_ip="192.168.0.9", root_dir=root, cluster_dns=("10.96.0.10",), resolv_conf=""
        )
        self.kubelet = self.new_kubelet()
        self._task: asyncio.Task[None] | None = None

    def new_kubelet(self) -> Kubelet:
        runtime: Runtime = self.runtime
        return Kubelet(self.config, self.api, runtime)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.kubelet.run())
        await self.until(self.kubelet.pods.started.is_set)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def restart(self) -> None:
        """As after `kill -9`: nothing of the old process is left but what the runtime and the disk hold."""
        await self.stop()
        self.kubelet = self.new_kubelet()
        await self.start()

    # -- asking ---------------------------------------------------------------------------------------------------

    async def until(self, true: Callable[[], Any], what: str = "") -> Any:
        async with asyncio.timeout(10):
            while not (found := true()):
                if self._task is not None and self._task.done():
                    self._task.result()
                await asyncio.sleep(0.002)
        return found

    def find(self, name: str = "web") -> Pod | None:
        return next((p for p in self.api.objects(Pod) if p.metadata.name == name), None)

    def pod(self, name: str = "web") -> Pod:
        found = self.find(name)
        assert found is not None
        return found

    def status(self, container: str = "app", pod: str = "web") -> ContainerStatus:
        status = self.pod(pod).status
        every = [
            *(status.container_statuses or ()),
            *(status.init_container_statuses or ()),
            *(status.ephemeral_container_statuses or ()),
        ]
        return next((s for s in every if s.name == container), ContainerStatus(name=container))

    def waiting(self, container: str = "app", pod: str = "web") -> str:
        waiting = self.status(container, pod).state.waiting
        return (waiting.reason or "") if waiting else ""

    def condition(self, kind: str, pod: str = "web") -> str:
        return next((c.status for c in self.pod(pod).status.conditions or () if c.type == kind), "")

    def is_ready(self, pod: str = "web") -> bool:
        return self.find(pod) is not None and self.condition("Ready", pod) == "True"

    def events(self, reason: str) -> list[str]:
        return [e.message or "" for e in self.api.objects(Event) if e.reason == reason]

    async def delete(self, name: str = "web", grace: int | None = None) -> None:
        with contextlib.suppress(errors.StatusError):
            await self.api.delete(Pod, name, namespace="default", grace_period_seconds=grace)


@contextlib.asynccontextmanager
async def running(root: Path) -> AsyncIterator[Harness]:
    harness = Harness(root)
    try:
        await harness.start()
        yield harness
    finally:
        await harness.stop()
