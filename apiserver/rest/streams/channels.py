"""Several byte streams over one WebSocket: the `channel.k8s.io` subprotocols.

Every message starts with its channel: a byte, or a digit followed by base64 in the `base64.` variants. From v5 on
[255, n] closes channel n. Source: k8s.io/apimachinery/pkg/util/httpstream/wsstream and KEP-4006.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from apiserver.rest.audited import started

PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE = 255
_PING_SECONDS = 5.0


def is_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


class Channels:
    """A prepared WebSocket; `receive` yields (channel, data), with data None when the channel was closed."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        protocol = socket.ws_protocol or ""
        self._text = "base64" in protocol
        #: Whether the client understands a Status as JSON at the end (v4 on); before it was plain text.
        self.status_json = protocol.startswith(("v4", "v5"))
        self._turn = asyncio.Lock()

    @classmethod
    async def accept(cls, request: web.BaseRequest, protocols: tuple[str, ...] = PROTOCOLS) -> Channels:
        """Upgrade the request."""
        socket = web.WebSocketResponse(protocols=protocols, heartbeat=None, max_msg_size=0, compress=False)
        await socket.prepare(request)
        started(request, 101)
        return cls(socket)

    @property
    def response(self) -> web.WebSocketResponse:
        return self._socket

    async def send(self, channel: int, data: bytes) -> None:
        """Raises ConnectionResetError if the client is gone."""
        async with self._turn:
            if self._text:
                await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
            else:
                await self._socket.send_bytes(bytes((channel,)) + data)

    async def receive(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """Until the client closes the connection."""
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                data = message.data
                if not data:
                    continue
                if data[0] == _CLOSE and len(data) == 2:
                    yield data[1], None
                else:
                    yield data[0], data[1:]
            elif message.type is WSMsgType.TEXT:
                text = message.data
                if text and text[0].isdigit():
                    try:
                        yield int(text[0]), base64.b64decode(text[1:]) if self._text else text[1:].encode()
                    except binascii.Error:
                        return
            else:
                return

    async def close(self) -> None:
        await self._socket.close()
