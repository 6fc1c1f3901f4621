"""The agent's transactions against the kernel: what it takes for applied is what nft has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.codec import from_dict
from api.types.core_v1 import Node, Service
from api.types.discovery_v1 import EndpointSlice
from client.fake import FakeApi
from proxy import agent as agent_module
from proxy.agent import Agent
from proxy.nft import NftError
from proxy.rules import Network
from tests.integration.proxy.netlab import NetLab, netlab

SHARED = "198.18.0.101"


def service(name: str, created: str, ip: str, **spec: Any) -> Service:
    return from_dict(
        Service,
        {
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
            "spec": {"clusterIP": ip, "type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}], **spec},
        },
    )


def slice_(name: str, ip: str) -> EndpointSlice:
    return from_dict(
        EndpointSlice,
        {
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip], "nodeName": "n1", "conditions": {"ready": True}}],
        },
    )


@pytest.fixture(scope="module")
def namespaces() -> Any:
    with netlab() as made:
        yield made


@pytest.fixture
async def api(namespaces: NetLab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    """An API whose agent writes into a network namespace of its own; services `old` and `young` share an address."""

    async def apply(script: str) -> None:
        try:
            await asyncio.to_thread(namespaces.nft, script)
        except AssertionError as refused:
            refusals.append(str(refused))
            raise NftError(str(refused)) from None

    class Quiet:
        """Routes and loopback are this machine's, not the namespace's."""

        def __init__(self, *_: object) -> None: ...

        async def sync(self, *_: object, **__: object) -> None: ...

    refusals: list[str] = []
    monkeypatch.setattr(agent_module.nft, "apply", apply)
    monkeypatch.setattr(agent_module, "Routes", Quiet)
    monkeypatch.setattr(agent_module, "Announcer", Quiet)
    api = FakeApi()
    api.add(from_dict(Node, {"metadata": {"name": "n1"}}))
    api.add(service("old", "2026-01-01T00:00:00Z", "10.96.0.1", externalIPs=[SHARED]))
    api.add(slice_("old", "10.244.1.11"))
    api.add(slice_("young", "10.244.1.12"))
    agent = Agent(api, node_name="n1", network=Network("10.244.0.0/16", "10.96.0.0/16"))
    running = asyncio.create_task(agent.run())
    yield api
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert not refusals


def holder(lab: NetLab) -> str:
    """Which Service has the shared address."""
    table = lab.run("node", "nft", "list", "ruleset")
    [entry] = [part for part in table.split(",") if f"{SHARED} ." in part] or [""]
    return next((name for name in ("old", "young") if f"/{name}/" in entry), "")


async def becomes(lab: NetLab, name: str) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(holder, lab) != name:
            await asyncio.sleep(0.02)


async def test_an_address_that_two_services_claim_is_the_oldest_ones(api: FakeApi, namespaces: NetLab) -> None:
    await becomes(namespaces, "old")
    young = service("young", "2026-01-02T00:00:00Z", "10.96.0.2", externalIPs=[SHARED])
    await api.create(young)
    async with asyncio.timeout(30):
        while "10.96.0.2" not in namespaces.run("node", "nft", "list", "table", "ip", "pykube"):
            await asyncio.sleep(0.02)
    assert holder(namespaces) == "old"
    await api.delete(Service, "old", namespace="default")
    await becomes(namespaces, "young")
