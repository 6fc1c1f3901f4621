"""/openapi/v2 and /openapi/v3: made at first request, in a thread, and kept."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from api import codec, errors
from api.resources import Resource
from apiserver.aggregation.openapi import Documents, hash_of
from apiserver.rest import openapi_v2_protobuf
from apiserver.rest.discovery import Discovery
from apiserver.rest.health import VERSION
from apiserver.rest.negotiate import clauses
from apiserver.rest.openapi_paths import Paths
from apiserver.rest.openapi_schemas import Schemas

_SECURITY = {"BearerToken": {"description": "Bearer Token authentication", "in": "header", "name": "authorization"}}
_JSON_TYPES = ("application/json", "*/*", "application/*", "application/openapi+json")


class OpenAPI:
    """Serves the documents."""

    def __init__(self, discovery: Discovery, remote: Documents | None = None) -> None:
        self._discovery = discovery
        self._remote = remote or Documents()
        self._documents: dict[str, bytes] = {}
        self._making = asyncio.Lock()

    def changed(self) -> None:
        """A resource came or went."""
        self._documents.clear()

    async def respond(self, request: web.BaseRequest) -> web.Response | None:
        """The document at this path. Raises StatusError 406 for media types that nobody asks for."""
        path = request.path.rstrip("/")
        accept = request.headers.get("Accept", "")
        protobuf = path == "/openapi/v2" and any(t in accept for t in openapi_v2_protobuf.ACCEPTED)
        if path == "/openapi/v2":
            document = await self._document("v2.pb" if protobuf else "v2")
        elif path == "/openapi/v3":
            links = {name: await self._link(name) for name in self._names()} | self._remote_links()
            document = codec.encode({"paths": links})
        elif path.startswith("/openapi/v3/") and (name := path.removeprefix("/openapi/v3/")) in self._names():
            document = await self._document(name)
        elif path.startswith("/openapi/v3/") and (found := self._remote_v3(path.removeprefix("/openapi/v3/"))):
            document = found
        else:
            return None
        if accept and not protobuf and not any(clause.type in _JSON_TYPES for clause in clauses(accept)):
            raise errors.not_acceptable(("application/json",))
        etag = f'"{hash_of(document)}"'
        headers = {"ETag": etag, "Vary": "Accept"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        media_type = openapi_v2_protobuf.MEDIA_TYPE if protobuf else "application/json"
        response = web.Response(body=document, headers={"Content-Type": media_type, **headers})
        response.enable_compression()
        return response

    def _names(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for group, versions in self._discovery.groups(local=True).items():
            for version, resources in versions.items():
                found[f"apis/{group}/{version}" if group else f"api/{version}"] = resources
        return found

    def _remote_links(self) -> dict[str, dict[str, str]]:
        """Where the documents of other servers are shown."""
        own, links = self._names(), {}
        for group, versions in self._discovery.groups().items():
            for version in versions:
                name = f"apis/{group}/{version}"
                if name not in own and (document := self._remote.v3(group, version)):
                    links[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={hash_of(document)}"}
        return links

    def _remote_v3(self, name: str) -> bytes:
        parts = name.split("/")
        return self._remote.v3(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "apis" else b""

    async def _link(self, name: str) -> dict[str, str]:
        # The hash lets clients cache for ever; it has to change with the resources only.
        known = [
            (r.plural, r.kind, sorted(r.verbs), r.subresources, getattr(r.type, "openapi", None))
            for r in self._names()[name]
        ]
        return {"serverRelativeURL": f"/openapi/v3/{name}?hash={hash_of(codec.encode([VERSION.git_version, known]))}"}

    async def _document(self, name: str) -> bytes:
        async with self._making:
            if name not in self._documents:
                make = {"v2": self._v2, "v2.pb": self._v2_protobuf}.get(name, self._v3)
                self._documents[name] = await asyncio.to_thread(make, name)
            return self._documents[name]

    def _v3(self, name: str) -> bytes:
        schemas = Schemas("#/components/schemas/", v3=True)
        resources = self._names()[name]
        for resource in resources:
            schemas.mark(resource)
        paths = Paths(schemas, v3=True)
        for resource in resources:
            paths.add(resource)
        return codec.encode(
            {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": VERSION.git_version},
                "paths": paths.found,
                "components": {
                    "schemas": schemas.found,
                    "securitySchemes": {"BearerToken": {"type": "apiKey", **_SECURITY["BearerToken"]}},
                },
            }
        )

    def _v2_protobuf(self, _name: str) -> bytes:
        return openapi_v2_protobuf.document(self._v2_document())

    def _v2(self, _name: str) -> bytes:
        return codec.encode(self._v2_document())

    def _v2_document(self) -> dict[str, Any]:
        schemas = Schemas("#/definitions/", v3=False)
        everything = [resource for resources in self._names().values() for resource in resources]
        for resource in everything:
            schemas.mark(resource)
        paths = Paths(schemas, v3=False)
        for resource in everything:
            paths.add(resource)
        made = {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": VERSION.git_version},
            "paths": paths.found,
            "definitions": schemas.found,
            "securityDefinitions": {"BearerToken": {"type": "apiKey", **_SECURITY["BearerToken"]}},
            "security": [{"BearerToken": []}],
        }
        self._remote.merge_v2(made)
        return made
