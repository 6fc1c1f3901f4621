"""Answers ARP for load balancer addresses, so that machines of the nodes' network reach Services by them.

Every node that serves an address holds it on its loopback: the kernel then answers ARP for it on all links, and packets
meet the proxy's rules. Whoever answers first gets the traffic; if that node dies, the next ARP finds another,
and nobody has to agree on an owner.

Invariants: loopback's addresses of our label are exactly those of the last `sync`, also after a restart; they are of
scope host, so that nothing on the node ever speaks from one. A change of a Service is announced by gratuitous ARP
(RFC 5227), since neighbours may know a node that serves it no longer.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from pyroute2 import AsyncIPRoute

log = logging.getLogger(__name__)

_LOOPBACK = 1  # its index, in every network namespace
_LABEL = "lo:pykube"
_SCOPE_HOST = 254
_ETHERTYPE_ARP = 0x0806
_BROADCAST = b"\xff" * 6


class Announcer:
    def __init__(self) -> None:
        self._held: set[str] | None = None  # None: not known

    async def sync(self, wanted: set[str], *, refresh: Iterable[str] = ()) -> None:
        """Hold exactly `wanted`; tell neighbours about the new ones and about `refresh`. Raises NetlinkError."""
        if wanted != self._held:
            await self._hold(wanted)
        for address in sorted((wanted - (self._held or set())) | (wanted & set(refresh))):
            announce(address)
        self._held = set(wanted)

    async def _hold(self, wanted: set[str]) -> None:
        async with AsyncIPRoute() as ipr:
            found = [a async for a in await ipr.addr("dump", index=_LOOPBACK, family=2)]
            have = {a.get("local") for a in found if a["index"] == _LOOPBACK and a.get("label") == _LABEL}
            for address in have - wanted:
                log.info("no longer answering for %s", address)
                await ipr.addr("del", index=_LOOPBACK, address=address, prefixlen=32)
            for address in wanted - have:
                log.info("answering for %s", address)
                await ipr.addr("add", index=_LOOPBACK, address=address, prefixlen=32, scope=_SCOPE_HOST, label=_LABEL)


def gratuitous_arp(mac: bytes, address: str) -> bytes:
    """The frame that tells a network who has an IPv4 address: a request for it that comes from its holder."""
    ip = socket.inet_aton(address)
    header = _BROADCAST + mac + struct.pack("!H", _ETHERTYPE_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + ip + bytes(6) + ip


def announce(address: str) -> None:
    """Tell the uplink's neighbours; without an uplink there is nobody to tell."""
    link = _uplink()
    if link is None:
        return
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((link, 0))
            mac = sender.getsockname()[4]
            if len(mac) == 6:
                sender.send(gratuitous_arp(mac, address))
    except OSError as error:
        log.warning("cannot announce %s: %s", address, error)


def _uplink() -> str | None:
    """The link of the default route."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, *_ = line.split()
        if destination == "00000000":
            return name
    return None
