"""The same API over plain REST, for what runs in a pod: a service-account token is its identity, as for anybody's pod.

The gRPC face asks for a client certificate, which pods do not have. `in_cluster()` connects as every Kubernetes client
does in a pod: to `KUBERNETES_SERVICE_HOST`, with the token and the CA that the kubelet mounted. It works against any
Kubernetes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from api import codec, errors
from api.types import meta_v1
from client.api import Api
from client.transport import CALL_TIMEOUT
from proto import api_pb2

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LIST_PAGE = 500
_EVENT_NUMBERS = dict(api_pb2.WatchEvent.Type.items())


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int = 0


class _Versioned(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _RawList(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    items: list[msgspec.Raw] = msgspec.field(default_factory=list)


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class RestTransport:
    """`client.transport.Transport` over HTTPS. The token file is read for each request, since kubelets rotate it."""

    def __init__(self, server: str, *, ca: str | Path, token_file: str | Path) -> None:
        self._server = server.rstrip("/")
        self._token_file = Path(token_file)
        self._ssl = ssl.create_default_context(cafile=str(ca))
        self._session: aiohttp.ClientSession | None = None

    async def unary(self, method: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        if method == "Batch":
            results = await asyncio.gather(*(self._outcome(write, timeout) for write in request.writes))
            return api_pb2.BatchResponse(results=results)
        path = _path(request.resource, request.namespace, request.name)
        if getattr(request, "subresource", ""):
            path += f"/{request.subresource}"
        params: dict[str, str] = {}
        headers = {"Content-Type": "application/json"}
        body: bytes | None = None
        if method == "Get":
            params["resourceVersion"] = request.resource_version
        elif method == "Delete":
            body = request.options or None
        else:
            body = request.patch if method == "Patch" else request.json
            params["fieldManager"] = request.options.field_manager
            params["fieldValidation"] = request.options.field_validation
            params["dryRun"] = "All" if request.options.dry_run else ""
        if method == "Patch":
            headers["Content-Type"] = request.content_type
            params["force"] = "true" if request.force else ""
        verb = {"Get": "GET", "Create": "POST", "Update": "PUT", "Patch": "PATCH", "Delete": "DELETE"}[method]
        data = await self._call(verb, path, params, body, headers, timeout)
        return api_pb2.Object(json=data, revision=_revision(data))

    async def raw(self, path: str, timeout: float = CALL_TIMEOUT) -> bytes:
        """What a path answers that is no object, such as a node's metrics. Raises StatusError. `timeout` in seconds."""
        return await self._call("GET", path, {}, timeout=timeout)

    async def list(self, request: api_pb2.ListRequest) -> AsyncIterator[api_pb2.ListPage]:
        params = {**_selectors(request), **request.query}
        params["resourceVersion"] = request.resource_version
        params["resourceVersionMatch"] = request.resource_version_match
        # "0" asks for the server's cache, which does not page; anything else is read page by page.
        params["limit"] = str(request.limit or ("" if request.resource_version else _LIST_PAGE))
        params["continue"] = request.continue_token
        while True:
            data = await self._call("GET", _path(request.resource, request.namespace), params)
            page = msgspec.json.decode(data, type=_RawList)
            last = bool(request.limit) or not page.metadata.continue_
            yield api_pb2.ListPage(
                items=[api_pb2.Object(json=bytes(item), revision=_revision(bytes(item))) for item in page.items],
                revision=int(page.metadata.resource_version or 0),
                continue_token=page.metadata.continue_ if last else "",
                remaining_item_count=page.metadata.remaining_item_count,
                last=last,
            )
            if last:
                return
            params |= {"continue": page.metadata.continue_, "resourceVersion": "", "resourceVersionMatch": ""}

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def watch(self, request: api_pb2.WatchOpen) -> AsyncGenerator[Sequence[api_pb2.WatchEvent], None]:
        params = _selectors(request)
        params |= {"watch": "true", "resourceVersion": request.resource_version}
        params["allowWatchBookmarks"] = "true" if request.allow_bookmarks else ""
        if request.send_initial_events:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        # No total limit: a watch lasts until the server ends it. A silent peer is noticed by its bookmarks' absence.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT, sock_read=5 * CALL_TIMEOUT)
        try:
            async with self._open().get(
                self._server + _path(request.resource, request.namespace),
                params=_given(params),
                headers=self._headers(),
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    events = [_event(line) for line in lines if line.strip()]
                    if events:
                        yield events
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.service_unavailable(str(error) or type(error).__name__) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _outcome(self, write: api_pb2.Write, timeout: float) -> api_pb2.WriteResult:
        which = write.WhichOneof("write")
        assert which is not None
        try:
            return api_pb2.WriteResult(object=await self.unary(which.capitalize(), getattr(write, which), timeout))
        except errors.StatusError as error:
            return api_pb2.WriteResult(status=codec.encode(error.status))

    async def _call(
        self,
        verb: str,
        path: str,
        params: dict[str, str],
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> bytes:
        try:
            async with self._open().request(
                verb,
                self._server + path,
                params=_given(params),
                data=body,
                headers=self._headers() | (headers or {}),
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as response:
                data = await response.read()
                if response.status >= 400:
                    raise _refusal(response.status, data)
                return data
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.service_unavailable(str(error) or type(error).__name__) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._ssl))
        return self._session

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}", "Accept": "application/json"}


def in_cluster() -> Api:
    """The API of the cluster that this process' pod runs in. Raises RuntimeError outside of a pod."""
    return Api(in_cluster_transport())


def in_cluster_transport() -> RestTransport:
    """The same, for who also needs paths that are no objects."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").exists():
        raise RuntimeError("not in a pod: KUBERNETES_SERVICE_HOST or the service-account token is missing")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return RestTransport(server, ca=SERVICE_ACCOUNT / "ca.crt", token_file=SERVICE_ACCOUNT / "token")


def _path(resource: api_pb2.Resource, namespace: str = "", name: str = "") -> str:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    parts = [root]
    if namespace:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(resource.resource)
    if name:
        parts.append(quote(name, safe=""))
    return "/".join(parts)


def _selectors(request: Any) -> dict[str, str]:
    return {"labelSelector": request.label_selector, "fieldSelector": request.field_selector}


def _given(params: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in params.items() if value}


def _revision(data: bytes) -> int:
    version = msgspec.json.decode(data, type=_Versioned).metadata.resource_version
    return int(version) if version else 0


def _event(line: bytes) -> api_pb2.WatchEvent:
    event = msgspec.json.decode(line, type=_RawEvent)
    data = bytes(event.object)
    if event.type == "ERROR":
        raise errors.StatusError(codec.decode(data, meta_v1.Status))
    number: Any = _EVENT_NUMBERS[event.type]
    return api_pb2.WatchEvent(type=number, object=api_pb2.Object(json=data, revision=_revision(data)))


def _refusal(code: int, body: bytes) -> errors.StatusError:
    """The server's Status, or one made from the code where something in between has answered."""
    try:
        return errors.StatusError(codec.decode(body, meta_v1.Status))
    except (msgspec.DecodeError, ValueError):
        text = body.decode(errors="replace")[:200].strip()
        if code == 401:
            return errors.unauthorized(text or "Unauthorized")
        return errors.service_unavailable(f"the server answered {code}: {text}")
