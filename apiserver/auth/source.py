"""Where authentication and authorization read objects from: the server's own watch caches, through three methods.

What is derived from objects (the RBAC index, the node graph) has to change in the same moment as the cache, so
subscribers are called synchronously; when a cache is rebuilt after a gap, they are told to start anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from api import errors
from apiserver.registry import Registry
from apiserver.watching import Event, Watcher

T = TypeVar("T")
#: (old, new): None where the object was not there, or is not there any more.
OnChange = Callable[[Any, Any], None]


class Source(Protocol):
    """Objects are shared: never mutate them."""

    def list(self, kind: type[T]) -> Iterable[T]:
        """All objects of a kind, as the cache shows them now."""
        ...

    def get(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        """One object, as the cache shows it now."""
        ...

    async def fetch(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        """One object, consistently: for what may have been written a moment ago through another server."""
        ...

    def subscribe(self, kind: type[Any], on_change: OnChange, on_reset: Callable[[], None]) -> None:
        """Call `on_change` for every change from now on, `on_reset` when changes may have been missed."""
        ...


class _Subscription(Watcher):
    """A watcher that hands events on at once instead of buffering them."""

    def __init__(self, registry: Registry, kind: type[Any], on_change: OnChange, on_reset: Callable[[], None]) -> None:
        super().__init__(None)
        self._registry = registry
        self._kind = kind
        self._on_change = on_change
        self._on_reset = on_reset
        self._restart: asyncio.Task[None] | None = None

    def join(self) -> None:
        cache = self._registry.cache(self._kind)
        cache.watch(self, cache.revision)

    def preload(self, events: Iterable[Event]) -> None:
        self.offer(list(events))

    def offer(self, events: Sequence[Event]) -> bool:
        cache = self._registry.cache(self._kind)
        for event in events:
            old = cache.decoded(event.old) if event.old else None
            new = cache.decoded(event.new) if event.new else None
            self._on_change(old, new)
        return True

    def end(self, error: errors.StatusError | None) -> None:
        # Without an error the server is shutting down; with one the cache is being rebuilt.
        if error is not None:
            self._restart = asyncio.get_running_loop().create_task(self._rejoin())

    async def _rejoin(self) -> None:
        await self._registry.cache(self._kind).start()
        self._on_reset()
        self.join()


class RegistrySource:
    """The source in a running server; make it once the registry has started."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def list(self, kind: type[T]) -> Iterable[T]:
        return self._registry.cached_list(kind)

    def get(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        return self._registry.cached(kind, name, namespace)

    async def fetch(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        try:
            return await self._registry.get(kind, name, namespace=namespace)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise

    def subscribe(self, kind: type[Any], on_change: OnChange, on_reset: Callable[[], None]) -> None:
        _Subscription(self._registry, kind, on_change, on_reset).join()


class MemorySource:
    """The same over plain objects, for tests."""

    def __init__(self, *objects: Any) -> None:
        self._objects: dict[tuple[type[Any], str, str], Any] = {}
        self._subscribers: list[tuple[type[Any], OnChange]] = []
        for obj in objects:
            self.put(obj)

    def _key(self, obj: Any) -> tuple[type[Any], str, str]:
        return type(obj), obj.metadata.namespace or "", obj.metadata.name or ""

    def _tell(self, kind: type[Any], old: Any, new: Any) -> None:
        for wanted, on_change in self._subscribers:
            if wanted is kind:
                on_change(old, new)

    def put(self, obj: Any) -> None:
        """Add or replace an object."""
        key = self._key(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        self._tell(type(obj), old, obj)

    def remove(self, obj: Any) -> None:
        """Take an object away."""
        old = self._objects.pop(self._key(obj), None)
        self._tell(type(obj), old, None)

    def list(self, kind: type[T]) -> Iterable[T]:
        return [obj for (stored, _, _), obj in self._objects.items() if stored is kind]

    def get(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        return self._objects.get((kind, namespace or "", name))

    async def fetch(self, kind: type[T], name: str, namespace: str | None = None) -> T | None:
        return self.get(kind, name, namespace)

    def subscribe(self, kind: type[Any], on_change: OnChange, on_reset: Callable[[], None]) -> None:
        self._subscribers.append((kind, on_change))
