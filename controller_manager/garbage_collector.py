"""Deletes objects whose owners are gone, and lets owners go in the order that their deletion asked for.

Invariants:
- an object is deleted only if a live read of each of its owners said "not found" (or found another uid): the graph in
  memory is built from watches of many resources that know nothing of each other's order, and is never trusted alone;
- an object with at least one living owner stays, and loses its references to those that are gone;
- Foreground: the owner keeps the finalizer `foregroundDeletion` until no dependent with blockOwnerDeletion is left;
  Orphan: it keeps `orphan` until every dependent has lost its reference to it; Background: it is gone at once;
- every delete carries uid and resourceVersion, so that an object that was changed meanwhile is looked at again.

Works for all kinds there are, custom ones included: they are watched for their metadata alone.
The graph is in `garbage_graph.py`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from api import errors
from api.resource import Resource
from api.types.apiextensions_v1 import CustomResourceDefinition
from api.types.core_v1 import ObjectReference
from api.types.meta_v1 import OwnerReference
from client.api import ObjectMetadata
from client.controller import Controller
from controller_manager import discovery
from controller_manager.context import Context
from controller_manager.garbage_graph import FOREGROUND, ORPHAN, Graph, Node

log = logging.getLogger(__name__)

#: Nobody owns them, or they come and go too often to be worth watching.
_IGNORED = {"events"}


class _Impossible(Exception):
    """A reference that can never be resolved: the object is left alone, and trying again would not help."""


class GarbageCollector:
    def __init__(self, context: Context) -> None:
        self._api, self._informers = context.api, context.informers
        self._recorder = context.recorder("garbage-collector-controller")
        self._resources: dict[tuple[str, str], Resource] = {}  # by (apiVersion, kind)
        self._absent: dict[tuple[str, ...], None] = {}  # owners known to be gone, as dependents name them
        self.controller: Controller[str] = Controller(
            "garbage_collector_attempt_to_delete", self.reconcile, workers=20, max_delay=60
        )
        self.orphaning: Controller[str] = Controller(
            "garbage_collector_attempt_to_orphan", self.orphan, workers=5, max_delay=60
        )
        self.graph = Graph(self.controller.enqueue, self.orphaning.enqueue)
        for resource in discovery.builtin():
            if resource.plural not in _IGNORED:
                self._monitor(resource)
        self._definitions = context.informers.informer(CustomResourceDefinition)
        self._definitions.add_handler(on_add=self._defined, on_update=self._redefined, on_delete=self._undefined)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self.orphaning.run())

    # -- what is watched --------------------------------------------------------------------------------------------

    def _monitor(self, resource: Resource) -> None:
        self._resources[(resource.api_version, resource.kind)] = resource
        # another controller may follow the resource as a whole: its cache serves here as well
        informer = self._informers.existing(resource.type) if resource.type is not ObjectMetadata else None
        if informer is None:
            informer = self._informers.informer(discovery.metadata_only(resource))
        informer.add_handler(
            on_add=lambda obj: self.graph.seen(resource, obj.metadata),
            on_update=lambda _, obj: self.graph.seen(resource, obj.metadata),
            on_delete=lambda obj: self.graph.gone(obj.metadata.uid or ""),
        )

    def _defined(self, crd: CustomResourceDefinition) -> None:
        resource = discovery.of_definition(crd)
        if resource is not None and (resource.api_version, resource.kind) not in self._resources:
            self._monitor(resource)

    def _redefined(self, old: CustomResourceDefinition, new: CustomResourceDefinition) -> None:
        before, after = discovery.of_definition(old), discovery.of_definition(new)
        if before is not None and before != after:
            self._undefined(old)
        self._defined(new)

    def _undefined(self, crd: CustomResourceDefinition) -> None:
        resource = discovery.of_definition(crd)
        if resource is not None:
            self._resources.pop((resource.api_version, resource.kind), None)
            self._informers.drop(discovery.metadata_only(resource))
            self.graph.forget(resource)

    def _resource(self, api_version: str, kind: str) -> Resource | None:
        known = self._resources.get((api_version, kind))
        if known is not None:
            return known
        group = api_version.rpartition("/")[0]
        # another version of a group that is watched at one version only
        return next((r for (v, k), r in self._resources.items() if k == kind and v.rpartition("/")[0] == group), None)

    def _remember_absent(self, identity: tuple[str, ...]) -> None:
        self._absent[identity] = None
        if len(self._absent) > 5000:
            del self._absent[next(iter(self._absent))]

    # -- deleting ---------------------------------------------------------------------------------------------------

    async def reconcile(self, uid: str) -> float | None:
        node = self.graph.get(uid)
        if node is None or (node.deleting and not node.waits_for_dependents and not node.virtual):
            return None
        live = await self._read(node)
        if live is None or live.metadata.uid != uid:
            # it was never there, or is gone without a word: let its dependents hear of it
            self.graph.gone(uid)
            return None
        if node.virtual:
            # it exists, and the watch of its resource will bring it; until then its dependents are fine
            return None
        if node.waits_for_dependents:
            await self._finish_foreground(node, live)
            return None
        references = live.metadata.owner_references or []
        if references:
            try:
                await self._judge(node, live, references)
            except _Impossible as error:
                log.info("%s/%s %s: %s", node.api_version, node.kind, node.name, error)
        return None

    async def _read(self, node: Node) -> ObjectMetadata | None:
        resource = self._resource(node.api_version, node.kind)
        if resource is None:
            return await self._unknown_kind(node)
        namespace = node.namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            return None  # a cluster-scoped object cannot have an owner in a namespace
        try:
            return await self._api.get(discovery.metadata_only(resource), node.name, namespace=namespace)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise

    async def _unknown_kind(self, node: Node) -> ObjectMetadata | None:
        raise errors.internal(f"no matches for kind {node.kind!r} in version {node.api_version!r}")

    async def _judge(self, node: Node, live: ObjectMetadata, references: list[OwnerReference]) -> None:
        solid, dangling, waiting = await self._classify(node, references)
        if solid:
            if dangling or waiting:
                await self._drop_references(node, live, {r.uid for r in dangling + waiting})
            return
        if waiting and node.dependents:
            # An owner that is waited for may wait in turn for a dependent of this object: break the circle.
            if any(d.waits_for_dependents for d in self.graph.dependents(node)):
                await self._unblock(node, live)
            await self._delete(node, live, "Foreground")
            return
        finalizers = live.metadata.finalizers or ()
        policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
        await self._delete(node, live, policy)

    async def _classify(
        self, node: Node, references: list[OwnerReference]
    ) -> tuple[list[OwnerReference], list[OwnerReference], list[OwnerReference]]:
        solid: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        for ref in references:
            owner = await self._owner(node, ref)
            if owner is None:
                dangling.append(ref)
            elif owner.metadata.deletion_timestamp and FOREGROUND in (owner.metadata.finalizers or ()):
                waiting.append(ref)
            else:
                solid.append(ref)
        return solid, dangling, waiting

    async def _owner(self, node: Node, ref: OwnerReference) -> ObjectMetadata | None:
        # All of it counts: a reference with a wrong name must not make the owner absent for those that name it right.
        identity = (ref.uid, ref.api_version, ref.kind, node.namespace, ref.name)
        if identity in self._absent:
            return None
        resource = self._resource(ref.api_version, ref.kind)
        if resource is not None and resource.namespaced and not node.namespace:
            message = (
                f"ownerRef [{ref.api_version}/{ref.kind}, namespace: , name: {ref.name}, uid: {ref.uid}] "
                f'does not exist in namespace ""'
            )
            about = ObjectReference(
                api_version=node.api_version, kind=node.kind, name=node.name, uid=node.uid, namespace=None
            )
            self._recorder.event(about, "Warning", "OwnerRefInvalidNamespace", message)
            raise _Impossible(message)
        found = await self._read(Node(ref.uid, ref.api_version, ref.kind, node.namespace, ref.name, virtual=True))
        if found is None or found.metadata.uid != ref.uid:
            self._remember_absent(identity)
            return None
        self.graph.confirm(node, ref)
        return found

    async def _delete(self, node: Node, live: ObjectMetadata, policy: str) -> None:
        resource = self._resource(node.api_version, node.kind)
        assert resource is not None
        log.info("deleting %s %s/%s (%s)", resource.group_resource, node.namespace, node.name, policy)
        try:
            await self._api.delete(
                discovery.metadata_only(resource),
                node.name,
                namespace=node.namespace,
                propagation=policy,
                uid=live.metadata.uid,
                resource_version=live.metadata.resource_version,
            )
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise

    # -- finalizers and references ----------------------------------------------------------------------------------

    async def _finish_foreground(self, node: Node, live: ObjectMetadata) -> None:
        blocking = self.graph.blocking(node)
        if not blocking:
            await self._remove_finalizer(node, live, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.waits_for_dependents:
                self.controller.enqueue(dependent.uid)

    async def orphan(self, uid: str) -> float | None:
        node = self.graph.get(uid)
        if node is None:
            return None
        outcomes = await asyncio.gather(
            *(self._disown(dependent, uid) for dependent in self.graph.dependents(node)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        live = await self._read(node)
        if live is not None and live.metadata.uid == uid:
            await self._remove_finalizer(node, live, ORPHAN)
        return None

    async def _disown(self, dependent: Node, owner_uid: str) -> None:
        live = await self._read(dependent)
        if live is not None and live.metadata.uid == dependent.uid:
            await self._drop_references(dependent, live, {owner_uid})

    async def _drop_references(self, node: Node, live: ObjectMetadata, uids: set[str]) -> None:
        kept = [_plain(ref) for ref in live.metadata.owner_references or () if ref.uid not in uids]
        await self._patch(node, live, {"ownerReferences": kept or None})

    async def _unblock(self, node: Node, live: ObjectMetadata) -> None:
        unblocked = [{**_plain(ref), "blockOwnerDeletion": False} for ref in live.metadata.owner_references or ()]
        live.metadata.resource_version = await self._patch(node, live, {"ownerReferences": unblocked})

    async def _remove_finalizer(self, node: Node, live: ObjectMetadata, finalizer: str) -> None:
        found = live.metadata.finalizers or []
        if finalizer in found:
            await self._patch(node, live, {"finalizers": [f for f in found if f != finalizer] or None})

    async def _patch(self, node: Node, live: ObjectMetadata, change: dict[str, Any]) -> str | None:
        resource = self._resource(node.api_version, node.kind)
        assert resource is not None
        meta = {"uid": live.metadata.uid, "resourceVersion": live.metadata.resource_version, **change}
        try:
            patched = await self._api.patch(
                discovery.metadata_only(resource), node.name, {"metadata": meta}, namespace=node.namespace
            )
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise
        return patched.metadata.resource_version


def _plain(ref: OwnerReference) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, "uid": ref.uid}
    if ref.controller is not None:
        found["controller"] = ref.controller
    if ref.block_owner_deletion is not None:
        found["blockOwnerDeletion"] = ref.block_owner_deletion
    return found
