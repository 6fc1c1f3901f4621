"""The node authorizer: a kubelet reads what the pods on its node need, and nothing of other nodes.

What a node writes is narrowed further by the NodeRestriction admission plugin, which sees the objects.
Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/node.
"""

from __future__ import annotations

from collections.abc import Callable

from api.selectors import parse_field_selector
from apiserver.auth import Attributes, Decision, User
from apiserver.auth.bootstrap.roles import node_rules
from apiserver.auth.graph import Graph
from apiserver.auth.rules import allows

PREFIX = "system:node:"
GROUP = "system:nodes"
LEASE_NAMESPACE = "kube-node-lease"

Answer = tuple[Decision, str]
_ALLOW: Answer = (Decision.ALLOW, "")


def node_name(user: User) -> str | None:
    """The node that an identity belongs to: "" for one that claims to be a node without a name, None for others."""
    if not user.name.startswith(PREFIX) or GROUP not in user.groups:
        return None
    return user.name.removeprefix(PREFIX)


def _no(reason: str = "") -> Answer:
    return Decision.NO_OPINION, reason


def _selected(attributes: Attributes, field: str) -> str | None:
    if not attributes.field_selector:
        return None
    try:
        return parse_field_selector(attributes.field_selector).required(field)
    except ValueError:
        return None


class NodeAuthorizer:
    """Decides for identities of nodes and has no opinion on others."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        # Decided below with the node's own name in mind, so not by the general rules.
        own = {"nodes", "nodes/status", "pods", "pods/status", "pods/eviction"}
        narrowed = {"configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts/token"}
        narrowed |= {"persistentvolumeclaims/status", "leases", "csinodes", "volumeattachments", "resourceclaims"}
        narrowed |= {"resourceslices"}
        self._rules = [rule for rule in node_rules() if not (own | narrowed) & set(rule.resources or ())]
        self._special: dict[tuple[str, str], Callable[[str, Attributes], Answer]] = {
            ("", "secrets"): self._read,
            ("", "configmaps"): self._read,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("", "serviceaccounts"): self._token,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("resource.k8s.io", "resourceslices"): self._slice,
        }

    def authorize(self, attributes: Attributes) -> Answer:
        """ALLOW or NO_OPINION with the reason."""
        node = node_name(attributes.user)
        if node is None:
            return _no()
        if not node:
            return _no(f'unknown node for user "{attributes.user.name}"')
        if attributes.is_resource and (special := self._special.get((attributes.group, attributes.resource))):
            return special(node, attributes)
        return _ALLOW if any(allows(rule, attributes) for rule in self._rules) else _no()

    def _reach(self, node: str, attributes: Attributes, resource: str, name: str) -> Answer:
        if self._graph.reaches(node, resource, attributes.namespace, name):
            return _ALLOW
        return _no(f"no relationship found between node '{node}' and this object")

    def _read(self, node: str, attributes: Attributes) -> Answer:
        if attributes.verb not in ("get", "list", "watch"):
            return _no("can only read resources of this type")
        if attributes.subresource:
            return _no("cannot read subresource")
        name = attributes.name or _selected(attributes, "metadata.name")
        if not attributes.namespace:
            return _no("can only read namespaced object of this type")
        if not name:
            return _no("No Object name found")
        return self._reach(node, attributes, attributes.resource, name)

    def _get(self, node: str, attributes: Attributes) -> Answer:
        if attributes.verb != "get":
            return _no("can only get individual resources of this type")
        if attributes.subresource:
            return _no("cannot get subresource")
        if not attributes.name:
            return _no("No Object name found")
        return self._reach(node, attributes, attributes.resource, attributes.name)

    def _claim(self, node: str, attributes: Attributes) -> Answer:
        if attributes.subresource != "status":
            return self._get(node, attributes)
        if attributes.verb not in ("get", "update", "patch"):
            return _no("can only update status of resources of this type")
        return self._reach(node, attributes, "persistentvolumeclaims", attributes.name)

    def _token(self, node: str, attributes: Attributes) -> Answer:
        if attributes.subresource != "token" or attributes.verb != "create":
            return _no("can only create tokens for individual service accounts")
        return self._reach(node, attributes, "serviceaccounts", attributes.name)

    def _node(self, node: str, attributes: Attributes) -> Answer:
        verb, name = attributes.verb, attributes.name or _selected(attributes, "metadata.name")
        if attributes.subresource == "status":
            return _ALLOW if verb in ("update", "patch") else _no()
        if attributes.subresource:
            return _no()
        if verb in ("create", "update", "patch"):
            return _ALLOW
        if verb in ("get", "list", "watch"):
            if name == node:
                return _ALLOW
            shown = f'"{name}"' if name else "all nodes"
            return _no(f'node "{node}" cannot read {shown}, only its own Node object')
        return _no()

    def _pod(self, node: str, attributes: Attributes) -> Answer:
        verb = attributes.verb
        if attributes.subresource:
            allowed = {"status": ("update", "patch"), "eviction": ("create",)}.get(attributes.subresource, ())
            return _ALLOW if verb in allowed else _no()
        if verb in ("create", "delete"):
            return _ALLOW
        if verb in ("list", "watch") and _selected(attributes, "spec.nodeName") == node:
            return _ALLOW
        if verb in ("get", "list", "watch"):
            name = attributes.name or _selected(attributes, "metadata.name")
            if not name:
                return _no("can only list/watch pods with spec.nodeName field selector")
            return self._reach(node, attributes, "pods", name)
        return _no()

    def _lease(self, node: str, attributes: Attributes) -> Answer:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a node lease")
        if attributes.namespace != LEASE_NAMESPACE:
            return _no(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if attributes.verb != "create" and attributes.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return _ALLOW

    def _csi_node(self, node: str, attributes: Attributes) -> Answer:
        if attributes.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a CSINode")
        if attributes.subresource:
            return _no("cannot authorize CSINode subresources")
        if attributes.verb != "create" and attributes.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return _ALLOW

    def _slice(self, node: str, attributes: Attributes) -> Answer:
        if attributes.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if attributes.verb in ("create", "get", "update", "patch", "delete"):
            # NodeRestriction looks at the slice's node name.
            return _ALLOW
        if attributes.verb in ("list", "watch", "deletecollection"):
            if _selected(attributes, "spec.nodeName") == node:
                return _ALLOW
            return _no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
        return _no("only the following verbs are allowed: create, get, update, patch, delete, list, watch")
