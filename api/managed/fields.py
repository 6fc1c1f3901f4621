"""The set of all paths that a value sets: what a manager owns by applying it.

Source: structured-merge-diff's typed/tofieldset.go, typed/reconcile_schema.go and
Set.EnsureNamedFieldsAreMembers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from api.managed import sets
from api.managed.check import item_element
from api.managed.elements import SELF
from api.managed.sets import EMPTY, MEMBER, Set
from api.managed.types import Type


def field_set(value: Any, type_: Type) -> Set:
    """All paths of a value. Structures that only hold others are not in it; items of lists and keys of maps are."""
    return sets.below(_contents(value, type_) or EMPTY)


def _contents(value: Any, type_: Type) -> Set | None:
    type_ = type_.resolve(value)
    if type_.leaf:
        return MEMBER
    if not value:
        return None
    return _list_contents(value, type_) if type_.kind == "list" else _map_contents(value, type_)


def _map_contents(value: dict[str, Any], type_: Type) -> Set | None:
    made: Set = {}
    for name in sorted(value):
        below = value[name]
        node = _contents(below, type_.of(name))
        if below is None or below == {} or not type_.names(name):
            node = sets.with_self(node)
        if node is not None:
            made["f:" + name] = node
    return made or None


def _list_contents(value: list[Any], type_: Type) -> Set | None:
    made: Set = {}
    assert type_.element is not None
    found = [(item_element(item, type_), item) for item in value]
    counts = Counter(element for element, _ in found)
    for element, item in found:
        made[element] = MEMBER if counts[element] > 1 else sets.with_self(_contents(item, type_.element))
    return sets.ordered(made)


def with_named_fields(whole: Set, type_: Type) -> Set:
    """The set with the structures on the way to its paths, as far as they are named fields.

    So that removing all that a structure holds removes it as well; maps and items are only removed if they are owned.
    """
    if not whole:
        return whole
    made: Set = {}
    for element, node in whole.items():
        if element == SELF or not node:
            made[element] = node
            continue
        child = _type_below(type_, element)
        below = with_named_fields(node, child)
        named = element.startswith("f:") and type_.kind == "map" and type_.names(element[2:])
        made[element] = sets.with_self(below) if named else below
    return made


def _type_below(type_: Type, element: str) -> Type:
    from api.managed.types import deduced

    if type_.kind == "any":
        return deduced
    if element.startswith("f:") and type_.kind == "map":
        try:
            return type_.of(element[2:])
        except KeyError:
            return deduced
    return type_.element if type_.element is not None else deduced


def reconciled(whole: Set, value: Any, type_: Type) -> Set:
    """The set as it would be had the schema always been today's: a list or map that became atomic is owned as a
    whole, one that became granular by all it holds in the live value."""
    if type_.kind == "any" or not whole:
        return whole
    made = _reconciled_below(whole, value, type_)
    return made if made is not None else whole


def _reconciled(node: Set, value: Any, type_: Type) -> Set | None:
    """Below one element; None if nothing changes."""
    if type_.kind in ("any", "scalar"):
        return None
    if type_.atomic:
        return MEMBER if node else None
    if not node:
        # Owned as a whole: by what it holds, if it holds anything.
        below = _contents(value, type_) if value else None
        return sets.with_self(below) if below else None
    return _reconciled_below(node, value, type_)


def _reconciled_below(node: Set, value: Any, type_: Type) -> Set | None:
    made: Set | None = None
    for element, below in node.items():
        if element == SELF:
            continue
        if element.startswith("f:") and type_.kind == "map":
            if not type_.names(element[2:]) and type_.element is None:
                continue
            child, inner = type_.of(element[2:]), (value or {}).get(element[2:]) if isinstance(value, dict) else None
        elif type_.kind == "list" and type_.element is not None:
            child, inner = type_.element, _item(value, element, type_)
        else:
            continue
        changed = _reconciled(below, inner, child)
        if changed is not None and changed != below:
            made = made if made is not None else dict(node)
            made[element] = changed
    return made


def _item(value: Any, element: str, type_: Type) -> Any:
    for item in value if isinstance(value, list) else ():
        try:
            if item_element(item, type_) == element:
                return item
        except ValueError:
            continue
    return None
