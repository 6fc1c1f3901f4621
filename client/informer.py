"""A local copy of a resource that follows the apiserver, and tells handlers what changed.

Invariants:
- handlers see every object's changes in order; `on_update` gets the object that was told before as well, `on_delete`
  the last state, or what was told before if the deletion itself was missed;
- a watch that breaks is resumed from the last revision; one that is too old (410) is replaced by a list whose
  difference to the cache is handed out as adds, updates and deletes, so that handlers miss no deletion;
- the cache is changed before handlers are called, and handlers are plain functions that must not block: they enqueue.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from api import errors
from api.selectors import Selector
from client.api import Api, Event
from client.backoff import Backoff, jitter
from client.sharing import Sharing
from client.store import IndexFunction, Store, key_of
from client.writes import Kind, kind_of

log = logging.getLogger(__name__)
T = TypeVar("T")

#: A watch that a server ends within so many seconds, having said nothing, is not asked for again at once.
_SHORT_WATCH = 1.0


@dataclass(frozen=True)
class Handler(Generic[T]):
    on_add: Callable[[T], None] | None = None
    on_update: Callable[[T, T], None] | None = None
    on_delete: Callable[[T], None] | None = None


def strip_managed_fields(obj: Any) -> Any:
    """The default transformation: nobody here reads managedFields, and they are a third of an object's memory."""
    obj.metadata.managed_fields = None
    return obj


class Informer(Generic[T]):
    """`run` it as a task; `await synced()` before trusting the cache."""

    def __init__(
        self,
        api: Api,
        kind: type[T] | Kind[T],
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        *,
        transform: Callable[[T], T] = strip_managed_fields,
        sharing: Sharing | None = None,
    ) -> None:
        self._api = api
        self._kind = kind_of(kind)
        self._scope = {"namespace": namespace, "labels": labels, "fields": fields}
        self._transform = transform
        self._sharing = sharing
        self._handlers: list[Handler[T]] = []
        self._synced = asyncio.Event()
        self._version: str | None = None
        self.store: Store[T] = Store()

    def __repr__(self) -> str:
        return f"Informer({self._kind.resource.group_resource})"

    # -- using ----------------------------------------------------------------------------------------------------

    def add_handler(
        self,
        *,
        on_add: Callable[[T], None] | None = None,
        on_update: Callable[[T, T], None] | None = None,
        on_delete: Callable[[T], None] | None = None,
    ) -> None:
        """Told of every change from now on; what is already in the cache comes first, as adds."""
        self._handlers.append(Handler(on_add, on_update, on_delete))
        if on_add is not None:
            for obj in self.store:
                on_add(obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.store.add_index(name, function)

    async def synced(self) -> None:
        """Returns when the cache holds a first complete list and the handlers have been told of it."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    @property
    def resource_version(self) -> str | None:
        """The revision up to which the cache is known to be complete."""
        return self._version

    def get(self, namespace: str, name: str) -> T | None:
        """From the cache; `namespace` is "" for cluster-scoped objects. Never change what you get."""
        return self.store.get(namespace, name)

    def list(self, namespace: str | None = None, selector: Selector | None = None) -> builtins.list[T]:
        return self.store.list(namespace, selector)

    def by_index(self, name: str, value: Any) -> builtins.list[T]:
        return self.store.by_index(name, value)

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the apiserver until cancelled."""
        # An apiserver that is away comes back within seconds, and everybody waits for it: ask often.
        backoff, away = Backoff(0.1, 30.0), Backoff(0.1, 1.0)
        while True:
            try:
                if self._version is None:
                    await self._relist()
                    self._reset(backoff, away)
                started = time.monotonic()
                if not await self._follow(backoff, away) and time.monotonic() - started < _SHORT_WATCH:
                    await asyncio.sleep(backoff.next())
            except errors.StatusError as error:
                if errors.is_gone(error):
                    self._version = None
                    await asyncio.sleep(jitter(0.01, 10))
                    continue
                unavailable = errors.is_service_unavailable(error)
                wait = away.next() if unavailable else backoff.next()
                # the transport has said already, once for all of us, that the apiserver is away
                level = logging.DEBUG if unavailable else logging.WARNING
                log.log(level, "%r: %s; trying again in %.1f s", self, error, wait)
                await self._api.pause(wait)

    async def _relist(self) -> None:
        result = await self._api.list(self._kind, **self._scope)  # type: ignore[arg-type]
        gone = set(self.store.keys())
        for obj in result.items:
            gone.discard(key_of(obj))
            self._put(obj)
        for namespace, name in gone:
            self._remove(namespace, name, None)
        self._version = result.resource_version
        self._synced.set()

    @staticmethod
    def _reset(*backoffs: Backoff) -> None:
        for backoff in backoffs:
            backoff.reset()

    async def _follow(self, *backoffs: Backoff) -> bool:
        """Whether there was an event before the server ended the watch."""
        said = False
        events = self._api.watch(self._kind, resource_version=self._version or "", **self._scope)  # type: ignore[arg-type]
        async with contextlib.aclosing(events) as stream:
            async for event in stream:
                said = True
                self._reset(*backoffs)
                self._apply(event)
        return said

    def _apply(self, event: Event[T]) -> None:
        if event.type == "DELETED":
            namespace, name = key_of(event.object)
            self._remove(namespace, name, event.object)
        elif event.type != "BOOKMARK":
            self._put(event.object)
        self._version = event.resource_version

    def _put(self, obj: T) -> None:
        obj = self._transform(obj)
        if self._sharing is not None:
            self._sharing.fit(obj, self.store.get(*key_of(obj)))
        old = self.store.put(obj)
        if old is None:
            self._tell_added(obj)
        elif old.metadata.uid != obj.metadata.uid:  # type: ignore[attr-defined]
            # deleted and created anew while we were not looking: two objects, and controllers must not confuse them
            self._tell_deleted(old)
            self._tell_added(obj)
        elif old.metadata.resource_version != obj.metadata.resource_version:  # type: ignore[attr-defined]
            for handler in self._handlers:
                if handler.on_update is not None:
                    self._call(handler.on_update, old, obj)

    def _remove(self, namespace: str, name: str, last: T | None) -> None:
        old = self.store.remove(namespace, name)
        if old is not None:
            self._tell_deleted(old if last is None else self._transform(last))

    def _tell_added(self, obj: T) -> None:
        for handler in self._handlers:
            if handler.on_add is not None:
                self._call(handler.on_add, obj)

    def _tell_deleted(self, obj: T) -> None:
        for handler in self._handlers:
            if handler.on_delete is not None:
                self._call(handler.on_delete, obj)

    def _call(self, function: Callable[..., None], *objects: T) -> None:
        try:
            function(*objects)
        except Exception:
            # one controller's mistake about one object must not blind the others that share this informer
            log.exception("%r: handler failed", self)


class Factory:
    """One shared informer for each type and filter, so that every resource is watched once per process.

    `compact`: caches take a third of the memory, and some CPU for each change (see `client.sharing`).
    """

    def __init__(self, api: Api, *, compact: bool = False) -> None:
        self.api = api
        self._compact = compact
        self._informers: dict[Any, Informer[Any]] = {}
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._late: set[Any] = set()
        self._group: asyncio.TaskGroup | None = None

    def informer(
        self,
        kind: type[T] | Kind[T],
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
    ) -> Informer[T]:
        """The informer; one that is asked for while the factory runs is started at once."""
        identity = (kind_of(kind), namespace, labels, fields)
        informer = self._informers.get(identity)
        if informer is None:
            informer = self._informers[identity] = Informer(
                self.api, kind, namespace, labels, fields, sharing=Sharing() if self._compact else None
            )
            if self._group is not None:
                self._late.add(identity)
                self._tasks[identity] = self._group.create_task(informer.run(), name=repr(informer))
        return informer

    def existing(self, kind: Any) -> Informer[Any] | None:
        """The informer of a whole resource, if somebody has asked for it."""
        return self._informers.get((kind_of(kind), None, "", ""))

    def drop(self, kind: Any) -> None:
        """Stop and forget the informer of a whole resource: the resource is gone."""
        identity = (kind_of(kind), None, "", "")
        self._informers.pop(identity, None)
        self._late.discard(identity)
        task = self._tasks.pop(identity, None)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Run all informers until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for identity, informer in self._informers.items():
                    self._tasks[identity] = group.create_task(informer.run(), name=repr(informer))
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def synced(self, *, late: bool = True) -> None:
        """Returns when every informer that exists now has synced; without `late` ones, those asked for before `run`.

        Late ones follow what the cluster says there is: a custom resource that cannot be listed must hold up nobody.
        """
        for identity, informer in list(self._informers.items()):
            if late or identity not in self._late:
                await informer.synced()
