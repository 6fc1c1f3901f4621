"""Waiting for one object to become something, across broken watches and a restarting server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cli.env import Env
from cli.errors import ApiError, ConnectionFailed, Object
from cli.objects import dig
from cli.resources import Target

PATIENCE = 30.0


async def until(env: Env, target: Target, test: Callable[[Object], bool], *, start: Object) -> bool:
    """True once `test` holds for the object, beginning with the state `start`; False when it is deleted.

    Watches that end are begun again; a server that is away is forgiven for `PATIENCE` seconds at a time. The caller
    sets the overall limit. What `test` raises ends the wait.
    """
    obj = start
    loop = asyncio.get_running_loop()
    away_since: float | None = None
    while True:
        if test(obj):
            return True
        query = {
            "fieldSelector": f"metadata.name={target.name}",
            "resourceVersion": dig(obj, "metadata", "resourceVersion"),
        }
        try:
            async for event in env.client.events(target.collection, query=query):
                away_since = None
                kind = event.get("type")
                if kind == "DELETED":
                    return False
                if kind != "BOOKMARK" and test(event.get("object") or {}):
                    return True
            await asyncio.sleep(0.2)
            obj = await env.client.get(target.path)
        except ApiError as problem:
            if problem.is_not_found:
                return False
            if problem.code not in (410, 429, 500, 503, 504):
                raise
            await asyncio.sleep(0.5)
            if problem.code == 410:
                obj = await env.client.get(target.path)
        except ConnectionFailed:
            away_since = away_since or loop.time()
            if loop.time() - away_since > PATIENCE:
                raise
            await asyncio.sleep(0.5)
