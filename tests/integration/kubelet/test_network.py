"""Packets between pods, node and outside, and host ports."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kubelet import cri
from kubelet.runtime.hostports import TABLE
from tests.integration.kubelet.conftest import Pods, RunningPod

SERVE = "exec socat TCP-LISTEN:8080,fork,reuseaddr SYSTEM:'echo from $SOCAT_PEERADDR'"


async def serving(pods: Pods, *mappings: cri.PortMapping) -> RunningPod:
    pod = await pods.run("sh", "-c", SERVE, sandbox={"port_mappings": mappings})
    await pod.sh("until socat -u OPEN:/dev/null TCP:127.0.0.1:8080; do sleep 0.05; done")
    return pod


async def ask(address: str, port: int) -> str:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(address, port)
        answer = (await reader.read()).decode().strip()
        writer.close()
        return answer


async def from_pod(pod: RunningPod, address: str, port: int) -> str:
    return (await pod.sh(f"socat -u -T3 TCP:{address}:{port},connect-timeout=3 -")).strip()


def node_address() -> str:
    """The address of this machine's uplink."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def test_pods_and_node_reach_each_other_by_real_addresses(pods: Pods) -> None:
    server, client = await serving(pods), await pods.run()
    assert await from_pod(client, server.ip, 8080) == f"from {client.ip}"
    assert await from_pod(server, server.ip, 8080) == f"from {server.ip}"
    assert await ask(server.ip, 8080) == "from 10.98.7.1"
    # Routed by the node, not switched past it: that is what keeps a Service's NAT whole.
    assert "ttl=63" in await client.sh(f"ping -c1 -W2 {server.ip}")


async def test_the_interface_is_as_upstream_has_it(pods: Pods) -> None:
    pod = await pods.run()
    assert f"inet {pod.ip}/32" in await pod.sh("ip -4 addr show eth0")
    assert "LOOPBACK,UP" in await pod.sh("ip addr show lo")
    routes = await pod.sh("ip route")
    assert "default via 10.98.7.1 dev eth0" in routes


async def test_host_ports_answer_on_every_address_of_the_node_and_go_with_the_pod(pods: Pods) -> None:
    server = await serving(
        pods,
        cri.PortMapping(host_port=18080, container_port=8080),
        cri.PortMapping(host_port=18081, container_port=8080, host_ip="127.0.0.1"),
    )
    client, outside = await pods.run(), node_address()
    for address, port in ((outside, 18080), ("127.0.0.1", 18080), ("127.0.0.1", 18081), ("10.98.7.1", 18080)):
        assert (await ask(address, port)).startswith("from "), (address, port)
    assert await from_pod(client, "10.98.7.1", 18080) == f"from {client.ip}"
    assert (await from_pod(server, "10.98.7.1", 18080)).startswith("from ")
    with pytest.raises(OSError):
        await ask(outside, 18081)
    with pytest.raises(cri.RuntimeFailure, match="18080"):
        await pods.sandbox(port_mappings=(cri.PortMapping(host_port=18080, container_port=1),))
    await server.runtime.stop_sandbox(server.sandbox.id)
    with pytest.raises(OSError):
        await ask("127.0.0.1", 18080)


async def test_udp_host_port(pods: Pods) -> None:
    mapping = cri.PortMapping(host_port=18053, container_port=5353, protocol="UDP")
    await pods.run("socat", "UDP-LISTEN:5353,fork", "EXEC:cat", sandbox={"port_mappings": (mapping,)})
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", 18053))
        async with asyncio.timeout(10):
            while True:
                await loop.sock_sendall(client, b"question")
                try:
                    async with asyncio.timeout(0.3):
                        assert await loop.sock_recv(client, 100) == b"question"
                        break
                except (TimeoutError, ConnectionError):
                    continue


async def test_an_address_is_not_reused_at_once(pods: Pods) -> None:
    first = await pods.sandbox()
    await pods.runtime.remove_sandbox(first.sandbox.id)
    second = await pods.sandbox()
    assert second.ip != first.ip


async def test_pods_cannot_reach_the_loopback_of_the_node(pods: Pods) -> None:
    pod = await pods.run(
        sandbox={"sysctls": {"net.ipv4.conf.all.route_localnet": "1"}},
        security=cri.SecurityConfig(add_capabilities=("NET_ADMIN",)),
    )
    await serving(pods, cri.PortMapping(host_port=18082, container_port=8080))  # makes the table
    listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 18083)
    async with listener:
        await pod.sh(f"ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via 10.98.7.1 src {pod.ip}")
        connect = ["socat", "-u", "OPEN:/dev/null", "TCP:127.0.0.1:18083,connect-timeout=1"]
        assert (await pod.runtime.exec_sync(pod.container, connect, 10)).exit_code != 0
        # What keeps it out is the table's own chain, nothing else:
        flush = await asyncio.create_subprocess_exec("nft", "flush", "chain", "ip", TABLE, "loopback")
        assert await flush.wait() == 0
        assert (await pod.runtime.exec_sync(pod.container, connect, 10)).exit_code == 0
