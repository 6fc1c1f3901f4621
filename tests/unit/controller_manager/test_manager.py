"""The controllers together on the real apiserver pipeline: what a user sees of a Deployment's life."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api import errors
from api.types.apps_v1 import Deployment, ReplicaSet
from api.types.core_v1 import ConfigMap, Endpoints, Namespace, Pod, PodStatus, Service, ServicePort, ServiceSpec
from api.types.discovery_v1 import EndpointSlice
from api.types.meta_v1 import ObjectMeta
from client.api import Api
from client.informer import Factory
from controller_manager.context import Context, Settings
from controller_manager.manager import CONTROLLERS, Manager, chosen
from tests.support.api import api, api_server  # noqa: F401
from tests.unit.controller_manager.builders import LABELS, deployment, ready_condition


@contextlib.asynccontextmanager
async def managing(api: Api) -> AsyncIterator[Manager]:  # noqa: F811
    context = Context(api, Factory(api), Settings(cluster_cidr="10.244.0.0/16", root_ca="PEM"))
    manager = Manager(context, chosen(["*"]))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(context.informers.run()), group.create_task(manager.run())]
        try:
            async with asyncio.timeout(20):
                while not manager.acting:
                    await asyncio.sleep(0.01)
            yield manager
        finally:
            for task in tasks:
                task.cancel()


async def until(check: Callable[[], Any], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(errors.StatusError):
                found = await check()
                if found:
                    return found
            await asyncio.sleep(0.005)


async def be_kubelet(api: Api) -> None:  # noqa: F811
    """Pods run when they appear and go when they have to."""
    while True:
        for pod in (await api.list(Pod)).items:
            meta = pod.metadata
            with contextlib.suppress(errors.StatusError):
                if meta.deletion_timestamp:
                    await api.delete(Pod, meta.name or "", namespace=meta.namespace or "", grace_period_seconds=0)
                elif pod.status.phase != "Running":
                    pod.status = PodStatus(
                        phase="Running", pod_ip="10.244.0.9", pod_ips=None, conditions=[ready_condition(True, 1)]
                    )
                    await api.update_status(pod)
        await asyncio.sleep(0.02)


async def test_a_deployments_life(api: Api) -> None:  # noqa: F811
    kubelet = asyncio.create_task(be_kubelet(api))
    try:
        async with managing(api):
            await api.create(Namespace(metadata=ObjectMeta(name="shop")))
            await until(lambda: api.get(ConfigMap, "kube-root-ca.crt", namespace="shop"))
            wanted = deployment(replicas=20)
            wanted.metadata.namespace = "shop"
            ports = [ServicePort(port=80, target_port=8080)]
            spec = ServiceSpec(selector=dict(LABELS), ports=ports)
            await api.create(Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=spec))
            started = time.monotonic()
            await api.create(wanted)

            async def pods() -> bool:
                return len((await api.list(Pod, namespace="shop")).items) == 20

            await until(pods)
            print(f"20 pods created in {(time.monotonic() - started) * 1000:.0f} ms")

            async def ready() -> bool:
                d = await api.get(Deployment, "web", namespace="shop")
                return d.status.available_replicas == 20 and d.status.observed_generation == d.metadata.generation

            await until(ready)

            async def endpoints() -> bool:
                found = await api.get(Endpoints, "web", namespace="shop")
                slices = (await api.list(EndpointSlice, namespace="shop")).items
                return bool(found.subsets) and sum(len(s.endpoints or ()) for s in slices) == 20

            await until(endpoints)
            change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
            await api.patch(Deployment, "web", change, namespace="shop", type="strategic")

            async def rolled() -> bool:
                d = await api.get(Deployment, "web", namespace="shop")
                if d.status.observed_generation != d.metadata.generation:
                    return False
                return d.status.updated_replicas == d.status.available_replicas == d.status.replicas == 20

            await until(rolled)
            sets = (await api.list(ReplicaSet, namespace="shop")).items
            assert sorted(rs.spec.replicas or 0 for rs in sets) == [0, 20]
            d = await api.get(Deployment, "web", namespace="shop")
            assert (d.metadata.annotations or {})["deployment.kubernetes.io/revision"] == "2"
            await api.delete(Deployment, "web", namespace="shop", propagation="Foreground")

            async def empty() -> bool:
                left = [*(await api.list(ReplicaSet, namespace="shop")).items, *(await api.list(Pod)).items]
                return not left and not (await api.list(Deployment)).items

            await until(empty)
            await api.delete(Namespace, "shop")

            async def gone() -> bool:
                return "shop" not in {n.metadata.name for n in (await api.list(Namespace)).items}

            await until(gone)
    finally:
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)


def test_controllers_are_chosen_as_upstreams_flag_does() -> None:
    assert chosen(["*"]) == list(CONTROLLERS)
    assert chosen(["namespace-controller"]) == ["namespace-controller"]
    assert "namespace-controller" not in chosen(["*", "-namespace-controller"])
    with pytest.raises(ValueError, match="is not in the list of known controllers"):
        chosen(["nonsense"])
