"""Objects as sets of fields: what an object holds, and what differs between two, by the schema of their type.

Values are plain JSON. What is atomic (so marked, lists without a type, free-form JSON) is one leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.schema import NO_MERGE, Merge, Node
from apiserver.apply.fieldset import SELF, Tree

# Keys of list items that clients may leave out, and what they are then.
_KEY_DEFAULTS = {"protocol": "TCP"}


def shape(node: Node | None, merge: Merge, value: Any) -> str:
    """How a value is walked: "fields", "keyed", "set" or "leaf"."""
    if node is None or node.kind in ("scalar", "any"):
        return "leaf"
    if node.kind == "struct":
        return "leaf" if node.atomic or merge.map_type == "atomic" or not isinstance(value, dict) else "fields"
    if node.kind == "map":
        return "leaf" if merge.map_type == "atomic" or not isinstance(value, dict) else "fields"
    if not isinstance(value, list):
        return "leaf"
    return {"map": "keyed", "set": "set"}.get(merge.list_type, "leaf")


def below(node: Node | None, key: str) -> tuple[Node | None, Merge]:
    """The schema of a field or of a map's values."""
    if node is None:
        return None, NO_MERGE
    if node.kind == "struct":
        entry = node.fields.get(key)
        return (entry.node, entry.merge) if entry else (None, NO_MERGE)
    return node.element, NO_MERGE


def item_key(item: Any, merge: Merge) -> str:
    """The path element of an item of a keyed list."""
    keys = {}
    if isinstance(item, dict):
        for name in merge.list_map_keys:
            value = item.get(name, _KEY_DEFAULTS.get(name))
            if value is not None:
                keys[name] = value
    return "k:" + msgspec.json.encode(dict(sorted(keys.items()))).decode()


def value_key(value: Any) -> str:
    return "v:" + msgspec.json.encode(value).decode()


def parts(value: Any, node: Node | None, merge: Merge) -> Iterator[tuple[str, Any, Node | None, Merge]] | None:
    """(path element, value, schema) of each part, or None for a leaf."""
    kind = shape(node, merge, value)
    if kind == "leaf":
        return None
    if kind == "fields":
        return ((f"f:{key}", item, *below(node, key)) for key, item in value.items())
    assert node is not None
    element = node.element
    if kind == "keyed":
        return ((item_key(item, merge), item, element, NO_MERGE) for item in value)
    return ((value_key(item), item, None, NO_MERGE) for item in value)


def field_set(value: Any, node: Node | None, merge: Merge = NO_MERGE) -> Tree:
    """All fields an object holds; the root as children."""
    found: Tree = {}
    for key, item, schema, rules in parts(value, node, merge) or ():
        inner = parts(item, schema, rules)
        tree = field_set(item, schema, rules) if inner is not None else {}
        if tree and key.startswith("k:"):
            tree = {SELF: {}, **tree}
        found[key] = tree
    return found


@dataclass
class Comparison:
    """How one object became another."""

    added: Tree = field(default_factory=dict)
    modified: Tree = field(default_factory=dict)
    removed: Tree = field(default_factory=dict)


def compare(old: Any, new: Any, node: Node | None, merge: Merge = NO_MERGE) -> Comparison:
    """The fields that differ. A container that is new counts itself beside its parts."""
    result = Comparison()
    if old == new:
        return result
    before = {k: (v, s, m) for k, v, s, m in parts(old, node, merge) or ()}
    after = {k: (v, s, m) for k, v, s, m in parts(new, node, merge) or ()}
    for key, (value, schema, rules) in after.items():
        if key not in before:
            result.added[key] = whole(value, schema, rules)
            continue
        was = before[key][0]
        if was == value:
            continue
        if parts(was, schema, rules) is None or parts(value, schema, rules) is None:
            result.modified[key] = {}
            continue
        inner = compare(was, value, schema, rules)
        for target, tree in (
            (result.added, inner.added),
            (result.modified, inner.modified),
            (result.removed, inner.removed),
        ):
            if tree:
                target[key] = tree
    for key, (value, schema, rules) in before.items():
        if key not in after:
            result.removed[key] = whole(value, schema, rules)
    return result


def whole(value: Any, node: Node | None, merge: Merge) -> Tree:
    """A value that came or went as a whole: itself and all its parts."""
    inner = parts(value, node, merge)
    if inner is None:
        return {}
    tree = {key: whole(item, schema, rules) for key, item, schema, rules in inner}
    return {SELF: {}, **tree} if tree else {}
