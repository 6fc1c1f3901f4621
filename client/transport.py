"""Carries messages to an apiserver: one gRPC channel, several endpoints to choose from, certificates that may change.

Everything above this file speaks in the messages of `proto/api.proto` and in `StatusError`; gRPC is known only here
and in `client.watch`. A call is never repeated here: whether a write may be repeated is for its author to say, and
every author in this project (informer, work queue, leader election) already retries with the right backoff.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from api import codec, errors
from api.types import meta_v1
from client.watch import WatchStream
from proto import api_pb2, api_pb2_grpc

log = logging.getLogger(__name__)

#: Seconds one unary call may take; upstream's apiserver cuts requests at 60 s as well.
CALL_TIMEOUT = 60.0
#: Seconds over which those who waited for a connection go on once it is there.
_SPREAD = 0.05
#: States of a channel that tries to connect in vain.
_BROKEN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.CONNECTING)
#: Seconds an abandoned channel gives its calls to end by themselves.
_DRAIN = 30.0

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A peer that vanished without a FIN (a cut network) is noticed after 40 s, as with upstream's HTTP/2 pings.
    ("grpc.keepalive_time_ms", 30000),
    ("grpc.keepalive_timeout_ms", 10000),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True)
class TLS:
    """Paths of PEM files: the CA that signed the server, and the certificate and key that are our identity."""

    ca: str | Path
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None  # if the server's certificate does not name the address it is reached by

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever one of the files does."""
        return tuple(Path(p).stat().st_mtime_ns for p in (self.ca, self.cert, self.key) if p is not None)

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError if a file cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=Path(self.ca).read_bytes(),
            private_key=Path(self.key).read_bytes() if self.key else None,
            certificate_chain=Path(self.cert).read_bytes() if self.cert else None,
        )


class Transport(Protocol):
    """What `Api` needs: the gRPC service, whoever answers it."""

    async def unary(self, method: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any: ...

    def list(self, request: api_pb2.ListRequest) -> AsyncIterator[api_pb2.ListPage]: ...

    def watch(self, request: api_pb2.WatchOpen) -> AsyncGenerator[Sequence[api_pb2.WatchEvent], None]: ...

    async def pause(self, seconds: float) -> None:
        """Wait before trying again: `seconds`, or less if the apiserver could not be reached and now can."""

    async def close(self) -> None: ...


class GrpcTransport:
    """The real transport. Moves on to the next endpoint when the present one does not answer."""

    def __init__(self, endpoints: Sequence[str], tls: TLS | None) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        self._endpoints = list(endpoints)
        self._tls = tls
        self._current = 0
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._stamp: tuple[int, ...] = ()
        self._watches: WatchStream | None = None
        self._draining: set[asyncio.Task[None]] = set()
        self._unreachable = False

    async def unary(self, method: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        stub = self._connected()
        try:
            return await getattr(stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self._failed(error, stub) from None

    async def list(self, request: api_pb2.ListRequest) -> AsyncIterator[api_pb2.ListPage]:
        stub = self._connected()
        try:
            async for page in stub.List(request):
                yield page
        except grpc.aio.AioRpcError as error:
            raise self._failed(error, stub) from None

    async def watch(self, request: api_pb2.WatchOpen) -> AsyncGenerator[Sequence[api_pb2.WatchEvent], None]:
        stub = self._connected()
        if self._watches is None or self._watches.ended:
            self._watches = WatchStream(stub.Watch, lambda error: self._failed(error, stub))
        async with contextlib.aclosing(self._watches.open(request)) as batches:
            async for events in batches:
                yield events

    async def pause(self, seconds: float) -> None:
        channel = self._channel
        if channel is None or channel.get_state() == grpc.ChannelConnectivity.READY:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await channel.channel_ready()
                if self._unreachable:
                    self._unreachable = False
                    log.info("apiserver %s is reachable", self._endpoints[self._current])
                # everyone who waited goes on now; not all in the same instant
                await asyncio.sleep(min(seconds, random.random() * _SPREAD))

    async def close(self) -> None:
        if self._watches is not None:
            await self._watches.close()
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = self._stub = None

    def _connected(self) -> Any:
        if self._stub is None:
            target = self._endpoints[self._current]
            if self._tls is None:
                self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
            else:
                options = list(_OPTIONS)
                if self._tls.server_name:
                    options.append(("grpc.ssl_target_name_override", self._tls.server_name))
                try:
                    self._stamp = self._tls.stamp()
                    credentials = self._tls.credentials()
                except OSError as error:
                    if not self._stamp:
                        raise  # never were there: a mistake of whoever started us
                    # being replaced at this moment
                    log.warning("certificates cannot be read: %s", error)
                    raise errors.service_unavailable(f"certificates cannot be read: {error}") from None
                self._channel = grpc.aio.secure_channel(target, credentials, options=options)
            self._stub = api_pb2_grpc.ApiStub(self._channel)  # type: ignore[no-untyped-call]
        return self._stub

    def _failed(self, error: grpc.aio.AioRpcError, stub: Any) -> errors.StatusError:
        if error.code() == grpc.StatusCode.UNAVAILABLE and stub is self._stub:
            channel = self._channel
            if not self._unreachable and channel is not None and channel.get_state() in _BROKEN:
                self._unreachable = True
                log.info("apiserver %s cannot be reached: %s", self._endpoints[self._current], error.details())
            if self._should_move():
                self._move()
        return status_error(error)

    def _should_move(self) -> bool:
        if len(self._endpoints) > 1:
            return True
        if self._tls is None:
            return False
        try:
            return self._tls.stamp() != self._stamp
        except OSError:
            return False  # mid-rotation: one of the files is just being replaced

    def _move(self) -> None:
        """Abandon the channel; calls that are under way on it may end by themselves."""
        abandoned = self._channel
        self._current = (self._current + 1) % len(self._endpoints)
        self._channel = self._stub = self._watches = None
        if abandoned is not None:
            task = asyncio.ensure_future(abandoned.close(_DRAIN))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
        log.info("moving to apiserver endpoint %s", self._endpoints[self._current])


def status_error(error: grpc.aio.AioRpcError) -> errors.StatusError:
    """The apiserver's own Status from the trailing metadata, or one made from the gRPC code."""
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == "status-bin":
            data = value if isinstance(value, bytes) else value.encode()
            return errors.StatusError(codec.decode(data, meta_v1.Status))
    details = error.details() or error.code().name
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return errors.service_unavailable(details)
    if error.code() == grpc.StatusCode.UNAUTHENTICATED:
        return errors.unauthorized(details)
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.timeout(details)
    return errors.internal(details)
