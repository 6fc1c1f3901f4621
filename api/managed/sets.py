"""Sets of paths, kept as what FieldsV1 is on the wire: nested objects, one level per path element.

`{}` below an element says that the path ending there is in the set; if longer paths are as well, `"."` says it:
`{"f:a": {}}` holds a; `{"f:a": {"f:b": {}}}` holds a.b alone; `{"f:a": {".": {}, "f:b": {}}}` holds both. The set
itself is the root, where `{}` is the empty set. So nothing is converted between storage and use, and equal parts are
shared: a set is never changed once made, every function here makes a new one or gives back one it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from api.managed import elements
from api.managed.elements import SELF

#: A set, or the part of one below a path. Never mutate one.
Set = dict[str, Any]

EMPTY: Set = {}
MEMBER: Set = {}  # below an element: the path itself and no longer one
_WITH_SELF: Set = {SELF: MEMBER}


def parse(value: Any) -> Set:
    """A set that a client sent, in the one spelling of each element. Raises ValueError if it is not FieldsV1."""
    if value is None:
        return EMPTY
    if not isinstance(value, dict):
        raise ValueError("FieldsV1 has to be an object")
    parsed = _parse(value)
    parsed.pop(SELF, None)
    return parsed


def _parse(value: dict[str, Any]) -> Set:
    made: Set = {}
    for name, below in value.items():
        if name == SELF:
            made[SELF] = MEMBER
            continue
        if not isinstance(below, dict):
            raise ValueError(f"{name}: expected an object")
        element = elements.canonical(name)
        if element is not None:
            made[element] = _parse(below)
    return MEMBER if made == _WITH_SELF else ordered(made)


def ordered(node: Set) -> Set:
    """The elements in upstream's order (which is that of the text for fields)."""
    names = list(node)
    if len(names) < 2:
        return node
    if all(name[0] in "f." for name in names):
        names.sort()
    else:
        names.sort(key=elements.order)
    return {name: node[name] for name in names}


def make(*paths: Iterable[str]) -> Set:
    """The set of some paths, each a sequence of path elements."""
    made: Set = EMPTY
    for path in paths:
        node: Set = MEMBER
        for element in reversed(list(path)):
            node = {element: node}
        made = union(made, node)
    return made


def fields(*paths: str) -> Set:
    """The set of some paths of fields, written `metadata.name`."""
    return make(*([elements.field(name) for name in path.split(".")] for path in paths))


def is_member(node: Set | None) -> bool:
    """Whether the path that leads to this part is in the set itself."""
    return node is not None and (not node or SELF in node)


def has(whole: Set, path: Iterable[str]) -> bool:
    """Whether one path is in the set."""
    node: Set | None = None
    for element in path:
        node = (whole if node is None else node).get(element)
        if node is None:
            return False
    return is_member(node)


def below(node: Set) -> Set:
    """A part as a set of its own: without the path that leads to it."""
    if SELF in node:
        return {name: child for name, child in node.items() if name != SELF}
    return node


def with_self(node: Set | None) -> Set:
    """A part with the path that leads to it."""
    if not node:
        return MEMBER
    return node if SELF in node else {SELF: MEMBER, **node}


def iterate(whole: Set) -> Iterator[tuple[str, ...]]:
    """All paths: at each level first those that end there."""
    return _iterate(whole, ())


def _iterate(node: Set, prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, child in node.items():
        if name != SELF and is_member(child):
            yield (*prefix, name)
    for name, child in node.items():
        if name != SELF and child:
            yield from _iterate(child, (*prefix, name))


def leaves(whole: Set) -> Set:
    """The paths that no other path continues."""
    return {name: leaves(child) for name, child in whole.items() if name != SELF}


def union(a: Set, b: Set) -> Set:
    """Paths in either."""
    if a is b or not b:
        return a
    if not a:
        return b
    return _union(a, b)


def _union(a: Set, b: Set) -> Set:
    made = None
    new = False
    for name, theirs in b.items():
        mine = a.get(name)
        if mine is None:
            joined = theirs
            new = True
        elif mine is theirs:
            continue
        else:
            joined = _joined(mine, theirs)
            if joined is mine:
                continue
        if made is None:
            made = dict(a)
        made[name] = joined
    if made is None:
        return a
    return ordered(made) if new else made


def _joined(a: Set, b: Set) -> Set:
    if not b:
        return a if not a or SELF in a else {SELF: MEMBER, **a}
    if not a:
        return with_self(b)
    return _union(a, b)


def difference(a: Set, b: Set) -> Set:
    """Paths in the first and not in the second. A path goes alone: what continues it stays."""
    if not a or not b:
        return a
    return _filtered(a, b, _minus)


def _filtered(a: Set, b: Set, minus: Callable[[Set, Set], Set | None]) -> Set:
    made: Set = {}
    changed = False
    for name, mine in a.items():
        theirs = b.get(name)
        if theirs is None:
            made[name] = mine
            continue
        rest = minus(mine, theirs)
        if rest is not mine:
            changed = True
        if rest is not None:
            made[name] = rest
    return made if changed else a


def _minus(a: Set, b: Set) -> Set | None:
    if not a:
        return None if not b or SELF in b else a
    if not b:
        return below(a) or None
    rest = _filtered(a, b, _minus)
    if not rest:
        return None
    return MEMBER if rest == _WITH_SELF else rest


def recursive_difference(a: Set, b: Set) -> Set:
    """Paths in the first that neither are in the second nor continue one that is."""
    if not a or not b:
        return a
    return _filtered(a, b, _minus_recursive)


def _minus_recursive(a: Set, b: Set) -> Set | None:
    if not b or SELF in b:
        return None
    if not a:
        return a
    rest = _filtered(a, b, _minus_recursive)
    if not rest:
        return None
    return MEMBER if rest == _WITH_SELF else rest


def intersection(a: Set, b: Set) -> Set:
    """Paths in both."""
    if a is b or not a:
        return a
    made: Set = {}
    for name, mine in a.items():
        theirs = b.get(name)
        if theirs is not None and (both := _both(mine, theirs)) is not None:
            made[name] = both
    return made


def _both(a: Set, b: Set) -> Set | None:
    if not a:
        return a if is_member(b) else None
    if not b:
        return b if is_member(a) else None
    made = intersection(a, b)
    if not made:
        return None
    return MEMBER if made == _WITH_SELF else made


class Filter:
    """Which paths a write through an endpoint may own: upstream's reset fields.

    `exclude` names what may not be owned (with all below); `include`, if given, what alone may be, as paths of
    elements in which `*` stands for any.
    """

    __slots__ = ("exclude", "include", "sections")

    def __init__(self, exclude: Set = EMPTY, include: Iterable[Iterable[str]] | None = None) -> None:
        self.exclude = exclude
        self.include = None if include is None else [tuple(path) for path in include]
        #: Top-level fields of which nothing at all may be owned: comparing them can be left out.
        self.sections = frozenset(name[2:] for name, node in exclude.items() if is_member(node))

    def __call__(self, whole: Set) -> Set:
        if self.include is not None:
            whole = _included(whole, self.include)
        return recursive_difference(whole, self.exclude)


def _included(node: Set, patterns: list[tuple[str, ...]]) -> Set:
    made: Set = {}
    for name, child in node.items():
        if name == SELF:
            continue
        rests = [pattern[1:] for pattern in patterns if pattern[0] in ("*", name)]
        if not rests:
            continue
        if not all(rests):
            made[name] = child
            continue
        # As upstream's SetMatcher: a member on the way to what may be owned may be owned itself.
        inner = _included(child, rests)
        if is_member(child):
            made[name] = with_self(inner)
        elif inner:
            made[name] = inner
    return made


ALL = Filter()
