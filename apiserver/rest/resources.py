"""Requests that name a resource: from query parameters and body to an operation, and back."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from api import codec, errors
from api.resources import find
from apiserver import operations
from apiserver.auth import User
from apiserver.endpoint import Endpoint
from apiserver.operations import Call, Reply
from apiserver.pipeline import field_managers, patch, read
from apiserver.pipeline.selection import selection
from apiserver.pipeline.watch import WatchQuery
from apiserver.registry import Registry
from apiserver.rest import answers, bodies, lists, tables, watches
from apiserver.rest.audited import record_of
from apiserver.rest.flags import is_set
from apiserver.rest.negotiate import Media, negotiate
from apiserver.rest.paths import Target
from apiserver.strategy import Context
from apiserver.subresources import component_statuses

_VALIDATIONS = ("Ignore", "Warn", "Strict")


class Resources:
    """`handle` serves one request whose user has been authorized."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def endpoint(self, target: Target) -> Endpoint:
        """Raises StatusError 404 for what is not served."""
        endpoint = self._registry.find(target.group, target.version, target.resource)
        if endpoint is None:
            known = find(target.group, target.version, target.resource)
            if known is None:
                raise answers.not_served()
            endpoint = self._registry.virtual(known)
        resource = endpoint.resource
        if target.subresource and resource.subresource(target.subresource) is None:
            raise answers.not_served()
        if target.namespace and not resource.namespaced and resource.plural != "namespaces":
            raise answers.not_served()
        if target.name and not target.namespace and resource.namespaced:
            raise answers.not_served()
        return endpoint

    async def handle(
        self,
        request: web.BaseRequest,
        target: Target,
        verb: str,
        endpoint: Endpoint,
        user: User,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        resource = endpoint.resource
        warnings: list[str] = []
        ctx = Context(
            user=user,
            registry=self._registry,
            resource=resource,
            namespace=target.namespace if resource.namespaced else "",
            name=target.name,
            subresource=target.subresource,
            warnings=warnings,
            audit=record.annotate if (record := record_of(request)) is not None else None,
        )
        self._check_verb(endpoint, target, verb, request.method)
        if endpoint.strategy.deprecation:
            (headers["Warning"],) = answers.warning_headers([endpoint.strategy.deprecation])
        if verb == "get":
            media = _media(request, endpoint, target)
            call = Call(ctx, endpoint, params=request.query if request.query_string else {})
            return self._answer(endpoint, await operations.run("get", call), media, request, warnings, headers)
        if verb == "list":
            return await self._list(request, target, endpoint, headers)
        if verb == "watch":
            return await self._watch(request, target, endpoint, headers)
        media = _media(request, endpoint, target)
        call = await self._call(request, ctx, endpoint, verb)
        if verb == "deletecollection":
            return await self._delete_collection(request, call, media, headers)
        try:
            reply = await operations.run(verb, call)
        except errors.StatusError as error:
            if not warnings:
                raise
            refused = answers.failure(error, media)
            refused.headers.update(headers)
            for value in answers.warning_headers(warnings):
                refused.headers.add("Warning", value)
            return refused
        return self._answer(endpoint, reply, media, request, warnings, headers)

    @staticmethod
    def _check_verb(endpoint: Endpoint, target: Target, verb: str, method: str) -> None:
        resource = endpoint.resource
        if target.subresource:
            subresource = resource.subresource(target.subresource)
            allowed = subresource.verbs if subresource else ()
        else:
            allowed = resource.verbs
        misplaced = not target.subresource and (
            (verb == "create" and bool(target.name)) or (verb in ("update", "patch") and not target.name)
        )
        if (
            verb not in allowed
            or misplaced
            or (verb in ("create", "deletecollection") and resource.namespaced and not target.namespace)
        ):
            raise method_not_allowed()

    async def _call(self, request: web.BaseRequest, ctx: Context, endpoint: Endpoint, verb: str) -> Call:
        query: Any = request.query
        call = Call(ctx, endpoint, params=query)
        if query:
            self._write_options(call, verb, query)
        if verb == "patch":
            kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
            accepted = patch.ACCEPTED_CUSTOM if endpoint.custom else patch.ACCEPTED
            if kind not in accepted:
                raise errors.unsupported_media_type(accepted)
            call.content_type = kind
            call.body = await bodies.read(request)
        elif verb in ("delete", "deletecollection"):
            if request.can_read_body:
                call.body = await bodies.read_object(request, "v1", "DeleteOptions", needed=False)
        else:
            call.body = await bodies.read_object(request, *_expected(endpoint, ctx.subresource))
        if (record := record_of(request)) is not None and record.wants_request:
            record.request(call.body)
        if not call.validation:
            call.validation = "Warn"
        if not call.ctx.field_manager and call.content_type != patch.APPLY:
            call.ctx.field_manager = field_managers.of_user_agent(request.headers.get("User-Agent", ""))
        return call

    @staticmethod
    def _write_options(call: Call, verb: str, query: Any) -> None:
        causes = []
        validation = query.get("fieldValidation", "")
        if validation and validation not in _VALIDATIONS:
            causes.append(errors.FieldError.not_supported("fieldValidation", validation, _VALIDATIONS))
        call.validation = validation
        dry_run = query.getall("dryRun", [])
        for value in dry_run:
            if value != "All":
                causes.append(errors.FieldError.not_supported("dryRun", value, ("All",)))
        call.ctx.dry_run = bool(dry_run)
        manager = call.ctx.field_manager = query.get("fieldManager", "")
        causes += field_managers.errors_of(manager)
        call.force = is_set(query, "force")
        if causes:
            kind = {"create": "CreateOptions", "patch": "PatchOptions", "update": "UpdateOptions"}
            raise errors.invalid(f"{kind.get(verb, 'DeleteOptions')}.meta.k8s.io", "", causes)

    # -- reads of many --------------------------------------------------------------------------------------------

    async def _list(
        self, request: web.BaseRequest, target: Target, endpoint: Endpoint, headers: dict[str, str]
    ) -> web.StreamResponse:
        query = request.query
        media = _media(request, endpoint, target)
        selected = selection(endpoint, target.namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if "sendInitialEvents" in query:
            cause = errors.FieldError.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
            raise errors.invalid("ListOptions.meta.k8s.io", "", [cause])
        if endpoint.resource.plural == "componentstatuses":
            return answers.answer(await self._component_statuses(endpoint, media), 200, media)
        listing = await read.list_(endpoint, self._registry.feed, selected, list_query(query))
        return await lists.respond(request, endpoint, listing, media, headers)

    async def _component_statuses(self, endpoint: Endpoint, media: Media) -> bytes:
        if media.form != "Table":
            return await component_statuses.list_json(self._registry)
        statuses = await component_statuses.jsons(self._registry)
        return b"".join(tables.table(endpoint, statuses, b"{}", "Metadata", media.version))

    async def _watch(
        self, request: web.BaseRequest, target: Target, endpoint: Endpoint, headers: dict[str, str]
    ) -> web.StreamResponse:
        query = request.query
        media = _media(request, endpoint, target)
        fields = query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}" + (f",{fields}" if fields else "")
        selected = selection(endpoint, target.namespace, query.get("labelSelector", ""), fields)
        options = WatchQuery(
            resource_version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            send_initial_events=is_set(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
            bookmarks=is_set(query, "allowWatchBookmarks"),
            continue_token=query.get("continue", ""),
        )
        return await watches.respond(request, endpoint, self._registry.feed, selected, options, media, headers)

    async def _delete_collection(
        self, request: web.BaseRequest, call: Call, media: Media, headers: dict[str, str]
    ) -> web.StreamResponse:
        query = request.query
        endpoint = call.endpoint
        selected = selection(
            endpoint, call.ctx.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        listing, records = await operations.delete_collection(call, selected, list_query(query))
        listing.entries = [endpoint.entry(record) for record in records]
        return await lists.respond(request, endpoint, listing, media, headers)

    # -- answers --------------------------------------------------------------------------------------------------

    def _answer(
        self,
        endpoint: Endpoint,
        reply: Reply,
        media: Media,
        request: web.BaseRequest,
        warnings: list[str],
        headers: dict[str, str],
    ) -> web.Response:
        json = reply.json
        if media.form != "object" and reply.revision and not json.startswith(b'{"apiVersion":"v1","kind":"Status"'):
            if media.form == "Table" and json.startswith(tables.SCALE):
                json = tables.scale_table(json, media.version)
            elif media.form == "Table":
                include = tables.check_include(request.query.get("includeObject", ""))
                stored = endpoint.encode_served(json)
                metadata = tables.object_metadata(json)
                json = b"".join(tables.table(endpoint, [stored], metadata, include, media.version))
            else:
                json = tables.partial(json, media.version)
        response = answers.answer(json, reply.code, media)
        response.headers.update(headers)
        for value in answers.warning_headers(warnings):
            response.headers.add("Warning", value)
        return response


def _media(request: web.BaseRequest, endpoint: Endpoint, target: Target) -> Media:
    custom = endpoint.custom and target.subresource != "scale"
    asked = endpoint.resource.subresource(target.subresource) if target.subresource else endpoint.resource
    tables = asked is None or tuple(asked.verbs) != ("create",)
    return negotiate(request.headers.get("Accept", ""), custom=custom, tables=tables)


def _expected(endpoint: Endpoint, subresource: str) -> tuple[str, str]:
    """apiVersion and kind of the body of a create or an update."""
    resource = endpoint.resource
    found = resource.subresource(subresource) if subresource else None
    if found is None:
        return resource.api_version, resource.kind
    return f"{found.group}/{found.version}".removeprefix("/"), found.kind


def list_query(query: Any) -> read.ListQuery:
    """Version and paging options. Raises StatusError 400."""
    text = query.get("limit", "")
    try:
        limit = int(text) if text else 0
    except ValueError:
        raise errors.bad_request(f'invalid limit: strconv.ParseInt: parsing "{text}": invalid syntax') from None
    return read.ListQuery(
        query.get("resourceVersion", ""),
        query.get("resourceVersionMatch", ""),
        max(0, limit),
        query.get("continue", ""),
    )


def method_not_allowed() -> errors.StatusError:
    """405 in the words of upstream's router."""
    from api.types.meta_v1 import Status, StatusDetails

    return errors.StatusError(
        Status(
            status="Failure",
            code=405,
            reason="MethodNotAllowed",
            message="the server does not allow this method on the requested resource",
            details=StatusDetails(),
        )
    )


def status_json(error: errors.StatusError) -> bytes:
    return codec.encode(error.status)
