"""Creating and deleting many pods for one owner, with the expectations that keep a stale cache from doing it twice.

Invariants:
- every pod is expected before it is asked for: its event may come before the answer;
- what was refused, or not tried after a refusal, is expected no more, so that the owner is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from api import errors
from api.types.core_v1 import Pod
from client.expectations import Expectations
from client.store import key_of
from controller_manager import pods as pod_facts
from controller_manager.pod_control import PodControl, first_failure, slow_start


class ExpectedPods:
    def __init__(self, control: PodControl, expectations: Expectations) -> None:
        self._control, self._expectations = control, expectations

    async def change(
        self, owner: Any, creates: Sequence[Pod], deletes: Sequence[Pod] = ()
    ) -> errors.StatusError | None:
        """Create these, slowly at first, and delete those; answers the first failure."""
        key = key_of(owner)
        self._expectations.expect_deletions(key, map(pod_facts.key, deletes))
        self._expectations.raise_expectations(key, creations=len(creates))
        failure = await slow_start(
            [self._creating(owner, pod) for pod in creates],
            lambda skipped: self._expectations.creation_observed(key, skipped),
        )
        outcomes = await asyncio.gather(*(self._delete(owner, pod) for pod in deletes), return_exceptions=True)
        return failure or first_failure(outcomes)

    def _creating(self, owner: Any, pod: Pod) -> Callable[[], object]:
        async def create() -> None:
            try:
                await self._control.create(pod, owner)
            except errors.StatusError:
                self._expectations.creation_observed(key_of(owner))
                raise

        return create

    async def _delete(self, owner: Any, pod: Pod) -> None:
        try:
            await self._control.delete(pod, owner)
        except errors.StatusError as error:
            self._expectations.deletion_observed(key_of(owner), pod_facts.key(pod))
            if not errors.is_not_found(error):
                raise
