"""Keeps managedFields of writers that do not apply: who changed what, at every create and update."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

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
    _record(endpoint, ctx, obj, Managers(), Comparison(added=_held(endpoint, obj)))


def _held(endpoint: Endpoint, obj: Any) -> Tree:
    """What a new object has beyond an empty one of its type, field by field.

    Objects made from one template hold the same fields: what they share is remembered by its bytes, since walking a
    pod's spec costs more than all the rest of creating it.
    """
    kind: Any = endpoint.stored.type
    found: Tree = {}
    for attribute, key in _top_fields(kind):
        value = getattr(obj, attribute)
        if value is None:
            continue
        data = codec.encode(value)
        remembered = (kind, key, data)
        tree = _trees.get(remembered)
        if tree is None:
            empty = {k: v for k, v in _empty(kind).items() if k == key}
            tree = compare(empty, {key: codec.to_dict(value)}, struct_node(kind)).added
            if attribute != "metadata" and len(data) < _REMEMBERED_BYTES:
                if len(_trees) >= _REMEMBERED:
                    _trees.clear()
                _trees[remembered] = tree
        found.update(tree)
    return found


_REMEMBERED = 1_000
_REMEMBERED_BYTES = 16 * 1024
_trees: dict[tuple[Any, str, bytes], Tree] = {}


@cache
def _top_fields(kind: Any) -> tuple[tuple[str, str], ...]:
    fields = msgspec.structs.fields(kind)
    return tuple((f.name, f.encode_name) for f in fields if f.name not in ("api_version", "kind"))


@cache
def _empty(kind: Any) -> dict[str, Any]:
    return codec.to_dict(kind())


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
