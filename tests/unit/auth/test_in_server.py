"""Auth in a running server: fed by its caches, bootstrapped, and still right after a cache was rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from api import names
from api.errors import StatusError
from api.types.authentication_v1 import TokenRequest
from api.types.core_v1 import Namespace, Pod, ServiceAccount
from api.types.meta_v1 import ObjectMeta
from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from apiserver.auth import Authorizer, Credentials, User
from apiserver.auth.bootstrap.reconcile import reconcile
from apiserver.registry import Registry
from apiserver.security import SecurityOptions, secure
from apiserver.store.memory import MemoryStore
from apiserver.strategy import Strategy
from tests.unit.auth.support import may, may_path, pod_on

ALICE = User("alice", groups=("system:authenticated",))


class AnyName(Strategy):
    """RBAC objects have names like `system:node`; nothing else of their strategies matters here."""

    def validate_name(self, name: str) -> list[str]:
        return names.path_segment(name)

    def field_values(self, obj: Any) -> dict[str, str]:
        return {"spec.nodeName": obj.spec.node_name or ""} if isinstance(obj, Pod) else {}


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[Registry]:
    made = Registry(MemoryStore(), strategy_for=AnyName)
    await made.start()
    feeding = asyncio.create_task(made.feed.run())
    try:
        yield made
    finally:
        made.stop_watches()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


def authorizer_of(registry: Registry) -> Authorizer:
    authorizer = secure(registry, SecurityOptions()).gate.authorizer
    assert authorizer is not None
    return authorizer


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.005)


def reader(namespace: str) -> tuple[Role, RoleBinding]:
    rule = PolicyRule(verbs=["get"], api_groups=[""], resources=["pods"])
    role = Role(metadata=ObjectMeta(name="reader", namespace=namespace), rules=[rule])
    binding = RoleBinding(
        metadata=ObjectMeta(name="reader", namespace=namespace),
        role_ref=RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader"),
        subjects=[Subject(kind="User", name="alice", api_group="rbac.authorization.k8s.io")],
    )
    return role, binding


async def test_permissions_follow_the_stored_objects(registry: Registry) -> None:
    authorizer = authorizer_of(registry)
    await registry.create(Namespace(metadata=ObjectMeta(name="default")))
    assert not may(authorizer, ALICE, "get", "pods", namespace="default")
    role, binding = reader("default")
    await registry.create(role)
    await registry.create(binding)
    await eventually(lambda: may(authorizer, ALICE, "get", "pods", namespace="default"))
    await registry.delete(RoleBinding, "reader", namespace="default")
    await eventually(lambda: not may(authorizer, ALICE, "get", "pods", namespace="default"))


async def test_permissions_are_right_after_the_caches_were_rebuilt(registry: Registry) -> None:
    authorizer = authorizer_of(registry)
    await registry.create(Namespace(metadata=ObjectMeta(name="default")))
    for reset in registry.feed.on_reset:
        reset(registry.feed.revision)
    for obj in reader("default"):
        await registry.create(obj)
    await eventually(lambda: may(authorizer, ALICE, "get", "pods", namespace="default"))
    await registry.delete(Role, "reader", namespace="default")
    await eventually(lambda: not may(authorizer, ALICE, "get", "pods", namespace="default"))


async def test_the_bootstrap_policy_comes_and_stays(registry: Registry) -> None:
    authorizer = authorizer_of(registry)
    assert await reconcile(registry) > 100
    await eventually(lambda: may_path(authorizer, ALICE, "get", "/api"))
    await eventually(lambda: registry.cached(RoleBinding, "system:controller:token-cleaner", "kube-system") is not None)
    assert await reconcile(registry) == 0

    def weaken(role: ClusterRole) -> None:
        role.rules = [PolicyRule(verbs=["get"], non_resource_urls=["/mine"])]

    def own(binding: ClusterRoleBinding) -> None:
        binding.metadata.annotations = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
        binding.subjects = None

    await registry.mutate(ClusterRole, "system:discovery", weaken)
    await registry.mutate(ClusterRoleBinding, "system:basic-user", own)
    await eventually(lambda: not may_path(authorizer, ALICE, "get", "/api"))
    await eventually(lambda: not may(authorizer, ALICE, "create", "selfsubjectreviews.authentication.k8s.io"))
    assert await reconcile(registry) == 1
    await eventually(lambda: may_path(authorizer, ALICE, "get", "/api"))
    assert may_path(authorizer, ALICE, "get", "/mine")
    assert not may(authorizer, ALICE, "create", "selfsubjectreviews.authentication.k8s.io")


async def test_a_token_opens_the_door_until_its_account_is_gone(registry: Registry, tmp_path: Path) -> None:
    key = tmp_path / "sa.key"
    private = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    security = secure(registry, SecurityOptions(key_files=[str(key)], signing_key_file=str(key)))
    assert set(security.routes) == {"/.well-known/openid-configuration", "/openid/v1/jwks"}
    await registry.create(Namespace(metadata=ObjectMeta(name="default")))
    await registry.create(ServiceAccount(metadata=ObjectMeta(name="builder", namespace="default")))
    assert registry.services.tokens is not None
    request = await registry.services.tokens.issue("default", "builder", TokenRequest())
    user = await security.gate.authenticate(Credentials(token=request.status.token))
    assert user.name == "system:serviceaccount:default:builder" and "system:authenticated" in user.groups
    await registry.delete(ServiceAccount, "builder", namespace="default")
    await eventually(lambda: registry.cached(ServiceAccount, "builder", "default") is None)
    with pytest.raises(StatusError) as caught:
        await security.gate.authenticate(Credentials(token=request.status.token))
    assert caught.value.code == 401


async def test_nodes_reach_what_their_pods_use(registry: Registry) -> None:
    authorizer = authorizer_of(registry)
    node = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
    await registry.create(Namespace(metadata=ObjectMeta(name="default")))
    pod = pod_on("n1")
    pod.metadata.uid = None
    await registry.create(pod)
    await eventually(
        lambda: may(authorizer, node, "create", "serviceaccounts/token", namespace="default", name="builder")
    )


async def test_roles_are_not_a_way_to_more(registry: Registry) -> None:
    authorizer_of(registry)
    await registry.create(Namespace(metadata=ObjectMeta(name="default")))
    role, _ = reader("default")
    ctx = registry.context(registry.endpoint(Role), "default")
    ctx.user = ALICE
    with pytest.raises(StatusError, match="is attempting to grant RBAC permissions not currently held"):
        await registry.create(role, ctx=ctx)
    await registry.create(role)
