"""Pods that wait for a node: active, backing off, or unschedulable until something changes.

Invariants:
- a pod is in exactly one of the three; the one with the highest priority that waited longest is taken first;
- a pod that did not fit waits for an event that one of the plugins that refused it says may help (KEP-4247), at most
  `UNSCHEDULABLE_SECONDS`; then it also waits out its backoff, so that many events don't make one pod starve others.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from dataclasses import dataclass, field

from scheduler.framework import ClusterEvent, Plugin
from scheduler.pods import PodInfo

INITIAL_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 10.0
UNSCHEDULABLE_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class Queued:
    """A waiting pod. Times are seconds of the monotonic clock."""

    info: PodInfo
    added: float
    attempts: int = 0
    since: float = 0.0  # of the last failed attempt
    refused_by: frozenset[Plugin] = frozenset()
    in_active: bool = field(default=False)

    @property
    def backoff_until(self) -> float:
        if not self.attempts:
            return 0.0
        return self.since + min(INITIAL_BACKOFF_SECONDS * math.pow(2, self.attempts - 1), MAX_BACKOFF_SECONDS)


class SchedulingQueue:
    def __init__(self) -> None:
        self._active: list[tuple[int, float, int, Queued]] = []
        self._backoff: list[tuple[float, int, Queued]] = []
        self._unschedulable: dict[str, Queued] = {}
        self._known: dict[str, Queued] = {}  # every waiting pod by uid, wherever it waits
        self._sequence = itertools.count()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._known)

    def counts(self) -> dict[str, int]:
        active = sum(q.in_active for q in self._known.values())
        waiting = len(self._unschedulable)
        return {"active": active, "backoff": len(self._known) - active - waiting, "unschedulable": waiting}

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    def add(self, info: PodInfo) -> None:
        """A new pod, or a waiting one's new state: what it asks for may have changed, so it gets another try."""
        queued = self._known.get(info.uid)
        if queued is None:
            queued = self._known[info.uid] = Queued(info, added=time.monotonic())
            self._activate(queued)
            return
        changed = queued.info.shape is not info.shape or queued.info.labels != info.labels
        queued.info = info
        if changed and info.uid in self._unschedulable:
            del self._unschedulable[info.uid]
            self._activate_or_back_off(queued)

    def remove(self, uid: str) -> None:
        """Heap entries of a removed pod are skipped when their turn comes."""
        queued = self._known.pop(uid, None)
        if queued is not None:
            queued.in_active = False
            self._unschedulable.pop(uid, None)

    async def pop(self) -> Queued:
        """The next pod to schedule; it is no longer in the queue. Waits while there is none."""
        while True:
            queued = self.pop_nowait()
            if queued is not None:
                return queued
            self._wake.clear()
            try:
                async with asyncio.timeout(self._next_timer()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def pop_nowait(self) -> Queued | None:
        self._release()
        while self._active:
            queued = heapq.heappop(self._active)[-1]
            if queued.in_active and self._known.get(queued.info.uid) is queued:
                del self._known[queued.info.uid]
                queued.in_active = False
                queued.attempts += 1
                return queued
        return None

    def unschedulable(self, queued: Queued, refused_by: frozenset[Plugin]) -> None:
        """Give back a pod that fitted nowhere."""
        queued.since, queued.refused_by = time.monotonic(), refused_by
        self._known[queued.info.uid] = queued
        self._unschedulable[queued.info.uid] = queued
        self._wake.set()

    def retry(self, queued: Queued) -> None:
        """Give back a pod that failed for a reason of ours (the apiserver was away); it is tried after its backoff."""
        queued.since = time.monotonic()
        self._known[queued.info.uid] = queued
        self._back_off(queued)

    def move(self, event: ClusterEvent) -> None:
        """Something changed: wake the unschedulable pods that it may help; anything may, if no plugin refused a pod."""
        helped = [
            q
            for q in self._unschedulable.values()
            if not q.refused_by or any(p.helped_by(event, q.info) for p in q.refused_by)
        ]
        for queued in helped:
            del self._unschedulable[queued.info.uid]
            self._activate_or_back_off(queued)

    def _activate_or_back_off(self, queued: Queued) -> None:
        if queued.backoff_until > time.monotonic():
            self._back_off(queued)
        else:
            self._activate(queued)

    def _activate(self, queued: Queued) -> None:
        queued.in_active = True
        heapq.heappush(self._active, (-queued.info.priority, queued.added, next(self._sequence), queued))
        self._wake.set()

    def _back_off(self, queued: Queued) -> None:
        heapq.heappush(self._backoff, (queued.backoff_until, next(self._sequence), queued))
        self._wake.set()

    def _release(self) -> None:
        """Move what has waited long enough."""
        now = time.monotonic()
        while self._backoff and self._backoff[0][0] <= now:
            queued = heapq.heappop(self._backoff)[-1]
            if self._known.get(queued.info.uid) is queued and not queued.in_active:
                self._activate(queued)
        for uid, queued in list(self._unschedulable.items()):
            if now - queued.since < UNSCHEDULABLE_SECONDS:
                break  # in order of their failures
            del self._unschedulable[uid]
            self._activate(queued)

    def _next_timer(self) -> float | None:
        now = time.monotonic()
        timers = [self._backoff[0][0]] if self._backoff else []
        if self._unschedulable:
            timers.append(next(iter(self._unschedulable.values())).since + UNSCHEDULABLE_SECONDS)
        return max(0.0, min(timers) - now) if timers else None
