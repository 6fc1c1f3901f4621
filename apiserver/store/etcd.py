"""The store in etcd, over aetcd's generated stubs on a `grpc.aio` channel.

Why not aetcd's own client: it knows neither several endpoints nor revisions nor limits. What this adds is small:

- every write is a transaction on the key's `mod_revision` that reads the key if it fails, so a conflict costs no
  second round trip, and a write that had to be retried recognizes its own effect instead of applying it again;
- creates share transactions when many come at once (`apiserver.store.grouping`), and have revisions of their own all
  the same (`apiserver.store.revisions`);
- one watch over all keys. Every revision of etcd changes at least one key, so a reader that has seen the change of
  revision N has seen everything before it: no progress notifications (broken in some 3.4 and 3.5 releases) are needed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from aetcd.rpc import kv_pb2, rpc_pb2, rpc_pb2_grpc

from apiserver.store import (
    Change,
    Changes,
    Compacted,
    Conflict,
    Exists,
    FutureRevision,
    Page,
    Record,
    Rejected,
    Unavailable,
    revisions,
)
from apiserver.store.grouping import Create, Creates
from apiserver.store.revisions import of_etcd, packed, unpacked

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")

_LEASE_REUSE_SECONDS = 60.0  # as upstream: objects with equal time to live share a lease for this long
_LIST_PAGE = 1000  # keys a call, so that one large list does not hold up etcd
_RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class EtcdTLS:
    """PEM files for etcd's server CA and, if etcd asks for one, our client certificate."""

    ca: str
    cert: str | None = None
    key: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        def read(path: str | None) -> bytes | None:
            return Path(path).read_bytes() if path else None

        return grpc.ssl_channel_credentials(read(self.ca), read(self.key), read(self.cert))


@dataclass
class _Endpoint:
    channel: grpc.aio.Channel
    kv: Any
    watch: Any
    lease: Any


class EtcdStore:
    """Talks to the first endpoint that answers and moves on to the next when one fails.

    `timeout` bounds each operation with all its retries, in seconds.
    """

    def __init__(self, endpoints: Sequence[str], *, tls: EtcdTLS | None = None, timeout: float = 10.0) -> None:
        self._endpoints = [self._connect(endpoint, tls) for endpoint in endpoints]
        self._active = 0
        self._timeout = timeout
        self._leases: dict[int, tuple[int, float]] = {}
        self._creates = Creates(self._create_alone, self._create_together)

    @staticmethod
    def _connect(endpoint: str, tls: EtcdTLS | None) -> _Endpoint:
        scheme, _, address = endpoint.rpartition("://")
        if scheme == "https":
            if tls is None:
                raise ValueError(f"etcd endpoint {endpoint} needs a CA file")
            channel = grpc.aio.secure_channel(address, tls.credentials(), options=_CHANNEL_OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        return _Endpoint(
            channel, rpc_pb2_grpc.KVStub(channel), rpc_pb2_grpc.WatchStub(channel), rpc_pb2_grpc.LeaseStub(channel)
        )

    async def get(self, key: str) -> tuple[Record | None, int]:
        reply = await self._range(rpc_pb2.RangeRequest(key=key.encode()))
        return (_record(reply.kvs[0]) if reply.kvs else None), revisions.revision(reply.header.revision)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        records: list[Record] = []
        key, end = max(prefix, start).encode(), _prefix_end(prefix.encode())
        count, at, read = -1, revision, of_etcd(revision)
        if revision and not read:
            raise Compacted(revisions.revision(1))  # before the first write; 0 would be now
        while True:
            size = min(_LIST_PAGE, limit - len(records)) if limit else _LIST_PAGE
            request = rpc_pb2.RangeRequest(key=key, range_end=end, limit=size, revision=read)
            reply = await self._range(request)
            # What the same transaction wrote after `at` was not there yet (`total` counts it all the same):
            # transactions of several writes only create.
            records.extend(record for record in map(_record, reply.kvs) if not at or record.revision <= at)
            if count < 0:
                count = reply.count
            if not read:  # the first page decides which moment the later ones show
                read, at = reply.header.revision, revisions.revision(reply.header.revision)
            if not reply.more or (limit and len(records) >= limit):
                return Page(records, at, bool(reply.more), count)
            key = reply.kvs[-1].key + b"\0"

    async def _range(self, request: Any) -> Any:
        return await self._call(lambda endpoint, timeout: endpoint.kv.Range(request, timeout=timeout))

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        if not ttl:
            return await self._creates.create(key, value)
        return await self._create_alone(key, value, False, ttl)

    async def _create_alone(self, key: str, value: bytes, retried: bool, ttl: int = 0) -> int:
        written, revision, current = await self._put(key, value, 0, ttl, retried)
        if not written:
            assert current is not None
            raise Exists(current)
        return revision

    async def _create_together(self, creates: Sequence[Create]) -> tuple[Sequence[int], bool]:
        request = rpc_pb2.TxnRequest()
        places = revisions.places(len(creates))
        for create, at in zip(creates, places, strict=True):
            key = create.key.encode()
            put = rpc_pb2.PutRequest(key=key, value=packed(create.value, at))
            request.compare.append(_unchanged(key, 0))
            request.success.append(rpc_pb2.RequestOp(request_put=put))
        reply, retried = await self._transact(request)
        if not reply.succeeded:
            return (), retried
        return [revisions.revision(reply.header.revision, at) for at in places], retried

    async def update(self, key: str, value: bytes, *, revision: int, ttl: int = 0) -> int:
        written, new_revision, current = await self._put(key, value, revision, ttl)
        if not written:
            raise Conflict(current)
        return new_revision

    async def _put(
        self, key: str, value: bytes, expected: int, ttl: int, retried: bool = False
    ) -> tuple[bool, int, Record | None]:
        lease = await self._lease(ttl) if ttl else 0
        raw = key.encode()
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=raw, value=packed(value), lease=lease))
        reply, again = await self._transaction(raw, expected, put)
        if reply.succeeded:
            return True, revisions.revision(reply.header.revision), None
        kvs = reply.responses[0].response_range.kvs
        current = _record(kvs[0]) if kvs else None
        if (retried or again) and current is not None and current.value == value and current.revision > expected:
            return True, current.revision, None  # the attempt whose answer was lost did it
        return False, 0, current

    async def delete(self, key: str, *, revision: int) -> int:
        raw = key.encode()
        operation = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=raw))
        reply, retried = await self._transaction(raw, revision, operation)
        kvs = () if reply.succeeded else reply.responses[0].response_range.kvs
        if reply.succeeded or (retried and not kvs):
            return revisions.revision(reply.header.revision)
        raise Conflict(_record(kvs[0]) if kvs else None)

    async def _transaction(self, key: bytes, expected: int, operation: Any) -> tuple[Any, bool]:
        request = rpc_pb2.TxnRequest(
            compare=[_unchanged(key, expected)],
            success=[operation],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))],
        )
        return await self._transact(request)

    async def _transact(self, request: Any) -> tuple[Any, bool]:
        """The reply, and whether more than one attempt was needed."""
        attempts = 0

        def attempt(endpoint: _Endpoint, timeout: float) -> Awaitable[Any]:
            nonlocal attempts
            attempts += 1
            return endpoint.kv.Txn(request, timeout=timeout)  # type: ignore[no-any-return]

        reply = await self._call(attempt)
        return reply, attempts > 1

    async def revision(self) -> int:
        reply = await self._range(rpc_pb2.RangeRequest(key=b"/", count_only=True))
        return revisions.revision(reply.header.revision)

    def earlier(self, revision: int, writes: int) -> int:
        return revisions.revision(max(1, of_etcd(revision) - writes))

    async def compact(self, revision: int) -> None:
        await self._compact(of_etcd(revision))

    async def _compact(self, revision: int) -> None:
        request = rpc_pb2.CompactionRequest(revision=revision)
        try:
            await self._call(lambda endpoint, timeout: endpoint.kv.Compact(request, timeout=timeout))
        except Compacted:
            pass  # another apiserver was first

    async def compaction_turn(self, seen_turn: int, seen_revision: int) -> tuple[int, int]:
        """One round of the compaction that several apiservers do together, as upstream's compactor.

        Whoever finds the shared counter as it left it one interval ago advances it and compacts up to the revision
        of that time. Answers the counter and the revision (etcd's) to bring to the next round.
        """
        key = b"compact_rev_key"
        request = rpc_pb2.TxnRequest(
            compare=[
                rpc_pb2.Compare(
                    result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VERSION, key=key, version=seen_turn
                )
            ],
            success=[
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=str(seen_revision).encode())),
            ],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))],
        )
        reply = await self._call(lambda endpoint, timeout: endpoint.kv.Txn(request, timeout=timeout))
        revision = int(reply.header.revision)
        if not reply.succeeded:
            kvs = reply.responses[0].response_range.kvs
            return (int(kvs[0].version) if kvs else 0), revision
        if seen_revision:
            await self._compact(seen_revision)
        return seen_turn + 1, revision

    async def watch(self, revision: int) -> AsyncIterator[Changes]:
        failures = 0
        while True:
            endpoint = self._endpoints[self._active]
            try:
                async for batch in self._watch_once(endpoint, revision):
                    failures = 0
                    revision = batch[-1].revision
                    yield batch
            except grpc.aio.AioRpcError as error:
                log.warning("etcd watch at revision %d broke: %s", revision, error.details())
            failures += 1
            self._fail_over(endpoint)
            await asyncio.sleep(min(1.0, 0.05 * 2 ** min(failures, 5)) * random.uniform(0.5, 1.0))

    @staticmethod
    async def _watch_once(endpoint: _Endpoint, revision: int) -> AsyncIterator[Changes]:
        call = endpoint.watch.Watch()
        try:
            await call.write(
                rpc_pb2.WatchRequest(
                    create_request=rpc_pb2.WatchCreateRequest(
                        key=b"\0", range_end=b"\0", start_revision=max(1, of_etcd(revision + 1)), fragment=True
                    )
                )
            )
            batch: Changes = []
            async for reply in call:
                if reply.canceled:
                    if reply.compact_revision:
                        raise Compacted(revisions.revision(reply.compact_revision))
                    log.warning("etcd ended the watch: %s", reply.cancel_reason)
                    return
                batch.extend(change for change in map(_change, reply.events) if change.revision > revision)
                if batch and not reply.fragment:
                    yield batch
                    batch = []
        finally:
            call.cancel()

    async def close(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.channel.close(None)

    def outdated(self, key: str) -> bool:
        return False

    async def _lease(self, ttl: int) -> int:
        now = time.monotonic()
        lease, until = self._leases.get(ttl, (0, 0.0))
        if now < until:
            return lease
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl + int(_LEASE_REUSE_SECONDS))
        reply = await self._call(lambda endpoint, timeout: endpoint.lease.LeaseGrant(request, timeout=timeout))
        self._leases[ttl] = (reply.ID, now + _LEASE_REUSE_SECONDS)
        return int(reply.ID)

    async def _call(self, attempt: Callable[[_Endpoint, float], Awaitable[Reply]]) -> Reply:
        deadline = time.monotonic() + self._timeout
        delay = 0.02
        while True:
            endpoint = self._endpoints[self._active]
            remaining = deadline - time.monotonic()
            try:
                return await attempt(endpoint, max(0.05, min(remaining, self._timeout / 2)))
            except grpc.aio.AioRpcError as error:
                code, details = error.code(), error.details() or ""
                if code is grpc.StatusCode.OUT_OF_RANGE:
                    if "compacted" in details:
                        raise Compacted(0) from None
                    raise FutureRevision(details) from None
                if code is grpc.StatusCode.INVALID_ARGUMENT or "larger than max" in details:
                    raise Rejected(details) from None
                if code not in _RETRYABLE and "etcdserver: leader changed" not in details:
                    raise Unavailable(f"etcd: {details}") from error
                if time.monotonic() + delay >= deadline:
                    raise Unavailable(f"etcd does not answer: {details}") from error
                self._fail_over(endpoint)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, 0.5)

    def _fail_over(self, failed: _Endpoint) -> None:
        # Concurrent calls fail together; only the first may move on, or they would skip over good endpoints.
        if self._endpoints[self._active] is failed:
            self._active = (self._active + 1) % len(self._endpoints)


def _unchanged(key: bytes, revision: int) -> Any:
    """That the key still is what this revision (0: nothing) wrote."""
    return rpc_pb2.Compare(
        result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.MOD, key=key, mod_revision=of_etcd(revision)
    )


def _record(kv: Any) -> Record:
    return Record(kv.key.decode(), *unpacked(kv.value, kv.mod_revision))


def _change(event: Any) -> Change:
    kv = event.kv
    if event.type == kv_pb2.Event.PUT:
        return Change(kv.key.decode(), *unpacked(kv.value, kv.mod_revision))
    return Change(kv.key.decode(), None, revisions.revision(kv.mod_revision))


def _prefix_end(prefix: bytes) -> bytes:
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b"\0"
