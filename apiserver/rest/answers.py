"""From results and errors to HTTP responses."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator

import msgspec
from aiohttp import web

from api import codec, errors
from api.protobuf import MEDIA_TYPE
from api.types.meta_v1 import Status, StatusDetails
from apiserver.rest.bodies import to_yaml
from apiserver.rest.flags import is_set
from apiserver.rest.negotiate import Media

_GZIP_FROM = 128 * 1024  # bytes, as upstream
_CHUNK = 1 << 20


def not_served() -> errors.StatusError:
    """404 for a path that names nothing this server knows."""
    return errors.StatusError(
        Status(
            status="Failure",
            code=404,
            reason="NotFound",
            message="the server could not find the requested resource",
            details=StatusDetails(),
        )
    )


def warning_headers(messages: Iterable[str]) -> list[str]:
    """Values of Warning headers (RFC 7234, as KEP-1693 uses them)."""
    found = []
    for message in messages:
        printable = "".join(char if char.isprintable() else " " for char in message)
        escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
        found.append(f'299 - "{escaped}"')
    return found


def answer(json: bytes, code: int = 200, media: Media | None = None) -> web.Response:
    """A whole body in the media type asked for."""
    if media is None:
        media = Media()
    return web.Response(body=encoded(json, media), status=code, content_type=media.type)


def encoded(json: bytes, media: Media) -> bytes:
    """An object's JSON in another media type."""
    if media.yaml:
        return to_yaml(json)
    if media.protobuf:
        from api.protobuf import envelope

        return envelope.from_json(json)
    return json


#: The media types of answers that are objects.
OBJECTS = ("application/json", "application/yaml", MEDIA_TYPE)


def as_json(body: bytes, content_type: str) -> bytes:
    """What a body says, for those who read JSON only."""
    if content_type != MEDIA_TYPE:
        return body
    from api.protobuf import envelope

    return envelope.to_json(body)


_PEOPLE = ("curl", "Wget", "Mozilla/5.0")  # clients whose answers are read by people, as upstream has it


def wants_pretty(request: web.BaseRequest) -> bool:
    """Whether the client asked for indented JSON, or looks like somebody who would have."""
    if "pretty" in request.query_string and "pretty" in request.query:
        return is_set(request.query, "pretty")
    return request.headers.get("User-Agent", "").startswith(_PEOPLE)


def indent(response: web.StreamResponse) -> None:
    """Make a whole body of JSON easy to read; streams stay as they are."""
    if isinstance(response, web.Response) and response.content_type == "application/json":
        body = response.body
        if isinstance(body, bytes) and body:
            response.body = msgspec.json.format(body, indent=2)


def failure(error: errors.StatusError, media: Media | None = None) -> web.Response:
    """A Status, with Retry-After where it says so."""
    response = answer(codec.encode(error.status), error.code, media)
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def text(body: str, code: int = 200) -> web.Response:
    response = web.Response(text=body, status=code)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def stream(
    request: web.BaseRequest,
    response: web.StreamResponse,
    pieces: Iterator[bytes | memoryview],
    length: int,
    content_type: str = "application/json",
) -> web.StreamResponse:
    """A long body in pieces, compressed if the client takes that and it is long enough to be worth it."""
    response.content_type = content_type
    if length > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        return await _compressed(request, response, pieces)
    response.content_length = length
    await response.prepare(request)
    for chunk in _chunks(pieces):
        await response.write(chunk)
    await response.write_eof()
    return response


async def _compressed(
    request: web.BaseRequest, response: web.StreamResponse, pieces: Iterator[bytes | memoryview]
) -> web.StreamResponse:
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.enable_chunked_encoding()
    await response.prepare(request)
    # zlib releases the interpreter: the other requests go on meanwhile.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    loop = asyncio.get_running_loop()
    for chunk in _chunks(pieces):
        packed = await loop.run_in_executor(None, compressor.compress, chunk)
        if packed:
            await response.write(packed)
    await response.write(compressor.flush())
    await response.write_eof()
    return response


def _chunks(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    collected: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        collected.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(collected)
            collected, size = [], 0
    if collected:
        yield b"".join(collected)
