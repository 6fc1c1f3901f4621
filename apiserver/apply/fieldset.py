"""Sets of field paths, as FieldsV1 writes them.

A set is a tree of dicts: keys are `f:<field>`, `k:<keys of a list item as JSON>` or `v:<value as JSON>`; an empty dict
is a member, and so is a dict with the key `.`, whose other keys are further members below it. The root is no member: an
empty root is the empty set. Sets are never changed in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

Tree = dict[str, Any]
SELF = "."


def is_member(node: Tree) -> bool:
    return not node or SELF in node


def _make(member: bool, children: Tree) -> Tree | None:
    """A node, or None if there is nothing left of it."""
    if not children:
        return {} if member else None
    return {SELF: {}, **children} if member else children


def union(one: Tree, other: Tree) -> Tree:
    """Everything in either."""
    result = dict(one)
    for key, node in other.items():
        if key in result:
            result[key] = _union_node(result[key], node)
        else:
            result[key] = node
    return result


def _union_node(one: Tree, other: Tree) -> Tree:
    if not one and not other:
        return one
    member = is_member(one) or is_member(other)
    made = _make(member, union(_children(one), _children(other)))
    assert made is not None
    return made


def difference(one: Tree, other: Tree) -> Tree:
    """What is in the first only."""
    result: Tree = {}
    for key, node in one.items():
        if key not in other:
            result[key] = node
            continue
        taken = other[key]
        member = is_member(node) and not is_member(taken)
        made = _make(member, difference(_children(node), _children(taken)))
        if made is not None:
            result[key] = made
    return result


def intersection(one: Tree, other: Tree) -> Tree:
    """What is in both."""
    result: Tree = {}
    for key, node in one.items():
        if key in other:
            match = other[key]
            member = is_member(node) and is_member(match)
            made = _make(member, intersection(_children(node), _children(match)))
            if made is not None:
                result[key] = made
    return result


def without(one: Tree, *paths: tuple[str, ...]) -> Tree:
    """The set without these paths and everything below them."""
    result = one
    for path in paths:
        result = _without(result, path)
    return result


def _without(tree: Tree, path: tuple[str, ...]) -> Tree:
    key = path[0]
    if key not in tree:
        return tree
    rest = {name: node for name, node in tree.items() if name != key}
    if len(path) > 1 and tree[key]:
        member = SELF in tree[key]
        made = _make(member, _without(_children(tree[key]), path[1:]))
        if made is not None:
            rest[key] = made
    return rest


def _children(node: Tree) -> Tree:
    return {key: child for key, child in node.items() if key != SELF} if SELF in node else node


def children(node: Tree) -> Tree:
    """The members' parts below a node."""
    return _children(node)


def paths(tree: Tree, prefix: str = "") -> Iterator[str]:
    """All members in order, as upstream writes paths: `.spec.containers[name="web"].image`."""
    for key in sorted(tree):
        node = tree[key]
        path = prefix + _shown(key)
        if is_member(node):
            yield path
        yield from paths(_children(node), path)


def _shown(key: str) -> str:
    kind, _, rest = key.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = msgspec.json.decode(rest)
        return f"[{','.join(f'{name}={_literal(keys[name])}' for name in sorted(keys))}]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode()
