"""Probes: what counts as an answer, and what follows from it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from api import codec
from api.types.core_v1 import GRPCAction, HTTPGetAction, TCPSocketAction
from kubelet.cri import ExecResult
from kubelet.probes import grpc_health, http, tcp
from kubelet.probes.outcome import Outcome, Result, port_number
from tests.unit.kubelet.harness import Harness, container, make_pod


@contextlib.asynccontextmanager
async def server(answer: Callable[[str], bytes | None]) -> AsyncIterator[int]:
    """Answers each request's head with raw bytes; None: never."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = answer((await reader.read(65536)).decode("latin-1"))
        if reply is None:
            await reader.read()  # until the client gives up
        else:
            writer.write(reply)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def reply(status: str, body: str = "", *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]).encode()


async def get(port: int, timeout: float = 2.0, **fields: Any) -> Outcome:
    action = codec.from_dict(HTTPGetAction, {"port": port, "path": "/healthz?full=1", **fields})
    return await http.probe(action, "127.0.0.1", {}, timeout)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("200 OK", Result.SUCCESS),
        ("204 No Content", Result.SUCCESS),
        ("304 Same", Result.SUCCESS),
        ("399 x", Result.SUCCESS),
        ("400 Bad", Result.FAILURE),
        ("503 Down", Result.FAILURE),
    ],
)
async def test_status_codes_decide(status: str, result: Result) -> None:
    async with server(lambda _: reply(status, "x" if status[:3] not in ("204", "304") else "")) as port:
        outcome = await get(port)
    assert outcome.result is result
    if result is Result.FAILURE:
        assert outcome.output == f"HTTP probe failed with statuscode: {status[:3]}"


async def test_requests_carry_upstreams_headers_and_the_users() -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head)
        return reply("200 OK")

    headers = [
        {"name": "Host", "value": "shop.example"},
        {"name": "Accept", "value": ""},
        {"name": "X-A", "value": "1"},
    ]
    async with server(answer) as port:
        await get(port)
        await get(port, httpHeaders=headers)
    assert heads[0].startswith("GET /healthz?full=1 HTTP/1.1\r\n")
    assert "User-Agent: kube-probe/1.36" in heads[0] and "Accept: */*" in heads[0]
    assert "Host: shop.example" in heads[1] and "X-A: 1" in heads[1]
    assert "Accept:" not in heads[1] and "127.0.0.1" not in heads[1]


async def test_redirects_are_followed_on_the_same_host_only() -> None:
    def answer(head: str) -> bytes:
        if head.startswith("GET /there"):
            return reply("200 OK", "arrived")
        where = "/there" if head.startswith("GET /near") else "http://elsewhere.example/"
        return reply("302 Found", "moved", f"Location: {where}")

    async with server(answer) as port:
        near = await get(port, path="/near")
        far = await get(port, path="/far")
    assert near == Outcome(Result.SUCCESS, "arrived")
    assert far == Outcome(Result.WARNING, "Probe terminated redirects, Response body: moved")


async def test_endless_redirects_fail() -> None:
    async with server(lambda _: reply("302 Found", "", "Location: /again")) as port:
        outcome = await get(port)
    assert outcome.result is Result.FAILURE and outcome.output.endswith("stopped after 10 redirects")


async def test_what_goes_wrong_is_said_as_go_says_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        refused = await get(port)
    url = f"http://127.0.0.1:{port}/healthz?full=1"
    assert refused.output == f'Get "{url}": dial tcp 127.0.0.1:{port}: connect: connection refused'
    async with server(lambda _: None) as port:
        slow = await get(port, timeout=0.05)
    assert "context deadline exceeded (Client.Timeout exceeded while awaiting headers)" in slow.output
    async with server(lambda _: b"") as port:
        assert (await get(port)).output.endswith(": EOF")
    async with server(lambda _: b"SSH-2.0-OpenSSH\r\n\r\n") as port:
        assert "malformed HTTP response" in (await get(port)).output
    async with server(lambda _: reply("200 OK")) as port:
        assert (await get(port, scheme="HTTPS")).output.endswith(http.NOT_TLS)


async def test_bodies_come_in_all_framings() -> None:
    async with server(
        lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    ) as port:
        assert (await get(port)).output == "abcde"
    async with server(lambda _: b"HTTP/1.0 200 OK\r\n\r\nuntil the end") as port:
        assert (await get(port)).output == "until the end"
    async with server(lambda _: reply("200 OK", "x" * 20_000)) as port:
        assert len((await get(port)).output) == 10 * 1024


async def test_an_https_hook_falls_back_to_http() -> None:
    heads: list[str] = []

    def answer(head: str) -> bytes:
        heads.append(head)
        return reply("200 OK")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if first == b"\x16":  # a TLS hello
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        else:
            writer.write(answer((first + await reader.readuntil(b"\r\n\r\n")).decode()))
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        await http.call_hook(HTTPGetAction(port=port, path="/bye", scheme="HTTPS"), "127.0.0.1", {}, 2.0)
    finally:
        listening.close()
    assert heads and heads[0].startswith("GET /bye")


async def test_tcp() -> None:
    async with server(lambda _: b"") as port:
        assert (await tcp.probe(TCPSocketAction(port=port), "127.0.0.1", {}, 1.0)).result is Result.SUCCESS
    refused = await tcp.probe(TCPSocketAction(port=port), "127.0.0.1", {}, 1.0)
    assert refused == Outcome(Result.FAILURE, f"dial tcp 127.0.0.1:{port}: connect: connection refused")


def test_ports_have_names_or_numbers() -> None:
    assert port_number({"http": 8080}, "http") == 8080
    assert port_number({}, "80") == 80
    with pytest.raises(ValueError, match="couldn't find port: http"):
        port_number({}, "http")
    with pytest.raises(ValueError, match="invalid port number: 70000"):
        port_number({}, 70000)


async def test_grpc_health() -> None:
    statuses = {b"": b"\x08\x01", grpc_health.encode_request("db"): b"\x08\x02"}

    async def check(request: bytes, context: Any) -> bytes:
        if request not in statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return statuses[request]

    served = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(check)
    served.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    port = served.add_insecure_port("127.0.0.1:0")
    await served.start()
    try:
        healthy = await grpc_health.probe(GRPCAction(port=port), "127.0.0.1", 2.0)
        assert healthy == Outcome(Result.SUCCESS, "service healthy")
        sick = await grpc_health.probe(GRPCAction(port=port, service="db"), "127.0.0.1", 2.0)
        assert sick == Outcome(Result.FAILURE, 'service unhealthy (responded with "NOT_SERVING")')
        unknown = await grpc_health.probe(GRPCAction(port=port, service="x" * 200), "127.0.0.1", 2.0)
        assert "unknown service" in unknown.output
    finally:
        await served.stop(None)
    gone = await grpc_health.probe(GRPCAction(port=port), "127.0.0.1", 0.2)
    assert gone.result is Result.FAILURE and "context deadline exceeded" in gone.output


async def test_readiness_decides_about_ready(node: Harness) -> None:
    node.runtime.exec_results["check"] = ExecResult(1, b"warming up")
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1}
    node.api.add(make_pod("web", container(readinessProbe=probe)))
    await node.until(lambda: node.events("Unhealthy"))
    assert node.events("Unhealthy") == ["Readiness probe failed: warming up"]
    await node.until(lambda: node.status().state.running)
    assert not node.status().ready and node.status().started
    node.runtime.exec_results["check"] = ExecResult(0, b"")
    await node.until(node.is_ready)
    assert node.status().restart_count == 0


async def test_a_failed_liveness_probe_restarts_the_container(node: Harness) -> None:
    node.runtime.exec_results["check"] = ExecResult(1, b"stuck")
    probe = {
        "exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 7,
    }  # fmt: skip
    node.api.add(make_pod("web", container(livenessProbe=probe)))
    await node.until(lambda: node.runtime.stops)
    node.runtime.exec_results["check"] = ExecResult(0, b"")
    await node.until(lambda: node.status().restart_count == 1 and node.is_ready())
    assert node.runtime.stops[0] == ("app", 7)
    assert node.events("Killing") == ["Container app failed liveness probe, will be restarted"]
    assert node.events("Unhealthy") == ["Liveness probe failed: stuck"]


async def test_nothing_else_is_probed_before_the_startup_probe_succeeds(node: Harness) -> None:
    node.runtime.exec_results["start"] = ExecResult(1, b"")
    probes: dict[str, Any] = {
        "startupProbe": {"exec": {"command": ["start"]}, "periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": {"exec": {"command": ["live"]}, "periodSeconds": 1},
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1},
    }
    node.api.add(make_pod("web", container(**probes)))
    await node.until(lambda: node.status().state.running and node.runtime.called("exec_sync"))
    assert set(node.runtime.called("exec_sync")) == {"start"}
    assert node.status().started is False and not node.status().ready
    node.runtime.exec_results["start"] = ExecResult(0, b"")
    await node.until(node.is_ready)
    assert node.status().started is True


async def test_a_failed_startup_probe_of_a_pod_that_never_restarts_ends_it(node: Harness) -> None:
    node.runtime.exec_results["start"] = ExecResult(1, b"")
    probe = {"exec": {"command": ["start"]}, "periodSeconds": 1, "failureThreshold": 1}
    node.api.add(make_pod("web", container(startupProbe=probe), restartPolicy="Never"))
    await node.until(lambda: node.pod().status.phase == "Failed")
    assert node.events("Killing") == ["Container app failed startup probe"]


async def test_readiness_survives_a_restart_of_the_kubelet(node: Harness) -> None:
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 3600}
    node.api.add(make_pod("web", container(readinessProbe=probe)))
    await node.until(node.is_ready)
    before = node.pod().metadata.resource_version
    await node.restart()
    await node.until(lambda: node.runtime.called("list_pods"))
    await asyncio.sleep(0.05)
    assert node.is_ready() and node.pod().metadata.resource_version == before


async def test_a_probe_that_cannot_be_made_is_neither_answer(node: Harness) -> None:
    node.runtime.exec_results["check"] = ValueError("what?")
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    node.api.add(make_pod("web", container(livenessProbe=probe, readinessProbe=probe)))
    await node.until(lambda: len(node.events("Unhealthy")) == 2)
    assert set(node.events("Unhealthy")) == {
        "Liveness probe errored and resulted in unknown state: what?",
        "Readiness probe errored and resulted in unknown state: what?",
    }
    node.runtime.exec_results["check"] = ExecResult(0, b"")
    await node.until(node.is_ready)
    assert node.status().restart_count == 0
