"""The gRPC transport against a real gRPC server: errors, the multiplexed watch, reconnecting, several endpoints."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from api import codec, errors
from api.types.core_v1 import ConfigMap
from api.types.meta_v1 import ObjectMeta
from client.api import BATCH_SIZE, Api
from client.batch import Batcher
from client.fake import FakeApi, FakeTransport
from client.informer import Informer
from client.transport import TLS, GrpcTransport
from client.writes import Create, Delete
from proto import api_pb2, api_pb2_grpc


class Server(api_pb2_grpc.ApiServicer):
    """Serves a FakeTransport the way the apiserver serves its pipeline."""

    def __init__(self, fake: FakeTransport) -> None:
        self.fake = fake
        self.batches: list[int] = []
        self.streams = 0

    async def _answer(self, method: str, request: Any, context: Any) -> Any:
        try:
            return await self.fake.unary(method, request)
        except errors.StatusError as error:
            data = codec.encode(error.status)
            await context.abort(grpc.StatusCode.NOT_FOUND, error.message, (("status-bin", data),))

    async def Get(self, request: Any, context: Any) -> Any:
        return await self._answer("Get", request, context)

    async def Create(self, request: Any, context: Any) -> Any:
        return await self._answer("Create", request, context)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await self._answer("Delete", request, context)

    async def Batch(self, request: Any, context: Any) -> Any:
        self.batches.append(len(request.writes))
        await asyncio.sleep(0.01)
        return await self.fake.unary("Batch", request)

    async def List(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for page in self.fake.list(request):
            yield page

    async def Watch(self, requests: Any, context: Any) -> None:
        self.streams += 1
        tasks: dict[int, asyncio.Task[None]] = {}

        async def one(opened: api_pb2.WatchOpen) -> None:
            try:
                async for events in self.fake.watch(opened):
                    await context.write(api_pb2.WatchResponse(id=opened.id, events=events))
            except errors.StatusError as error:
                await context.write(api_pb2.WatchResponse(id=opened.id, error=codec.encode(error.status)))

        try:
            async for request in requests:
                if request.WhichOneof("request") == "open":
                    tasks[request.open.id] = asyncio.create_task(one(request.open))
                else:
                    tasks.pop(request.close.id).cancel()
        finally:
            for task in tasks.values():
                task.cancel()


@contextlib.asynccontextmanager
async def serving(address: str, fake: FakeTransport) -> AsyncIterator[Server]:
    server, servicer = grpc.aio.server(), Server(fake)
    api_pb2_grpc.add_ApiServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(0)


def config_map(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="d"))


async def test_the_servers_status_arrives(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with serving(address, FakeApi().fake), Api.connect(address) as api:
        with pytest.raises(errors.StatusError) as caught:
            await api.get(ConfigMap, "a", namespace="d")
    assert errors.is_not_found(caught.value)
    assert caught.value.message == 'configmaps "a" not found'


async def test_a_server_that_is_away_is_a_503(tmp_path: Path) -> None:
    async with Api.connect(f"unix:{tmp_path}/s") as api:
        with pytest.raises(errors.StatusError) as caught:
            await api.get(ConfigMap, "a", namespace="d")
    assert errors.is_service_unavailable(caught.value)


async def test_watches_share_a_stream_and_end_one_by_one(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    fake = FakeApi()
    async with serving(address, fake.fake) as server, Api.connect(address) as api:
        first = api.watch(ConfigMap)
        second = api.watch(ConfigMap, namespace="d")
        fake.add(config_map("a"))
        one, two = await anext(first), await anext(second)
        assert (one.type, one.object.metadata.name) == (two.type, two.object.metadata.name) == ("ADDED", "a")
        await second.aclose()
        fake.add(config_map("b"))
        assert (await anext(first)).object.metadata.name == "b"
        assert server.streams == 1
        fake.compact()
        with pytest.raises(errors.StatusError) as caught:
            await anext(first)
        assert errors.is_expired(caught.value)


async def test_an_informer_survives_the_servers_restart(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    fake = FakeApi(config_map("a"))
    async with Api.connect(address) as api:
        informer = Informer(api, ConfigMap)
        task = asyncio.create_task(informer.run())
        async with serving(address, fake.fake):
            await informer.synced()
        fake.add(config_map("b"))
        await fake.delete(ConfigMap, "a", namespace="d")
        async with serving(address, fake.fake), asyncio.timeout(20):
            while [o.metadata.name for o in informer.list()] != ["b"]:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_pause_ends_when_the_server_comes_back(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    fake = FakeApi(config_map("a"))
    async with Api.connect(address) as api:
        with pytest.raises(errors.StatusError):
            await api.get(ConfigMap, "a", namespace="d")
        pausing = [asyncio.create_task(api.pause(1000)) for _ in range(3)]
        async with serving(address, fake.fake), asyncio.timeout(20):
            await asyncio.gather(*pausing)
            assert (await api.get(ConfigMap, "a", namespace="d")).metadata.name == "a"


async def test_a_pause_is_a_pause_while_the_server_answers(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with serving(address, FakeApi(config_map("a")).fake), Api.connect(address) as api:
        await api.get(ConfigMap, "a", namespace="d")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await api.pause(1000)


async def test_it_moves_on_to_the_next_endpoint(tmp_path: Path) -> None:
    fake = FakeApi(config_map("a"))
    async with (
        serving(f"unix:{tmp_path}/two", fake.fake),
        Api.connect([f"unix:{tmp_path}/one", f"unix:{tmp_path}/two"]) as api,
    ):
        with pytest.raises(errors.StatusError):
            await api.get(ConfigMap, "a", namespace="d")
        assert (await api.get(ConfigMap, "a", namespace="d")).metadata.name == "a"


async def test_batches_have_an_outcome_for_each_write(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with serving(address, FakeApi(config_map("a")).fake), Api.connect(address) as api:
        created, exists, deleted = await api.batch(
            [Create(config_map("b")), Create(config_map("a")), Delete(ConfigMap, "b", "d")]
        )
    assert created.metadata.name == "b" and created.metadata.uid
    assert errors.is_already_exists(exists)
    assert deleted.metadata.name == "b"


async def test_concurrent_writes_share_calls_and_each_hears_its_own_outcome(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with serving(address, FakeApi(config_map("n7")).fake) as server, Api.connect(address) as api:
        batcher = Batcher(api, concurrency=1)
        outcomes = await asyncio.gather(
            *(batcher.write(Create(config_map(f"n{i}"))) for i in range(100)), return_exceptions=True
        )
    assert sum(server.batches) in (99, 100) and len(server.batches) <= 2
    assert [i for i, o in enumerate(outcomes) if isinstance(o, errors.StatusError)] == [7]


async def test_a_batch_that_fails_in_an_unforeseen_way_leaves_nobody_waiting() -> None:
    class Broken(FakeApi):
        broken = True

        async def batch(self, many: Any) -> list[Any]:
            if self.broken:
                self.broken = False
                raise RuntimeError("a bug")
            return await super().batch(many)

    batcher = Batcher(Broken(), concurrency=1)
    many = (batcher.write(Create(config_map(f"n{i}"))) for i in range(BATCH_SIZE + 5))
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(o, errors.StatusError) for o in outcomes) == BATCH_SIZE
    assert all(o.metadata.uid for o in outcomes[BATCH_SIZE:])


async def test_certificates_that_are_just_being_replaced_are_waited_for(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("ca", "cert", "key")]
    tls = TLS(*paths)
    with pytest.raises(OSError):
        await Api.connect("localhost:1", tls=tls).get(ConfigMap, "a", namespace="d")
    for path in paths:
        path.write_text("")
    transport = GrpcTransport(["localhost:1"], tls)
    transport._connected()
    transport._move()
    paths[2].unlink()
    with pytest.raises(errors.StatusError) as refusal:
        await Api(transport).get(ConfigMap, "a", namespace="d")
    assert errors.is_service_unavailable(refusal.value)
    await transport.close()
