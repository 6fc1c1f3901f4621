"""Forgets UDP flows whose endpoint is gone.

A UDP "connection" is translated by its conntrack entry alone: a client that keeps sending from one port (a DNS
resolver does) would go on talking to a pod that no longer exists until the entry times out. TCP needs no such care,
its peer answers with a reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)


async def forget_udp(flows: Iterable[tuple[str, int]], endpoints: Iterable[str]) -> None:
    """Delete the UDP entries sent to one of `flows` (original address, port) and translated to one of `endpoints`.

    A flow address of "" stands for any address of this node, for node ports. Failures are logged and not raised:
    the entries end by themselves, later.
    """
    gone = set(endpoints)
    for address, port in sorted(set(flows)):
        for endpoint in sorted(gone):
            command = ["conntrack", "-D", "-p", "udp", "--orig-port-dst", str(port), "--reply-src", endpoint]
            if address:
                command += ["--orig-dst", address]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
            # It ends with 1 and says "0 flow entries have been deleted" where there was nothing to forget.
            if process.returncode and b"0 flow entries" not in errors:
                log.warning("could not forget UDP flows to %s: %s", endpoint, errors.decode(errors="replace").strip())
