"""Keeps events from flooding the API: the rules of client-go's EventCorrelator.

- The same event again (same object, reason and message) is no new object: the first one's `count` rises.
- More than ten events within ten minutes that differ only in their message become one,
  "(combined from similar events): ...".
- One object's events are limited to a burst of 25, then one every five minutes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from api.types.core_v1 import Event

MAX_SIMILAR = 10
SIMILAR_WITHIN = 600.0
SPAM_BURST = 25
SPAM_PER_SECOND = 1.0 / 300.0
CACHE_SIZE = 4096


@dataclass
class _Bucket:
    tokens: float
    refilled: float


@dataclass
class _Similar:
    last: float
    messages: set[str] = field(default_factory=set)


@dataclass
class _Logged:
    name: str
    namespace: str
    count: int
    first_timestamp: str | None


class _Lru(OrderedDict[Any, Any]):
    def keep(self, key: Any, value: Any) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > CACHE_SIZE:
            self.popitem(last=False)


class Correlator:
    """Decides for each event: drop it, create it, or count up the one that was created before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets = _Lru()
        self._similar = _Lru()
        self._logged = _Lru()

    def correlate(self, event: Event) -> tuple[Event, bool] | None:
        """The event to write and whether it repeats one that exists (then to be patched), or None to drop it.

        `event` is changed in place.
        """
        key = self._aggregate(event)
        before: _Logged | None = self._logged.get(key)
        if before is not None:
            event.metadata.name, event.metadata.namespace = before.name, before.namespace
            event.count, event.first_timestamp = before.count + 1, before.first_timestamp
        self._logged.keep(
            key,
            _Logged(event.metadata.name or "", event.metadata.namespace or "", event.count or 1, event.first_timestamp),
        )
        if not self._allowed(event):
            return None
        return event, before is not None

    def _aggregate(self, event: Event) -> Any:
        ref, source = event.involved_object, event.source
        involved = (ref.kind, ref.namespace, ref.name, ref.uid, ref.api_version, ref.field_path)
        group = (source.component, source.host, involved, event.type, event.reason, event.reporting_component)
        now = self._clock()
        record: _Similar | None = self._similar.get(group)
        if record is None or now - record.last > SIMILAR_WITHIN:
            record = _Similar(now)
        record.last = now
        record.messages.add(event.message or "")
        self._similar.keep(group, record)
        if len(record.messages) < MAX_SIMILAR:
            return (*group, event.message)
        record.messages.pop()
        event.message = f"(combined from similar events): {event.message}"
        return group

    def _allowed(self, event: Event) -> bool:
        ref = event.involved_object
        key = (event.source.component, event.source.host, ref.kind, ref.namespace, ref.name, ref.uid, ref.api_version)
        now = self._clock()
        bucket: _Bucket = self._buckets.get(key) or _Bucket(SPAM_BURST, now)
        bucket.tokens = min(SPAM_BURST, bucket.tokens + (now - bucket.refilled) * SPAM_PER_SECOND)
        bucket.refilled = now
        self._buckets.keep(key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
