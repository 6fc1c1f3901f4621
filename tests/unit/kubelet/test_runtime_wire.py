"""Docker's streams, spoken with a server that does what a dockerd in trouble does."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kubelet.cri import ContainerNotFound, RuntimeEvent, RuntimeFailure
from kubelet.runtime import events, labels, wire
from kubelet.runtime.streams import HijackedStream

Handler = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Daemon:
    """Answers each connection with `handler`, after the head of its request."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix://{path}"
        self._path = path
        self.handler: Handler | None = None
        self.requests: list[str] = []

    async def __aenter__(self) -> Daemon:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head.split("\r\n")[0])
        assert self.handler is not None
        await self.handler(head, reader, writer)
        writer.close()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "d.sock") as daemon:
        yield daemon


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(action: str, uid: str = "u", bridge: str = "cbr0", container: str = "c1") -> bytes:
    own = {labels.POD_UID: uid, labels.TYPE: labels.CONTAINER, labels.BRIDGE: bridge, "exitCode": "0"}
    return json.dumps({"Type": "container", "Action": action, "Actor": {"ID": container, "Attributes": own}}).encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_events_are_told_to_all_and_a_break_is_one_too(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RETRY", 0.01)
    streams: list[asyncio.StreamWriter] = []

    async def handler(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        streams.append(writer)
        await reader.read()

    daemon.handler = handler
    hub = events.EventHub(daemon.host, "cbr0")
    seen: list[RuntimeEvent] = []

    async def listen() -> None:
        async for item in hub.subscribe():
            seen.append(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(hub.run()), group.create_task(listen())]
        await until(hub.connected.is_set)
        with hub.end_of("c1") as ended:
            # Two objects in three chunks, one of another kubelet, one of no pod.
            data = event("start") + b"\n" + event("oom") + b"\n"
            streams[0].write(chunk(data[:30]) + chunk(data[30:]) + chunk(event("die", bridge="other") + b"\n"))
            streams[0].write(chunk(b'{"Type":"container","Action":"die","Actor":{"ID":"x","Attributes":{}}}\n'))
            await until(lambda: len(seen) == 2)
            assert not ended.is_set()
            streams[0].write(chunk(event("die") + b"\n"))
            await asyncio.wait_for(ended.wait(), 10)
        assert seen == [RuntimeEvent("u", "c1", action) for action in ("started", "oom", "died")]
        assert hub.oom_killed == {"c1"}
        with hub.end_of("c2") as ended:
            streams[0].close()  # dockerd restarts
            await asyncio.wait_for(ended.wait(), 10)
            await until(lambda: len(streams) == 2)
        assert seen[3] == RuntimeEvent("", "", "reconnect")
        for task in tasks:
            task.cancel()


async def test_errors_carry_the_daemons_words(daemon: Daemon) -> None:
    answers = {
        "/v1.41/exec/a/start": (404, "No such exec instance: a"),
        "/v1.41/exec/b/start": (409, "Container b is paused"),
    }

    async def handler(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code, message = answers[head.split()[1]]
        body = json.dumps({"message": message}).encode()
        writer.write(f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    daemon.handler = handler
    with pytest.raises(ContainerNotFound, match="No such exec instance: a"):
        await wire.hijack(daemon.host, wire.target("exec", "a", "start"), {})
    with pytest.raises(RuntimeFailure, match="is paused"):
        await wire.hijack(daemon.host, wire.target("exec", "b", "start"), {})
    with pytest.raises(RuntimeFailure, match="Cannot connect to the Docker daemon"):
        await wire.hijack("unix:///nowhere.sock", "/", {})


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


async def stream_of(daemon: Daemon, output: bytes, code: int, **options: Any) -> HijackedStream:
    async def handler(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + output)
        await writer.drain()

    daemon.handler = handler

    async def exit_code() -> int:
        return code

    async def resize(width: int, height: int) -> None:
        raise AssertionError("nobody asked")

    connection = await wire.hijack(daemon.host, "/", {})
    return HijackedStream(connection, exit_code=exit_code, resize=resize, detects_failure=True, **options)


async def test_frames_are_told_apart_and_a_cut_one_ends_the_stream(daemon: Daemon) -> None:
    stream = await stream_of(daemon, frame(1, b"out") + frame(2, b"err") + frame(1, b"lost")[:-2], 0, tty=False)
    assert [item async for item in stream.output()] == [("stdout", b"out"), ("stderr", b"err"), ("stdout", b"lo")]


@pytest.mark.parametrize(("code", "error", "output"), [(127, "OCI runtime exec failed: x", 0), (1, "", 1)])
async def test_only_the_exit_code_tells_failure_from_output(daemon: Daemon, code: int, error: str, output: int) -> None:
    stream = await stream_of(daemon, frame(1, b"OCI runtime exec failed: x\r\n"), code, tty=False)
    assert len([item async for item in stream.output()]) == output
    assert stream.error == error
