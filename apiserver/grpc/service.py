"""The `Api` service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from api import codec, errors
from api.resources import find
from apiserver import operations
from apiserver.aggregation.aggregator import Aggregator
from apiserver.audit.record import Auditor
from apiserver.auth import Attributes, Credentials, User
from apiserver.auth.authorizers import selected_name
from apiserver.auth.x509 import certificate_of_grpc
from apiserver.endpoint import Endpoint
from apiserver.entries import Entry
from apiserver.failures import status_error
from apiserver.gate import Gate
from apiserver.grpc import audited, remote
from apiserver.grpc.codes import code_of, trailers
from apiserver.grpc.watches import WatchSession
from apiserver.operations import Call, Reply
from apiserver.pipeline import field_managers, patch, read
from apiserver.pipeline.selection import selection
from apiserver.registry import Registry
from apiserver.strategy import Context
from proto import api_pb2, api_pb2_grpc

_PAGE_ITEMS = 500
_PAGE_BYTES = 1 << 20
_BATCH_CONCURRENCY = 64


class ApiService(api_pb2_grpc.ApiServicer):  # type: ignore[misc,unused-ignore]
    """Every method answers an error as a gRPC status with `status-bin` metadata."""

    def __init__(
        self,
        registry: Registry,
        gate: Gate,
        auditor: Auditor | None = None,
        aggregator: Aggregator | None = None,
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._auditor = auditor
        self._aggregator = aggregator
        self._sessions: set[WatchSession] = set()

    # -- unary ----------------------------------------------------------------------------------------------------

    async def Get(self, request: Any, context: Any) -> Any:
        return await self._unary(context, self._get, request)

    async def Create(self, request: Any, context: Any) -> Any:
        return await self._unary(context, self._create, request)

    async def Update(self, request: Any, context: Any) -> Any:
        return await self._unary(context, self._update, request)

    async def Patch(self, request: Any, context: Any) -> Any:
        return await self._unary(context, self._patch, request)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await self._unary(context, self._delete, request)

    async def _unary(self, context: Any, operation: Any, request: Any) -> Any:
        try:
            user = await self._user(context)
            if operation == self._get and (aggregator := self._remote(request.resource)) is not None:
                self._judge(remote.attributes(user, "get", request))
                found = await remote.get(aggregator, user, request)
                audited.answered()
                return found
            reply = await operation(user, request)
            audited.answered(reply)
            return message(reply)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            audited.answered(error=error)
            await refuse(context, error)

    async def _get(self, user: User, request: Any) -> Reply:
        call = self._call(user, "get", request, name=request.name)
        if request.resource_version:
            call.params = {"resourceVersion": request.resource_version}
        return await operations.run("get", call)

    async def _create(self, user: User, request: Any) -> Reply:
        call = self._call(user, "create", request, name=request.name)
        call.body = request.json
        self._options(call, request.options)
        return await operations.run("create", call)

    async def _update(self, user: User, request: Any) -> Reply:
        call = self._call(user, "update", request, name=request.name)
        call.body = request.json
        self._options(call, request.options)
        return await operations.run("update", call)

    async def _patch(self, user: User, request: Any) -> Reply:
        call = self._call(user, "patch", request, name=request.name)
        call.body, call.content_type, call.force = request.patch, request.content_type, request.force
        self._options(call, request.options)
        return await operations.run("patch", call)

    async def _delete(self, user: User, request: Any) -> Reply:
        call = self._call(user, "delete", request, name=request.name)
        call.body = request.options
        if (record := audited.current()) is not None and record.wants_request:
            record.request(call.body)
        return await operations.run("delete", call)

    # -- many writes ----------------------------------------------------------------------------------------------

    async def Batch(self, request: Any, context: Any) -> Any:
        try:
            user = await self._user(context)
        except Exception as error:
            await refuse(context, error)
        gate = asyncio.Semaphore(_BATCH_CONCURRENCY)
        table = {"create": self._create, "update": self._update, "patch": self._patch, "delete": self._delete}

        async def one(write: Any) -> Any:
            kind = write.WhichOneof("write")
            try:
                if kind is None:
                    raise errors.bad_request("an empty write")
                async with gate:
                    reply = await table[kind](user, getattr(write, kind))
                audited.answered(reply)
                return api_pb2.WriteResult(object=message(reply))
            except Exception as error:
                audited.answered(error=error)
                return api_pb2.WriteResult(status=codec.encode(status_error(error).status))

        return api_pb2.BatchResponse(results=await asyncio.gather(*map(one, request.writes)))

    # -- streams --------------------------------------------------------------------------------------------------

    async def List(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            user = await self._user(context)
            if (aggregator := self._remote(request.resource)) is not None:
                self._judge(remote.attributes(user, "list", request))
                page_of_others = await remote.list_page(aggregator, user, request)
                audited.answered()
                yield page_of_others
                return
            endpoint = self._endpoint(request.resource)
            self._authorize(user, "list", endpoint, request.namespace, fields=request.field_selector)
            selected = selection(endpoint, request.namespace, request.label_selector, request.field_selector)
            query = read.ListQuery(
                request.resource_version, request.resource_version_match, request.limit, request.continue_token
            )
            listing = await read.list_(endpoint, self._registry.feed, selected, query)
            await endpoint.prepare(entry.json for entry in listing.entries)
            audited.answered()
        except Exception as error:
            audited.answered(error=error)
            await refuse(context, error)
            return
        page: list[Any] = []
        size = 0
        for entry in listing.entries:
            if page and (len(page) >= _PAGE_ITEMS or size + len(entry.json) > _PAGE_BYTES):
                yield api_pb2.ListPage(items=page, revision=listing.revision)
                page, size = [], 0
            page.append(_object(endpoint, entry))
            size += len(entry.json)
        yield api_pb2.ListPage(
            items=page,
            revision=listing.revision,
            continue_token=listing.continue_token,
            remaining_item_count=listing.remaining or 0,
            last=True,
        )

    async def Watch(self, request_iterator: Any, context: Any) -> None:
        try:
            user = await self._user(context)
        except Exception as error:
            await refuse(context, error)
        session = WatchSession(self._registry, context.write, lambda request: self._watched(user, request))
        self._sessions.add(session)
        try:
            await session.run(request_iterator)
        finally:
            self._sessions.discard(session)

    def stop_watches(self) -> None:
        """End all watch streams, so that the server can stop."""
        for session in self._sessions:
            session.stop()

    def _watched(self, user: User, request: Any) -> Endpoint:
        endpoint = self._endpoint(request.resource)
        self._authorize(user, "watch", endpoint, request.namespace, fields=request.field_selector)
        return endpoint

    # -- common ---------------------------------------------------------------------------------------------------

    async def _user(self, context: Any) -> User:
        if self._auditor is not None:
            audited.arrived(context)
        if self._gate.open:
            return await self._gate.authenticate(Credentials())
        return await self._gate.authenticate(Credentials(certificate=certificate_of_grpc(context.auth_context())))

    def _remote(self, resource: Any) -> Aggregator | None:
        """Whom to ask for a resource that another server serves."""
        path = f"/apis/{resource.group}/{resource.version}"
        served = self._aggregator is not None and resource.group and self._aggregator.service(path) is not None
        return self._aggregator if served else None

    def _endpoint(self, resource: Any) -> Endpoint:
        endpoint = self._registry.find(resource.group, resource.version, resource.resource)
        if endpoint is None:
            raise unknown(resource)
        return endpoint

    def _call(self, user: User, verb: str, request: Any, *, name: str) -> Call:
        resource = request.resource
        endpoint = self._registry.find(resource.group, resource.version, resource.resource)
        subresource = getattr(request, "subresource", "")
        if endpoint is None:
            known = find(resource.group, resource.version, resource.resource)
            if known is None:
                raise unknown(resource)
            endpoint = self._registry.virtual(known)
        self._authorize(user, verb, endpoint, request.namespace, name, subresource)
        ctx = Context(
            user=user,
            registry=self._registry,
            resource=endpoint.resource,
            namespace=request.namespace if endpoint.resource.namespaced else "",
            name=name,
            subresource=subresource,
            audit=record.annotate if (record := audited.current()) is not None else None,
        )
        return Call(ctx, endpoint)

    @staticmethod
    def _options(call: Call, options: Any) -> None:
        if (record := audited.current()) is not None and record.wants_request:
            record.request(call.body)
        if causes := field_managers.errors_of(options.field_manager):
            raise errors.invalid("WriteOptions", "", causes)
        if options.field_manager or call.content_type != patch.APPLY:
            call.ctx.field_manager = options.field_manager or field_managers.of_user(call.ctx.user)
        call.validation = options.field_validation
        call.ctx.dry_run = options.dry_run

    def _authorize(
        self,
        user: User,
        verb: str,
        endpoint: Endpoint,
        namespace: str,
        name: str = "",
        subresource: str = "",
        fields: str = "",
    ) -> None:
        if self._gate.open and self._auditor is None:
            return
        resource = endpoint.resource
        attributes = Attributes(
            user=user,
            verb=verb,
            group=resource.group,
            version=resource.version,
            resource=resource.plural,
            subresource=subresource,
            namespace=namespace,
            name=name or selected_name(fields),
            field_selector=fields,
        )
        self._judge(attributes)

    def _judge(self, attributes: Attributes) -> None:
        if self._gate.open and self._auditor is None:
            return
        record = audited.begin(self._auditor, attributes) if self._auditor is not None else None
        self._gate.authorize(attributes, record)


def unknown(resource: Any) -> errors.StatusError:
    return errors.generic(404, "get", f"{resource.resource}.{resource.group}".rstrip("."), "", "")


def message(reply: Reply) -> Any:
    return api_pb2.Object(json=reply.json, revision=reply.revision)


def _object(endpoint: Endpoint, entry: Entry) -> Any:
    return api_pb2.Object(json=endpoint.render(entry.json), revision=entry.revision)


async def refuse(context: Any, error: Exception) -> None:
    """End the call with this error."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    known = status_error(error)
    await context.abort(code_of(known), known.message[:1000], trailing_metadata=trailers(known))
