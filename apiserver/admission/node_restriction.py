"""NodeRestriction: a kubelet writes its own Node, Lease and CSINode, and only what concerns pods on its node.

The node authorizer decides by names alone; this plugin sees the objects. Together they keep a stolen kubelet
credential from reaching beyond its node. Source: k8s.io/kubernetes/plugin/pkg/admission/noderestriction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from api import codec, errors
from api.types.authentication_v1 import TokenRequest
from api.types.coordination_v1 import Lease
from api.types.core_v1 import Node, PersistentVolumeClaim, Pod
from api.types.resource_v1 import ResourceSlice
from api.types.storage_v1 import CSIDriver
from apiserver.admission import Operation
from apiserver.auth.graph import MIRROR, pod_references
from apiserver.auth.node import LEASE_NAMESPACE, node_name
from apiserver.strategy import Context

_Check = Callable[[Context, str, Operation, Any, Any], Awaitable[None]]

_KUBELET_LABELS = {
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
}
_KUBELET_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_REFERENCE_WORDS = {"serviceaccounts": "a service account"}


def label_problems(labels: dict[str, str]) -> list[str]:
    """The keys among labels that a kubelet may not set on its Node."""
    return sorted(key for key in labels if _reserved(key))


def _reserved(key: str) -> bool:
    namespace, slash, _ = key.rpartition("/")
    if not slash:
        return False
    if namespace == "node-restriction.kubernetes.io" or namespace.endswith(".node-restriction.kubernetes.io"):
        return True
    if not any(namespace == domain or namespace.endswith("." + domain) for domain in ("kubernetes.io", "k8s.io")):
        return False
    allowed = any(namespace == own or namespace.endswith("." + own) for own in _KUBELET_LABEL_NAMESPACES)
    return key not in _KUBELET_LABELS and not allowed


class NodeRestriction:
    """Takes part in the writes of nodes' identities only."""

    name = "NodeRestriction"

    def __init__(self) -> None:
        self._checks: dict[tuple[str, str], _Check] = {
            ("pods", ""): self._pod,
            ("pods", "status"): self._pod_status,
            ("pods", "eviction"): self._eviction,
            ("nodes", ""): self._node,
            ("nodes", "status"): self._node,
            ("persistentvolumeclaims", "status"): self._claim_status,
            ("serviceaccounts", "token"): self._token,
            ("leases.coordination.k8s.io", ""): self._lease,
            ("csinodes.storage.k8s.io", ""): self._csi_node,
            ("resourceslices.resource.k8s.io", ""): self._slice,
        }

    def handles(self, ctx: Context, operation: Operation) -> bool:
        """Writes by users that look like nodes."""
        return ctx.user.name.startswith("system:node:") and node_name(ctx.user) is not None

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing, but refuses early: nothing that a node may not write has to be looked at further."""
        await self._check(ctx, operation, new, old)

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Once more, as other plugins may have changed the object."""
        await self._check(ctx, operation, new, old)

    async def _check(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        node = node_name(ctx.user)
        if not node:
            raise self._no(ctx, f'could not determine node from user "{ctx.user.name}"')
        check = self._checks.get((ctx.resource.group_resource, ctx.subresource))
        if check is not None:
            await check(ctx, node, operation, new, old)

    @staticmethod
    def _no(ctx: Context, why: str) -> errors.StatusError:
        return errors.forbidden(ctx.resource.group_resource, ctx.name, why)

    # -- pods -----------------------------------------------------------------------------------------------------

    async def _pod(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        if operation == "DELETE":
            pod = old or ctx.registry.cached(Pod, ctx.name, ctx.namespace)
            if pod is not None and pod.spec.node_name != node:
                raise self._no(ctx, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        elif operation == "CREATE":
            self._mirror_pod(ctx, node, new)

    def _mirror_pod(self, ctx: Context, node: str, pod: Pod) -> None:
        if MIRROR not in (pod.metadata.annotations or {}):
            why = f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise self._no(ctx, why)
        if pod.spec.node_name != node:
            raise self._no(ctx, f'node "{node}" can only create pods with spec.nodeName set to itself')
        owners = pod.metadata.owner_references or []
        if len(owners) > 1:
            why = f'node "{node}" can only create pods with a single owner reference set to itself'
            raise self._no(ctx, why)
        for owner in owners:
            if (owner.api_version, owner.kind, owner.name) != ("v1", "Node", node):
                raise self._no(ctx, f'node "{node}" can only create pods with an owner reference set to itself')
            found = ctx.registry.cached(Node, node)
            if found is None or found.metadata.uid != owner.uid:
                raise self._no(ctx, f'node "{node}" UID mismatch: expected {owner.uid}')
        for resource, name in pod_references(pod.spec, pod.metadata.name or ""):
            if name:
                what = _REFERENCE_WORDS.get(resource, resource)
                raise self._no(ctx, f'node "{node}" can not create pods that reference {what}')
        if pod.spec.resource_claims:
            raise self._no(ctx, f'node "{node}" can not create pods that reference resourceclaims')

    async def _pod_status(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        if old is None:
            return
        if old.spec.node_name != node:
            why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
            raise self._no(ctx, why)
        if (old.metadata.labels or {}) != (new.metadata.labels or {}):
            raise self._no(ctx, f'node "{node}" cannot update labels through pod status')
        if (old.status.resource_claim_statuses or []) != (new.status.resource_claim_statuses or []):
            raise self._no(ctx, f'node "{node}" cannot update resource claim statuses')

    async def _eviction(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        pod = ctx.registry.cached(Pod, ctx.name, ctx.namespace)
        if pod is None:
            raise errors.not_found("pods", ctx.name)
        if pod.spec.node_name != node:
            raise self._no(ctx, f"node {node} can only evict pods with spec.nodeName set to itself")

    # -- the node itself ------------------------------------------------------------------------------------------

    async def _node(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        name = ctx.name or (new.metadata.name if new is not None else "")
        if name != node:
            raise self._no(ctx, f'node "{node}" is not allowed to modify node "{name}"')
        if operation == "CREATE":
            self._labels(ctx, node, {}, new.metadata.labels or {}, "set")
            if new.metadata.owner_references:
                raise self._no(ctx, f'node "{node}" is not allowed to set ownerReferences')
        elif operation == "UPDATE" and old is not None:
            self._labels(ctx, node, old.metadata.labels or {}, new.metadata.labels or {}, "modify")
            # Through `status` the spec can't change, whatever was sent.
            if not ctx.subresource and (old.spec.taints or []) != (new.spec.taints or []):
                raise self._no(ctx, f'node "{node}" is not allowed to modify taints')
            if (old.metadata.owner_references or []) != (new.metadata.owner_references or []):
                raise self._no(ctx, f'node "{node}" is not allowed to modify ownerReferences')

    def _labels(self, ctx: Context, node: str, old: dict[str, str], new: dict[str, str], verb: str) -> None:
        changed = {key: "" for key in {*old, *new} if old.get(key) != new.get(key)}
        if problems := label_problems(changed):
            keys = ", ".join(problems)
            raise self._no(ctx, f'node "{node}" is not allowed to {verb} the following labels: {keys}')

    async def _lease(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        lease: Lease | None = new or old
        namespace = ctx.namespace or (lease.metadata.namespace if lease else "")
        name = ctx.name or (lease.metadata.name if lease else "")
        if namespace != LEASE_NAMESPACE:
            raise self._no(ctx, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if name != node:
            raise self._no(ctx, "can only access node lease with the same name as the requesting node")

    async def _csi_node(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        name = ctx.name or (new.metadata.name if new is not None else "")
        if name != node:
            raise self._no(ctx, "can only access CSINode with the same name as the requesting node")

    async def _slice(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        for slice_, verb in ((old, "update"), (new, "create")):
            if isinstance(slice_, ResourceSlice) and slice_.spec.node_name != node:
                verb = "delete" if operation == "DELETE" else verb
                raise self._no(ctx, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")

    # -- what its pods use ----------------------------------------------------------------------------------------

    async def _claim_status(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        if not isinstance(old, PersistentVolumeClaim):
            return
        before, after = codec.deepcopy(old), codec.deepcopy(new)
        for claim in (before, after):
            # What expanding a volume on the node changes; everything else has to stay.
            claim.status.capacity = claim.status.conditions = None
            claim.status.allocated_resource_statuses = claim.status.allocated_resources = None
            claim.metadata.managed_fields = claim.metadata.resource_version = None
        if before != after:
            raise self._no(
                ctx, f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
            )

    async def _token(self, ctx: Context, node: str, operation: Operation, new: Any, old: Any) -> None:
        if not isinstance(new, TokenRequest):
            return
        reference = new.spec.bound_object_ref
        if reference is None or (reference.api_version, reference.kind) != ("v1", "Pod") or not reference.name:
            raise self._no(ctx, "node requested token not bound to a pod")
        if not reference.uid:
            raise self._no(ctx, "node requested token with a pod binding without a uid")
        pod = ctx.registry.cached(Pod, reference.name, ctx.namespace)
        if pod is None:
            raise errors.not_found("pods", reference.name)
        if pod.metadata.uid != reference.uid:
            raise errors.conflict(
                "pods",
                reference.name,
                f"the UID in the bound object reference ({reference.uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )
        if pod.spec.node_name != node:
            raise self._no(ctx, "node requested token bound to a pod scheduled on a different node")
        self._audiences(ctx, pod, new.spec.audiences or [])

    def _audiences(self, ctx: Context, pod: Pod, requested: list[str]) -> None:
        if not requested:
            return  # the server's own
        allowed: set[str] = set()
        for volume in pod.spec.volumes or ():
            if volume.projected:
                tokens = (source.service_account_token for source in volume.projected.sources or ())
                allowed.update(token.audience or "" for token in tokens if token)
            if volume.csi and (driver := ctx.registry.cached(CSIDriver, volume.csi.driver)):
                allowed.update(request.audience for request in driver.spec.token_requests or ())
        for audience in requested:
            if audience and audience not in allowed:
                raise self._no(ctx, f'audience "{audience}" not found in pod spec volume')
