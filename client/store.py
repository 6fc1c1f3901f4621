"""An informer's cache: objects by namespace and name, indexed by whatever its users ask for.

Objects in it are shared by everybody in the process and are never changed in place: whoever wants to change one makes
a copy first (`api.codec.deepcopy`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from api.selectors import Selector

T = TypeVar("T")
Key = tuple[str, str]
IndexFunction = Callable[[Any], Iterable[Any]]


def key_of(obj: Any) -> Key:
    """Namespace ("" for cluster-scoped objects) and name."""
    meta = obj.metadata
    return meta.namespace or "", meta.name or ""


class Store(Generic[T]):
    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._by_namespace: dict[str, dict[Key, T]] = {}
        self._functions: dict[str, IndexFunction] = {}
        self._indices: dict[str, dict[Any, dict[Key, T]]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def keys(self) -> builtins.list[Key]:
        return list(self._objects)

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get((namespace, name))

    def list(self, namespace: str | None = None, selector: Selector | None = None) -> builtins.list[T]:
        """Objects of one namespace or of all (None), those whose labels match."""
        found = self._objects if namespace is None else self._by_namespace.get(namespace, {})
        if selector is None:
            return list(found.values())
        return [obj for obj in found.values() if selector.matches(obj.metadata.labels)]  # type: ignore[attr-defined]

    def by_index(self, index: str, value: Any) -> builtins.list[T]:
        """Objects for which the index function gave `value`. Raises KeyError for an unknown index."""
        return list(self._indices[index].get(value, {}).values())

    def count(self, index: str, value: Any) -> int:
        """How many `by_index` would answer."""
        return len(self._indices[index].get(value, ()))

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Give every object to `function`; it is found under each value that comes back. Idempotent by name."""
        if name in self._functions:
            return
        self._functions[name] = function
        index: dict[Any, dict[Key, T]] = {}
        self._indices[name] = index
        for key, obj in self._objects.items():
            for value in function(obj):
                index.setdefault(value, {})[key] = obj

    def put(self, obj: T) -> T | None:
        """Add or replace; answers what was there."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None:
            self._unindex(key, old)
        self._objects[key] = obj
        self._by_namespace.setdefault(key[0], {})[key] = obj
        for name, function in self._functions.items():
            index = self._indices[name]
            for value in function(obj):
                index.setdefault(value, {})[key] = obj
        return old

    def remove(self, namespace: str, name: str) -> T | None:
        key = (namespace, name)
        old = self._objects.pop(key, None)
        if old is not None:
            self._unindex(key, old)
            siblings = self._by_namespace[namespace]
            del siblings[key]
            if not siblings:
                del self._by_namespace[namespace]
        return old

    def _unindex(self, key: Key, old: T) -> None:
        for name, function in self._functions.items():
            index = self._indices[name]
            for value in function(old):
                entry = index.get(value)
                if entry is not None:
                    entry.pop(key, None)
                    if not entry:
                        del index[value]
