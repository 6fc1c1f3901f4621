"""Forgets UDP flows that go where no endpoint of their Service is.

A UDP "connection" is translated by its conntrack entry alone: a client that keeps sending from one port (a DNS
resolver does) would go on talking to a pod that no longer exists, or to nobody since it spoke before the Service was
there, until the entry times out. TCP needs no such care, its peer answers with a reset.

What is stale is read from the kernel's own table, as kube-proxy does since 1.32: so flows that an earlier run of the
proxy, or none, has let through are found as well.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_TUPLE = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")


@dataclass(frozen=True, order=True, slots=True)
class Flow:
    """Where packets were sent, and who is to answer: the endpoint, or the address itself if nothing was translated."""

    address: str
    port: int
    endpoint: str


@dataclass(slots=True)
class Served:
    """Who may answer for the UDP ports of some Services: by address and port, and by node port."""

    addresses: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    node_ports: dict[int, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.addresses or self.node_ports)


def parse(listing: str) -> set[Flow]:
    """The flows of `conntrack -L`: each line has the original direction first, then that of the answers."""
    found = set()
    for line in listing.splitlines():
        directions = _TUPLE.findall(line)
        if len(directions) == 2:
            (_, address, _, port), (endpoint, *_) = directions
            found.add(Flow(address, int(port), endpoint))
    return found


def stale(flows: Iterable[Flow], served: Served, is_ours: Callable[[Flow], bool]) -> list[Flow]:
    """Those of `flows` that lead to none of the endpoints. `is_ours`: whether a node port's flow is to this node."""
    gone = []
    for flow in flows:
        endpoints = served.addresses.get((flow.address, flow.port))
        if endpoints is None and is_ours(flow):
            endpoints = served.node_ports.get(flow.port)
        if endpoints is not None and flow.endpoint not in endpoints:
            gone.append(flow)
    return sorted(gone)


async def forget_udp(served: Served, is_ours: Callable[[Flow], bool]) -> None:
    """Delete the stale UDP entries. Failures are logged and not raised: the entries end by themselves, later."""
    code, listing, errors = await _conntrack("-L", "-p", "udp")
    if code:
        log.warning("could not list UDP flows: %s", errors)
        return
    for flow in stale(parse(listing), served, is_ours):
        code, _, errors = await _conntrack(
            "-D", "-p", "udp", "--orig-dst", flow.address, "--orig-port-dst", str(flow.port),
            "--reply-src", flow.endpoint,
        )  # fmt: skip
        # It ends with 1 and says "0 flow entries have been deleted" where the entry has ended meanwhile.
        if code and "0 flow entries" not in errors:
            log.warning("could not forget UDP flows to %s: %s", flow.endpoint, errors)


async def _conntrack(*arguments: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("conntrack", *arguments, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace").strip()
