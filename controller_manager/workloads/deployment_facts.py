"""What can be said of a Deployment and its ReplicaSets without asking anybody (upstream's deployment/util).

Revision and size annotations, which ReplicaSet is the new one, what the rolling update's limits come to, and when a
Deployment is complete, progressing or late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from api import codec
from api import time as api_time
from api.types.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from api.types.core_v1 import PodTemplateSpec
from controller_manager import conditions
from controller_manager.int_or_percent import scaled

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
HASH_LABEL = "pod-template-hash"

_NOT_COPIED = {LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, ROLLBACK_TO}
#: Characters that the list of a ReplicaSet's former revisions may have.
_HISTORY_LENGTH = 2000
_NO_DEADLINE = 2**31 - 1

TIMED_OUT = "ProgressDeadlineExceeded"
AVAILABLE = "NewReplicaSetAvailable"


def replicas(obj: Deployment | ReplicaSet) -> int:
    return 1 if obj.spec.replicas is None else obj.spec.replicas


def is_rolling(d: Deployment) -> bool:
    return d.spec.strategy.type in (None, "", "RollingUpdate")


def fenceposts(d: Deployment) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down); never both zero, or nothing could ever move."""
    rolling = d.spec.strategy.rolling_update
    surge = scaled(rolling.max_surge if rolling else None, replicas(d), round_up=True)
    unavailable = scaled(rolling.max_unavailable if rolling else None, replicas(d), round_up=False)
    return (surge, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def max_surge(d: Deployment) -> int:
    return fenceposts(d)[0] if is_rolling(d) else 0


def max_unavailable(d: Deployment) -> int:
    if not is_rolling(d) or replicas(d) == 0:
        return 0
    return min(fenceposts(d)[1], replicas(d))


# -- ReplicaSets ------------------------------------------------------------------------------------------------------


def creation_order(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return sorted(sets, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.metadata.name or ""))


def active(sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return [rs for rs in sets if replicas(rs) > 0]


def total(sets: Iterable[ReplicaSet]) -> int:
    return sum(replicas(rs) for rs in sets)


def actual(sets: Iterable[ReplicaSet]) -> int:
    return sum(rs.status.replicas for rs in sets)


def available(sets: Iterable[ReplicaSet]) -> int:
    return sum(rs.status.available_replicas or 0 for rs in sets)


def same_template(a: PodTemplateSpec, b: PodTemplateSpec) -> bool:
    """Equal but for the hash label. Absent and empty are the same, as they are to Go."""
    return bool(_comparable(a) == _comparable(b))


def _comparable(template: PodTemplateSpec) -> Any:
    plain = codec.to_dict(template)
    (plain.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
    return _pruned(plain)


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        # an empty struct such as emptyDir means something, an empty list or a null never does
        return {k: p for k, v in value.items() if (p := _pruned(v)) not in (None, []) and (p != {} or k not in _MAPS)}
    return [_pruned(v) for v in value] if isinstance(value, list) else value


_MAPS = {"labels", "annotations", "nodeSelector", "limits", "requests", "securityContext", "resources", "metadata"}


def new_set(d: Deployment, sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """The oldest ReplicaSet with the Deployment's present template (there may be several after a race)."""
    wanted = _comparable(d.spec.template)
    for rs in creation_order(sets):
        if _comparable(rs.spec.template) == wanted:
            return rs
    return None


def active_or_latest(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The only active one, or the newest if none is; None if several are."""
    running = active([*old, new] if new is not None else old)
    if len(running) == 1:
        return running[0]
    if running:
        return None
    return new or (creation_order(old)[-1] if old else None)


def is_saturated(d: Deployment, rs: ReplicaSet | None) -> bool:
    if rs is None:
        return False
    return annotation(rs, DESIRED_REPLICAS) == replicas(rs) == (rs.status.available_replicas or 0) == replicas(d)


def new_replicas(d: Deployment, sets: Iterable[ReplicaSet], new: ReplicaSet) -> int:
    """How many replicas the new ReplicaSet may have now (NewRSNewReplicas)."""
    if not is_rolling(d):
        return replicas(d)
    room = replicas(d) + fenceposts(d)[0] - total(sets)
    if room <= 0:
        return replicas(new)
    return replicas(new) + min(room, replicas(d) - replicas(new))


def proportion(rs: ReplicaSet, d: Deployment, to_add: int, added: int) -> int:
    """A ReplicaSet's share when the Deployment is scaled in mid-rollout."""
    if replicas(rs) == 0 or to_add == 0 or to_add == added:
        return 0
    allowed = to_add - added
    fraction = _fraction(rs, d)
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _fraction(rs: ReplicaSet, d: Deployment) -> int:
    if replicas(d) == 0:
        return -replicas(rs)
    before = annotation(rs, MAX_REPLICAS) or d.status.replicas or 0
    if before == 0:
        return 0
    exact = replicas(rs) * (replicas(d) + max_surge(d)) / before
    return int(exact + 0.5) - replicas(rs)


# -- annotations ------------------------------------------------------------------------------------------------------


def annotation(obj: Any, name: str) -> int | None:
    text = (obj.metadata.annotations or {}).get(name)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def revision(obj: Any) -> int:
    return annotation(obj, REVISION) or 0


def set_size_annotations(rs: ReplicaSet, desired: int, maximum: int) -> bool:
    annotations = rs.metadata.annotations = rs.metadata.annotations or {}
    changed = False
    for name, value in ((DESIRED_REPLICAS, str(desired)), (MAX_REPLICAS, str(maximum))):
        if annotations.get(name) != value:
            annotations[name], changed = value, True
    return changed


def annotate_new_set(d: Deployment, rs: ReplicaSet, wanted: int, *, exists: bool) -> bool:
    """Give the new ReplicaSet the Deployment's annotations and its revision. Whether anything changed."""
    annotations = rs.metadata.annotations = rs.metadata.annotations or {}
    changed = False
    for name, value in (d.metadata.annotations or {}).items():
        if name not in _NOT_COPIED and annotations.get(name) != value:
            annotations[name], changed = value, True
    before = annotations.get(REVISION, "")
    if (annotation(rs, REVISION) or 0) < wanted:
        annotations[REVISION], changed = str(wanted), True
        if before:
            annotations[REVISION_HISTORY] = _with_history(annotations.get(REVISION_HISTORY, ""), before)
    if not exists and set_size_annotations(rs, replicas(d), replicas(d) + max_surge(d)):
        changed = True
    return changed


def _with_history(history: str, former: str) -> str:
    revisions = [r for r in history.split(",") if r]
    revisions.append(former)
    while len(revisions) > 1 and len(",".join(revisions)) > _HISTORY_LENGTH:
        revisions.pop(0)
    return ",".join(revisions)


# -- progress ---------------------------------------------------------------------------------------------------------


def has_deadline(d: Deployment) -> bool:
    return d.spec.progress_deadline_seconds not in (None, _NO_DEADLINE)


def progressing(status: DeploymentStatus) -> DeploymentCondition | None:
    return conditions.find(status.conditions, "Progressing")


def is_complete(d: Deployment, status: DeploymentStatus) -> bool:
    return (
        (status.updated_replicas or 0) == (status.replicas or 0) == (status.available_replicas or 0) == replicas(d)
    ) and (status.observed_generation or 0) >= (d.metadata.generation or 0)


def has_progressed(d: Deployment, new: DeploymentStatus) -> bool:
    old = d.status
    updated, before = new.updated_replicas or 0, old.updated_replicas or 0
    return (
        updated > before
        or (new.replicas or 0) - updated < (old.replicas or 0) - before
        or (new.ready_replicas or 0) > (old.ready_replicas or 0)
        or (new.available_replicas or 0) > (old.available_replicas or 0)
    )


def is_late(d: Deployment, status: DeploymentStatus) -> bool:
    condition = progressing(status)
    if not has_deadline(d) or condition is None or condition.reason == AVAILABLE:
        return False
    if condition.reason == TIMED_OUT:
        return True
    return seconds_left(d, condition) < 0


def seconds_left(d: Deployment, condition: DeploymentCondition) -> float:
    """Until the progress deadline."""
    since = api_time.parse(condition.last_update_time) if condition.last_update_time else datetime.now(UTC)
    return (d.spec.progress_deadline_seconds or 0) - (datetime.now(UTC) - since).total_seconds()


def condition(type: str, status: str, reason: str, message: str) -> DeploymentCondition:
    now = api_time.now()
    return DeploymentCondition(
        type=type, status=status, reason=reason, message=message, last_update_time=now, last_transition_time=now
    )


def set_condition(status: DeploymentStatus, new: DeploymentCondition) -> None:
    """Upstream's SetDeploymentCondition: the same status and reason is no news, and changes nothing."""
    old = conditions.find(status.conditions, new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return
    if old is not None and old.status == new.status:
        new.last_transition_time = old.last_transition_time
    status.conditions = [*(conditions.without(status.conditions, new.type) or []), new]


def calculate_status(d: Deployment, sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> DeploymentStatus:
    able = available(sets)
    status = DeploymentStatus(
        observed_generation=d.metadata.generation,
        replicas=actual(sets) or None,
        updated_replicas=(new.status.replicas if new is not None else 0) or None,
        ready_replicas=sum(rs.status.ready_replicas or 0 for rs in sets) or None,
        available_replicas=able or None,
        unavailable_replicas=max(0, total(sets) - able) or None,
        terminating_replicas=sum(rs.status.terminating_replicas or 0 for rs in sets),
        collision_count=d.status.collision_count,
        conditions=[msgspec.structs.replace(c) for c in d.status.conditions or ()] or None,
    )
    if able >= replicas(d) - max_unavailable(d):
        words = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    set_condition(status, condition("Available", *words))
    return status
