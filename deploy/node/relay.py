"""Two relays that give the inside of a node names of the outside.

- Images are named `localhost:5000/...` on the host and on every node alike, so each node listens there and passes
  connections on to the registry.
- Pods cannot reach the resolver that Docker gives a container, on a loopback address; a node passes their queries on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import cast

log = logging.getLogger("node")

CHUNK = 1 << 18
"""Bytes moved at once."""

CONNECT_TIMEOUT = 10.0
QUERY_TIMEOUT = 10.0
"""Seconds after which a DNS query that nobody answered is forgotten."""

PENDING_QUERIES = 2048
"""Queries on their way at once; further ones are dropped, as a full socket buffer would."""


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies one direction until its end, and passes the end on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class TcpRelay:
    """Listens on some local addresses and carries each connection to one target, looked up anew each time."""

    def __init__(self, target: str, port: int) -> None:
        self.target, self.port = target, port

    async def listen(self, addresses: list[str], port: int) -> list[asyncio.Server]:
        """Starts listening; an address this machine does not have (IPv6 switched off) is left out."""
        servers = []
        for address in addresses:
            try:
                servers.append(await asyncio.start_server(self._carry, address, port, limit=CHUNK))
            except OSError as error:
                if address == addresses[0]:
                    raise
                log.debug("not relaying on %s: %s", address, error)
        return servers

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                there_reader, there_writer = await asyncio.open_connection(self.target, self.port, limit=CHUNK)
        except (OSError, TimeoutError) as error:
            log.warning("relay to %s:%d: %s", self.target, self.port, error or "timed out")
            writer.close()
            return
        with contextlib.closing(writer), contextlib.closing(there_writer):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(reader, there_writer))
                    group.create_task(pump(there_reader, writer))
            except* OSError:
                pass  # either end may hang up at any time; the other end learns of it by the close


class _Answers(asyncio.DatagramProtocol):
    """One query on its way: waits for the answer of the real server."""

    def __init__(self, query: bytes, done: asyncio.Future[bytes]) -> None:
        self.query, self.done = query, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self.query)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.done.done():
            self.done.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(exc)


class DnsRelay(asyncio.DatagramProtocol):
    """Answers DNS over UDP by asking one server, each query from a port of its own."""

    def __init__(self, server: str, port: int = 53) -> None:
        self.server, self.port = server, port
        self.transport: asyncio.DatagramTransport | None = None
        self.pending: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self.pending) >= PENDING_QUERIES:
            return
        task = asyncio.get_running_loop().create_task(self._ask(data, addr))
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    async def _ask(self, query: bytes, client: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bytes] = loop.create_future()
        transport = None
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Answers(query, done), remote_addr=(self.server, self.port)
                )
                answer = await done
            if self.transport is not None:
                self.transport.sendto(answer, client)
        except (OSError, TimeoutError) as error:
            log.debug("dns relay: %s", error or "no answer")
        finally:
            if transport is not None:
                transport.close()


async def relay_dns(address: str, server: str, *, port: int = 53, server_port: int = 53) -> list[asyncio.Server]:
    """Answers on UDP and TCP at one address with what one server answers."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(
        lambda: DnsRelay(server, server_port), local_addr=(address, port), family=socket.AF_INET
    )
    return await TcpRelay(server, server_port).listen([address], port)
