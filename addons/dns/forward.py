"""Asks the node's resolvers about names outside of the cluster, and remembers what they said.

Answers are kept for their own time to live, at most `MAX_TTL`, as CoreDNS' cache in its default configuration;
concurrent questions for one name become one. A resolver that does not answer is tried last for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from dnslib import DNSError, DNSRecord

MAX_TTL = 30  # seconds
_MAX_ENTRIES = 10_000
_TIMEOUT = 2.0  # seconds for one resolver
_SHUN = 10.0  # seconds a silent resolver is tried last

Question = tuple[str, int, int]  # name in lower case, type, class


def resolvers(resolv_conf: Path) -> list[str]:
    """The name servers of a resolv.conf, in its order."""
    lines = (line.split() for line in resolv_conf.read_text().splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


class Forwarder:
    def __init__(self, servers: Sequence[str], *, port: int = 53) -> None:
        self._servers = list(servers)
        self._port = port
        self._silent: dict[str, float] = {}
        self._cache: OrderedDict[Question, tuple[float, float, DNSRecord]] = OrderedDict()
        self._asking: dict[Question, asyncio.Future[DNSRecord | None]] = {}

    async def ask(self, request: DNSRecord) -> DNSRecord | None:
        """The resolvers' answer to the one question of `request`, with its id; None if none of them answered."""
        question = (str(request.q.qname).lower(), int(request.q.qtype), int(request.q.qclass))
        answer = self._remembered(question)
        if answer is None:
            if question not in self._asking:
                task = asyncio.ensure_future(self._resolve(question, request))
                self._asking[question] = task
                task.add_done_callback(lambda _: self._asking.pop(question, None))
            answer = await asyncio.shield(self._asking[question])
        if answer is None:
            return None
        copy = DNSRecord.parse(answer.pack())
        copy.header.id = request.header.id
        # As this client spells it: one that mixes case against forgery drops an answer to somebody else's spelling.
        copy.questions = request.questions
        return copy

    def _remembered(self, question: Question) -> DNSRecord | None:
        known = self._cache.get(question)
        if known is None:
            return None
        stored, until, answer = known
        now = time.monotonic()
        if now >= until:
            del self._cache[question]
            return None
        aged = DNSRecord.parse(answer.pack())
        for record in (*aged.rr, *aged.auth):
            record.ttl = max(0, record.ttl - int(now - stored))
        return aged

    async def _resolve(self, question: Question, request: DNSRecord) -> DNSRecord | None:
        now = time.monotonic()
        for server in sorted(self._servers, key=lambda s: self._silent.get(s, 0) > now):
            try:
                answer = await self._exchange(server, request)
            except (TimeoutError, OSError, DNSError, EOFError):
                self._silent[server] = time.monotonic() + _SHUN
                continue
            self._silent.pop(server, None)
            self._remember(question, answer)
            return answer
        return None

    def _remember(self, question: Question, answer: DNSRecord) -> None:
        if answer.header.rcode not in (0, 3) or answer.header.tc:
            return
        ttls = [r.ttl for r in (*answer.rr, *answer.auth)]
        ttl = min([*ttls, MAX_TTL]) if ttls else 0
        if ttl > 0:
            now = time.monotonic()
            self._cache[question] = now, now + ttl, answer
            if len(self._cache) > _MAX_ENTRIES:
                self._cache.popitem(last=False)

    async def _exchange(self, server: str, request: DNSRecord) -> DNSRecord:
        """One question to one resolver, over UDP and, if the answer was cut, over TCP."""
        query = DNSRecord.parse(request.pack())
        # Our own random id: a client's would tell an attacker what to forge.
        query.header.id = random.SystemRandom().randrange(0x10000)
        packed = query.pack()
        async with asyncio.timeout(_TIMEOUT):
            answer = DNSRecord.parse(await _ask_udp(server, self._port, packed))
        if answer.header.tc:
            async with asyncio.timeout(_TIMEOUT):
                answer = DNSRecord.parse(await _ask_tcp(server, self._port, packed))
        return answer


async def _ask_udp(server: str, port: int, packed: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            if not done.done() and data[:2] == packed[:2]:
                done.set_result(data)

        def error_received(self, exc: Exception) -> None:
            if not done.done():
                done.set_exception(exc)

    transport, _ = await loop.create_datagram_endpoint(Protocol, remote_addr=(server, port))
    try:
        transport.sendto(packed)
        return await done
    finally:
        transport.close()


async def _ask_tcp(server: str, port: int, packed: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(len(packed).to_bytes(2, "big") + packed)
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)
    finally:
        writer.close()
