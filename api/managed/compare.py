"""What changed between two values of a type: paths added, modified and removed.

Runs for every write, so it is written to be cheap: equal parts are never entered (their comparison is C), and a part
that is new as a whole is turned into a set by remembering what structures with the same fields turned into before.
Source: structured-merge-diff's typed/compare.go.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from api.managed import sets
from api.managed.check import item_element
from api.managed.elements import SELF
from api.managed.sets import EMPTY, MEMBER, Set
from api.managed.types import Type

_SHAPES = 512  # remembered per structure; labels and the like have too many to remember all


class Comparison(NamedTuple):
    """The paths that changed."""

    added: Set
    modified: Set
    removed: Set

    @property
    def same(self) -> bool:
        return not (self.added or self.modified or self.removed)

    @property
    def written(self) -> Set:
        """What a writer of the change set."""
        return sets.union(self.modified, self.added)

    def filtered(self, keep: sets.Filter) -> Comparison:
        return Comparison(*(keep(part) if part else part for part in self))


SAME = Comparison(EMPTY, EMPTY, EMPTY)

# What a part contributes: added, modified, removed; None for nothing.
_Parts = tuple[Set | None, Set | None, Set | None]
_NOTHING: _Parts = (None, None, None)
_MODIFIED: _Parts = (None, MEMBER, None)


def compare(old: Any, new: Any, type_: Type) -> Comparison:
    """Compare two values, both there. Raises ValueError for items of a list that have no key."""
    if old == new:
        return SAME
    parts = _compare(old, new, type_)
    # The root itself is never owned.
    return Comparison(*(sets.below(part) if part else EMPTY for part in parts))


def _compare(old: Any, new: Any, type_: Type) -> _Parts:
    if type_.kind == "any":
        before, after = type_.resolve(old), type_.resolve(new)
        if old is None:
            type_ = after
        elif new is None or before is after:
            type_ = before
        else:
            return _changed_kind(old, new, before, after)
    if type_.leaf:
        return _MODIFIED
    if not old and not new:
        return _MODIFIED  # empty became null or the other way round
    if type_.kind == "list":
        return _compare_lists(old or (), new or (), type_)
    return _compare_maps(old or {}, new or {}, type_)


def _changed_kind(old: Any, new: Any, before: Type, after: Type) -> _Parts:
    gone = None if before.leaf else sets.below(added(old, before)) or None
    come = None if after.leaf else sets.below(added(new, after)) or None
    return come, MEMBER if before.leaf or after.leaf else None, gone


def _compare_maps(old: dict[str, Any], new: dict[str, Any], type_: Type) -> _Parts:
    come: Set = {}
    changed: Set = {}
    gone: Set = {}
    fields, element = type_.fields, type_.element
    for name, value in new.items():
        if name in old:
            before = old[name]
            if before == value:
                continue
            field = type_.of(name) if element is not None else fields[name]
            a, m, r = _compare(before, value, field)
            if a is not None:
                come["f:" + name] = a
            if m is not None:
                changed["f:" + name] = m
            if r is not None:
                gone["f:" + name] = r
        else:
            field = type_.of(name) if element is not None else fields[name]
            come["f:" + name] = MEMBER if field.leaf else added(value, field)
    for name, value in old.items():
        if name not in new:
            gone["f:" + name] = added(value, type_.of(name))
    return _ordered(come), _ordered(changed), _ordered(gone)


def _ordered(node: Set) -> Set | None:
    if not node:
        return None
    return dict(sorted(node.items())) if len(node) > 1 else node


def _index(items: Any, type_: Type) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        try:
            element = item_element(item, type_)
        except ValueError as error:
            raise ValueError(f"element {index}: {error}") from None
        found.setdefault(element, []).append(item)
    return found


def _compare_lists(old: Any, new: Any, type_: Type) -> _Parts:
    before, after = _index(old, type_), _index(new, type_)
    come: Set = {}
    changed: Set = {}
    gone: Set = {}
    assert type_.element is not None
    item_type = type_.element
    for element in {**before, **after}:
        olds, news = before.get(element, []), after.get(element, [])
        if len(olds) <= 1 and len(news) <= 1:
            if not olds:
                come[element] = added(news[0], item_type)
            elif not news:
                gone[element] = added(olds[0], item_type)
            elif olds[0] != news[0]:
                a, m, r = _compare(olds[0], news[0], item_type)
                if a is not None:
                    come[element] = a
                if m is not None:
                    changed[element] = m
                if r is not None:
                    gone[element] = r
        elif len(olds) >= 2 and len(news) >= 2:
            # The same key several times: owned as one.
            if olds != news:
                changed[element] = MEMBER
        elif len(olds) >= 2:
            if news:
                come[element] = added(news[0], item_type)
            gone[element] = MEMBER
        else:
            if olds:
                gone[element] = added(olds[0], item_type)
            come[element] = MEMBER
    return (
        sets.ordered(come) if come else None,
        sets.ordered(changed) if changed else None,
        sets.ordered(gone) if gone else None,
    )


def added(value: Any, type_: Type) -> Set:
    """A part that is there on one side only, with the path that leads to it."""
    if type_.kind == "any":
        type_ = type_.resolve(value)
    if type_.leaf or not value:
        return MEMBER
    if type_.kind == "list":
        return _added_list(value, type_)
    if type_.element is not None:
        return _added_map(value, type_)
    shape = tuple(value)
    try:
        template, nested = type_.shapes[shape]
    except KeyError:
        template, nested = _shape(shape, type_)
    if not nested:
        return template  # type: ignore[no-any-return]
    made: Set = template.copy()
    for name, element, field in nested:
        below = value[name]
        if below:
            made[element] = added(below, field)
    return made


def _shape(names: tuple[str, ...], type_: Type) -> tuple[Set, list[tuple[str, str, Type]]]:
    """What a structure with just these fields contributes if all are scalars, and which fields are not."""
    template: Set = {SELF: MEMBER}
    nested = []
    for name in sorted(names):
        template["f:" + name] = MEMBER
        field = type_.fields[name]
        if not field.leaf:
            nested.append((name, "f:" + name, field))
    if len(type_.shapes) < _SHAPES:
        type_.shapes[names] = template, nested
    return template, nested


def _added_map(value: dict[str, Any], type_: Type) -> Set:
    made: Set = {SELF: MEMBER}
    for name in sorted(value):
        field = type_.of(name)
        made["f:" + name] = MEMBER if field.leaf else added(value[name], field)
    return made


def _added_list(value: list[Any], type_: Type) -> Set:
    made: Set = {SELF: MEMBER}
    assert type_.element is not None
    item_type = type_.element
    if not type_.keys:
        for element in {item_element(item, type_) for item in value}:
            made[element] = MEMBER
        return sets.ordered(made)
    for index, item in enumerate(value):
        try:
            element = item_element(item, type_)
        except ValueError as error:
            raise ValueError(f"element {index}: {error}") from None
        made[element] = MEMBER if element in made else added(item, item_type)
    return sets.ordered(made) if len(made) > 2 else made
