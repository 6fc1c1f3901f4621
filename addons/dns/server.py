"""Speaks DNS (RFC 1035, EDNS by RFC 6891) over UDP and TCP: answers for the cluster's zone, forwards the rest."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
from typing import Any

from dnslib import CLASS, CNAME, EDNS0, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSError, DNSRecord
from prometheus_client import Counter

from addons.dns.forward import Forwarder
from addons.dns.records import Answer, Record, Zone

log = logging.getLogger(__name__)

TTL = 5  # seconds; CoreDNS' default for Kubernetes records
_PLAIN_UDP = 512  # bytes a client without EDNS takes
_OUR_UDP = 1232  # bytes: no fragments on any sensible path
_TCP_IDLE = 10.0  # seconds
_CNAME_DEPTH = 8
#: UDP questions that wait for resolvers outside; more are dropped, and asked again by whoever still wants to know.
_MOST_WAITING = 10_000
REQUESTS = Counter("pykube_dns_requests_total", "Questions answered.", ["protocol", "rcode"])


class DNSServer:
    """One zone behind UDP and TCP. `serve` runs until cancelled."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, host: str = "0.0.0.0", port: int = 53) -> None:
        loop = asyncio.get_running_loop()
        server = self

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                if len(server._tasks) >= _MOST_WAITING:
                    REQUESTS.labels("udp", "DROPPED").inc()
                    return
                task = loop.create_task(server._datagram(self.transport, data, addr))
                server._tasks.add(task)
                task.add_done_callback(server._tasks.discard)

        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(host, port))
        tcp = await asyncio.start_server(self._connection, host, port)
        try:
            await tcp.serve_forever()
        finally:
            transport.close()

    async def answer(self, data: bytes, protocol: str) -> bytes | None:
        """The reply to one message; None to what is no question at all."""
        try:
            request = DNSRecord.parse(data)
        except (DNSError, EOFError, ValueError):
            return _refuse_garbage(data)
        if request.header.qr or not request.questions:
            return None
        try:
            reply = await self._reply(request)
        except Exception:
            log.exception("cannot answer %s", request.q.qname)
            reply = request.reply(ra=1)
            reply.header.rcode = RCODE.SERVFAIL
        size = _udp_size(request)
        reply.ar = [r for r in reply.ar if r.rtype != QTYPE.OPT]
        if any(r.rtype == QTYPE.OPT for r in request.ar):
            reply.add_ar(EDNS0(udp_len=_OUR_UDP))
        REQUESTS.labels(protocol, RCODE.get(reply.header.rcode)).inc()
        packed: bytes = reply.pack()
        if protocol == "udp" and len(packed) > size:
            reply.rr, reply.auth = [], []
            reply.ar = [r for r in reply.ar if r.rtype == QTYPE.OPT]
            reply.header.tc = 1
            packed = reply.pack()
        return packed

    async def _reply(self, request: DNSRecord) -> DNSRecord:
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE.get(request.q.qtype)
        if request.q.qclass in (CLASS.IN, 255):
            if self._zone.covers(name):
                return await self._authoritative(request, self._zone.lookup(name, kind))
            ip = _reversed(name)
            found = self._zone.reverse(ip) if ip else None
            if found is not None:
                return await self._authoritative(request, found if kind in ("PTR", "ANY") else Answer(True))
        answer = await self._forwarder.ask(request)
        if answer is None:
            answer = request.reply(ra=1)
            answer.header.rcode = RCODE.SERVFAIL
        return answer

    async def _authoritative(self, request: DNSRecord, answer: Answer) -> DNSRecord:
        reply = request.reply(ra=1, aa=1)
        # Random order spreads clients that take the first address over a headless service's pods.
        random.shuffle(answer.records)
        for record in answer.records:
            # The client sees the name as it spelled it (it may have mixed case against forgery).
            own = request.q.qname if record.name == str(request.q.qname).rstrip(".").lower() else record.name
            reply.add_answer(_rr(record, own))
        for record in answer.additional:
            reply.add_ar(_rr(record, record.name))
        if not answer.exists:
            reply.header.rcode = RCODE.NXDOMAIN
        if not answer.records:
            reply.add_auth(self._soa())
        elif answer.records[0].type == "CNAME" and request.q.qtype != QTYPE.CNAME:
            await self._follow(reply, request, answer.records[0].value)
        return reply

    async def _follow(self, reply: DNSRecord, request: DNSRecord, target: str) -> None:
        """Adds what the target of an ExternalName means, inside the cluster or out of it."""
        for _ in range(_CNAME_DEPTH):
            name = target.rstrip(".").lower()
            if not self._zone.covers(name):
                question = DNSRecord.question(target, QTYPE.get(request.q.qtype))
                outside = await self._forwarder.ask(question)
                for record in outside.rr if outside is not None else ():
                    reply.add_answer(record)
                return
            answer = self._zone.lookup(name, QTYPE.get(request.q.qtype))
            for record in answer.records:
                reply.add_answer(_rr(record, record.name))
            if not answer.records or answer.records[0].type != "CNAME":
                return
            target = answer.records[0].value

    def _soa(self) -> RR:
        domain = self._zone.domain
        times = (1, 7200, 1800, 86400, TTL)
        return RR(domain, QTYPE.SOA, ttl=TTL, rdata=SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", times))

    async def _datagram(self, transport: asyncio.DatagramTransport, data: bytes, addr: Any) -> None:
        reply = await self.answer(data, "udp")
        if reply is not None:
            transport.sendto(reply, addr)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                reply = await self.answer(data, "tcp")
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()


def _rr(record: Record, name: Any) -> RR:
    match record.type:
        case "A":
            data: Any = A(record.value)
        case "CNAME":
            data = CNAME(record.value)
        case "PTR":
            data = PTR(record.value)
        case "SRV":
            # Priority 0, equal weights; the specification leaves both to the implementation.
            data = SRV(0, 100, record.port, record.value)
        case _:
            data = TXT(record.value)
    return RR(name, getattr(QTYPE, record.type), ttl=TTL, rdata=data)


def _udp_size(request: DNSRecord) -> int:
    options = [r for r in request.ar if r.rtype == QTYPE.OPT]
    return max(_PLAIN_UDP, min(int(options[0].rclass), _OUR_UDP)) if options else _PLAIN_UDP


def _reversed(name: str) -> str:
    """The IPv4 address that an in-addr.arpa name spells, or ""."""
    labels, arpa = name.split(".")[:-2], name.endswith(".in-addr.arpa")
    if not arpa or len(labels) != 4:
        return ""
    try:
        return str(ipaddress.IPv4Address(".".join(reversed(labels))))
    except ValueError:
        return ""


def _refuse_garbage(data: bytes) -> bytes | None:
    """FORMERR with the sender's id, if it sent as much as a header."""
    if len(data) < 12 or data[2] & 0x80:
        return None
    return data[:2] + bytes([0x80 | (data[2] & 0x79), RCODE.FORMERR]) + bytes(8)
