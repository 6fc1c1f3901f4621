"""The bootstrap policy in memory, and short ways to ask."""

from __future__ import annotations

from api.types.core_v1 import Container, Pod, PodSpec
from api.types.meta_v1 import ObjectMeta
from apiserver.auth import Attributes, Authorizer, Decision, User
from apiserver.auth.bootstrap import bindings, controllers, roles
from apiserver.auth.source import MemorySource


def bootstrapped() -> MemorySource:
    """A source with upstream's bootstrap policy."""
    return MemorySource(
        *roles.cluster_roles(),
        *controllers.cluster_roles(),
        *roles.roles(),
        *bindings.cluster_role_bindings(),
        *bindings.role_bindings(),
    )


def may(
    authorizer: Authorizer,
    user: User,
    verb: str,
    resource: str,
    *,
    namespace: str = "",
    name: str = "",
    fields: str = "",
) -> bool:
    """Whether a user may; resource is like `deployments.apps/scale`."""
    full, _, subresource = resource.partition("/")
    plural, _, group = full.partition(".")
    attributes = Attributes(
        user, verb, group, "v1", plural, subresource, namespace=namespace, name=name, field_selector=fields
    )
    return authorizer.authorize(attributes)[0] is Decision.ALLOW


def may_path(authorizer: Authorizer, user: User, verb: str, path: str) -> bool:
    """Whether a user may use a path that is not a resource."""
    return authorizer.authorize(Attributes(user, verb, path=path))[0] is Decision.ALLOW


def pod_on(node: str | None, name: str = "p", namespace: str = "default", uid: str = "pod-uid") -> Pod:
    """A pod bound to a node."""
    spec = PodSpec(node_name=node, service_account_name="builder", containers=[Container(name="c", image="i")])
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace, uid=uid), spec=spec)
