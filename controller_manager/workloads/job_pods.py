"""A Job's pods: how they are made, which are missing, and which go first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.types.batch_v1 import Job
from api.types.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from controller_manager import pods as pod_facts
from controller_manager.pod_control import pod_from_template
from controller_manager.workloads import job_facts as facts

_INDEX_ENV = "JOB_COMPLETION_INDEX"


def new_pod(job: Job) -> Pod:
    pod = pod_from_template(job.spec.template, job)
    pod.metadata.finalizers = [*(pod.metadata.finalizers or ()), facts.FINALIZER]
    return pod


def new_indexed_pod(job: Job, index: int, failures: int | None) -> Pod:
    """`failures`: how often the index failed before, for jobs that count by index."""
    pod = new_pod(job)
    annotations = {**(pod.metadata.annotations or {}), facts.INDEX: str(index)}
    if failures is not None:
        annotations[facts.INDEX_FAILURES] = str(failures)
    pod.metadata.annotations = annotations
    pod.metadata.labels = {**(pod.metadata.labels or {}), facts.INDEX: str(index)}
    base = f"{job.metadata.name}-{index}"
    pod.metadata.generate_name = f"{base[: 63 - 6]}-"
    pod.spec.hostname = base[:63]
    source = EnvVarSource(field_ref=ObjectFieldSelector(field_path=f"metadata.labels['{facts.INDEX}']"))
    for container in [*(pod.spec.init_containers or ()), *pod.spec.containers]:
        if not any(env.name == _INDEX_ENV for env in container.env or ()):
            container.env = [*(container.env or ()), EnvVar(name=_INDEX_ENV, value_from=source)]
    return pod


def missing_indexes(job: Job, done: set[int], active: Iterable[Pod], waiting: Iterable[Pod], count: int) -> list[int]:
    """The lowest `count` indexes that nobody works on. `waiting` are terminating pods that hold their index."""
    taken = done | {facts.index_of(p) for p in active} | {facts.index_of(p) for p in waiting}
    found: list[int] = []
    for index in range(job.spec.completions or 0):
        if len(found) == count:
            break
        if index not in taken:
            found.append(index)
    return found


def surplus(job: Job, active: Sequence[Pod], done: set[int], count: int) -> list[Pod]:
    """`count` pods to delete: those whose index is done, doubled or out of range first, then as ReplicaSets do."""
    chosen: list[Pod] = []
    rest = list(active)
    if facts.is_indexed(job):
        seen: set[int] = set()
        rest = []
        for pod in reversed(pod_facts.first_to_delete(active, active)):
            index = facts.index_of(pod)
            if index < 0 or index >= (job.spec.completions or 0) or index in done or index in seen:
                chosen.append(pod)
            else:
                seen.add(index)
                rest.append(pod)
    if len(chosen) < count:
        order = pod_facts.first_to_delete(rest, rest)
        if facts.is_indexed(job):
            order.sort(key=lambda p: (pod_facts.is_ready(p), -facts.index_of(p)))
        chosen += order[: count - len(chosen)]
    return chosen
