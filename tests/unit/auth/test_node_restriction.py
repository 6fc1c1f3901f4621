"""NodeRestriction: what a node may write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.errors import StatusError
from api.types.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from api.types.coordination_v1 import Lease
from api.types.core_v1 import (
    Node,
    Pod,
    ProjectedVolumeSource,
    Secret,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Taint,
    Volume,
    VolumeProjection,
)
from api.types.meta_v1 import ObjectMeta
from api.types.policy_v1 import Eviction
from apiserver.admission import Operation
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.auth import User
from apiserver.registry import Registry
from apiserver.store.memory import MemoryStore
from apiserver.strategy import Context
from tests.unit.auth.support import pod_on

N1 = User("system:node:n1", groups=("system:nodes",))


class World:
    """What nodes ask of a registry that knows some pods."""

    def __init__(self, *pods: Pod) -> None:
        self.registry = Registry(MemoryStore())
        self._pods = {pod.metadata.name: pod for pod in pods}
        self.registry.cached = self._cached  # type: ignore[method-assign, assignment]
        self.plugin = NodeRestriction()

    def _cached(self, kind: type[Any], name: str, namespace: str | None = None) -> Any:
        return self._pods.get(name) if kind is Pod else None

    async def refusal(
        self, operation: Operation, kind: type[Any], name: str, new: Any, old: Any = None, subresource: str = "",
        namespace: str = "default", user: User = N1,
    ) -> str:  # fmt: skip
        resource = self.registry.endpoint(kind).resource
        ctx = Context(user, self.registry, resource, namespace, name, subresource)
        if not self.plugin.handles(ctx, operation):
            return ""
        try:
            await self.plugin.mutate(ctx, operation, new, old)
            await self.plugin.validate(ctx, operation, new, old)
        except StatusError as error:
            return error.message
        return ""


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    yield World(pod_on("n1", "mine"), pod_on("n2", "theirs"))


def node(name: str = "n1", labels: dict[str, str] | None = None, *taints: Taint) -> Node:
    made = Node(metadata=ObjectMeta(name=name, labels=labels))
    made.spec.taints = list(taints) or None
    return made


async def test_nodes(world: World) -> None:
    labels = {"kubernetes.io/hostname": "n1", "example.com/x": "y", "node.kubernetes.io/gpu": "a"}
    assert await world.refusal("CREATE", Node, "", node("n1", labels)) == ""
    assert 'node "n1" is not allowed to modify node "n2"' in await world.refusal("CREATE", Node, "", node("n2"))
    role = {"node-role.kubernetes.io/control-plane": ""}
    assert await world.refusal("CREATE", Node, "n1", node("n1", role)) == (
        'nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: '
        "node-role.kubernetes.io/control-plane"
    )
    assert "taints" in await world.refusal(
        "UPDATE", Node, "n1", node("n1"), node("n1", None, Taint(key="k", effect="NoSchedule"))
    )
    assert "labels" in await world.refusal("UPDATE", Node, "n1", node("n1"), node("n1", role))
    assert await world.refusal("UPDATE", Node, "n1", node("n1", {"a": "b"}), node("n1"), "status") == ""


async def test_pods(world: World) -> None:
    assert "can only create mirror pods" in await world.refusal("CREATE", Pod, "new", pod_on("n1"))
    mirror = pod_on("n1")
    mirror.metadata.annotations = {"kubernetes.io/config.mirror": "x"}
    assert "can not create pods that reference a service account" in await world.refusal("CREATE", Pod, "", mirror)
    mirror.spec.service_account_name = None
    assert await world.refusal("CREATE", Pod, "", mirror) == ""
    assert await world.refusal("DELETE", Pod, "mine", None) == ""
    assert "can only delete pods with spec.nodeName set to itself" in await world.refusal("DELETE", Pod, "theirs", None)
    theirs = pod_on("n2", "theirs")
    assert "can only update pod status" in await world.refusal("UPDATE", Pod, "theirs", theirs, theirs, "status")
    mine, labelled = pod_on("n1", "mine"), pod_on("n1", "mine")
    assert await world.refusal("UPDATE", Pod, "mine", mine, mine, "status") == ""
    labelled.metadata.labels = {"a": "b"}
    assert "labels" in await world.refusal("UPDATE", Pod, "mine", labelled, mine, "status")
    assert await world.refusal("CREATE", Pod, "mine", Eviction(), None, "eviction") == ""
    assert "can only evict pods" in await world.refusal("CREATE", Pod, "theirs", Eviction(), None, "eviction")


async def test_leases(world: World) -> None:
    lease = Lease(metadata=ObjectMeta(name="n1", namespace="kube-node-lease"))
    assert await world.refusal("CREATE", Lease, "", lease, namespace="kube-node-lease") == ""
    other = Lease(metadata=ObjectMeta(name="n2", namespace="kube-node-lease"))
    assert "same name" in await world.refusal("CREATE", Lease, "", other, namespace="kube-node-lease")
    assert "kube-node-lease" in await world.refusal("CREATE", Lease, "n1", lease, namespace="kube-system")


async def test_tokens(world: World) -> None:
    async def refusal(pod: str, uid: str | None = "pod-uid", *audiences: str) -> str:
        reference = BoundObjectReference(api_version="v1", kind="Pod", name=pod, uid=uid)
        spec = TokenRequestSpec(bound_object_ref=reference if pod else None, audiences=list(audiences))
        request = TokenRequest(spec=spec)
        return await world.refusal("CREATE", ServiceAccount, "builder", request, None, "token")

    assert await refusal("mine") == ""
    assert "not bound to a pod" in await refusal("")
    assert "without a uid" in await refusal("mine", None)
    assert "different node" in await refusal("theirs")
    assert "does not match the UID" in await refusal("mine", "other")
    assert 'audience "vault" not found' in await refusal("mine", "pod-uid", "vault")
    pod = world.registry.cached(Pod, "mine")
    assert pod is not None
    token = ServiceAccountTokenProjection(path="t", audience="vault")
    projected = ProjectedVolumeSource(sources=[VolumeProjection(service_account_token=token)])
    pod.spec.volumes = [Volume(name="v", projected=projected)]
    assert await refusal("mine", "pod-uid", "vault") == ""


async def test_others_are_not_restricted(world: World) -> None:
    assert await world.refusal("CREATE", Node, "n2", node("n2"), user=User("alice")) == ""
    assert await world.refusal("CREATE", Secret, "s", Secret()) == ""


@pytest.mark.parametrize("user", [User("system:node:", groups=("system:nodes",))])
async def test_a_node_without_a_name_writes_nothing(world: World, user: User) -> None:
    assert "could not determine node" in await world.refusal("CREATE", Node, "n1", node(), user=user)
