"""Makes strategic merge patches: what must be sent so that the live object becomes what the manifest says.

Three-way, as `apply` needs it: the manifest against the live object tells additions and changes, the last applied
manifest against the new one tells deletions. The directives (`$patch`, `$setElementOrder/...`,
`$deleteFromPrimitiveList/...`, `$retainKeys`) are those of the strategic merge patch of the Kubernetes
API conventions. Merge keys come from the generated metadata of `api`, for the one type at hand.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cli.errors import CliError, Object

if TYPE_CHECKING:
    from api.schema import Node

DELETE, REPLACE, MERGE, RETAIN = "delete", "replace", "merge", "retainKeys"
PATCH, RETAIN_KEYS = "$patch", "$retainKeys"
ORDER, REMOVE = "$setElementOrder", "$deleteFromPrimitiveList"


def schema_for(api_version: str, kind: str) -> Node | None:
    """The shape of a built-in kind, or None for one that merges as plain JSON (custom resources)."""
    group, _, version = api_version.rpartition("/")
    if group and "." in group and not group.endswith(".k8s.io"):
        return None
    try:
        module = importlib.import_module(f"api.types.{(group or 'core').split('.')[0]}_{version}".replace("-", "_"))
    except ModuleNotFoundError:
        return None
    found = getattr(module, kind, None)
    if found is None:
        return None
    from api.schema import struct_node

    return struct_node(found)


@dataclass(frozen=True)
class _Mode:
    """Which half of the difference is wanted."""

    changes: bool = True
    deletions: bool = True
    order: bool = True
    retain: bool = False


def three_way(original: Object | None, modified: Object, current: Object, schema: Node) -> Object:
    """The patch for the live object `current`, given the last applied and the new manifest."""
    delta = _maps(current, modified, schema, _Mode(deletions=False))
    gone = _maps(original or {}, modified, schema, _Mode(changes=False))
    return merge_patches(gone, delta, schema)


def two_way(original: Object, modified: Object, schema: Node) -> Object:
    """The patch that turns `original` into `modified`."""
    return _maps(original, modified, schema, _Mode(order=True))


def three_way_json(original: Object | None, modified: Object, current: Object) -> Object:
    """The same for kinds without merge metadata, as a JSON merge patch (RFC 7386)."""
    additions = _keep(json_merge(current, modified), nulls=False)
    deletions = _keep(json_merge(original or {}, modified), nulls=True)
    return _overlay(deletions, additions)


def json_merge(original: Object, modified: Object) -> Object:
    """The RFC 7386 patch from one document to the other."""
    patch: Object = {}
    for key, value in modified.items():
        if key not in original:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(original[key], dict):
            inner = json_merge(original[key], value)
            if inner:
                patch[key] = inner
        elif not same(value, original[key]):
            patch[key] = value
    patch.update({key: None for key in original if key not in modified})
    return patch


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _keep(patch: Object, *, nulls: bool) -> Object:
    out: Object = {}
    for key, value in patch.items():
        if value is None:
            if nulls:
                out[key] = None
        elif isinstance(value, dict):
            inner = _keep(value, nulls=nulls)
            # An added empty object is a change; an object emptied by the filter is not.
            if inner or (not nulls and not value):
                out[key] = inner
        elif not nulls:
            out[key] = value
    return out


def _overlay(base: Object, top: Object) -> Object:
    out = dict(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = _overlay(out[key], value)
        else:
            out[key] = value
    return out


def field_of(node: Node | None, key: str) -> tuple[Node | None, tuple[str, ...], str]:
    """The child's shape, patch strategies and merge key. Below free-form JSON everything merges as plain maps."""
    if node is None:
        return None, (), ""
    if node.kind == "struct":
        found = node.fields.get(key)
        if found is None:
            return None, (), ""
        return found.node, found.merge.strategies, found.merge.merge_key
    if node.kind == "map":
        return node.element, (), ""
    return None, (), ""


def _maps(original: Object, modified: Object, node: Node | None, mode: _Mode) -> Object:
    patch: Object = {}
    for key, value in modified.items():
        if key not in original:
            if mode.changes:
                patch[key] = value
            continue
        before = original[key]
        if type(before) is not type(value) and not _both_numbers(before, value):
            if mode.changes:
                patch[key] = value
        elif isinstance(value, dict):
            _map_field(key, before, value, patch, node, mode)
        elif isinstance(value, list):
            _list_field(key, before, value, patch, node, mode)
        elif mode.changes and not same(before, value):
            patch[key] = value
    if mode.deletions:
        patch.update({key: None for key in original if key not in modified})
    retained = [key for key, value in modified.items() if value is not None] if mode.retain else []
    if retained and (patch or any(key not in modified for key in original)):
        patch[RETAIN_KEYS] = sorted(retained)
    return patch


def _both_numbers(left: Any, right: Any) -> bool:
    def number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    return number(left) and number(right)


def _map_field(key: str, before: Object, after: Object, patch: Object, node: Node | None, mode: _Mode) -> None:
    child, strategies, _ = field_of(node, key)
    if REPLACE in strategies:
        if mode.changes and not same(before, after):
            patch[key] = after
        return
    inner = _maps(before, after, child, replace(mode, retain=RETAIN in strategies))
    if inner:
        patch[key] = inner


def _list_field(key: str, before: list[Any], after: list[Any], patch: Object, node: Node | None, mode: _Mode) -> None:
    child, strategies, merge_key = field_of(node, key)
    if MERGE not in strategies:
        if mode.changes and not same(before, after):
            patch[key] = after
        return
    element = child.element if child is not None else None
    mode = replace(mode, retain=RETAIN in strategies)
    if not before:
        if after and mode.changes:
            patch[key] = after
        return
    if isinstance((after or before)[0], dict):
        items, order = _keyed_lists(before, after, element, merge_key, mode)
        if items:
            patch[key] = items
        if order:
            patch[f"{ORDER}/{key}"] = order
        return
    added = [item for item in after if item not in before] if mode.changes else []
    removed = [item for item in before if item not in after] if mode.deletions else []
    if added:
        patch[key] = added
    if removed:
        patch[f"{REMOVE}/{key}"] = removed
    if mode.order and ((mode.deletions and removed) or (mode.changes and before != after)):
        patch[f"{ORDER}/{key}"] = after


def _keyed_lists(
    before: list[Any], after: list[Any], element: Node | None, merge_key: str, mode: _Mode
) -> tuple[list[Any], list[Any]]:
    old, new = _by_key(before, merge_key), _by_key(after, merge_key)
    items: list[Any] = []
    for value, item in new.items():
        if value not in old:
            if mode.changes:
                items.append(item)
            continue
        inner = _maps(old[value], item, element, mode)
        if inner:
            inner[merge_key] = item[merge_key]
            items.append(inner)
    if mode.deletions:
        items.extend({PATCH: DELETE, merge_key: item[merge_key]} for value, item in old.items() if value not in new)
    common_old = [value for value in old if value in new]
    common_new = [value for value in new if value in old]
    moved = mode.changes and (bool(items) or common_old != common_new)
    if mode.order and (moved or (mode.deletions and items)):
        return items, [{merge_key: item[merge_key]} for item in new.values()]
    return items, []


def _by_key(items: list[Any], merge_key: str) -> dict[Any, Object]:
    out: dict[Any, Object] = {}
    for item in items:
        if not isinstance(item, dict) or merge_key not in item:
            from cli.printers.columns import go_value

            raise CliError(f"map: {go_value(item)} does not contain declared merge key: {merge_key}")
        out[item[merge_key]] = item
    return out


def merge_patches(base: Object, top: Object, node: Node | None) -> Object:
    """One patch with the effect of both; where they speak of the same field, `top` decides."""
    out = dict(base)
    for key, value in top.items():
        before = out.get(key)
        if key.startswith("$") or key not in out:
            out[key] = value
            continue
        child, strategies, merge_key = field_of(node, key)
        if isinstance(before, dict) and isinstance(value, dict) and REPLACE not in strategies:
            out[key] = merge_patches(before, value, child)
        elif isinstance(before, list) and isinstance(value, list) and MERGE in strategies:
            out[key] = _merge_items(before, value, child.element if child else None, merge_key)
        else:
            out[key] = value
    return out


def _merge_items(base: list[Any], top: list[Any], element: Node | None, merge_key: str) -> list[Any]:
    if not merge_key or not all(isinstance(item, dict) for item in (*base, *top)):
        return [*base, *(item for item in top if item not in base)]
    rest = {item.get(merge_key): item for item in top}
    out: list[Any] = []
    for item in base:
        other = rest.pop(item.get(merge_key), None)
        if other is None:
            out.append(item)
        elif item.get(PATCH) == DELETE:
            out.append(other)
        else:
            out.append(merge_patches(item, other, element))
    # Changes go before deletions, as upstream orders a patch list.
    return [*rest.values(), *out] if any(item.get(PATCH) == DELETE for item in out) else [*out, *rest.values()]
