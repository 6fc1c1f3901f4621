"""Namespaces: what each has from the start, and how one goes."""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import ConfigMap, Namespace, Pod, Secret, ServiceAccount
from api.types.meta_v1 import LabelSelector, ObjectMeta
from api.types.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from client.fake import FakeApi
from client.writes import Kind
from controller_manager import conditions
from controller_manager.discovery import of_definition
from controller_manager.namespaces.namespace import NamespaceController
from controller_manager.namespaces.root_ca import RootCaController
from controller_manager.namespaces.serviceaccount import ServiceAccountController
from controller_manager.security.clusterrole_aggregation import ClusterRoleAggregationController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import pod
from tests.unit.controller_manager.test_garbage_collector import widgets


def namespace(name: str = "n") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name))


def condition(api: FakeApi, type: str) -> tuple[str, str | None, str | None]:
    found: Any = conditions.find((api.one(Namespace, "n") or Namespace()).status.conditions, type)
    return found.status, found.reason, found.message


async def test_every_namespace_has_an_account_and_the_ca() -> None:
    api = FakeApi(namespace())
    async with running(api, ServiceAccountController, RootCaController, root_ca="PEM") as harness:
        assert api.one(ServiceAccount, "default", "n") is not None
        await api.delete(ServiceAccount, "default", namespace="n")
        await api.patch(ConfigMap, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, namespace="n")
        await harness.settle()
        assert api.one(ServiceAccount, "default", "n") is not None
        found = api.one(ConfigMap, "kube-root-ca.crt", "n")
        assert found is not None and found.data == {"ca.crt": "PEM"}
        await api.delete(Namespace, "n")
        await api.delete(ServiceAccount, "default", namespace="n")
        await harness.settle()
        assert api.one(ServiceAccount, "default", "n") is None


async def test_a_namespace_goes_with_everything_in_it_and_nothing_else() -> None:
    api = FakeApi(
        namespace(),
        namespace("other"),
        pod("p", namespace="n", node=None),
        Secret(metadata=ObjectMeta(name="s", namespace="n")),
        Secret(metadata=ObjectMeta(name="s", namespace="other")),
    )
    async with running(api, NamespaceController) as harness:
        await api.delete(Namespace, "n")
        await harness.settle()
        assert [n.metadata.name for n in api.objects(Namespace)] == ["other"]
        assert api.objects(Pod) == [] and len(api.objects(Secret)) == 1


async def test_custom_resources_go_too_though_they_were_defined_later() -> None:
    api = FakeApi(namespace(), namespace("other"))
    async with running(api, NamespaceController) as harness:
        crd = widgets()
        await api.create(crd)
        resource = of_definition(crd)
        assert resource is not None
        kind = Kind(resource, dict)
        for where in ("n", "other"):
            meta = {"name": "w", "namespace": where}
            await api.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta}, kind=kind)
        await api.delete(Namespace, "n")
        await harness.settle()
        assert [n.metadata.name for n in api.objects(Namespace)] == ["other"]
        assert [w["metadata"]["namespace"] for w in (await api.list(kind)).items] == ["other"]


async def test_what_remains_is_said_and_pods_go_first() -> None:
    running_pod = pod("p", namespace="n")
    running_pod.spec.termination_grace_period_seconds = 30
    api = FakeApi(namespace(), running_pod, Secret(metadata=ObjectMeta(name="s", namespace="n")))
    async with running(api, NamespaceController) as harness:
        await api.delete(Namespace, "n")
        await harness.settle()
        assert len(api.objects(Secret)) == 1
        assert condition(api, "NamespaceContentRemaining") == (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: pods. has 1 resource instances",
        )
        assert condition(api, "NamespaceDeletionContentFailure") == (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        )
        await api.delete(Pod, "p", namespace="n", grace_period_seconds=0)
        harness.controllers[0].controller.enqueue("n")
        await harness.settle()
        assert api.objects(Namespace) == []


async def test_finalizers_that_hold_a_namespace_are_named() -> None:
    held = ConfigMap(metadata=ObjectMeta(name="c", namespace="n", finalizers=["example.com/hold"]))
    api = FakeApi(namespace(), held)
    async with running(api, NamespaceController) as harness:
        await api.delete(Namespace, "n")
        await harness.settle()
        assert condition(api, "NamespaceFinalizersRemaining") == (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        )


async def test_aggregated_roles_have_the_rules_of_those_they_select() -> None:
    def role(name: str, verb: str, **labels: str) -> ClusterRole:
        rule = PolicyRule(verbs=[verb], api_groups=[""], resources=["pods"])
        return ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=[rule])

    admin = ClusterRole(
        metadata=ObjectMeta(name="admin"),
        aggregation_rule=AggregationRule(cluster_role_selectors=[LabelSelector(match_labels={"to-admin": "true"})]),
    )
    api = FakeApi(admin, role("b", "list", **{"to-admin": "true"}), role("c", "watch"))
    async with running(api, ClusterRoleAggregationController) as harness:
        await api.create(role("a", "get", **{"to-admin": "true"}))
        await harness.settle()
        found = api.one(ClusterRole, "admin")
        assert found is not None and [r.verbs for r in found.rules or ()] == [["get"], ["list"]]
