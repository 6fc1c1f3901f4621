"""What selects a pod: its Services, its owner, and the namespaces that a namespace selector means.

Informers read only the parts that are looked at, so that thousands of ReplicaSets cost little memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from api.resources import RESOURCES
from api.selectors import Requirement, Selector, selector_from
from api.types.core_v1 import Namespace
from api.types.meta_v1 import LabelSelector, ObjectMeta
from client.informer import Factory, Informer
from client.writes import Kind
from scheduler.pods import PodInfo

T = TypeVar("T")


class _SelectorSpec(msgspec.Struct, kw_only=True):
    selector: LabelSelector | None = None


class _Workload(msgspec.Struct, kw_only=True):
    """A ReplicaSet or StatefulSet, of which only the selector is read."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: _SelectorSpec = msgspec.field(default_factory=_SelectorSpec)


class _MapSpec(msgspec.Struct, kw_only=True):
    selector: dict[str, str] | None = None


class _Selecting(msgspec.Struct, kw_only=True):
    """A Service or ReplicationController, of which only the selector is read."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: _MapSpec = msgspec.field(default_factory=_MapSpec)


class OwnerSelectors:
    def __init__(self, factory: Factory) -> None:
        self._namespaces = factory.informer(Namespace)
        self._services = factory.informer(_part("Service", _Selecting))
        self._services.add_index("namespace", lambda s: [s.metadata.namespace or ""])
        self._owners: dict[str, Informer[Any]] = {
            "ReplicationController": factory.informer(_part("ReplicationController", _Selecting)),
            "ReplicaSet": factory.informer(_part("ReplicaSet", _Workload)),
            "StatefulSet": factory.informer(_part("StatefulSet", _Workload)),
        }
        self.on_namespace_labels_changed: Callable[[], None] = lambda: None
        self._namespaces.add_handler(
            on_add=lambda n: self.on_namespace_labels_changed(),
            on_update=self._namespace_updated,
        )

    def default_selector(self, pod: PodInfo) -> Selector | None:
        """The conjunction of the selectors of all Services that select the pod and of its owner; None if none does."""
        wanted: dict[str, str] = {}
        for service in self._services.by_index("namespace", pod.namespace):
            selector = service.spec.selector
            if selector and selector.items() <= pod.labels.items():
                wanted.update(selector)
        requirements: list[Requirement] = list(selector_from(wanted).requirements)
        for reference in pod.pod.metadata.owner_references or ():
            if reference.controller and reference.kind in self._owners:
                owner = self._owners[reference.kind].get(pod.namespace, reference.name)
                if owner is not None and owner.metadata.uid == reference.uid and owner.spec.selector:
                    requirements += selector_from(owner.spec.selector).requirements
        return Selector(dict.fromkeys(requirements)) if requirements else None

    def namespaces_matching(self, selector: Selector) -> frozenset[str]:
        return frozenset(n.metadata.name or "" for n in self._namespaces.list() if selector.matches(n.metadata.labels))

    def _namespace_updated(self, old: Namespace, new: Namespace) -> None:
        if old.metadata.labels != new.metadata.labels:
            self.on_namespace_labels_changed()


def _part(kind: str, type_: type[T]) -> Kind[T]:
    return Kind(next(r for r in RESOURCES if r.kind == kind), type_)
