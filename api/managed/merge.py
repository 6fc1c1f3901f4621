"""Merge what a manager applies into a live value: what it says wins, what it leaves out stays.

Lists that are maps or sets merge item by item: items that only the live list has keep their place, the others take
the order of the applied list. Source: structured-merge-diff's typed/merge.go.
"""

from __future__ import annotations

from typing import Any

from api.managed import elements
from api.managed.check import TypedError, item_element
from api.managed.types import Type


class _Absent:
    pass


_ABSENT: Any = _Absent()


def merge(live: Any, applied: Any, type_: Type) -> Any:
    """The merged value; parts of the given ones are shared. Raises TypedError."""
    merged = _merge(live, applied, type_, "")
    return {} if merged is _ABSENT else merged


def _merge(live: Any, applied: Any, type_: Type, path: str) -> Any:
    if type_.kind == "any":
        if applied is _ABSENT or (applied is None and isinstance(live, dict)):
            type_ = type_.resolve(live)
        elif live is _ABSENT or live is None or type_.resolve(live) is type_.resolve(applied):
            type_ = type_.resolve(applied)
        else:
            return applied
    if type_.leaf:
        return live if applied is _ABSENT else applied
    nothing_live = live is _ABSENT or not live
    if nothing_live and (applied is _ABSENT or not applied):
        return live if applied is _ABSENT else applied
    if type_.kind == "list":
        return _merge_lists([] if nothing_live else live, _items(applied), type_, path)
    return _merge_maps({} if nothing_live else live, applied or {} if applied is not _ABSENT else {}, type_, path)


def _items(applied: Any) -> list[Any]:
    return [] if applied is _ABSENT or applied is None else applied


def _merge_maps(live: dict[str, Any], applied: dict[str, Any], type_: Type, path: str) -> Any:
    merged = {}
    for name, value in live.items():
        if name in applied:
            below = _merge(value, applied[name], type_.of(name), f"{path}.{name}")
            if below is not _ABSENT:
                merged[name] = below
        else:
            merged[name] = value
    for name, value in applied.items():
        if name not in live:
            below = _merge(_ABSENT, value, type_.of(name), f"{path}.{name}")
            if below is not _ABSENT:
                merged[name] = below
    return merged if merged else _ABSENT


def _indexed(items: list[Any], type_: Type, path: str, *, duplicates: bool) -> tuple[list[str], dict[str, Any]]:
    order: list[str] = []
    found: dict[str, Any] = {}
    for index, item in enumerate(items):
        try:
            element = item_element(item, type_)
        except ValueError as error:
            raise TypedError([(path, f"element {index}: {error}")]) from None
        if element in found:
            if not duplicates:
                raise TypedError([(path, f"duplicate entries for key {elements.shown(element)}")])
            found[element] = None  # duplicates are not merged with the new value
        else:
            found[element] = item
        order.append(element)
    return order, found


def _merge_lists(live: list[Any], applied: list[Any], type_: Type, path: str) -> Any:
    right, new = _indexed(applied, type_, path, duplicates=False)
    left, old = _indexed(live, type_, path, duplicates=True)
    assert type_.element is not None
    item_type = type_.element
    shared = iter([element for element in right if element in old])
    next_shared = next(shared, None)
    merged_already: set[str] = set()
    merged: list[Any] = []

    def take(element: str) -> None:
        before = old.get(element)
        below = _merge(_ABSENT if before is None else before, new[element], item_type, path + elements.shown(element))
        if below is not _ABSENT:
            merged.append(below)

    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left) and at_right < len(right):
            element = left[at_left]
            if element == right[at_right]:
                merged_already.add(element)
                take(element)
                at_left += 1
                at_right += 1
                next_shared = next(shared, None)
                continue
            if element in new and next_shared is not None and next_shared != element:
                at_left += 1  # in both, but not the next of those: it comes in its turn
                continue
        if at_left < len(left):
            element = left[at_left]
            if element not in new:
                merged.append(live[at_left])
                at_left += 1
                continue
            if element in merged_already:
                at_left += 1
        if at_right < len(right):
            element = right[at_right]
            merged_already.add(element)
            take(element)
            at_right += 1
            if next_shared == element:
                next_shared = next(shared, None)
    return merged if merged else _ABSENT
