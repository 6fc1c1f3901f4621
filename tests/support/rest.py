"""HTTP requests to the server of a test, as any client makes them. The fixture `rest` is bound to `api_server`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

from apiserver.server import Server


class Rest:
    """Requests to the server of a test."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self, method: str, path: str, body: Any = None, *, code: int | None = None, **headers: str
    ) -> dict[str, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            text = await answer.text()
            if code is not None:
                assert answer.status == code, text
            self.last = answer
            if answer.content_type == "application/json":
                return json.loads(text)  # type: ignore[no-any-return]
            return {"text": text, "code": answer.status}


@pytest_asyncio.fixture
async def rest(api_server: Server) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(session, api_server.rest_url)
