"""LIST: the head, the shared bytes of every object, the tail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec
from aiohttp import web

from api import codec
from api.resources import Resource
from api.types.meta_v1 import ListMeta
from apiserver.endpoint import Endpoint
from apiserver.pipeline.read import Listing
from apiserver.rest import answers, tables
from apiserver.rest.audited import record_of
from apiserver.rest.bodies import to_yaml
from apiserver.rest.negotiate import Media

Piece = bytes | memoryview
T = TypeVar("T", bytes, Piece)
_WHOLE = 64 * 1024  # bytes: below this a list is one response, not a stream
_TURN = 500  # rows made in one turn of the event loop: some milliseconds


def list_metadata(listing: Listing) -> bytes:
    """JSON of ListMeta."""
    return codec.encode(
        ListMeta(
            resource_version=str(listing.revision),
            continue_=listing.continue_token or None,
            remaining_item_count=listing.remaining,
        )
    )


def pieces(endpoint: Endpoint, listing: Listing, media: Media, include: str) -> Sequence[Piece] | Iterator[bytes]:
    """The body of a list in whatever form of JSON."""
    metadata = list_metadata(listing)
    if media.form == "Table":
        jsons = (entry.json for entry in listing.entries)
        return tables.table(endpoint, jsons, metadata, include, media.version)
    if media.form != "object":
        head = b'{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/%b","metadata":%b,"items":[' % (
            media.version.encode(),
            metadata,
        )
        items = [tables.partial(entry.json, media.version) for entry in listing.entries]
    else:
        resource = endpoint.resource
        head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
            (resource.list_kind or resource.kind + "List").encode(),
            resource.api_version.encode(),
            metadata,
        )
        if endpoint.conversion is None:
            items = [entry.json for entry in listing.entries]
        else:
            items = [endpoint.render(entry.json) for entry in listing.entries]
        if not endpoint.custom:
            return [head, *_bare(items, resource), b"]}"]
    return [head, *_separated(items, b","), b"]}"]


def _bare(items: list[bytes], resource: Resource) -> list[Piece]:
    """Items of a list of Go's types do not repeat the kind that the list has, unlike those of custom kinds."""
    kind = b'"apiVersion":"%b","kind":"%b",' % (resource.api_version.encode(), resource.kind.encode())
    start = b"{" + kind
    views = [memoryview(item)[len(start) if item.startswith(start) else 1 :] for item in items]
    return [b"{", *_separated(views, b",{")] if views else []


def _separated(items: Sequence[Piece], separator: bytes) -> list[Piece]:
    if not items:
        return []
    mixed: list[Piece] = [separator] * (2 * len(items) - 1)
    mixed[::2] = items
    return mixed


async def _made(pieces: Iterable[T]) -> list[T]:
    """All pieces. Making the rows of a long Table takes a while: others get their turn in between."""
    made = []
    for number, piece in enumerate(pieces, start=1):
        made.append(piece)
        if number % _TURN == 0:
            await asyncio.sleep(0)
    return made


async def _protobuf(endpoint: Endpoint, listing: Listing, media: Media) -> list[bytes]:
    from api.protobuf import envelope
    from apiserver.rest import messages

    encode = messages.encoder(endpoint, media)
    items = await _made(encode(entry, entry.json) for entry in listing.entries)
    metadata = list_metadata(listing)
    if media.form != "object":
        return envelope.list_pieces(f"meta.k8s.io/{media.version}", "PartialObjectMetadataList", metadata, items)
    resource = endpoint.resource
    return envelope.list_pieces(resource.api_version, resource.list_kind or resource.kind + "List", metadata, items)


async def respond(
    request: web.BaseRequest, endpoint: Endpoint, listing: Listing, media: Media, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a list."""
    include = tables.check_include(request.query.get("includeObject", "")) if media.form == "Table" else ""
    await endpoint.prepare(entry.json for entry in listing.entries)
    if media.protobuf:
        parts: Sequence[Piece] | Iterator[bytes] = await _protobuf(endpoint, listing, media)
    else:
        parts = pieces(endpoint, listing, media, include)
    if media.form == "Table" or media.yaml:
        parts = await _made(parts)
    assert isinstance(parts, Sequence)
    length = sum(map(len, parts))
    if media.yaml:
        return web.Response(body=to_yaml(b"".join(parts)), content_type="application/yaml", headers=headers)
    if length <= _WHOLE:
        return web.Response(body=b"".join(parts), content_type=media.type, headers=headers)
    if (record := record_of(request)) is not None and record.wants_response:
        record.response(answers.as_json(b"".join(parts), media.type))
    return await answers.stream(request, web.StreamResponse(headers=headers), iter(parts), length, media.type)


def revision_of(json: bytes) -> str:
    """The resourceVersion in an object's JSON."""
    return str(msgspec.json.decode(json)["metadata"].get("resourceVersion", ""))
