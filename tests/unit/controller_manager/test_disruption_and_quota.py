"""Budgets and quotas: what may be evicted, what is used."""

from __future__ import annotations

from typing import Any

import pytest

from api.quantity import Quantity
from api.types.core_v1 import (
    ConfigMap,
    Container,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Pod,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceRequirements,
    Service,
    ServicePort,
    ServiceSpec,
    VolumeResourceRequirements,
)
from api.types.meta_v1 import LabelSelector, ObjectMeta
from api.types.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from client.fake import FakeApi
from client.writes import Kind
from controller_manager import conditions
from controller_manager.discovery import of_definition
from controller_manager.garbage_collector import GarbageCollector
from controller_manager.namespaces import quota_usage
from controller_manager.namespaces.quota import ResourceQuotaController
from controller_manager.owners import controller_ref
from controller_manager.workloads.disruption import DisruptionController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import LABELS, ago, deployment, pod, ready_condition, replica_set
from tests.unit.controller_manager.test_garbage_collector import widgets


def budget(**spec: Any) -> PodDisruptionBudget:
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="web", namespace="default", generation=1),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels=dict(LABELS)), **spec),
    )


def status(api: FakeApi) -> tuple[int, int, int, int]:
    found = api.one(PodDisruptionBudget, "web", "default")
    assert found is not None
    s = found.status
    return s.disruptions_allowed, s.current_healthy, s.desired_healthy, s.expected_pods


def owned(count: int, replicas: int) -> list[Any]:
    above, rs = deployment(replicas=replicas), replica_set(replicas=count)
    above.metadata.uid, rs.metadata.uid = "d", "rs"
    rs.metadata.owner_references = [controller_ref(above)]
    return [above, rs, *(pod(f"p{i}", rs) for i in range(count))]


async def test_min_available_counts_the_pods_there_are() -> None:
    api = FakeApi(budget(min_available=2), pod("a"), pod("b"), pod("c"), pod("d", ready=False))
    async with running(api, DisruptionController) as harness:
        assert status(api) == (1, 3, 2, 4)
        found = api.one(PodDisruptionBudget, "web", "default")
        assert found is not None
        allowed = conditions.find(found.status.conditions, "DisruptionAllowed")
        assert allowed is not None and (allowed.status, allowed.reason) == ("True", "SufficientPods")
        broken = api.one(Pod, "a", "default")
        assert broken is not None
        broken.status.conditions = [ready_condition(False)]
        await api.update_status(broken)
        await harness.settle()
        assert status(api) == (0, 2, 2, 4)


async def test_percentages_are_of_what_the_controllers_want() -> None:
    api = FakeApi(budget(max_unavailable="30%"), *owned(3, replicas=10))
    async with running(api, DisruptionController):
        assert status(api) == (0, 3, 7, 10)
    api = FakeApi(budget(max_unavailable=1), *owned(3, replicas=3))
    async with running(api, DisruptionController):
        assert status(api) == (1, 3, 2, 3)


async def test_bare_pods_have_no_percentage() -> None:
    api = FakeApi(budget(max_unavailable=1), pod("alone"))
    async with running(api, DisruptionController) as harness:
        assert status(api)[0] == 0
        assert harness.events("CalculateExpectedPodCountFailed")


async def test_promised_evictions_count_until_they_happen() -> None:
    promised = budget(min_available=1)
    promised.status.disrupted_pods = {"a": ago(1), "gone": ago(1), "b": ago(600)}
    api = FakeApi(promised, pod("a"), pod("b"), pod("c"))
    async with running(api, DisruptionController):
        found = api.one(PodDisruptionBudget, "web", "default")
        assert found is not None and list(found.status.disrupted_pods or {}) == ["a"]
        assert status(api) == (1, 2, 1, 3)


def sized(name: str, cpu: str, **kwargs: Any) -> Pod:
    made = pod(name, **kwargs)
    made.spec.containers[0].resources = ResourceRequirements(
        requests={"cpu": cpu, "memory": "1Gi"}, limits={"cpu": "1"}
    )
    return made


def quota(hard: dict[str, str], **spec: Any) -> ResourceQuota:
    return ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="default"), spec=ResourceQuotaSpec(hard=dict(hard), **spec)
    )


def used(api: FakeApi) -> dict[str, Any]:
    found = api.one(ResourceQuota, "q", "default")
    assert found is not None and found.status.hard == found.spec.hard
    return found.status.used or {}


async def test_usage_is_counted_and_given_back() -> None:
    names = ["pods", "count/pods", "cpu", "requests.cpu", "limits.cpu", "requests.memory", "configmaps"]
    names += ["count/deployments.apps", "services.nodeports", "requests.storage", "services"]
    storage = VolumeResourceRequirements(requests={"storage": "5Gi"})
    api = FakeApi(
        quota(dict.fromkeys(names, "100")),
        sized("a", "250m"),
        sized("b", "500m"),
        sized("done", "4", phase="Succeeded"),
        sized("elsewhere", "4", namespace="other"),
        deployment(),
        ConfigMap(metadata=ObjectMeta(name="c", namespace="default")),
        Service(
            metadata=ObjectMeta(name="s", namespace="default"),
            spec=ServiceSpec(type="NodePort", ports=[ServicePort(port=1), ServicePort(port=2)]),
        ),
        PersistentVolumeClaim(
            metadata=ObjectMeta(name="v", namespace="default"), spec=PersistentVolumeClaimSpec(resources=storage)
        ),
    )
    async with running(api, ResourceQuotaController) as harness:
        assert used(api) == {
            "pods": "2",
            "count/pods": "3",
            "cpu": "750m",
            "requests.cpu": "750m",
            "limits.cpu": "2",
            "requests.memory": "2Gi",
            "configmaps": "1",
            "count/deployments.apps": "1",
            "services.nodeports": "2",
            "services": "1",
            "requests.storage": "5Gi",
        }
        await api.delete(Pod, "b", namespace="default", grace_period_seconds=0)
        harness.controllers[0].controller.enqueue(("default", "q"))
        await harness.settle()
        assert (used(api)["pods"], used(api)["cpu"]) == ("1", "250m")


async def test_scopes_restrict_what_counts() -> None:
    limited = sized("job", "1")
    limited.spec.active_deadline_seconds = 60
    everyone = [pod("best-effort"), sized("plain", "1"), limited]
    for scope, count in (("BestEffort", "1"), ("NotBestEffort", "2"), ("Terminating", "1"), ("NotTerminating", "2")):
        api = FakeApi(quota({"pods": "10"}, scopes=[scope]), *everyone)
        async with running(api, ResourceQuotaController):
            assert used(api) == {"pods": count}, scope


def test_init_containers_count_if_they_need_more() -> None:
    one = sized("p", "100m")
    big = ResourceRequirements(requests={"cpu": "2"})
    small = ResourceRequirements(requests={"cpu": "10m"})
    one.spec.init_containers = [
        Container(name="sidecar", restart_policy="Always", resources=small),
        Container(name="init", resources=big),
    ]
    assert quota_usage.pod_resources(one, "requests")["cpu"] == Quantity("2010m")
    one.spec.init_containers = one.spec.init_containers[:1]
    assert quota_usage.pod_resources(one, "requests")["cpu"] == Quantity("110m")


async def test_custom_resources_are_counted_and_given_back_though_they_were_defined_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controller_manager.namespaces.quota._GATHER", 0.0)
    api = FakeApi(quota({"count/widgets.example.com": "5"}))
    async with running(api, ResourceQuotaController, GarbageCollector) as harness:
        crd = widgets()
        resource = of_definition(crd)
        assert resource is not None
        await api.create(crd)
        await harness.settle()
        kind = Kind(resource, dict)
        meta = {"name": "w", "namespace": "default"}
        await api.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta}, kind=kind)
        await api.patch(ResourceQuota, "q", {"spec": {"hard": {"count/widgets.example.com": "4"}}}, namespace="default")
        await harness.settle()
        assert used(api) == {"count/widgets.example.com": "1"}
        await api.delete(kind, "w", namespace="default")
        await harness.settle()
        assert used(api) == {"count/widgets.example.com": "0"}
