"""Strategic merge patch: a merge patch that knows how the lists of the built-in types merge.

Which list merges by which key comes with the types (`api.schema`); directives in the patch say the rest:
`$patch: replace|delete`, `$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`, `$retainKeys`.
Behaviour and messages follow k8s.io/apimachinery/pkg/util/strategicpatch as the server applies it: nulls for fields
that aren't there are dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from api.schema import NO_MERGE, Field, Merge, Node, struct_node

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
ELEMENT_ORDER = "$setElementOrder/"

Document = dict[str, Any]


def merge(doc: Document, patch: Document, kind: type[msgspec.Struct]) -> Document:
    """The patched document; neither argument is changed. Raises ValueError for a patch that makes no sense."""
    return _merge_map(copy.deepcopy(doc), copy.deepcopy(patch), struct_node(kind))


def _merge_map(original: Document, patch: Document, node: Node | None) -> Document:
    if DIRECTIVE in patch:
        directive = patch.pop(DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise ValueError(f"unknown patch type found: {directive}")
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, node)
    for key, value in patch.items():
        if key.startswith(DELETE_PRIMITIVES):
            _delete_primitives(original, key.removeprefix(DELETE_PRIMITIVES), value)
        elif value is None:
            original.pop(key, None)
        elif key not in original or type(original[key]) is not type(value):
            if isinstance(value, dict) and value.get(DIRECTIVE) == "delete":
                original.pop(key, None)
            else:
                original[key] = _added(value)
        elif isinstance(value, dict):
            merge_rules, child = _lookup(node, key)
            replaces = "replace" in merge_rules.strategies
            original[key] = _added(value) if replaces else _merge_map(original[key], value, child)
        elif isinstance(value, list):
            original[key] = _merge_list(original[key], value, *_lookup(node, key))
        else:
            original[key] = value
    return original


def _lookup(node: Node | None, key: str) -> tuple[Merge, Node | None]:
    """How a field merges, and the shape of its value; free-form values merge as plain JSON."""
    if node is None or node.kind == "any":
        return NO_MERGE, None
    if node.kind == "map":
        return NO_MERGE, node.element
    if node.kind != "struct":
        return NO_MERGE, None
    found: Field | None = node.fields.get(key)
    if found is None:
        raise ValueError(f'unable to find api field in struct {node.go.split(".")[-1]} for the json field "{key}"')
    return found.merge, found.node


def _added(value: Any) -> Any:
    """A value that the original didn't have: without nulls and without directives."""
    if isinstance(value, dict):
        return {k: _added(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    if isinstance(value, list):
        return [_added(v) for v in value if not (isinstance(v, dict) and v.get(DIRECTIVE) in ("delete", "replace"))]
    return value


def _retain_keys(original: Document, patch: Document) -> None:
    if RETAIN_KEYS not in patch:
        return
    retained = patch.pop(RETAIN_KEYS)
    if not isinstance(retained, list):
        raise ValueError("invalid patch format of retainKeys list in the patch")
    for key, value in patch.items():
        name = key.split("/", 1)[1] if key.startswith("$") and "/" in key else key
        if value is not None and name not in retained:
            raise ValueError(f"invalid patch: key {name} is in the patch but not in the {RETAIN_KEYS} list")
    for key in [key for key in original if key not in retained]:
        del original[key]


def _delete_primitives(original: Document, key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise ValueError(f"invalid patch: {DELETE_PRIMITIVES}{key} is not a list")
    if isinstance(original.get(key), list):
        original[key] = [item for item in original[key] if item not in values]


def _merge_ordered_lists(original: Document, patch: Document, node: Node | None) -> None:
    """Merges every list for which the patch gives an order, and takes it out of the patch."""
    for directive in [key for key in patch if key.startswith(ELEMENT_ORDER)]:
        order = patch.pop(directive)
        key = directive.removeprefix(ELEMENT_ORDER)
        if not isinstance(order, list):
            raise ValueError(f"invalid patch: {directive} is not a list")
        rules, child = _lookup(node, key)
        before, change = original.get(key), patch.get(key)
        if isinstance(change, list):
            _check_order(change, order, rules.merge_key)
        # Deletions of primitives come as a directive of their own, and have to precede the ordering.
        deletion = DELETE_PRIMITIVES + key
        if deletion in patch:
            _delete_primitives(original, key, patch.pop(deletion))
        current = original.get(key)
        if isinstance(current, list) and isinstance(change, list):
            merged = _merge_list(current, change, rules, child)
        elif isinstance(current, list) and change is None and key not in patch:
            merged = current
        elif isinstance(change, list):
            merged = _added(change)
        else:
            continue
        patch.pop(key, None)
        original[key] = _ordered(merged, order, before if isinstance(before, list) else [], rules.merge_key)


def _check_order(change: list[Any], order: list[Any], merge_key: str) -> None:
    identity = _identity(merge_key)
    known = [identity(item) for item in order]
    position = 0
    for item in change:
        if isinstance(item, dict) and item.get(DIRECTIVE) == "delete":
            continue
        try:
            position = known.index(identity(item), position) + 1
        except ValueError:
            raise ValueError(
                f"The order in patch list:\n{change}\n doesn't match {ELEMENT_ORDER[:-1]} list:\n{order}\n"
            ) from None


def _merge_list(original: list[Any], patch: list[Any], rules: Merge, node: Node | None) -> list[Any]:
    if "merge" not in rules.strategies:
        return [_added(item) for item in patch]
    if not patch:
        return original
    kinds = {type(item) for item in (*original, *patch)}
    if list in kinds:
        raise ValueError("lists of lists are not supported")
    if dict in kinds and len(kinds) > 1:
        raise ValueError("list element types are not identical")
    if dict not in kinds:
        merged = list(dict.fromkeys([*original, *patch]))
        return _ordered(merged, patch, original, "")
    return _merge_list_of_maps(original, patch, rules.merge_key, node.element if node else None)


def _merge_list_of_maps(original: list[Any], patch: list[Any], merge_key: str, node: Node | None) -> list[Any]:
    if not merge_key:
        raise ValueError(f"cannot merge lists without merge key for {node.go if node else 'a list'}")
    changes: list[Document] = []
    replaces = False
    for item in patch:
        directive = item.get(DIRECTIVE)
        if directive is None:
            changes.append(item)
        elif directive == "replace":
            replaces = True
        elif directive == "delete":
            doomed = _key_of(item, merge_key)
            original = [known for known in original if known.get(merge_key) != doomed]
        elif directive == "merge":
            raise ValueError("merging lists cannot yet be specified in the patch")
        else:
            raise ValueError(f"unknown patch type found: {directive}")
    if replaces:
        return [_added(item) for item in changes]
    before = list(original)
    merged = list(original)
    for item in changes:
        wanted = _key_of(item, merge_key)
        for index, known in enumerate(merged):
            if known.get(merge_key) == wanted:
                merged[index] = _merge_map(known, item, node)
                break
        else:
            merged.append(_added(item))
    return _ordered(merged, changes, before, merge_key)


def _key_of(item: Document, merge_key: str) -> Any:
    if merge_key not in item:
        shown = msgspec.json.encode(item).decode()
        raise ValueError(f"map: {shown} does not contain declared merge key: {merge_key}")
    return item[merge_key]


def _identity(merge_key: str) -> Callable[[Any], Any]:
    return (lambda item: _key_of(item, merge_key)) if merge_key else (lambda item: item)


def _ordered(merged: list[Any], order: list[Any], before: list[Any], merge_key: str) -> list[Any]:
    """Items of the patch in the patch's order, those only the server has where they were relative to them."""
    identity = _identity(merge_key)
    wanted = [identity(item) for item in order]
    positions = [identity(item) for item in before]

    def position(item: Any) -> int:
        key = identity(item)
        return positions.index(key) if key in positions else -1

    theirs = sorted((i for i in merged if identity(i) in wanted), key=lambda i: wanted.index(identity(i)))
    ours = [item for item in merged if identity(item) not in wanted]
    ours.sort(key=lambda item: positions.index(identity(item)) if identity(item) in positions else len(positions))
    result: list[Any] = []
    while ours and theirs:
        left, right = position(ours[0]), position(theirs[0])
        result.append(ours.pop(0) if 0 <= left < right else theirs.pop(0))
    return [*result, *ours, *theirs]
