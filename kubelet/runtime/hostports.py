"""hostPorts of pods: destination NAT on the node, in the nftables table `pykube_hostports`, which is only this file's.

The table is written as a whole, in one atomic transaction, whenever the set of mappings changes (rare), from the
mappings that the sandboxes' labels carry: so it is right again after any crash. A mapping with a host address applies
to that one only. The node itself reaches a hostPort too, also on 127.0.0.1 (by masquerading such packets, because a pod
could not answer to 127.0.0.1), and a pod reaches its own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping

from kubelet.cri import PortMapping, RuntimeFailure

TABLE = "pykube_hostports"
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


def ruleset(mappings: Iterable[tuple[str, PortMapping]], *, bridge: str) -> str:
    """nft's input for (pod address, mapping) pairs; no mappings: only takes the table away."""
    anywhere: list[str] = []
    somewhere: list[str] = []
    for address, mapping in sorted(mappings, key=lambda pair: (pair[1].host_port, pair[1].protocol, pair[1].host_ip)):
        if not mapping.host_port:
            continue
        protocol = _PROTOCOLS[mapping.protocol or "TCP"]
        to = f"{address} . {mapping.container_port}"
        if mapping.host_ip in ("", "0.0.0.0"):
            anywhere.append(f"{protocol} . {mapping.host_port} : {to}")
        elif ":" not in mapping.host_ip:
            somewhere.append(f"{mapping.host_ip} . {protocol} . {mapping.host_port} : {to}")
    # `add` first, so that `delete` never fails; nft runs the whole input as one transaction.
    lines = [f"add table ip {TABLE}", f"delete table ip {TABLE}"]
    if not anywhere and not somewhere:
        return "\n".join(lines) + "\n"
    lines += [
        f"table ip {TABLE} {{",
        *_map("somewhere", "ipv4_addr . inet_proto . inet_service", somewhere),
        *_map("anywhere", "inet_proto . inet_service", anywhere),
        "  chain translate {",
        "    dnat ip to ip daddr . meta l4proto . th dport map @somewhere",
        "    fib daddr type local dnat ip to meta l4proto . th dport map @anywhere",
        "  }",
        # Before the proxy's chains: a hostPort is more specific than a node port range.
        "  chain prerouting { type nat hook prerouting priority dstnat - 10; meta l4proto { tcp, udp, sctp } jump translate; }",  # noqa: E501
        "  chain output { type nat hook output priority -110; meta l4proto { tcp, udp, sctp } jump translate; }",
        "  chain postrouting { type nat hook postrouting priority srcnat - 10;",
        f'    oifname "{bridge}" ct status dnat ip saddr 127.0.0.0/8 masquerade',
        f'    oifname "{bridge}" ct status dnat ct original ip saddr . ct reply ip saddr @own masquerade',
        "  }",
        "  chain loopback { type filter hook prerouting priority raw;",
        f'    iifname "{bridge}" ip daddr 127.0.0.0/8 drop',
        "  }",
        "}",
    ]
    own = sorted({item.split(" : ")[1].split(" . ")[0] for item in anywhere + somewhere})
    pairs = ", ".join(f"{address} . {address}" for address in own)
    lines.insert(3, f"  set own {{ type ipv4_addr . ipv4_addr; elements = {{ {pairs} }}; }}")
    return "\n".join(lines) + "\n"


def _map(name: str, key: str, elements: list[str]) -> list[str]:
    lines = [f"  map {name} {{", f"    type {key} : ipv4_addr . inet_service;"]
    if elements:
        lines.append(f"    elements = {{ {', '.join(elements)} }}")
    return [*lines, "  }"]


class HostPorts:
    """Call `set` and `drop`; each returns when the kernel has it."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._sandboxes: dict[str, tuple[str, tuple[PortMapping, ...]]] = {}
        self._lock = asyncio.Lock()
        self._written = False

    async def replace(self, sandboxes: Mapping[str, tuple[str, tuple[PortMapping, ...]]]) -> None:
        """All there is (sandbox id -> address, mappings), after a start."""
        self._sandboxes = {key: value for key, value in sandboxes.items() if value[1]}
        if self._sandboxes or shutil.which("nft"):
            await self._write()

    async def set(self, sandbox_id: str, address: str, mappings: tuple[PortMapping, ...]) -> None:
        """Raises RuntimeFailure if another pod of this node has one of the ports."""
        if not mappings:
            return
        for other, (_, theirs) in self._sandboxes.items():
            for mapping in mappings:
                if other != sandbox_id and any(_collide(mapping, their) for their in theirs):
                    raise RuntimeFailure(
                        f"cannot open hostport {mapping.host_port} for pod: the port is already in use on this node"
                    )
        self._sandboxes[sandbox_id] = (address, mappings)
        try:
            await self._write()
        except RuntimeFailure:
            del self._sandboxes[sandbox_id]
            raise

    async def drop(self, sandbox_id: str) -> None:
        if self._sandboxes.pop(sandbox_id, None) is not None:
            await self._write()

    async def _write(self) -> None:
        async with self._lock:
            text = ruleset(
                [(address, mapping) for address, mappings in self._sandboxes.values() for mapping in mappings],
                bridge=self._bridge,
            )
            try:
                process = await asyncio.create_subprocess_exec(
                    "nft", "-f", "-",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
            except OSError as error:
                raise RuntimeFailure(f"cannot set up host ports: {error}") from error
            _, errors = await process.communicate(text.encode())
            if process.returncode:
                raise RuntimeFailure(f"cannot set up host ports: nft: {errors.decode(errors='replace').strip()}")


def _collide(one: PortMapping, other: PortMapping) -> bool:
    if not one.host_port or (one.host_port, one.protocol) != (other.host_port, other.protocol):
        return False
    return one.host_ip == other.host_ip or bool({one.host_ip, other.host_ip} & {"", "0.0.0.0"})
