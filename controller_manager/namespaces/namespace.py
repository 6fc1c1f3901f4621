"""Deletes what is in a namespace that is to be deleted, then lets the namespace go.

Invariants:
- only namespaces with a deletionTimestamp are touched, after a live read;
- pods go first, since what they run may depend on everything else (KEP-5080), then every other namespaced resource
  there is, custom ones included;
- the finalizer `kubernetes` is removed only when a list of each resource came back empty;
- while anything remains, or could not be deleted, the conditions say what and why.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from api import codec, errors
from api import time as api_time
from api.resource import Resource
from api.types.core_v1 import Namespace, NamespaceCondition
from client.api import Api, ObjectMetadata
from client.controller import Controller
from client.writes import Delete
from controller_manager import conditions, discovery
from controller_manager.context import Context

_FINALIZER = "kubernetes"


@dataclass
class _Remains:
    instances: Counter[str] = field(default_factory=Counter)  # "pods." -> 3
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    undiscovered: str = ""
    grace: int = 0


class NamespaceController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._namespaces = context.informers.informer(Namespace)
        self.controller: Controller[str] = Controller("namespace", self.reconcile, workers=5, max_delay=60)
        self._namespaces.add_handler(on_add=self._seen, on_update=lambda _, new: self._seen(new))

    async def run(self) -> None:
        await self.controller.run()

    def _seen(self, namespace: Namespace) -> None:
        if namespace.metadata.deletion_timestamp:
            self.controller.enqueue(namespace.metadata.name or "")

    async def reconcile(self, name: str) -> float | None:
        try:
            namespace = await self._api.get(Namespace, name)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise
        if not namespace.metadata.deletion_timestamp or _FINALIZER not in (namespace.spec.finalizers or ()):
            return None
        if namespace.status.phase != "Terminating":
            namespace.status.phase = "Terminating"
            namespace = await self._api.update_status(namespace)
        remains = await self._empty(name)
        namespace = await self._report(namespace, remains)
        if remains.failures or remains.undiscovered:
            raise errors.internal("; ".join([remains.undiscovered, *remains.failures]).strip("; "))
        if remains.instances:
            return 1.0 if remains.grace else 2.0
        namespace.spec.finalizers = [f for f in namespace.spec.finalizers or () if f != _FINALIZER]
        try:
            await self._api.update(namespace, subresource="finalize")
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None

    async def _empty(self, name: str) -> _Remains:
        remains = _Remains()
        try:
            resources = await discovery.namespaced(self._api)
        except errors.StatusError as error:
            remains.undiscovered = error.message
            resources = discovery.builtin(namespaced=True)
        pods = [r for r in resources if r.group_resource == "pods"]
        others = [r for r in resources if r.group_resource != "pods"]
        for step in (pods, others):
            await asyncio.gather(*(_delete_all(self._api, resource, name, remains) for resource in step))
            if remains.instances:
                break
        return remains

    async def _report(self, namespace: Namespace, remains: _Remains) -> Namespace:
        changed = codec.deepcopy(namespace)
        for condition in _conditions(remains):
            old = conditions.find(changed.status.conditions, condition.type)
            if old is None or (old.status, old.reason, old.message) != (
                condition.status,
                condition.reason,
                condition.message,
            ):
                changed.status.conditions = conditions.replaced(changed.status.conditions, condition)
        if changed.status == namespace.status:
            return namespace
        return await self._api.update_status(changed)


async def _delete_all(api: Api, resource: Resource, namespace: str, remains: _Remains) -> None:
    kind = discovery.metadata_only(resource)
    try:
        found = (await api.list(kind, namespace=namespace)).items
        if not found:
            return
        outcomes = await api.batch(
            [
                Delete(kind, obj.metadata.name or "", namespace, propagation="Background", uid=obj.metadata.uid)
                for obj in found
                if not obj.metadata.deletion_timestamp
            ]
        )
        left = (await api.list(kind, namespace=namespace)).items
    except errors.StatusError as error:
        if not (errors.is_not_found(error) or errors.is_method_not_allowed(error)):
            remains.failures.append(error.message)
        return
    for outcome in outcomes:
        ordinary = errors.is_not_found(outcome) or errors.is_conflict(outcome)
        if isinstance(outcome, errors.StatusError) and not ordinary:
            remains.failures.append(outcome.message)
            break
    _count(resource, left, remains)


def _count(resource: Resource, left: list[ObjectMetadata], remains: _Remains) -> None:
    if not left:
        return
    remains.instances[f"{resource.plural}.{resource.group}"] += len(left)
    for obj in left:
        remains.finalizers.update(obj.metadata.finalizers or ())
        remains.grace = max(remains.grace, obj.metadata.deletion_grace_period_seconds or 0)


def _conditions(remains: _Remains) -> list[NamespaceCondition]:
    failures = [
        ("NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", "ResourcesDiscovered", remains.undiscovered),
        ("NamespaceDeletionGroupVersionParsingFailure", "", "ParsedGroupVersions", ""),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "ContentDeleted",
            f"Failed to delete all resource types, {len(remains.failures)} remaining: {', '.join(remains.failures)}"
            if remains.failures
            else "",
        ),
        (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "ContentRemoved",
            "Some resources are remaining: " + _listed(remains.instances, "has") if remains.instances else "",
        ),
        (
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "Some content in the namespace has finalizers remaining: " + _listed(remains.finalizers, "in")
            if remains.finalizers
            else "",
        ),
    ]
    return [
        NamespaceCondition(
            type=type,
            status="True" if message else "False",
            reason=bad if message else good,
            message=message or _ALL_IS_WELL[good],
            last_transition_time=api_time.now(),
        )
        for type, bad, good, message in failures
    ]


def _listed(counts: Counter[str], word: str) -> str:
    return ", ".join(f"{name} {word} {count} resource instances" for name, count in sorted(counts.items()))


_ALL_IS_WELL = {
    "ResourcesDiscovered": "All resources successfully discovered",
    "ParsedGroupVersions": "All legacy kube types successfully parsed",
    "ContentDeleted": "All content successfully deleted, may be waiting on finalization",
    "ContentRemoved": "All content successfully removed",
    "ContentHasNoFinalizers": "All content-preserving finalizers finished",
}
