"""What a load balancer's health check hears."""

from __future__ import annotations

import aiohttp

from proxy.health_ports import HealthPorts
from tests.support.ports import free_port

KEY = ("default", "web")


async def ask(port: int) -> tuple[int, str, object]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
        return answer.status, answer.headers["X-Load-Balancing-Endpoint-Weight"], await answer.json()


async def test_a_node_is_healthy_while_it_has_endpoints_and_the_proxy_keeps_up() -> None:
    trouble = [""]
    ports, port = HealthPorts(lambda: trouble[0]), free_port()
    await ports.set(KEY, port, 2)
    try:
        service = {"namespace": "default", "name": "web"}
        told = {"service": service, "localEndpoints": 2, "serviceProxyHealthy": True}
        assert await ask(port) == (200, "2", told)
        trouble[0] = "rules are 200 s behind"
        assert (await ask(port))[0] == 503
        trouble[0] = ""
        await ports.set(KEY, port, 0)
        assert (await ask(port))[:2] == (503, "0")
    finally:
        await ports.set(KEY, 0, 0)
