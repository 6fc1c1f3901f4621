"""The API as Python methods: get, list, create, update, patch, delete, watch, batch.

Every method raises `api.errors.StatusError` with the apiserver's own Status; an apiserver that cannot be reached is a
503 ServiceUnavailable. Nothing is retried here. Types select the resource: `await api.get(Pod, "web", namespace="x")`;
a `Kind` reads a resource as another type (a part of it, or `dict` for a custom resource).
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import msgspec

from api import codec, errors
from api.resource import Resource
from api.types import core_v1, meta_v1
from client import writes
from client.transport import CALL_TIMEOUT, TLS, GrpcTransport, Transport
from client.writes import Kind, kind_of, resource_message
from proto import api_pb2

log = logging.getLogger(__name__)
T = TypeVar("T")

_EVENT_TYPES = {number: name for name, number in api_pb2.WatchEvent.Type.items()}
#: Writes in one Batch call; more are split, so that no message grows without bound.
BATCH_SIZE = 500


class ObjectMetadata(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """Any object, of which only the metadata is read: `Kind(resource, ObjectMetadata)`."""

    api_version: str = ""
    kind: str = ""
    metadata: meta_v1.ObjectMeta = msgspec.field(default_factory=meta_v1.ObjectMeta)


@dataclass(frozen=True, slots=True)
class ListResult(Generic[T]):
    """A consistent list at `resource_version`. `continue_` is set if `limit` cut it."""

    items: list[T]
    resource_version: str
    continue_: str = ""
    remaining_item_count: int = 0


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK (then `object` carries nothing but its resourceVersion)."""

    type: str
    object: T
    resource_version: str


class Api:
    """An apiserver. `async with Api.connect("host:6444", tls=TLS(...)) as api: ...`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def connect(cls, endpoints: str | Iterable[str], *, tls: TLS | None = None) -> Api:
        """One endpoint or several (`"a:6444,b:6444"`), tried in turn. `unix:/path` works too. Connects lazily."""
        listed = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
        return cls(GrpcTransport([e.strip() for e in listed if e.strip()], tls))

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def pause(self, seconds: float) -> None:
        """Wait before trying again: `seconds`, or less if the apiserver could not be reached and now can."""
        await self._transport.pause(seconds)

    # -- reading --------------------------------------------------------------------------------------------------

    async def get(
        self,
        kind: type[T] | Kind[T],
        name: str,
        *,
        namespace: str = "",
        subresource: str = "",
        resource_version: str = "",
        as_type: type[Any] | None = None,
    ) -> T:
        """One object. `resource_version="0"` allows a cached answer. `as_type` is that of a subresource (Scale)."""
        target = kind_of(kind)
        request = api_pb2.GetRequest(
            resource=resource_message(target.resource),
            namespace=namespace,
            name=name,
            subresource=subresource,
            resource_version=resource_version,
        )
        answer = await self._transport.unary("Get", request)
        return cast(T, codec.decode(answer.json, as_type or target.type))

    async def list(
        self,
        kind: type[T] | Kind[T],
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_: str = "",
        query: Mapping[str, str] | None = None,
    ) -> ListResult[T]:
        """Objects of one namespace, or of all (None). Without `limit` all of them.

        `query` is for servers behind the API server, which have parameters of their own.
        """
        target = kind_of(kind)
        request = api_pb2.ListRequest(
            resource=resource_message(target.resource),
            namespace=namespace or "",
            label_selector=labels,
            field_selector=fields,
            resource_version=resource_version,
            limit=limit,
            continue_token=continue_,
            query=query,
        )
        items: list[T] = []
        revision, token, remaining = 0, "", 0
        async for page in self._transport.list(request):
            items.extend(codec.decode(item.json, target.type) for item in page.items)
            revision, token, remaining = page.revision, page.continue_token, page.remaining_item_count
        return ListResult(items, str(revision), token, remaining)

    async def watch(
        self,
        kind: type[T] | Kind[T],
        *,
        namespace: str | None = None,
        resource_version: str = "",
        labels: str = "",
        fields: str = "",
        bookmarks: bool = True,
        send_initial_events: bool = False,
    ) -> AsyncGenerator[Event[T], None]:
        """Events after `resource_version`, until the server ends the watch.

        Raises StatusError: 410 (`is_expired`) if the version is too old, 503 if the connection is lost. Close the
        generator (`contextlib.aclosing`) to close the watch at once.
        """
        target = kind_of(kind)
        request = api_pb2.WatchOpen(
            resource=resource_message(target.resource),
            namespace=namespace or "",
            label_selector=labels,
            field_selector=fields,
            resource_version=resource_version,
            allow_bookmarks=bookmarks,
            send_initial_events=send_initial_events,
        )
        batches = self._transport.watch(request)
        try:
            async for batch in batches:
                for event in batch:
                    yield Event(
                        _EVENT_TYPES[event.type],
                        codec.decode(event.object.json, target.type),
                        str(event.object.revision),
                    )
        finally:
            await batches.aclose()

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(self, obj: T, *, kind: type[T] | Kind[T] | Resource | None = None, field_manager: str = "") -> T:
        """The object as stored. `kind` is needed only for a `dict`."""
        return cast(T, await self.write(writes.Create(obj, kind, field_manager)))

    async def update(
        self, obj: T, *, subresource: str = "", kind: type[T] | Kind[T] | Resource | None = None, ref: Any = None
    ) -> T:
        """Replace. `ref` names the parent if `obj` is the body of a subresource of its own kind (Scale)."""
        return cast(T, await self.write(writes.Update(obj, subresource, kind, ref)))

    async def update_status(self, obj: T, *, kind: type[T] | Kind[T] | Resource | None = None) -> T:
        """Replace the status; the rest of `obj` is ignored."""
        return cast(T, await self.write(writes.UpdateStatus(obj, kind=kind)))

    async def patch(
        self,
        kind: type[T] | Kind[T],
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        type: str = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        as_type: Any = None,
    ) -> T:
        """`type` is merge, strategic, json (a list of operations) or apply (server-side; needs `field_manager`)."""
        write = writes.Patch(kind, name, patch, namespace, type, subresource, field_manager, force, as_type)
        return cast(T, await self.write(write))

    async def delete(
        self,
        kind: type[T] | Kind[T] | Resource,
        name: str,
        *,
        namespace: str = "",
        grace_period_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> T:
        """The deleted (or terminating) object, or a Status. `uid` and `resource_version` are preconditions (409)."""
        write = writes.Delete(kind, name, namespace, grace_period_seconds, propagation, uid, resource_version)
        return cast(T, await self.write(write))

    async def create_subresource(self, ref: Any, subresource: str, body: Any) -> Any:
        """POST to `binding`, `eviction` or `token` of an object or `Ref`; answers the body's kind or a Status."""
        return await self.write(writes.CreateSubresource(ref, subresource, body))

    async def bind(self, pod: core_v1.Pod, node: str) -> None:
        await self.write(writes.Bind(pod, node))

    async def write(self, write: writes.Write, timeout: float = CALL_TIMEOUT) -> Any:
        """Any one write."""
        message = write.message()
        which = message.WhichOneof("write")
        assert which is not None
        answer = await self._transport.unary(which.capitalize(), getattr(message, which), timeout)
        return writes.read(answer.json, write.type)

    async def batch(self, many: Sequence[writes.Write]) -> builtins.list[Any]:
        """Many writes in as few calls as sensible. The outcome of each, in order: its object or its StatusError.

        If a call as a whole fails (the apiserver is away), every write in it has that error as its outcome; as with
        any failed call, some of them may have been carried out.
        """
        outcomes: builtins.list[Any] = []
        for start in range(0, len(many), BATCH_SIZE):
            part = many[start : start + BATCH_SIZE]
            request = api_pb2.BatchRequest(writes=[write.message() for write in part])
            try:
                answer = await self._transport.unary("Batch", request)
            except errors.StatusError as error:
                outcomes.extend(error for _ in part)
                continue
            for write, result in zip(part, answer.results, strict=True):
                if result.status:
                    outcomes.append(errors.StatusError(codec.decode(result.status, meta_v1.Status)))
                else:
                    outcomes.append(writes.read(result.object.json, write.type))
        return outcomes
