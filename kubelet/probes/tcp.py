"""A TCP connection: opened, then closed."""

from __future__ import annotations

import asyncio
import socket
import struct

from api.types.core_v1 import TCPSocketAction
from kubelet.probes.http import dial_error
from kubelet.probes.outcome import Outcome, Result, authority, port_number


async def probe(action: TCPSocketAction, ip: str, ports: dict[str, int], timeout: float) -> Outcome:
    host = action.host or ip
    try:
        port = port_number(ports, action.port)
    except ValueError as error:
        return Outcome(Result.UNKNOWN, str(error))
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(Result.FAILURE, f"dial tcp {authority(host, port)}: i/o timeout")
    except OSError as error:
        return Outcome(Result.FAILURE, dial_error(error, host, port))
    opened = writer.get_extra_info("socket")
    if opened is not None:
        # Reset instead of a slow close: a node that probes a lot must not fill up with TIME_WAIT.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    return Outcome(Result.SUCCESS)
