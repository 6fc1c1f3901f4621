"""`pods/exec`."""

from __future__ import annotations

from aiohttp import web

from api import errors
from apiserver.rest.streams import terminal
from apiserver.rest.streams.table import Request, streams


@streams("pods", "exec")
async def execute(request: Request) -> web.StreamResponse:
    """Run a command in a container."""
    command = request.http.query.getall("command", [])
    if not command:
        raise errors.bad_request("you must specify at least one command for the container")
    return await terminal.serve(request, "Exec", list(command))
