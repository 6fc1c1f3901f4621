"""Take paths out of a value, or take a value apart to only some paths.

Source: structured-merge-diff's typed/remove.go.
"""

from __future__ import annotations

from typing import Any

from api.managed import elements, sets
from api.managed.check import item_element
from api.managed.sets import Set
from api.managed.types import Type


def remove(value: Any, paths: Set, type_: Type) -> Any:
    """The value without the paths; what loses all it held becomes null."""
    if not paths:
        return value
    return _walk(value, paths, type_, extracting=False)


def extract(value: Any, paths: Set, type_: Type) -> Any:
    """Only the paths of the value, with the keys of the items on the way: what a manager that owns them applied."""
    extracted = _walk(value, _with_keys(paths), type_, extracting=True)
    return {} if extracted is None else extracted


def _with_keys(node: Set) -> Set:
    """An item that is not owned itself is still named by its keys."""
    made: Set = {}
    for element, below in node.items():
        inner = _with_keys(below)
        if element.startswith("k:") and below:
            inner = sets.union(inner, sets.make(*([f"f:{name}"] for name in elements.key_names(element))))
        made[element] = inner
    return made


def _walk(value: Any, paths: Set, type_: Type, *, extracting: bool) -> Any:
    type_ = type_.resolve(value)
    if type_.kind == "scalar":
        return value
    if not value:
        return None
    if type_.atomic:
        return value if extracting else None
    if type_.kind == "list":
        return _walk_list(value, paths, type_, extracting) or None
    return _walk_map(value, paths, type_, extracting) or None


def _walk_list(value: list[Any], paths: Set, type_: Type, extracting: bool) -> list[Any]:
    kept = []
    assert type_.element is not None
    for item in value:
        node = paths.get(item_element(item, type_))
        if node is None:
            if not extracting:
                kept.append(item)
            continue
        deeper = sets.below(node)
        if extracting:
            kept.append(_walk(item, deeper, type_.element, extracting=True) if deeper else item)
        elif not sets.is_member(node):
            kept.append(_walk(item, deeper, type_.element, extracting=False))
    return kept


def _walk_map(value: dict[str, Any], paths: Set, type_: Type, extracting: bool) -> dict[str, Any]:
    kept = {}
    for name, below in value.items():
        node = paths.get("f:" + name)
        if node is None:
            if not extracting:
                kept[name] = below
            continue
        deeper = sets.below(node)
        if extracting:
            kept[name] = _walk(below, deeper, type_.of(name), extracting=True) if deeper else below
        elif not sets.is_member(node):
            kept[name] = _walk(below, deeper, type_.of(name), extracting=False)
    return kept
