"""Tells people what happened: `recorder.event(pod, "Normal", "Scheduled", "Successfully assigned ...")`.

Recording never blocks and never fails: events wait in a bounded queue and go out in batches from one task. When the
queue is full they are dropped, as upstream's are. What is the same or too much is folded by `client.event_correlation`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from api import errors
from api import time as api_time
from api.types.core_v1 import Event, EventSource, ObjectReference
from api.types.meta_v1 import ObjectMeta
from client.api import Api
from client.backoff import jitter
from client.event_correlation import Correlator
from client.writes import Create, Patch, Write

log = logging.getLogger(__name__)

QUEUE_SIZE = 1000
#: How often and how long to try while the apiserver is away: upstream's 12 times 10 s.
_TRIES, _RETRY_AFTER = 12, 10.0


class EventRecorder:
    """Events about any object, from `component` (on `host`, for those that run on nodes)."""

    def __init__(self, api: Api, component: str, host: str = "") -> None:
        self._api = api
        self._component, self._host = component, host
        self._correlator = Correlator()
        self._waiting: list[tuple[Event, bool]] = []
        self._sender: asyncio.Task[None] | None = None

    def event(
        self, obj: Any, type: str, reason: str, message: str, *, annotations: dict[str, str] | None = None
    ) -> None:
        """`obj` is the object or an ObjectReference to it; `type` is Normal or Warning."""
        ref = reference(obj)
        now = api_time.now()
        event = Event(
            metadata=ObjectMeta(
                name=f"{ref.name}.{time.time_ns():x}", namespace=ref.namespace or "default", annotations=annotations
            ),
            involved_object=ref,
            reason=reason,
            message=message,
            source=EventSource(component=self._component, host=self._host or None),
            first_timestamp=now,
            last_timestamp=now,
            count=1,
            type=type,
            reporting_component=self._component,
            reporting_instance=self._host,
        )
        correlated = self._correlator.correlate(event)
        if correlated is None:
            return
        if len(self._waiting) >= QUEUE_SIZE:
            log.warning("dropping event about %s %s/%s: %s", ref.kind, ref.namespace, ref.name, message)
            return
        self._waiting.append(correlated)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.get_running_loop().create_task(self._send(), name=f"events-{self._component}")

    async def flush(self) -> None:
        """Returns when everything recorded so far has been sent (or given up)."""
        while self._sender is not None and not self._sender.done():
            await asyncio.wait({self._sender})

    async def _send(self) -> None:
        tries = 0
        while self._waiting:
            pending, self._waiting = _fold(self._waiting), []
            outcomes = await self._api.batch([_write(event, repeats) for event, repeats in pending])
            again: list[tuple[Event, bool]] = []
            away = False
            for (event, repeats), outcome in zip(pending, outcomes, strict=True):
                if not isinstance(outcome, errors.StatusError):
                    continue
                if repeats and errors.is_not_found(outcome):
                    again.append((event, False))  # the one to count up has expired
                elif errors.is_service_unavailable(outcome):
                    again.append((event, repeats))
                    away = True
                else:
                    log.debug("event %s was refused: %s", event.metadata.name, outcome)
            self._waiting = again + self._waiting
            if away:
                tries += 1
                if tries > _TRIES:
                    log.warning("the apiserver is away: dropping %d events", len(self._waiting))
                    self._waiting = []
                else:
                    await asyncio.sleep(jitter(_RETRY_AFTER if tries > 3 else 1.0, 0.2))
            else:
                tries = 0


def reference(obj: Any) -> ObjectReference:
    """An ObjectReference to an object."""
    if isinstance(obj, ObjectReference):
        return obj
    meta = obj.metadata
    return ObjectReference(
        api_version=obj.api_version,
        kind=obj.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
    )


def _fold(waiting: list[tuple[Event, bool]]) -> list[tuple[Event, bool]]:
    """The writes of one batch are independent of each other: of those that concern one event keep only the outcome."""
    folded: dict[tuple[str, str], tuple[Event, bool]] = {}
    for event, repeats in waiting:
        key = (event.metadata.namespace or "", event.metadata.name or "")
        if key in folded:
            repeats = folded[key][1]
        folded[key] = (event, repeats)
    return list(folded.values())


def _write(event: Event, repeats: bool) -> Write:
    if not repeats:
        return Create(event)
    change = {"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message}
    return Patch(Event, event.metadata.name or "", change, event.metadata.namespace or "")
