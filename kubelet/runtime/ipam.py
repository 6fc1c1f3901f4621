"""Which pod has which address of the node's pod CIDR.

Invariants: no address is given out while a sandbox holds it; a released address comes round again only after all the
others were used, so that a connection to a pod that has gone does not reach its successor. Who holds what is written in
the sandboxes' labels, nowhere else: `hold` is told of them when the kubelet starts. Only the place in the round is
kept in a file, and losing it costs nothing but that delay.
"""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path


class AddressesExhausted(Exception):
    """Every address of the pod CIDR is held."""


class IPAM:
    def __init__(self, cidr: str, *, cursor_file: Path | None = None) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        if self.network.num_addresses < 4:
            raise ValueError(f"pod CIDR {cidr} has no room for pods")
        self.gateway = str(self.network[1])
        self._held: set[str] = set()
        self._cursor_file = cursor_file
        self._cursor = self._load()

    def _load(self) -> int:
        """Offset in the network of the address given out last."""
        if self._cursor_file is not None:
            with contextlib.suppress(OSError, ValueError):
                return self._offset(ipaddress.IPv4Address(self._cursor_file.read_text().strip()))
        return 1

    def _offset(self, address: ipaddress.IPv4Address) -> int:
        offset = int(address) - int(self.network.network_address)
        return offset if 1 < offset < self.network.num_addresses - 1 else 1

    def hold(self, address: str) -> None:
        self._held.add(address)

    def release(self, address: str) -> None:
        self._held.discard(address)

    def held(self) -> frozenset[str]:
        return frozenset(self._held)

    def allocate(self) -> str:
        """The next free address; raises AddressesExhausted."""
        usable = self.network.num_addresses - 3  # not the network's, the gateway's or the broadcast's
        for step in range(1, usable + 1):
            offset = 2 + (self._cursor - 2 + step) % usable
            address = str(self.network[offset])
            if address not in self._held:
                self._held.add(address)
                self._cursor = offset
                if self._cursor_file is not None:
                    with contextlib.suppress(OSError):
                        self._cursor_file.write_text(address)
                return address
        raise AddressesExhausted(f"no IP addresses available in range set: {self.network}")
