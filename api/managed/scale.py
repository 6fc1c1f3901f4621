"""Ownership between a Scale and the workload it stands for: one field, under another path in another version.

Source: apimachinery's managedfields/scalehandler.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from api.managed import entries, sets
from api.managed.entries import Managed, fields_of

API_VERSION = "autoscaling/v1"
_REPLICAS = ("f:spec", "f:replicas")


def to_scale(parent: Managed, paths: Mapping[str, tuple[str, ...]]) -> Managed:
    """The managers of a Scale: those that own its parent's replicas. `paths` has the path of each version."""
    managed: Managed = {}
    for name, entry in parent.items():
        path = paths.get(entry.api_version or "")
        if path is not None and sets.has(fields_of(entry), path):
            scaled = entries.entry(name, API_VERSION, sets.make(_REPLICAS), entry.time)
            own = entries.identifier(name.manager, name.operation, API_VERSION, name.subresource)
            managed[own] = scaled
    return managed


def to_parent(parent: Managed, scale: Managed, api_version: str, paths: Mapping[str, tuple[str, ...]]) -> Managed:
    """The parent's managers after the Scale's have changed."""
    managed: Managed = {}
    left = dict(scale)
    for name, entry in parent.items():
        version = entry.api_version or ""
        if version not in paths:
            continue
        path = paths[version]
        if not sets.has(fields_of(entry), path):
            managed[name] = entry
            continue
        own = entries.identifier(name.manager, name.operation, API_VERSION, name.subresource)
        if (kept := left.pop(own, None)) is not None:
            managed[name] = entries.entry(name, version, fields_of(entry), kept.time)
            continue
        rest = sets.difference(fields_of(entry), sets.make(path))
        if rest:
            managed[name] = entries.with_fields(entry, rest)
    for name, entry in left.items():
        own = entries.identifier(name.manager, name.operation, api_version, name.subresource)
        fields = sets.make(paths[api_version])
        if (mine := managed.get(own)) is not None:
            fields = sets.union(fields_of(mine), fields)
        managed[own] = entries.entry(own, api_version, fields, entry.time)
    return managed
