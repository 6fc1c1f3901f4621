"""Requests as Go's typed clients make them: bodies and answers in protobuf, over plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from api.protobuf import MEDIA_TYPE, envelope
from api.protobuf.wire import read_fields


async def call(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    body: Any = None,
    *,
    accept: str = MEDIA_TYPE,
    code: int = 200,
    **headers: str,
) -> dict[str, Any]:
    """JSON values of the answer, which has to be protobuf."""
    data = envelope.from_json(json.dumps(body).encode()) if body is not None else None
    sent = {"Accept": accept, **headers} | ({"Content-Type": MEDIA_TYPE} if body is not None else {})
    async with session.request(method, url, data=data, headers=sent) as answer:
        read = await answer.read()
        assert answer.headers["Content-Type"] == MEDIA_TYPE, read
        assert answer.status == code, envelope.to_json(read)
        return json.loads(envelope.to_json(read))  # type: ignore[no-any-return]


async def event(content: aiohttp.StreamReader) -> tuple[str, dict[str, Any]]:
    """The next event of a watch: its type, and JSON values of its object."""
    size = int.from_bytes(await content.readexactly(4), "big")
    fields: dict[int, Any] = dict(read_fields(await content.readexactly(size)))
    raw: Any = dict(read_fields(fields[2]))[1]
    return fields[1].decode(), json.loads(envelope.to_json(raw))
