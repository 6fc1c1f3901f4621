"""Answers ARP for load balancer addresses, so that machines of the nodes' network reach Services by them.

Every node that serves an address holds it on a link of its own: the kernel then answers ARP for it on all links, and
packets meet the proxy's rules. Whoever answers first gets the traffic; if that node dies, the next ARP finds another,
and nobody has to agree on an owner.

Invariants: the link `pykube-lb` holds exactly the addresses of the last `sync`, also after a restart; they are of scope
host, so that nothing on the node ever speaks from one. A change of a Service is announced by gratuitous ARP (RFC 5227),
since neighbours may know a node that serves it no longer.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from pyroute2 import AsyncIPRoute

log = logging.getLogger(__name__)

LINK = "pykube-lb"
_SCOPE_HOST = 254
_ETHERTYPE_ARP = 0x0806
_BROADCAST = b"\xff" * 6


class Announcer:
    def __init__(self) -> None:
        self._held: set[str] | None = None  # None: not known, as after a start

    async def sync(self, wanted: set[str], *, refresh: Iterable[str] = ()) -> None:
        """Hold exactly `wanted`; tell the neighbours about what is new and about those of `refresh`. Raises OSError."""
        if self._held is None and not wanted and not _exists():
            self._held = set()
        if wanted != self._held:
            await self._hold(wanted)
        for address in sorted((wanted - (self._held or set())) | (wanted & set(refresh))):
            announce(address)
        self._held = set(wanted)

    async def _hold(self, wanted: set[str]) -> None:
        async with AsyncIPRoute() as ipr:
            found = await ipr.link_lookup(ifname=LINK)
            if not found:
                await ipr.link("add", ifname=LINK, kind="dummy")
                found = await ipr.link_lookup(ifname=LINK)
            index = found[0]
            await ipr.link("set", index=index, state="up")
            have = {a.get("IFA_LOCAL") or a.get("local") async for a in await ipr.addr("dump", index=index, family=2)}
            for address in have - wanted:
                log.info("no longer answering for %s", address)
                await ipr.addr("del", index=index, address=address, prefixlen=32)
            for address in wanted - have:
                log.info("answering for %s", address)
                await ipr.addr("add", index=index, address=address, prefixlen=32, scope=_SCOPE_HOST)


def _exists() -> bool:
    return any(name == LINK for _, name in socket.if_nameindex())


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
