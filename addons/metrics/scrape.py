"""Reads every node's resource page, through the apiserver, once an interval."""

from __future__ import annotations

import asyncio
import logging
import time

from addons.metrics.samples import Samples, read
from api import errors
from api.types.core_v1 import Node
from client.informer import Informer
from client.rest import RestTransport

log = logging.getLogger(__name__)

_PATH = "/api/v1/nodes/{}/proxy/metrics/resource"
#: Nodes that are asked at the same time.
_PARALLEL = 20


class Scraper:
    """`interval` in seconds."""

    def __init__(self, transport: RestTransport, nodes: Informer[Node], samples: Samples, *, interval: float) -> None:
        self._transport = transport
        self._nodes = nodes
        self._samples = samples
        self._interval = interval
        self._failing: set[str] = set()
        self.rounds = 0

    async def run(self) -> None:
        await self._nodes.synced()
        while True:
            started = time.monotonic()
            await self.once()
            # The first rates soon after the start, then in step.
            pause = min(self._interval, 5.0) if self.rounds < 2 else self._interval
            await asyncio.sleep(max(0.0, started + pause - time.monotonic()))

    async def once(self) -> None:
        names = {n.metadata.name or "" for n in self._nodes.list()}
        limit = asyncio.Semaphore(_PARALLEL)
        await asyncio.gather(*(self._node(name, limit) for name in names))
        self._failing &= names
        self._samples.keep(names, newer_than=time.time() - 1.5 * self._interval)
        self.rounds += 1

    async def _node(self, name: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                text = await self._transport.raw(_PATH.format(name), timeout=min(10.0, self._interval))
            except errors.StatusError as error:
                if name not in self._failing:
                    self._failing.add(name)
                    log.warning("cannot read the metrics of node %s: %s", name, error.message)
                return
        if name in self._failing:
            self._failing.discard(name)
            log.info("metrics of node %s can be read again", name)
        self._samples.add(name, read(text.decode(), time.time()))
