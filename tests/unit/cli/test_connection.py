"""What is said when a server cannot be reached, and what the log of requests shows and hides."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from cli.rest import connection_words
from tests.unit.cli.conftest import FakeServer, Run

KEY = ConnectionKey("h", 1, False, True, None, None, None)


@contextmanager
def answering(data: bytes | None) -> Iterator[str]:
    """A server that says this to whatever it is asked; None: it never answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            kept.append(one)
            if data is not None:
                with suppress(OSError):
                    one.recv(65536)
                    one.sendall(data)
                    one.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
        for one in kept:
            one.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ECONNREFUSED, "The connection to the server h:1 was refused - did you specify the right host or port?"),
        (errno.ETIMEDOUT, "Unable to connect to the server: dial tcp h:1: connect: connection timed out"),
        (errno.EHOSTUNREACH, "Unable to connect to the server: dial tcp h:1: connect: no route to host"),
    ],
)
def test_only_a_refusal_is_called_one(code: int, words: str) -> None:
    problem = aiohttp.ClientConnectorError(KEY, OSError(code, os.strerror(code)))
    assert connection_words(problem, "https://h:1") == words


def test_a_connection_that_does_not_come_about() -> None:
    problem = aiohttp.ConnectionTimeoutError("Connection timeout to host https://h:1")
    assert connection_words(problem, "https://h:1") == "Unable to connect to the server: dial tcp h:1: i/o timeout"
    assert "Client.Timeout exceeded" in connection_words(TimeoutError(), "https://h:1")


def test_servers_that_do_not_speak_as_expected(run: Run) -> None:
    with answering(None) as where:
        late = run("get", "pods", f"--server=http://{where}", "--request-timeout=300ms").err
        words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        assert late == f"Unable to connect to the server: {words}\n"
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as where:
        assert run("get", "pods", f"--server=https://{where}", "--insecure-skip-tls-verify").err == (
            "Unable to connect to the server: http: server gave HTTP response to HTTPS client\n"
        )
    with answering(b"SSH-2.0-x\r\n") as where:
        assert "malformed HTTP response" in run("get", "pods", f"--server=http://{where}").err
    assert run("get", "pods", "--server=foo://x").err == (
        'Unable to connect to the server: unsupported protocol scheme "foo"\n'
    )
    assert run("get", "pods", "--request-timeout=soon").err.startswith("error: Invalid timeout value. Timeout must be")


def test_requests_are_logged_by_verbosity_without_credentials(run: Run, server: FakeServer) -> None:
    path = "/api/v1/namespaces/default/pods/a"
    server.on(f"GET {path}", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "x" * 2000}})
    words = ["get", "pod", "a", "-o", "name", "--token=hidden-token"]
    assert run(*words).err == ""
    six = run(*words, "-v=6").err
    assert f'"Response" verb="GET" url="{server.url}{path}" status="200 OK" milliseconds=' in six
    assert '"Request"' not in six
    seven = run(*words, "-v=7").err
    assert "\tAuthorization: Bearer <masked>\n" in seven and "Response Body" not in seven
    assert "[truncated " in run(*words, "-v=8").err
    nine = run(*words, "-v=9").err
    assert "curl -v -X GET " in nine and "x" * 2000 in nine
    assert "hidden-token" not in six + seven + nine
