"""The event loop of a process that serves many connections: uvloop's where it is installed, else asyncio's own.

TLS and sockets of every request go through the loop: in C they cost an API server a sixth less CPU. What needs
asyncio's own loop (netlink sockets, which libuv does not know) gets one in a thread: `asyncio.run` still makes it.
"""

from __future__ import annotations

import asyncio

try:
    import uvloop
except ImportError:  # no wheel for this Python or machine
    serving = asyncio.new_event_loop
else:
    serving = uvloop.new_event_loop
