"""Which daemon pods a rolling update replaces next.

Without surge an old pod is deleted (and `place` starts the new one) while fewer than maxUnavailable nodes are without
an available pod; old pods that are not available go at once. With surge the new pod is started beside the old one, on
at most maxSurge nodes at a time, and the old one goes when the new one is available.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from api.types.core_v1 import Pod

Facts = Callable[[Pod], bool]


class Update:
    def __init__(
        self, places: Mapping[str, Sequence[Pod]], updated: Facts, available: Facts, max_unavailable: int
    ) -> None:
        self._places, self._updated, self._available = places, updated, available
        self._max_unavailable = max_unavailable

    def _split(self, there: Sequence[Pod]) -> tuple[Pod | None, Pod | None]:
        """The newest and the oldest version on a node; terminating pods are neither."""
        live = [p for p in there if not p.metadata.deletion_timestamp]
        new = next((p for p in live if self._updated(p)), None)
        old = next((p for p in live if not self._updated(p)), None)
        return new, old

    def replacing(self) -> list[Pod]:
        down, candidates, hopeless = 0, [], []
        for there in self._places.values():
            new, old = self._split(there)
            if new is not None:
                down += not self._available(new)
            elif old is None:
                down += 1
            elif self._available(old):
                candidates.append(old)
            else:
                down += 1
                hopeless.append(old)
        room = max(0, self._max_unavailable - down)
        return hopeless + candidates[:room]

    def surging(self, max_surge: int) -> tuple[list[str], list[Pod]]:
        """Nodes to start a new pod on, and old pods to delete."""
        surging = 0
        starts: list[str] = []
        late: list[str] = []
        deletes: list[Pod] = []
        for name, there in self._places.items():
            new, old = self._split(there)
            if old is None:
                continue
            if new is None:
                # an old pod that serves nobody is replaced without counting
                (starts if self._available(old) else late).append(name)
            elif self._available(new):
                deletes.append(old)
            else:
                surging += 1
        return late + starts[: max(0, max_surge - surging)], deletes
