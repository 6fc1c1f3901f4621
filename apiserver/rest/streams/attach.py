"""`pods/attach`."""

from __future__ import annotations

from aiohttp import web

from apiserver.rest.streams import terminal
from apiserver.rest.streams.table import Request, streams


@streams("pods", "attach")
async def attach(request: Request) -> web.StreamResponse:
    """Join the streams of a container's main process."""
    return await terminal.serve(request, "Attach", [])
