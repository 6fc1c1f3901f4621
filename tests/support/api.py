"""An API server in this process for tests of everything that talks to one: the real pipeline on a store in memory.

`api` is a connected `client.api.Api`, over a unix socket and without authentication. `api_server` is the server behind
it, for tests that look inside. Import both into a test module or its conftest:
`from tests.support.api import api, api_server  # noqa: F401`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest_asyncio

from apiserver import bootstrap
from apiserver.admission import AdmissionPlugin
from apiserver.kubelets import Kubelets
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.server import Faces, Server, serve
from apiserver.store import Store
from apiserver.store.memory import MemoryStore
from client.api import Api


@contextlib.asynccontextmanager
async def running(
    store: Store | None = None, *, admission: Callable[[Registry], Sequence[AdmissionPlugin]] = lambda registry: ()
) -> AsyncIterator[tuple[Server, Api]]:
    """A server and a client of it: every resource's own rules, and only the admission plugins that are asked for.

    The socket's path has to be short: the kernel allows 107 bytes.
    """
    directory = tempfile.mkdtemp(prefix="pk-")
    try:
        address = f"unix:{Path(directory) / 'api.sock'}"
        faces = Faces(grpc_address=address, rest_address=("127.0.0.1", 0))
        serving = serve(
            store or MemoryStore(),
            faces,
            strategies=strategies(),
            admission=admission,
            prepare=[bootstrap.objects],
            kubelets=Kubelets(None),
        )
        async with serving as server, Api.connect(address) as client:
            yield server, client
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture
async def api_server() -> AsyncIterator[Server]:
    async with running() as (server, client):
        server.client = client  # type: ignore[attr-defined]
        yield server


@pytest_asyncio.fixture
async def api(api_server: Server) -> Api:
    client: Api = api_server.client  # type: ignore[attr-defined]
    return client
