"""All resources of this server: their endpoints, and the typed API that admission, allocators and bootstrap use.

`Registry` is also the pipeline's front door: both faces call its operations with decoded paths and raw bodies.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from api import codec, errors
from api.resources import RESOURCES, Resource, find, resource_for
from api.types.meta_v1 import DeleteOptions, Preconditions
from apiserver.admission import AdmissionPlugin
from apiserver.auth import Authorizer, User
from apiserver.cache import Cache
from apiserver.conversion import CONVERSIONS
from apiserver.endpoint import Endpoint
from apiserver.feed import Feed
from apiserver.pipeline import create, delete, read, update
from apiserver.pipeline.selection import selection
from apiserver.pipeline.update import Rules, resource_rules, status_rules
from apiserver.store import Compacted, Store
from apiserver.strategy import Context, Strategy

if TYPE_CHECKING:
    from apiserver.auth.reviews import Reviews
    from apiserver.auth.token_request import TokenIssuer
    from apiserver.outbound import Caller

T = TypeVar("T")

#: Who the server itself is when it writes (upstream's loopback client).
SERVER = User("system:apiserver", groups=("system:masters",))
#: And in managedFields.
FIELD_MANAGER = "kube-apiserver"


@dataclass
class Services:
    """What some subresources need that only a full server has."""

    tokens: TokenIssuer | None = None
    reviews: Reviews | None = None
    authorizer: Authorizer | None = None  # None: everybody may do everything
    caller: Caller | None = None  # of webhooks


_HISTORY = 2_000  # revisions: watchers of a server that restarted resume within this many without a new list


class Registry:
    """Make it, `await start()`, and run `feed.run()` in a task beside it."""

    def __init__(
        self,
        store: Store,
        *,
        strategy_for: Callable[[Resource], Strategy] = Strategy,
        admission: Sequence[AdmissionPlugin] = (),
        resources: Iterable[Resource] = RESOURCES,
    ) -> None:
        self.store = store
        self.feed = Feed(store)
        self.feed.on_reset.append(self._reset)
        self.admission: list[AdmissionPlugin] = list(admission)
        self.services = Services()
        self._strategy_for = strategy_for
        self._endpoints: dict[tuple[str, str, str], Endpoint] = {}
        self._virtual: dict[tuple[str, str, str], Endpoint] = {}
        self._by_type: dict[Any, Endpoint] = {}
        #: Called when a custom resource comes, changes or goes.
        self.on_change: builtins.list[Callable[[], None]] = []
        for resource in sorted(resources, key=lambda r: (r.group, r.version, r.plural) in CONVERSIONS):
            if "get" in resource.verbs and resource.group_resource != "componentstatuses":
                self.add(resource)

    # -- endpoints ------------------------------------------------------------------------------------------------

    def add(self, resource: Resource) -> Endpoint:
        """Serve one more resource."""
        name = (resource.group, resource.version, resource.plural)
        conversion = CONVERSIONS.get(name)
        shared = self.endpoint(conversion.stored) if conversion else None
        strategy = shared.strategy if shared else self._strategy_for(resource)
        endpoint = Endpoint(resource, strategy, self.store, self.feed, conversion=conversion, shared=shared)
        self._endpoints[name] = endpoint
        return endpoint

    def find(self, group: str, version: str, plural: str) -> Endpoint | None:
        return self._endpoints.get((group, version, plural))

    def virtual(self, resource: Resource) -> Endpoint:
        """An endpoint for a resource that is not stored (reviews, bindings): only its handlers are asked."""
        name = (resource.group, resource.version, resource.plural)
        if name not in self._virtual:
            self._virtual[name] = Endpoint(resource, self._strategy_for(resource), self.store, self.feed)
        return self._virtual[name]

    def endpoint(self, what: Resource | type[Any] | str) -> Endpoint:
        """The endpoint of a resource, a type, or a plural name of the core group. Raises LookupError."""
        known = self._by_type.get(what)
        if known is not None:
            return known
        endpoint = self._find(what)
        if not isinstance(what, Resource):
            self._by_type[what] = endpoint
        return endpoint

    def _find(self, what: Resource | type[Any] | str) -> Endpoint:
        if isinstance(what, str):
            found = find("", "v1", what)
            if found is None:
                raise LookupError(what)
            what = found
        resource = what if isinstance(what, Resource) else resource_for(what)
        return self._endpoints[resource.group, resource.version, resource.plural]

    def versions(self, group: str, plural: str) -> builtins.list[Endpoint]:
        """The endpoints of a resource, whatever their version."""
        return [e for (g, _, p), e in self._endpoints.items() if (g, p) == (group, plural)]

    def serve(self, group: str, plural: str, endpoints: builtins.list[Endpoint]) -> None:
        """From now on these are the versions of a custom resource; an empty list withdraws it."""
        for name in [n for n in self._endpoints if (n[0], n[2]) == (group, plural)]:
            self._by_type.pop(self._endpoints.pop(name).resource.type, None)
        for endpoint in endpoints:
            resource = endpoint.resource
            self._endpoints[resource.group, resource.version, resource.plural] = endpoint
            self._by_type[resource.type] = endpoint
        for changed in self.on_change:
            changed()

    @property
    def endpoints(self) -> Iterable[Endpoint]:
        return self._endpoints.values()

    # -- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load all caches. They start a little in the past, so that watchers of before a restart can resume."""
        newest = await self.store.revision()
        start = self.store.earlier(newest, _HISTORY)
        try:
            await self.store.list("/registry/", limit=1, revision=start)
        except Compacted:
            start = newest
        self.feed.start_at(start)
        caches = {id(e.cache): e.cache for e in self._endpoints.values()}
        async with asyncio.TaskGroup() as group:
            for cache in caches.values():
                group.create_task(cache.start())

    def stop_watches(self) -> None:
        """End all watches, so that clients go elsewhere (shutdown)."""
        for endpoint in self._endpoints.values():
            endpoint.cache.stop()

    def _reset(self, revision: int) -> None:
        for endpoint in self._endpoints.values():
            endpoint.cache.reset()

    # -- typed API ------------------------------------------------------------------------------------------------

    def context(self, endpoint: Endpoint, namespace: str | None, name: str = "") -> Context:
        """A request of the server itself."""
        return Context(
            user=SERVER,
            registry=self,
            resource=endpoint.resource,
            namespace=namespace or "",
            name=name,
            field_manager=FIELD_MANAGER,
            warnings=[],
        )

    async def get(self, type_: type[T] | str, name: str, *, namespace: str | None = None) -> T:
        """A private copy of the newest version. Raises StatusError 404."""
        endpoint = self.endpoint(type_)
        entry = await read.get(endpoint, self.feed, namespace or "", name)
        return endpoint.served(endpoint.cache.decoder.decode(entry.json))  # type: ignore[no-any-return]

    async def list(
        self, type_: type[T] | str, *, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> builtins.list[T]:
        """Consistent list of shared objects: never mutate them."""
        endpoint = self.endpoint(type_)
        selected = selection(endpoint, namespace or "", labels, fields)
        await read.caught_up(endpoint, self.feed, "")
        cache = endpoint.cache
        return [endpoint.served(cache.decoded(entry)) for entry in selected.entries(endpoint)]

    def cached(self, type_: type[T] | str, name: str, namespace: str | None = None) -> T | None:
        """What the cache shows now, perhaps a moment old; shared, never mutate it."""
        endpoint = self.endpoint(type_)
        entry = endpoint.cache.get(endpoint.key(namespace or "", name))
        return endpoint.served(endpoint.cache.decoded(entry)) if entry else None

    def cached_list(self, type_: type[T] | str, namespace: str | None = None) -> builtins.list[T]:
        """The same for all objects (of a namespace)."""
        endpoint = self.endpoint(type_)
        entries = endpoint.cache.range(endpoint.range_prefix(namespace or ""))
        return [endpoint.served(endpoint.cache.decoded(entry)) for entry in entries]

    def cache(self, type_: type[Any] | str) -> Cache:
        return self.endpoint(type_).cache

    async def create(self, obj: T, *, ctx: Context | None = None) -> T:
        """Create through the whole pipeline. Raises StatusError."""
        endpoint = self.endpoint(type(obj))
        stored: Any = endpoint.to_stored(codec.deepcopy(obj))
        endpoint.strategy.default(stored)
        ctx = ctx or self.context(endpoint, stored.metadata.namespace)
        record = await create.create(endpoint, ctx, stored)
        return endpoint.served(endpoint.decode_stored(record))  # type: ignore[no-any-return]

    async def update(self, obj: T, *, subresource: str = "") -> T:
        """Replace; with a resourceVersion in the object only that version. Raises StatusError."""
        endpoint = self.endpoint(type(obj))
        rules = status_rules(endpoint.strategy) if subresource == "status" else resource_rules(endpoint.strategy)
        wanted: Any = endpoint.to_stored(codec.deepcopy(obj))
        endpoint.strategy.default(wanted)

        async def transform(old: Any) -> Any:
            return codec.deepcopy(wanted)

        meta = wanted.metadata
        done: T = await self._update(endpoint, meta.namespace, meta.name, transform, rules, subresource)
        return done

    async def mutate(
        self,
        type_: type[T] | str,
        name: str,
        change: Callable[[T], None],
        *,
        namespace: str | None = None,
        subresource: str = "",
    ) -> T:
        """Apply `change` to the newest version, again if another write came between. Raises StatusError."""
        endpoint = self.endpoint(type_)
        rules = status_rules(endpoint.strategy) if subresource == "status" else resource_rules(endpoint.strategy)

        async def transform(old: Any) -> Any:
            change(old)
            old.metadata.resource_version = None  # this change fits any version
            return old

        return await self._update(  # type: ignore[no-any-return]
            endpoint, namespace, name, transform, rules, subresource, unconditional=True
        )

    async def _update(
        self,
        endpoint: Endpoint,
        namespace: str | None,
        name: str,
        transform: Any,
        rules: Rules,
        subresource: str,
        *,
        unconditional: bool | None = None,
    ) -> Any:
        ctx = self.context(endpoint, namespace, name)
        ctx.subresource = subresource
        key = endpoint.key(namespace or "", name)
        record = await update.update(endpoint, ctx, key, transform, rules, unconditional=unconditional)
        return endpoint.served(endpoint.decode_stored(record))

    async def delete(
        self,
        type_: type[Any] | str,
        name: str,
        *,
        namespace: str | None = None,
        grace_period_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Delete, or mark for deletion. Raises StatusError 404 or 409."""
        endpoint = self.endpoint(type_)
        options = DeleteOptions(grace_period_seconds=grace_period_seconds, propagation_policy=propagation)
        if uid or resource_version:
            options.preconditions = Preconditions(uid=uid, resource_version=resource_version)
        ctx = self.context(endpoint, namespace, name)
        ctx.options = options
        await delete.delete(endpoint, ctx, endpoint.key(namespace or "", name), options)

    async def exists(self, type_: type[Any] | str, name: str, *, namespace: str | None = None) -> bool:
        """Whether the newest state has it."""
        try:
            await self.get(type_, name, namespace=namespace)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return False
            raise
        return True
