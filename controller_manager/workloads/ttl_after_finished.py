"""Deletes finished Jobs when their ttlSecondsAfterFinished has passed, with everything below them (foreground).

The finish time is that of the Complete or Failed condition; a live read confirms it before the deletion.
"""

from __future__ import annotations

from datetime import UTC, datetime

from api import errors
from api import time as api_time
from api.types.batch_v1 import Job
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import conditions
from controller_manager.context import Context


class TtlAfterFinishedController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._jobs = context.informers.informer(Job)
        self.controller: Controller[Key] = Controller("ttl_jobs_to_delete", self.reconcile, workers=5)
        self._jobs.add_handler(on_add=self._seen, on_update=lambda _, new: self._seen(new))

    async def run(self) -> None:
        await self.controller.run()

    def _seen(self, job: Job) -> None:
        if not job.metadata.deletion_timestamp and _left(job) is not None:
            self.controller.enqueue(key_of(job))

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(*key)
        left = _left(job) if job is not None else None
        if job is None or left is None or job.metadata.deletion_timestamp:
            return None
        if left > 0:
            return left
        try:
            live = await self._api.get(Job, key[1], namespace=key[0])
            left = _left(live)
            if left is None or live.metadata.deletion_timestamp:
                return None
            if left > 0:
                return left
            uid = live.metadata.uid
            await self._api.delete(Job, key[1], namespace=key[0], propagation="Foreground", uid=uid)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None


def _left(job: Job) -> float | None:
    """Seconds until the job has to go; None if it is not finished or has no TTL."""
    if job.spec.ttl_seconds_after_finished is None:
        return None
    for type in ("Complete", "Failed"):
        ended = conditions.find(job.status.conditions, type)
        if ended is not None and ended.status == "True" and ended.last_transition_time:
            age = (datetime.now(UTC) - api_time.parse(ended.last_transition_time)).total_seconds()
            return job.spec.ttl_seconds_after_finished - age
    return None
