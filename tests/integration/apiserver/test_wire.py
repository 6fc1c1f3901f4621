"""The short way to etcd: what comes back is right, and what does not come back is told apart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from aetcd.rpc import rpc_pb2

from apiserver.store.wire import Lost, Refused, Wire
from tests.support.etcd import running_etcd

_PUT, _RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty one: everything as the RFC has it


async def _open(wire: Wire) -> None:
    """The first call only makes it connect."""
    async with asyncio.timeout(10):
        while not (wire._connection and wire._connection.usable(1)):
            with contextlib.suppress(Lost, Refused):
                await wire.call(_RANGE, rpc_pb2.RangeRequest(key=b"a").SerializeToString(), timeout=5)
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running_etcd() as member:
        made = Wire(member.endpoint.removeprefix("http://"))
        await _open(made)
        yield made
        made.close()


async def test_hundreds_of_calls_at_once_each_get_their_own_answer(wire: Wire) -> None:
    left_over = []

    async def put(number: int) -> None:
        value = bytes([number % 251]) * (number * 100)  # up to 40 kB: several frames, more than one window in all
        message = rpc_pb2.PutRequest(key=b"k%03d" % number, value=value).SerializeToString()
        if await wire.call(_PUT, message, timeout=5) is None:
            left_over.append(number)

    await asyncio.gather(*map(put, range(400)))
    assert len(left_over) < 400
    for number in set(range(400)) - set(left_over):
        answer = await wire.call(_RANGE, rpc_pb2.RangeRequest(key=b"k%03d" % number).SerializeToString(), timeout=5)
        assert answer is not None
        (kv,) = rpc_pb2.RangeResponse.FromString(answer).kvs
        assert kv.value == bytes([number % 251]) * (number * 100)


async def test_sending_goes_on_for_as_long_as_the_peer_makes_room(wire: Wire) -> None:
    """50 MB in all: thousands of windows."""
    message = rpc_pb2.PutRequest(key=b"same", value=b"x" * 25_000).SerializeToString()
    sent = 0
    for _ in range(2_000):
        answer = await wire.call(_PUT, message, timeout=5)
        if answer is None:
            await asyncio.sleep(0.001)
            continue
        sent += 1
        assert rpc_pb2.PutResponse.FromString(answer).header.revision == sent + 1
    assert sent > 1_500


async def test_a_status_that_is_not_ok_is_refused_and_the_connection_goes_on(wire: Wire) -> None:
    with pytest.raises(Refused):
        await wire.call("/etcdserverpb.KV/NoSuchMethod", b"", timeout=5)
    with pytest.raises(Refused):
        await wire.call(_PUT, rpc_pb2.PutRequest(key=b"").SerializeToString(), timeout=5)
    assert await wire.call(_RANGE, rpc_pb2.RangeRequest(key=b"a").SerializeToString(), timeout=5)


async def test_a_message_that_the_peer_has_no_room_for_is_not_sent(wire: Wire) -> None:
    assert await wire.call(_PUT, b"x" * 2**24, timeout=5) is None
    assert await wire.call(_RANGE, rpc_pb2.RangeRequest(key=b"a").SerializeToString(), timeout=5)


@contextlib.asynccontextmanager
async def _peer(on_call: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[Wire]:
    """Someone who takes the connection and then does something else than answering."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_SETTINGS)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if b"NoAnswer" in data:
                    on_call(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(f"127.0.0.1:{port}")
    try:
        await _open(wire)
        yield wire
    finally:
        wire.close()
        server.close()


@pytest.mark.parametrize("what", ["hangs up", "says nothing", "gives the call up", "talks nonsense"])
async def test_a_call_that_was_sent_and_not_answered_is_lost(what: str) -> None:
    def on_call(writer: asyncio.StreamWriter) -> None:
        match what:
            case "hangs up":
                writer.close()
            case "gives the call up":
                writer.write(b"\0\0\4\3\0\0\0\0\1" + b"\0\0\0\7")
            case "talks nonsense":
                writer.write(b"\0\0\1\5\0\0\0\0\1x")  # a PUSH_PROMISE

    async with _peer(on_call) as wire:
        with pytest.raises(Lost):
            await asyncio.wait_for(wire.call("/x/NoAnswer", b"", timeout=0.2), 10)
