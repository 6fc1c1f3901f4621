"""One served resource: what it is called, how it differs (its strategy), where it is kept, and its cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from api import codec
from api.resources import Resource
from api.unstructured import is_unstructured
from apiserver.cache import Cache
from apiserver.conversion import Conversion
from apiserver.entries import Entry, with_revision
from apiserver.feed import Feed
from apiserver.store import Record, Store
from apiserver.strategy import Strategy

_EVENT_TTL_SECONDS = 3600  # upstream's --event-ttl

# Resources whose DELETE answers the deleted object; all others answer a Status. From the OpenAPI document.
_RETURN_DELETED = {
    "persistentvolumeclaims",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
    "persistentvolumes",
    "deviceclasses.resource.k8s.io",
    "resourceclaims.resource.k8s.io",
    "resourceclaimtemplates.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "storageclasses.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
}

# A field that one lookup per node would otherwise scan all objects for.
_INDEXES = {"pods": "spec.nodeName"}


class Endpoint:
    """`resource` is what clients see, `stored` what is kept; they differ for the kinds of `apiserver.conversion`."""

    def __init__(
        self,
        resource: Resource,
        strategy: Strategy,
        store: Store,
        feed: Feed,
        *,
        conversion: Conversion | None = None,
        shared: Endpoint | None = None,
        cache: Cache | None = None,
        kept: type[Any] | None = None,
    ) -> None:
        self.resource = resource
        self.stored = conversion.stored if conversion else resource
        self.strategy = strategy
        self.store = store
        self.conversion = conversion
        self.owners: dict[str, Any] = {}  # by subresource; kept here by `pipeline.ownership`
        self.prefix = f"/registry/{self.stored.group or 'core'}/{self.stored.plural}/"
        self.ttl = _EVENT_TTL_SECONDS if self.stored.group_resource == "events" else 0
        self.returns_deleted = resource.group_resource in _RETURN_DELETED
        self.custom = is_unstructured(resource.type)
        #: Of a custom kind whose versions a webhook converts: what was stored in another version, in the stored one.
        self.upgrade: Callable[[Any], Any] | None = None
        self.ask: Callable[[Iterable[bytes], type[Any]], Awaitable[None]] | None = None
        self._kept = kept or self.stored.type
        if cache is None:  # an empty cache is false
            cache = shared.cache if shared else self._make_cache(feed)
        self.cache: Cache = cache

    def _make_cache(self, feed: Feed) -> Cache:
        index = _INDEXES.get(self.stored.group_resource, "")
        return Cache(self.store, feed, self.prefix, self._kept, self.describe, index=index)

    def describe(self, obj: Any) -> tuple[dict[str, str] | None, dict[str, str]]:
        """Labels and selectable fields of a stored object."""
        meta = obj.metadata
        fields = {"metadata.name": meta.name or "", "metadata.namespace": meta.namespace or ""}
        fields.update(self.strategy.field_values(obj))
        return meta.labels, fields

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.resource.namespaced else self.prefix + name

    def range_prefix(self, namespace: str) -> str:
        """The keys of one namespace, or all keys."""
        return f"{self.prefix}{namespace}/" if namespace and self.resource.namespaced else self.prefix

    def entry(self, record: Record) -> Entry:
        """An entry that is not in the cache (an older version, or one just written)."""
        obj = self.cache.decoder.decode(record.value)
        labels, fields = self.describe(obj)
        meta = obj.metadata
        json = with_revision(codec.encode(obj) if self.custom else record.value, record.revision)
        return Entry(record.key, record.revision, json, meta.name or "", meta.namespace or "", labels, fields)

    def decode_stored(self, record: Record) -> Any:
        """A private copy of a stored object, its resourceVersion set."""
        obj = self.cache.decoder.decode(record.value)
        if self.upgrade is not None:
            obj = self.upgrade(obj)
        obj.metadata.resource_version = str(record.revision)
        return obj

    async def prepare(self, documents: Iterable[bytes]) -> None:
        """Before many are rendered: ask whoever converts them. Raises StatusError."""
        if self.ask is not None:
            await self.ask(documents, self.resource.type)

    def row_object(self, json: bytes) -> Any:
        """What the strategy makes a Table row of."""
        obj = self.cache.decoder.decode(json)
        return self.served(obj) if self.custom else obj

    def encode(self, obj: Any) -> bytes:
        """A stored-type object as the store keeps it."""
        meta = obj.metadata
        revision, meta.resource_version = meta.resource_version, None
        try:
            return codec.encode(obj)
        finally:
            meta.resource_version = revision

    def render(self, json: bytes) -> bytes:
        """The JSON of a stored-type object as this endpoint's clients see it."""
        if self.conversion is None:
            return json
        return codec.encode(self.conversion.to_served(self.cache.decoder.decode(json)))

    def encode_served(self, json: bytes) -> bytes:
        """The inverse of `render`."""
        if self.conversion is None:
            return json
        return codec.encode(self.conversion.to_stored(self.served_decoder.decode(json)))

    def served(self, stored: Any) -> Any:
        """A stored-type object as this endpoint's type."""
        return self.conversion.to_served(stored) if self.conversion else stored

    def to_stored(self, served: Any) -> Any:
        return self.conversion.to_stored(served) if self.conversion else served

    @property
    def served_decoder(self) -> msgspec.json.Decoder[Any]:
        return codec.decoder(self.resource.type)
