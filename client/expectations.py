"""What a controller has asked for and not yet seen in its cache.

Between a controller's write and the informer's event about it, the cache is stale: acting on it would create (or
delete) pods twice. So the controller notes what it expects, its informer handlers tick it off, and reconciles that
would act wait until it is `satisfied`. An expectation that is never met (an event lost to a bug elsewhere) expires
after five minutes, as upstream's do, so that nothing hangs forever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

#: Seconds after which unmet expectations no longer hold anybody back.
TIMEOUT = 300.0


@dataclass
class _Expected:
    since: float
    creations: int = 0
    deletions: int = 0
    deleting: set[str] = field(default_factory=set)


class Expectations:
    """Creations by count, deletions by count or, to survive repeated events about one pod, by its key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[Hashable, _Expected] = {}

    def satisfied(self, key: Hashable) -> bool:
        """Whether a reconcile of `key` may trust the cache."""
        expected = self._expected.get(key)
        if expected is None:
            return True
        if expected.creations <= 0 and expected.deletions <= 0:
            return True
        return self._clock() - expected.since > TIMEOUT

    def expect(self, key: Hashable, *, creations: int = 0, deletions: int = 0) -> None:
        """Start over with these expectations."""
        self._expected[key] = _Expected(self._clock(), creations, deletions)

    def expect_creations(self, key: Hashable, count: int) -> None:
        self.expect(key, creations=count)

    def expect_deletions(self, key: Hashable, pod_keys: Iterable[str]) -> None:
        """Expect these objects (each under a key of its own) to go."""
        keys = set(pod_keys)
        self._expected[key] = _Expected(self._clock(), 0, len(keys), keys)

    def raise_expectations(self, key: Hashable, *, creations: int = 0, deletions: int = 0) -> None:
        expected = self._expected.get(key)
        if expected is not None:
            expected.creations += creations
            expected.deletions += deletions

    def creation_observed(self, key: Hashable, count: int = 1) -> None:
        """A created object was seen (or its creation failed, and will not be)."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.creations -= count

    def deletion_observed(self, key: Hashable, pod_key: str | None = None) -> None:
        """A deletion was seen or failed. With `pod_key`, only the first observation of it counts."""
        expected = self._expected.get(key)
        if expected is None:
            return
        if pod_key is not None:
            if pod_key not in expected.deleting:
                return
            expected.deleting.discard(pod_key)
        expected.deletions -= 1

    def forget(self, key: Hashable) -> None:
        """The controlling object is gone."""
        self._expected.pop(key, None)
