"""Many watches on one gRPC stream.

Each watch has an id and a queue; one task reads the stream and deals its messages out. When the stream ends, every
watch on it ends with the stream's error, and whoever watches (nearly always an informer) opens anew from the last
revision it saw. A consumer that lags holds back nobody else: its queue grows, and the server cuts off a client whose
stream as a whole cannot keep up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from api import codec, errors
from api.types import meta_v1
from proto import api_pb2

_Message = api_pb2.WatchResponse | errors.StatusError


class WatchStream:
    """One stream. After `ended` it is of no more use; make another."""

    def __init__(
        self,
        start: Callable[[AsyncIterator[api_pb2.WatchRequest]], Any],
        failed: Callable[[grpc.aio.AioRpcError], errors.StatusError],
    ) -> None:
        self.ended = False
        self._failed = failed
        self._last_id = 0
        self._watches: dict[int, asyncio.Queue[_Message]] = {}
        self._requests: asyncio.Queue[api_pb2.WatchRequest | None] = asyncio.Queue()
        self._call = start(self._outgoing())
        self._reader = asyncio.create_task(self._read(), name="watch-stream")

    async def open(self, request: api_pb2.WatchOpen) -> AsyncGenerator[Sequence[api_pb2.WatchEvent], None]:
        """Yields batches of events until the watch is closed; raises StatusError if it fails (410: relist)."""
        if self.ended:
            raise errors.service_unavailable("the watch stream has ended")
        self._last_id += 1
        identity = self._last_id
        queue: asyncio.Queue[_Message] = asyncio.Queue()
        self._watches[identity] = queue
        message = api_pb2.WatchOpen()
        message.CopyFrom(request)
        message.id = identity
        self._requests.put_nowait(api_pb2.WatchRequest(open=message))
        try:
            while True:
                response = await queue.get()
                if isinstance(response, errors.StatusError):
                    raise response
                if response.events:
                    yield response.events
                if response.error:
                    del self._watches[identity]
                    raise errors.StatusError(codec.decode(response.error, meta_v1.Status))
                if response.closed:
                    del self._watches[identity]
                    return
        finally:
            if self._watches.pop(identity, None) is not None and not self.ended:
                self._requests.put_nowait(api_pb2.WatchRequest(close=api_pb2.WatchClose(id=identity)))

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _outgoing(self) -> AsyncIterator[api_pb2.WatchRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        why = errors.service_unavailable("the watch stream was closed by the apiserver")
        try:
            async for response in self._call:
                queue = self._watches.get(response.id)
                if queue is not None:
                    queue.put_nowait(response)
        except grpc.aio.AioRpcError as error:
            why = self._failed(error)
        except asyncio.CancelledError:
            # grpc.aio raises it too when the channel is closed under the call: then nobody has cancelled this task
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            self.ended = True
            self._call.cancel()
            self._requests.put_nowait(None)
            for queue in self._watches.values():
                queue.put_nowait(why)
