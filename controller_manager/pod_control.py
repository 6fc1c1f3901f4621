"""Creates and deletes pods for a controller, in bulk, and tells about it in upstream's events.

Creation starts slowly (1, 2, 4, ... at a time): if a quota or an admission plugin refuses one pod it refuses the rest
too, and asking for all of them would only flood the apiserver. It also ends after `PATIENCE`: the owner's other news
must not wait for a slow apiserver, and the events of the pods that were made bring the owner back for the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from api import codec, errors
from api.types.core_v1 import Pod, PodTemplateSpec
from api.types.meta_v1 import ObjectMeta
from client.batch import Batcher
from client.events import EventRecorder
from client.writes import Create, Delete
from controller_manager.owners import controller_ref

#: Pods in the first of the growing batches.
SLOW_START = 1
#: Pods in the largest of them.
MOST = 128
#: Seconds after which no further batch is begun.
PATIENCE = 0.5


def pod_from_template(template: PodTemplateSpec, owner: Any) -> Pod:
    """A new pod of `owner`; the apiserver finishes its name."""
    copy = codec.deepcopy(template)
    return Pod(
        metadata=ObjectMeta(
            generate_name=f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels=copy.metadata.labels,
            annotations=copy.metadata.annotations,
            finalizers=copy.metadata.finalizers,
            owner_references=[controller_ref(owner)],
        ),
        spec=copy.spec,
    )


class PodControl:
    def __init__(self, batcher: Batcher, recorder: EventRecorder) -> None:
        self._batcher, self._recorder = batcher, recorder

    async def create(self, pod: Pod, owner: Any) -> Pod:
        """Raises StatusError after recording FailedCreate; a terminating namespace is no news to anybody."""
        try:
            created: Pod = await self._batcher.write(Create(pod))
        except errors.StatusError as error:
            if not errors.has_cause(error, "NamespaceTerminating"):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")
        return created

    async def delete(self, pod: Pod, owner: Any) -> None:
        """Raises StatusError after recording FailedDelete; a pod that is gone already raises NotFound."""
        meta = pod.metadata
        try:
            await self._batcher.write(Delete(Pod, meta.name or "", meta.namespace or "", uid=meta.uid))
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name}")


async def slow_start(
    jobs: Sequence[Callable[[], Any]], skipped: Callable[[int], None], first: int = SLOW_START
) -> errors.StatusError | None:
    """Run jobs in growing batches until one fails or time is up; `skipped` hears how many were not tried.

    Answers the first failure.
    """
    done, size, end = 0, min(first, len(jobs)), time.monotonic() + PATIENCE
    while done < len(jobs):
        if time.monotonic() > end:
            skipped(len(jobs) - done)
            return None
        part = jobs[done : done + size]
        outcomes = await asyncio.gather(*(job() for job in part), return_exceptions=True)
        done += len(part)
        failure = first_failure(outcomes)
        if failure is not None:
            if done < len(jobs):
                skipped(len(jobs) - done)
            return failure
        size = min(size * 2, MOST)
    return None


def first_failure(outcomes: Sequence[Any]) -> errors.StatusError | None:
    """The first StatusError among the outcomes of `gather`; anything else that was raised is raised."""
    found = None
    for outcome in outcomes:
        if isinstance(outcome, errors.StatusError):
            found = found or outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    return found
