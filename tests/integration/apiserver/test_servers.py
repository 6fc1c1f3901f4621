"""API servers as processes on a real etcd: killed under load, they lose nothing and tell everything once."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from api import errors
from api.types.core_v1 import ConfigMap, Endpoints, Namespace, Secret, Service
from api.types.meta_v1 import ObjectMeta
from client.api import Api
from tests.support.etcd import Etcd, running_etcd
from tests.support.processes import ROOT, ApiServerProcess


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    subprocess.run([sys.executable, "-m", "deploy.pki", str(directory)], check=True, cwd=ROOT, capture_output=True)
    return directory


@pytest_asyncio.fixture
async def etcd() -> AsyncIterator[Etcd]:
    async with running_etcd() as member:
        yield member


@pytest_asyncio.fixture
async def servers(etcd: Etcd, pki: Path, tmp_path: Path) -> AsyncIterator[list[ApiServerProcess]]:
    """Two on one etcd."""
    started = [ApiServerProcess(tmp_path, pki, etcd.endpoint) for _ in range(2)]
    try:
        await asyncio.gather(*(server.start() for server in started))
        yield started
    finally:
        for server in started:
            server.kill()


def config(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"name": name})


async def create(api: Api, name: str) -> str:
    """Until acknowledged, as a component would: what it asked for is there, whoever's attempt it was."""
    while True:
        try:
            return (await api.create(config(name))).metadata.resource_version or ""
        except errors.StatusError as error:
            if errors.is_already_exists(error):
                return (await api.get(ConfigMap, name, namespace="default")).metadata.resource_version or ""
            await asyncio.sleep(0.02)


async def follow_rest(servers: list[ApiServerProcess], version: str, count: int) -> list[tuple[str, str]]:
    """The names and versions that a REST watcher is told; it goes to the other server when its own is gone."""
    seen: list[tuple[str, str]] = []
    tls = servers[0].tls("admin")
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.cert), str(tls.key))
    turn = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        while len(seen) < count:
            turn += 1
            base = f"https://127.0.0.1:{servers[turn % 2].rest_port}/api/v1/namespaces/default/configmaps"
            query = {"watch": "true", "resourceVersion": version, "fieldSelector": "metadata.name!=kube-root-ca.crt"}
            try:
                async with session.get(base, params=query) as answer:
                    assert answer.status == 200, await answer.text()
                    async for line in answer.content:
                        event = json.loads(line)
                        assert event["type"] == "ADDED", event
                        meta = event["object"]["metadata"]
                        version = meta["resourceVersion"]
                        seen.append((meta["name"], version))
                        if len(seen) >= count:
                            return seen
            except (aiohttp.ClientError, json.JSONDecodeError):
                await asyncio.sleep(0.02)
    return seen


async def test_killed_servers_lose_no_write_and_watchers_resume_without_gap_or_repeat(
    servers: list[ApiServerProcess],
) -> None:
    endpoints = ",".join(f"127.0.0.1:{server.grpc_port}" for server in servers)
    count = 400
    acknowledged: dict[str, str] = {}
    seen: list[tuple[str, str]] = []

    async def write(api: Api) -> None:
        for number in range(count):
            acknowledged[f"c{number:03}"] = await create(api, f"c{number:03}")

    async def follow(api: Api, version: str) -> None:
        while len(seen) < count:
            try:
                async for event in api.watch(
                    ConfigMap, namespace="default", resource_version=version, fields="metadata.name!=kube-root-ca.crt"
                ):
                    version = event.resource_version
                    if event.type != "BOOKMARK":
                        seen.append((event.object.metadata.name or "", event.resource_version))
                    if len(seen) >= count:
                        return
            except errors.StatusError as error:
                assert not errors.is_gone(error), "a watcher had to list again"
                await asyncio.sleep(0.02)

    async with (
        Api.connect(endpoints, tls=servers[0].tls("admin")) as writing,
        Api.connect(endpoints, tls=servers[0].tls("admin")) as watching,
        asyncio.timeout(120),
    ):
        start = (await watching.list(ConfigMap, namespace="default")).resource_version
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(watching, start))
            rest = group.create_task(follow_rest(servers, start, count))
            writer = group.create_task(write(writing))
            for turn in range(4):
                await asyncio.sleep(0.3)
                servers[turn % 2].kill()
                await servers[turn % 2].start()
            await writer
        assert seen == sorted(acknowledged.items())
        assert rest.result() == seen
        listed = await writing.list(ConfigMap, namespace="default")
        found = {item.metadata.name: item.metadata.resource_version for item in listed.items}
        assert {name: found.get(name) for name in acknowledged} == acknowledged


async def test_a_server_stops_politely(servers: list[ApiServerProcess]) -> None:
    api = servers[0].client()
    ended = asyncio.Event()

    async def follow() -> None:
        try:
            async for _ in api.watch(ConfigMap):
                pass
        except errors.StatusError:
            pass
        ended.set()

    task = asyncio.create_task(follow())
    await api.create(config("a"))
    assert await asyncio.to_thread(servers[0].kill, signal.SIGTERM) == 0
    async with asyncio.timeout(10):
        await ended.wait()
    await task
    await api.close()
    async with servers[1].client() as other:
        assert (await other.get(ConfigMap, "a", namespace="default")).data == {"name": "a"}


async def test_a_new_cluster_has_what_everything_expects(servers: list[ApiServerProcess]) -> None:
    async with servers[0].client() as api:
        names = {n.metadata.name for n in (await api.list(Namespace)).items}
        assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
        async with asyncio.timeout(15):
            while True:
                found = await api.list(Endpoints, namespace="default")
                if found.items and found.items[0].subsets:
                    break
                await asyncio.sleep(0.1)
        service = await api.get(Service, "kubernetes", namespace="default")
        assert service.spec.cluster_ip == "10.96.0.1"
    async with servers[0].client("proxy") as proxy:
        await proxy.list(Service)
        with pytest.raises(errors.StatusError) as caught:
            await proxy.list(Secret)
        assert caught.value.message == (
            'secrets is forbidden: User "system:kube-proxy" cannot list resource "secrets" in API group "" '
            "at the cluster scope"
        )


async def test_etcd_may_restart_under_a_server(servers: list[ApiServerProcess], etcd: Etcd) -> None:
    async with servers[0].client() as api:
        before = await create(api, "before")
        etcd.kill()
        await etcd.start()
        await create(api, "after")
        names = []
        async with asyncio.timeout(20):
            async for event in api.watch(ConfigMap, namespace="default", resource_version=before):
                names.append(event.object.metadata.name)
                break
        assert names == ["after"]
