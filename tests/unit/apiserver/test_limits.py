"""What a client is told when it asks for too much at once, and that a plugin may refuse to connect it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from api import codec, errors
from apiserver.admission import AdmissionPlugin, Operation
from apiserver.auth import User
from apiserver.inflight import InFlight
from apiserver.registry import Registry
from apiserver.server import Server
from apiserver.strategy import Context
from tests.support.api import running
from tests.support.rest import Rest

PODS = "/api/v1/namespaces/default/pods"


async def test_reads_and_writes_have_limits_of_their_own() -> None:
    limits = InFlight(reads=1, writes=1)
    nobody = User("bob")
    with limits.entered(nobody, writes=False):
        with pytest.raises(errors.StatusError) as caught, limits.entered(nobody, writes=False):
            pass
        assert (caught.value.code, caught.value.reason, caught.value.retry_after) == (429, "TooManyRequests", 1)
        with limits.entered(nobody, writes=True):
            pass
        with limits.entered(User("root", groups=("system:masters",)), writes=False):
            pass
    with limits.entered(nobody, writes=False):
        pass


async def test_a_request_too_many_says_when_to_come_back(rest: Rest, api_server: Server) -> None:
    api_server.app.in_flight = limits = InFlight(reads=1, writes=1)
    api_server.gate.authenticate = _as_bob  # type: ignore[method-assign]
    with limits.entered(User("bob"), writes=False):
        answer = await rest.call("GET", PODS, code=429)
        assert answer["message"] == "Too many requests, please try again later."
        assert rest.last.headers["Retry-After"] == "1"
        await rest.call("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, code=201)
        async with rest.session.get(rest.url + PODS + "?watch=1&timeoutSeconds=1") as watch:
            assert watch.status == 200
    await rest.call("GET", PODS, code=200)


async def _as_bob(credentials: Any) -> User:
    return User("bob")


async def test_a_body_too_large_is_refused_in_upstreams_words(rest: Rest) -> None:
    body = {"metadata": {"name": "a"}, "data": {"x": "y" * 3 * 2**20}}
    answer = await rest.call("POST", "/api/v1/namespaces/default/configmaps", body, code=413)
    assert answer["reason"] == "RequestEntityTooLarge"
    assert answer["message"] == "Request entity too large: limit is 3145728"


class NoExec:
    """Refuses to connect to pods."""

    name = "NoExec"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return operation == "CONNECT"

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        self.seen.append((ctx.resource.plural, ctx.subresource, ctx.name, new))

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        raise errors.forbidden("pods", ctx.name, "cannot exec into or attach to this pod")


async def test_admission_may_refuse_to_connect() -> None:
    plugin = NoExec()

    def plugins(registry: Registry) -> Sequence[AdmissionPlugin]:
        return [plugin]

    async with running(admission=plugins) as (server, _), aiohttp.ClientSession() as session:
        rest = Rest(session, server.rest_url)
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await rest.call("POST", PODS, {"metadata": {"name": "web"}, "spec": spec}, code=201)
        answer = await rest.call("GET", f"{PODS}/web/exec?command=ls&command=-l&stdout=true&tty=0", code=403)
        assert answer["message"] == 'pods "web" is forbidden: cannot exec into or attach to this pod'
        (seen,) = plugin.seen
        assert seen[:3] == ("pods", "exec", "web")
        shown = codec.to_dict(seen[3])
        shown.pop("metadata", None)
        assert shown == {"apiVersion": "v1", "kind": "PodExecOptions", "stdout": True, "command": ["ls", "-l"]}
        await rest.call("GET", f"{PODS}/web/portforward?ports=80", code=403)
        await rest.call("GET", f"{PODS}/web:80/proxy/a/b", code=403)
        assert codec.to_dict(plugin.seen[-1][3])["path"] == "a/b"
        await rest.call("GET", f"{PODS}/web/log")
        assert rest.last.status != 403
