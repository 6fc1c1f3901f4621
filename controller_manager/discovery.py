"""Which resources there are: the built-in ones and those that CustomResourceDefinitions add.

For the controllers that care for every kind: namespace deletion and garbage collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from api.resource import Resource
from api.resources import RESOURCES
from api.types.apiextensions_v1 import CustomResourceDefinition
from client.api import Api, ObjectMetadata
from client.writes import Kind
from controller_manager import conditions

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
#: One object under two names would be counted and deleted twice: events.k8s.io is the same as core events.
_ALIASES = {("events.k8s.io", "events")}


def builtin(*, namespaced: bool | None = None) -> list[Resource]:
    """Those that can be listed, watched and deleted."""
    return [
        r
        for r in RESOURCES
        if {"delete", "list", "watch"} <= set(r.verbs)
        and namespaced in (None, r.namespaced)
        and (r.group, r.plural) not in _ALIASES
    ]


def of_definition(crd: CustomResourceDefinition) -> Resource | None:
    """The resource of a CustomResourceDefinition at its storage version, once it is served."""
    if not conditions.is_true(crd.status.conditions, "Established"):
        return None
    served = [v for v in crd.spec.versions if v.served]
    version = next((v for v in served if v.storage), served[0] if served else None)
    if version is None:
        return None
    names = crd.spec.names
    return Resource(
        group=crd.spec.group,
        version=version.name,
        kind=names.kind,
        plural=names.plural,
        singular=names.singular or names.kind.lower(),
        namespaced=crd.spec.scope == "Namespaced",
        verbs=_VERBS,
        type_ref=cast(Any, ObjectMetadata),
    )


async def namespaced(api: Api) -> list[Resource]:
    """All namespaced resources at this moment, pods first."""
    crds = await api.list(CustomResourceDefinition)
    custom: Iterable[Resource | None] = map(of_definition, crds.items)
    found = [*builtin(namespaced=True), *(r for r in custom if r is not None and r.namespaced)]
    return sorted(found, key=lambda r: r.plural != "pods" or r.group != "")


def metadata_only(resource: Resource) -> Kind[ObjectMetadata]:
    return Kind(resource, ObjectMetadata)
