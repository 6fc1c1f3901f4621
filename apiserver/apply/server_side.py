"""Server-side apply: the applied configuration becomes part of the object, or conflicts with who else manages it."""

from __future__ import annotations

from typing import Any

from api import codec, errors
from api.schema import struct_node
from api.types.meta_v1 import ManagedFieldsEntry, StatusCause
from apiserver.apply import fieldset
from apiserver.apply.fieldset import Tree
from apiserver.apply.managers import APPLY, BEFORE_FIRST_APPLY, UPDATE, Key, Managers, owned
from apiserver.apply.merge import merged, pruned
from apiserver.apply.tracking import outside, writer
from apiserver.apply.walk import compare, field_set
from apiserver.endpoint import Endpoint
from apiserver.strategy import Context


def check(ctx: Context, config: Any) -> None:
    """Raises StatusError 400 or 422 for what cannot be applied."""
    if not ctx.field_manager:
        cause = errors.FieldError.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions.meta.k8s.io", "", [cause])
    if not isinstance(config, dict):
        raise errors.bad_request("error decoding YAML: the applied configuration is not an object")
    if not config.get("kind") or not config.get("apiVersion"):
        raise errors.bad_request("invalid object type: /, Kind=")
    if (config.get("metadata") or {}).get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")


def applied(
    endpoint: Endpoint, ctx: Context, live: dict[str, Any], config: dict[str, Any], *, force: bool
) -> dict[str, Any]:
    """The live document (of the served version) with the configuration applied, managedFields and all.

    Raises StatusError 409 with a cause for each field that somebody else manages, unless forced.
    """
    node = struct_node(endpoint.resource.type)
    entries = live.get("metadata", {}).get("managedFields")
    live = _plain(live)
    managers = Managers([codec.from_dict(ManagedFieldsEntry, entry) for entry in entries or ()])
    if not managers and live.get("metadata", {}).get("uid"):
        everything = outside(endpoint, ctx, owned(field_set(live, node)))
        managers.sets[Key(BEFORE_FIRST_APPLY, UPDATE, endpoint.resource.api_version)] = everything
    me = managers.find(writer(endpoint, ctx, APPLY))
    last = managers.sets.get(me, {})
    mine = outside(endpoint, ctx, owned(field_set(_without_nulls(config), node)))
    others: Tree = {}
    for key, tree in managers.sets.items():
        if key != me:
            others = fieldset.union(others, tree)
    result: dict[str, Any] = merged(live, _without_nulls(config), node)
    result = pruned(result, last, fieldset.union(mine, others), node)
    difference = compare(live, result, node)
    touched = owned(outside(endpoint, ctx, fieldset.union(difference.added, difference.modified)))
    _take(managers, me, touched, owned(difference.removed), force)
    managers.sets.pop(me, None)
    if mine:
        managers.sets[Key(me.manager, APPLY, endpoint.resource.api_version, me.subresource)] = mine
    result.setdefault("metadata", {})["managedFields"] = codec.to_dict(managers.entries() or [])
    return result


def _take(managers: Managers, me: Key, touched: Tree, removed: Tree, force: bool) -> None:
    conflicts: list[tuple[Key, str]] = []
    for key, tree in list(managers.sets.items()):
        if key == me:
            continue
        shared = fieldset.intersection(tree, touched)
        if shared and not force:
            conflicts += [(key, path) for path in fieldset.paths(shared)]
        left = fieldset.difference(fieldset.difference(tree, shared), removed)
        if left:
            managers.sets[key] = left
        else:
            del managers.sets[key]
    if conflicts:
        raise _conflict(conflicts)


def _conflict(conflicts: list[tuple[Key, str]]) -> errors.StatusError:
    causes = [
        StatusCause(reason="FieldManagerConflict", message=f"conflict with {key}", field=path)
        for key, path in conflicts
    ]
    if len(conflicts) == 1:
        key, path = conflicts[0]
        return errors.apply_conflict(causes, f"Apply failed with 1 conflict: conflict with {key}: {path}")
    by_manager: dict[str, list[str]] = {}
    for key, path in conflicts:
        by_manager.setdefault(str(key), []).append(path)
    texts = [
        f"conflicts with {manager}:\n" + "\n".join(f"- {path}" for path in found)
        for manager, found in sorted(by_manager.items())
    ]
    return errors.apply_conflict(causes, f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(texts))


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in document.get("metadata", {}).items() if key != "managedFields"}
    return {**document, "metadata": meta}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
