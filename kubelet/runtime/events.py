"""Docker's event stream, shared: whoever waits for a container's end, or for anything at all, hears it from here.

One connection for the whole kubelet. When it breaks, it is made anew and every subscriber gets one event with pod UID
"": what happened in between is unknown. Events that only say that a probe ran (exec_*) are not asked for.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from kubelet.cri import RuntimeEvent, RuntimeFailure
from kubelet.runtime import labels, wire

log = logging.getLogger(__name__)

ACTIONS = ("create", "start", "die", "oom", "destroy")
RETRY = 0.5  # seconds between attempts to reach dockerd
UNKNOWN = RuntimeEvent(pod_uid="", container_id="", action="reconnect")

# Docker's words for what CRI names otherwise.
_NAMES = {"create": "created", "start": "started", "die": "died", "destroy": "removed", "oom": "oom"}


class EventHub:
    def __init__(self, host: str, bridge: str) -> None:
        self._host = host
        self._bridge = bridge
        self._subscribers: set[asyncio.Queue[RuntimeEvent]] = set()
        self._ends: dict[str, set[asyncio.Event]] = {}
        self.oom_killed: set[str] = set()  # containers that Docker reported an OOM kill for
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        query = {"filters": json.dumps({"type": ["container"], "event": list(ACTIONS)})}
        first = True
        while True:
            try:
                async for event in wire.stream_json(self._host, wire.target("events", query=query)):
                    if not event:
                        self.connected.set()
                        if not first:
                            self._lost()
                        first = False
                    else:
                        self._publish(event)
                log.warning("Docker's event stream ended")
            except RuntimeFailure as error:
                log.warning("Docker's event stream: %s", error)
            self.connected.clear()
            self._lost()
            await asyncio.sleep(RETRY)

    def _publish(self, raw: dict[str, Any]) -> None:
        actor = raw.get("Actor") or {}
        attributes, container_id = actor.get("Attributes") or {}, str(actor.get("ID", ""))
        action = str(raw.get("Action", "")).partition(":")[0]
        if not labels.is_pod(attributes, self._bridge) or action not in ACTIONS:
            return
        if action == "oom":
            self.oom_killed.add(container_id)
        elif action in ("die", "destroy"):
            for waiter in self._ends.get(container_id, ()):
                waiter.set()
            if action == "destroy":
                self.oom_killed.discard(container_id)
        self._send(RuntimeEvent(attributes[labels.POD_UID], container_id, _NAMES[action]))

    def _lost(self) -> None:
        """Anything may have happened: waiters look for themselves."""
        for waiters in self._ends.values():
            for waiter in waiters:
                waiter.set()
        self._send(UNKNOWN)

    def _send(self, event: RuntimeEvent) -> None:
        for queue in self._subscribers:
            queue.put_nowait(event)

    async def subscribe(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._subscribers.discard(queue)

    @contextmanager
    def end_of(self, container_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the container may have ended; the caller verifies, then clears or leaves."""
        waiter = asyncio.Event()
        self._ends.setdefault(container_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiters = self._ends[container_id]
            waiters.discard(waiter)
            if not waiters:
                del self._ends[container_id]
