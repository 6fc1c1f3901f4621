"""Keeps managedFields of writers that do not apply: who changed what, at every create and update."""

from __future__ import annotations

from typing import Any

from api import codec
from api.schema import struct_node
from apiserver.apply import fieldset
from apiserver.apply.fieldset import Tree
from apiserver.apply.managers import UPDATE, Key, Managers
from apiserver.apply.walk import Comparison, compare
from apiserver.auth import User
from apiserver.endpoint import Endpoint
from apiserver.strategy import Context

_COMPONENTS = "system:"


def manager_of(user: User) -> str:
    """The field manager of a component that names none: `kube-scheduler`, `kubelet`."""
    name = user.name
    if name.startswith("system:node:"):
        return "kubelet"
    return name.removeprefix(_COMPONENTS).rpartition(":")[2] or "unknown"


def writer(endpoint: Endpoint, ctx: Context, operation: str = UPDATE) -> Key:
    """Who this request is, to managedFields."""
    name = ctx.field_manager or manager_of(ctx.user)
    return Key(name, operation, endpoint.resource.api_version, ctx.subresource)


def outside(endpoint: Endpoint, ctx: Context, tree: Tree) -> Tree:
    """A set without the fields that this kind of write resets (the strategies' reset fields)."""
    resource = endpoint.resource
    if "status" not in resource.subresources:
        return tree
    if ctx.subresource == "status":
        return {key: node for key, node in tree.items() if key in ("f:status", "f:metadata")}
    return fieldset.without(tree, ("f:status",))


def created(endpoint: Endpoint, ctx: Context, obj: Any) -> None:
    """Everything in a new object is its creator's, if the creator is known."""
    obj.metadata.managed_fields = None
    if not ctx.field_manager:
        return
    kind: Any = type(obj)
    comparison = compare(codec.to_dict(kind()), codec.to_dict(obj), struct_node(kind))
    _record(endpoint, ctx, obj, Managers(), comparison)


def updated(endpoint: Endpoint, ctx: Context, new: Any, old: Any) -> None:
    """What changed is the writer's now. An object that nobody ever managed stays so, unless the writer has a name."""
    had = old.metadata.managed_fields
    cleared = new.metadata.managed_fields == []
    new.metadata.managed_fields = None if cleared else had
    if cleared or not (had or ctx.field_manager):
        return
    before, after = codec.to_dict(old), codec.to_dict(new)
    for document in (before, after):
        document["metadata"].pop("managedFields", None)
    comparison = compare(before, after, struct_node(endpoint.stored.type))
    _record(endpoint, ctx, new, Managers(had), comparison)


def _record(endpoint: Endpoint, ctx: Context, obj: Any, managers: Managers, comparison: Comparison) -> None:
    comparison.added = outside(endpoint, ctx, comparison.added)
    comparison.modified = outside(endpoint, ctx, comparison.modified)
    managers.updated(comparison, writer(endpoint, ctx))
    obj.metadata.managed_fields = managers.entries()
