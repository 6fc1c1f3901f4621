"""Many watchers of one busy kind: how many events reach them a second, and how long one takes from the write.

The watchers are a process of their own, so that reading does not hold up the writer. The time of a write travels in the
object; both processes read the same clock.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import select
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

from bench.apiserver.load import Connection, Request, Target, hammer, percentile

_SENT = re.compile(rb'"data":\{"sent":"([0-9.]+)"')
_QUIET = 2.0  # seconds without an event after which a run is over


@dataclass(frozen=True)
class Delivered:
    """Of all watchers together; lags in seconds."""

    events: int
    missing: int
    seconds: float
    lag_p50: float
    lag_p99: float
    writes: int


def measure(target: Target, namespace: str, watchers: int, seconds: float) -> Delivered:
    """Update one ConfigMap as fast as one connection can while `watchers` watch all of its namespace."""
    base = f"/api/v1/namespaces/{namespace}/configmaps"
    connection = Connection(target)
    made = json.loads(connection.request("POST", base, _body("0")))
    connection.close()
    version = made["metadata"]["resourceVersion"]
    path = f"{base}?watch=1&resourceVersion={version}"
    here, there = multiprocessing.get_context("fork").Pipe()
    reader = multiprocessing.get_context("fork").Process(target=_read, args=(target, path, watchers, there))
    reader.start()
    try:
        here.recv()  # all are open
        result = hammer(target, 1, _updates(f"{base}/busy"), seconds=seconds)
        here.send(result.requests)
        events, took, p50, p99 = here.recv()
    finally:
        reader.join(30)
        reader.kill()
    return Delivered(events, result.requests * watchers - events, took, p50, p99, result.requests)


def _body(sent: str) -> bytes:
    return json.dumps({"metadata": {"name": "busy"}, "data": {"sent": sent}}).encode()


def _updates(path: str) -> Iterator[Request]:
    while True:
        yield Request("PUT", path, _body(f"{time.time():.6f}"))


def _read(target: Target, path: str, watchers: int, pipe: Pipe) -> None:
    opened: dict[int, Connection] = {}
    rest: dict[int, bytes] = {}
    poll = select.epoll()
    for _ in range(watchers):
        connection = Connection(target)
        connection.send(Request("GET", path))
        opened[connection.socket.fileno()] = connection
    for number, connection in opened.items():
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.socket.recv(65536)
        rest[number] = head.partition(b"\r\n\r\n")[2]
        connection.socket.setblocking(False)
        poll.register(number, select.EPOLLIN)
    pipe.send(None)
    lags: list[float] = []
    first = last = time.perf_counter()
    expected = -1
    while expected < 0 or (len(lags) < expected * watchers and time.perf_counter() - last < _QUIET):
        if expected < 0 and pipe.poll():
            expected = pipe.recv()
        for number, _ in poll.poll(0.1):
            got = _drain(opened[number])
            if got:
                lines = (rest[number] + got).split(b"\n")
                rest[number] = lines.pop()
                now = time.time()
                found = [now - float(match[1]) for line in lines if (match := _SENT.search(line))]
                if found and not lags:
                    first = time.perf_counter()
                lags.extend(found)
                last = time.perf_counter()
    pipe.send((len(lags), last - first, percentile(lags, 0.5), percentile(lags, 0.99)))


def _drain(connection: Connection) -> bytes:
    parts = []
    try:
        while data := connection.socket.recv(1 << 18):
            parts.append(data)
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    return b"".join(parts)
