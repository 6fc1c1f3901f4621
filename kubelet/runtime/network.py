"""Plugs pods into the node's bridge: one veth pair per sandbox, one address, one route.

    pod eth0 10.244.1.7/32 --veth-- bridge cbr0 10.244.1.1/24 -- routes to other nodes (`proxy`)

A pod's only neighbour is the bridge itself: its address is a /32 with the default route over the node. So every packet
between pods, even of one node, is routed by the node, where conntrack sees both directions of it; a Service's answer
from a pod on the same bridge would otherwise bypass the NAT that has to be undone. This needs no br_netfilter. Where
that is on nevertheless, a translated packet is switched straight to its port, which may be the one it came from: hence
hairpin mode, and no isolation between ports.

MAC addresses follow from the IP addresses (0a:58 and the four bytes, as CNI's bridge plugin does), so that an address
that comes round again meets no stale neighbour entry. All work is done by one thread, on one netlink socket, and takes
some 4 ms for a pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute, NetlinkError

from kubelet.cri import RuntimeFailure
from kubelet.runtime import netns
from kubelet.runtime.ipam import IPAM

log = logging.getLogger(__name__)
T = TypeVar("T")

NOT_READY = "container runtime network not ready: cni config uninitialized: the node has no pod CIDR yet"
VETH_PREFIX = "veth"
_NO_SUCH_DEVICE = (19, 2)  # ENODEV, ENOENT


def veth_name(sandbox_id: str) -> str:
    """Names of interfaces have at most 15 characters."""
    return VETH_PREFIX + sandbox_id[:11]


def mac_of(address: str) -> str:
    return "0a:58:" + ":".join(f"{int(part):02x}" for part in address.split("."))


class PodNetwork:
    """`ipam` is None until the node has a pod CIDR."""

    def __init__(self, *, bridge: str = "cbr0", state_dir: Path) -> None:
        self.bridge = bridge
        self.ipam: IPAM | None = None
        self.mtu = 1500
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pod-network")
        self._netlink: Any = None
        self._bridge_index = 0

    async def _run(self, action: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, action)
        except (OSError, NetlinkError) as error:
            raise RuntimeFailure(f"failed to setup network for pod: {error}") from error

    def ready(self) -> str:
        return "" if self.ipam is not None else NOT_READY

    @property
    def _route(self) -> Any:
        if self._netlink is None:
            self._netlink = IPRoute()
        return self._netlink

    # -- the bridge -----------------------------------------------------------------------------------------------
    async def set_cidr(self, cidr: str, *, held: tuple[str, ...] = ()) -> None:
        """Make or adopt the bridge for `cidr`. `held`: addresses of sandboxes that exist."""
        if self.ipam is not None and str(self.ipam.network) == cidr:
            return
        self._state_dir.mkdir(parents=True, exist_ok=True)
        ipam = IPAM(cidr, cursor_file=self._state_dir / "last-address")
        for address in held:
            ipam.hold(address)
        await self._run(lambda: self._make_bridge(ipam))
        self.ipam = ipam

    def _make_bridge(self, ipam: IPAM) -> None:
        route = self._route
        self.mtu = self._uplink_mtu()
        found = route.link_lookup(ifname=self.bridge)
        if not found:
            # With an address of its own the bridge keeps it when ports come and go.
            route.link("add", ifname=self.bridge, kind="bridge", address=mac_of(ipam.gateway), mtu=self.mtu)
            found = route.link_lookup(ifname=self.bridge)
        self._bridge_index = found[0]
        wanted, present = (ipam.gateway, ipam.network.prefixlen), False
        for entry in route.get_addr(index=self._bridge_index, family=2):
            address = (entry.get_attr("IFA_ADDRESS"), entry["prefixlen"])
            if address == wanted:
                present = True
            else:
                route.addr("del", index=self._bridge_index, address=address[0], prefixlen=address[1])
        if not present:
            route.addr("add", index=self._bridge_index, address=wanted[0], prefixlen=wanted[1])
        route.link("set", index=self._bridge_index, state="up", mtu=self.mtu)
        _sysctl("net/ipv4/ip_forward", "1")
        # Packets between pods enter and leave by the same interface; a redirect would tell pods to skip the node.
        _sysctl("net/ipv4/conf/all/send_redirects", "0")
        _sysctl(f"net/ipv4/conf/{self.bridge}/send_redirects", "0")
        # hostPorts on 127.0.0.1 are answered by pods; `hostports` keeps pods from the node's own loopback.
        _sysctl(f"net/ipv4/conf/{self.bridge}/route_localnet", "1")
        self._allow_forwarding(str(ipam.network))

    def _uplink_mtu(self) -> int:
        route = self._route
        for entry in route.get_default_routes(family=2):
            link = route.get_links(entry.get_attr("RTA_OIF"))
            if link:
                return int(link[0].get_attr("IFLA_MTU"))
        return 1500

    def _allow_forwarding(self, cidr: str) -> None:
        """A Docker that manages iptables drops what is forwarded; pods of this node must still reach each other."""
        iptables = shutil.which("iptables")
        if iptables is None:
            return
        policy = subprocess.run([iptables, "-w", "-S", "FORWARD"], capture_output=True, text=True, check=False)
        if "-P FORWARD DROP" not in policy.stdout:
            return
        rule = self._forward_rule(cidr)
        if subprocess.run([iptables, "-w", "-C", *rule], capture_output=True, check=False).returncode != 0:
            subprocess.run([iptables, "-w", "-I", *rule], capture_output=True, check=True)

    def _forward_rule(self, cidr: str) -> list[str]:
        return ["FORWARD", "-i", self.bridge, "-o", self.bridge, "-s", cidr, "-d", cidr, "-j", "ACCEPT"]

    async def remove_bridge(self) -> None:
        """For a machine that stops being a node: the bridge goes, with the addresses on it and the rule for it."""
        await self._run(self._remove_bridge)
        self.ipam = None

    def _remove_bridge(self) -> None:
        self._delete(self.bridge)
        if self.ipam is not None and (iptables := shutil.which("iptables")):
            rule = self._forward_rule(str(self.ipam.network))
            subprocess.run([iptables, "-w", "-D", *rule], capture_output=True, check=False)

    # -- pods -----------------------------------------------------------------------------------------------------
    async def attach(self, sandbox_id: str, pid: int, address: str) -> None:
        """Give the sandbox whose process is `pid` its interface. Raises RuntimeFailure, leaving nothing behind."""
        await self._run(lambda: self._attach(veth_name(sandbox_id), pid, address))

    def _attach(self, name: str, pid: int, address: str) -> None:
        route, ipam = self._route, self.ipam
        if ipam is None:
            raise OSError(NOT_READY)
        route.link(
            "add",
            ifname=name,
            kind="veth",
            master=self._bridge_index,
            mtu=self.mtu,
            state="up",
            peer={"ifname": "eth0", "net_ns_pid": pid, "address": mac_of(address), "mtu": self.mtu},
        )
        try:
            index = route.link_lookup(ifname=name)[0]
            route.brport("set", index=index, mode=1)
            gateway = ipam.gateway
            netns.inside(pid, lambda: _configure(address, gateway))
        except BaseException:
            with contextlib.suppress(OSError, NetlinkError):
                self._delete(name)
            raise

    async def detach(self, sandbox_id: str) -> None:
        """The kernel removes the pair with the namespace, but in its own time; idempotent."""
        await self._run(lambda: self._delete(veth_name(sandbox_id)))

    def _delete(self, name: str) -> None:
        route = self._route
        for index in route.link_lookup(ifname=name):
            try:
                route.link("del", index=index)
            except NetlinkError as error:
                if error.code not in _NO_SUCH_DEVICE:
                    raise

    async def reconcile(self, running: Mapping[str, tuple[int, str]]) -> None:
        """After a start: repair sandboxes (id -> process, address) that were left unplugged, remove orphaned veths."""
        await self._run(lambda: self._reconcile(running))

    def _reconcile(self, running: Mapping[str, tuple[int, str]]) -> None:
        ports = {
            link.get_attr("IFLA_IFNAME")
            for link in self._route.get_links()
            if link.get_attr("IFLA_MASTER") == self._bridge_index
        }
        wanted = {veth_name(sandbox_id): plug for sandbox_id, plug in running.items()}
        for name in ports - wanted.keys():
            if name.startswith(VETH_PREFIX):
                log.info("removing orphaned interface %s", name)
                self._delete(name)
        for name, (pid, address) in wanted.items():
            if name not in ports:
                log.info("sandbox of %s had no network: plugging it in", address)
                try:
                    self._delete(name)
                    self._attach(name, pid, address)
                except (OSError, NetlinkError) as error:
                    log.warning("cannot plug in %s: %s", address, error)

    async def close(self) -> None:
        if self._netlink is not None:
            with contextlib.suppress(RuntimeFailure):
                await self._run(self._netlink.close)
        self._thread.shutdown(wait=False)


def _configure(address: str, gateway: str) -> None:
    """Inside the pod's namespace."""
    with IPRoute() as route:
        index = route.link_lookup(ifname="eth0")[0]
        route.addr("add", index=index, address=address, prefixlen=32)
        route.link("set", index=index, state="up")
        route.route("add", dst=f"{gateway}/32", oif=index, scope=253)
        route.route("add", dst="default", gateway=gateway, oif=index)


def _sysctl(key: str, value: str) -> None:
    file = Path("/proc/sys") / key
    try:
        if file.read_text().strip() != value:
            file.write_text(value)
    except OSError as error:
        log.warning("cannot set %s to %s: %s", key, value, error)
