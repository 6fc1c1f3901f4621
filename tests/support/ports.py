"""Ports for servers that a test starts.

Not the kernel's choice for port 0: before the server listens, an outgoing connection or another test may be given it
too.
"""

from __future__ import annotations

import itertools
import os
import socket

# Below what the kernel gives to outgoing connections, and below node ports.
_FIRST = 20_000
_EACH = 1_000


def _mine() -> itertools.cycle[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9
    first = _FIRST + worker * _EACH
    ports = range(first, first + _EACH)
    # Two runs at once on one machine start at different places.
    shift = os.getpid() % _EACH
    return itertools.cycle([*ports[shift:], *ports[:shift]])


_ports = _mine()


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens, TCP or UDP, and that no other worker of this run is given."""
    for port in itertools.islice(_ports, _EACH):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"every port from {_FIRST} on is taken")
