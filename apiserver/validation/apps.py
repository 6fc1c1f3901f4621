"""The apps group and replication controllers: selectors that match their templates, and strategies."""

from __future__ import annotations

from api import codec
from api.errors import FieldError, Path
from api.selectors import selector_from
from api.types import apps_v1, core_v1, meta_v1
from apiserver.validation.common import (
    immutable,
    int_or_percent,
    is_empty_selector,
    label_selector,
    not_more_than_100_percent,
    not_negative,
    percent_value,
    semantic_equal,
)
from apiserver.validation.templates import validate_pod_template_spec

_SPEC, _STATUS = Path("spec"), Path("status")
_NO_MATCH = "`selector` does not match template `labels`"
_ABOVE_REPLICAS = "cannot be greater than status.replicas"
_STATEFUL_SET_UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _selected_template(
    selector: meta_v1.LabelSelector, template: core_v1.PodTemplateSpec, path: Path, kind: str
) -> list[FieldError]:
    """A selector that is there, makes sense and matches the template; and a template for pods that run forever."""
    at = path.child("selector")
    labels = template.metadata.labels or {}
    errors: list[FieldError] = []
    matches = False
    if is_empty_selector(selector):
        errors.append(FieldError.required(at))
    else:
        errors += label_selector(selector, at)
        try:
            matches = selector_from(selector).matches(labels)
        except ValueError:
            errors.append(FieldError.invalid(at, selector, "invalid label selector"))
            return errors
    if not matches:
        errors.append(FieldError.invalid(path.child("template").child("metadata").child("labels"), labels, _NO_MATCH))
    return errors + _endless_template(template, path.child("template"), kind)


def _endless_template(template: core_v1.PodTemplateSpec, path: Path, kind: str) -> list[FieldError]:
    errors = validate_pod_template_spec(template, path)
    spec = path.child("spec")
    if template.spec.restart_policy != "Always":
        errors.append(FieldError.not_supported(spec.child("restartPolicy"), template.spec.restart_policy, ("Always",)))
    if template.spec.active_deadline_seconds is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(FieldError.forbidden(spec.child("activeDeadlineSeconds"), detail))
    return errors


# -- deployments ------------------------------------------------------------------------------------------------------


def validate_deployment(deployment: apps_v1.Deployment) -> list[FieldError]:
    spec = deployment.spec
    errors = not_negative(spec.replicas, _SPEC.child("replicas"))
    errors += _selected_template(spec.selector, spec.template, _SPEC, "ReplicaSet")
    errors += _deployment_strategy(spec.strategy, _SPEC.child("strategy"))
    errors += not_negative(spec.min_ready_seconds, _SPEC.child("minReadySeconds"))
    errors += not_negative(spec.revision_history_limit, _SPEC.child("revisionHistoryLimit"))
    deadline = spec.progress_deadline_seconds
    if deadline is not None:
        at = _SPEC.child("progressDeadlineSeconds")
        errors += not_negative(deadline, at)
        if deadline <= (spec.min_ready_seconds or 0):
            errors.append(FieldError.invalid(at, deadline, "must be greater than minReadySeconds"))
    return errors


def _deployment_strategy(strategy: apps_v1.DeploymentStrategy, path: Path) -> list[FieldError]:
    rolling = strategy.rolling_update
    at = path.child("rollingUpdate")
    match strategy.type:
        case "Recreate":
            if rolling is not None:
                detail = "may not be specified when strategy `type` is 'Recreate'"
                return [FieldError.forbidden(at, detail)]
            return []
        case "RollingUpdate":
            if rolling is None:
                return [FieldError.required(at, "this should be defaulted and never be nil")]
            return _rolling_update(rolling, at)
        case _:
            return [FieldError.not_supported(path, strategy, ("Recreate", "RollingUpdate"))]


def _rolling_update(rolling: apps_v1.RollingUpdateDeployment, path: Path) -> list[FieldError]:
    unavailable, surge = rolling.max_unavailable, rolling.max_surge
    at = path.child("maxUnavailable")
    errors = int_or_percent(unavailable, at) + int_or_percent(surge, path.child("maxSurge"))
    if not errors and _amount(unavailable) == 0 and _amount(surge) == 0:
        errors.append(FieldError.invalid(at, unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + not_more_than_100_percent(unavailable, at)


def _amount(value: int | str | None) -> int:
    percentage = percent_value(value)
    if percentage is not None:
        return percentage
    return value if isinstance(value, int) else 0


def validate_deployment_update(new: apps_v1.Deployment, old: apps_v1.Deployment) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    return validate_deployment(new) + immutable(new.spec.selector, old.spec.selector, _SPEC.child("selector"))


def validate_deployment_status_update(new: apps_v1.Deployment, old: apps_v1.Deployment) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    replicas, ready = status.replicas or 0, status.ready_replicas or 0
    for field, value in (
        ("observedGeneration", status.observed_generation),
        ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("unavailableReplicas", status.unavailable_replicas),
        ("terminatingReplicas", status.terminating_replicas),
    ):
        errors += not_negative(value, _STATUS.child(field))
    for field, value in (
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ):
        if (value or 0) > replicas:
            errors.append(FieldError.invalid(_STATUS.child(field), value, _ABOVE_REPLICAS))
    if (status.available_replicas or 0) > ready:
        detail = "cannot be greater than readyReplicas"
        errors.append(FieldError.invalid(_STATUS.child("availableReplicas"), status.available_replicas, detail))
    return errors + _collisions(status.collision_count, old.status.collision_count)


def _collisions(new: int | None, old: int | None) -> list[FieldError]:
    at = _STATUS.child("collisionCount")
    errors = not_negative(new, at)
    if old is not None and (new or 0) < old:
        errors.append(FieldError.invalid(at, new, "cannot be decremented"))
    return errors


# -- replica sets and replication controllers -------------------------------------------------------------------------


def validate_replica_set(replica_set: apps_v1.ReplicaSet) -> list[FieldError]:
    spec = replica_set.spec
    errors = not_negative(spec.replicas, _SPEC.child("replicas"))
    errors += not_negative(spec.min_ready_seconds, _SPEC.child("minReadySeconds"))
    return errors + _selected_template(spec.selector, spec.template, _SPEC, "ReplicaSet")


def validate_replica_set_update(new: apps_v1.ReplicaSet, old: apps_v1.ReplicaSet) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    return validate_replica_set(new) + immutable(new.spec.selector, old.spec.selector, _SPEC.child("selector"))


def validate_replica_set_status_update(
    new: apps_v1.ReplicaSet | core_v1.ReplicationController, old: apps_v1.ReplicaSet | core_v1.ReplicationController
) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    counts = (
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    )
    for field, value in (
        ("replicas", status.replicas), *counts, ("observedGeneration", status.observed_generation)
    ):  # fmt: skip
        errors += not_negative(value, _STATUS.child(field))
    for field, value in counts:
        if (value or 0) > status.replicas:
            errors.append(FieldError.invalid(_STATUS.child(field), value, _ABOVE_REPLICAS))
    if (status.available_replicas or 0) > (status.ready_replicas or 0):
        detail = "cannot be greater than readyReplicas"
        errors.append(FieldError.invalid(_STATUS.child("availableReplicas"), status.available_replicas, detail))
    return errors


def validate_replication_controller(controller: core_v1.ReplicationController) -> list[FieldError]:
    spec = controller.spec
    errors = not_negative(spec.min_ready_seconds, _SPEC.child("minReadySeconds"))
    if not spec.selector:
        errors.append(FieldError.required(_SPEC.child("selector")))
    errors += not_negative(spec.replicas, _SPEC.child("replicas"))
    if spec.template is None:
        return [*errors, FieldError.required(_SPEC.child("template"))]
    labels = spec.template.metadata.labels or {}
    if spec.selector and not spec.selector.items() <= labels.items():
        at = _SPEC.child("template").child("metadata").child("labels")
        errors.append(FieldError.invalid(at, labels, _NO_MATCH))
    return errors + _endless_template(spec.template, _SPEC.child("template"), "ReplicationController")


# -- stateful sets ----------------------------------------------------------------------------------------------------


def validate_stateful_set(stateful_set: apps_v1.StatefulSet) -> list[FieldError]:
    from apiserver.validation.volumes import validate_claim_spec

    spec = stateful_set.spec
    errors: list[FieldError] = []
    at = _SPEC.child("podManagementPolicy")
    if not spec.pod_management_policy:
        errors.append(FieldError.required(at))
    elif spec.pod_management_policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        errors.append(FieldError.invalid(at, spec.pod_management_policy, detail))
    errors += _stateful_strategy(spec.update_strategy, _SPEC.child("updateStrategy"))
    if (policy := spec.persistent_volume_claim_retention_policy) is not None:
        at = _SPEC.child("persistentVolumeClaimRetentionPolicy")
        for field, value in (("whenDeleted", policy.when_deleted), ("whenScaled", policy.when_scaled)):
            if value not in ("Delete", "Retain"):
                errors.append(FieldError.not_supported(at.child(field), value, ("Delete", "Retain")))
    errors += not_negative(spec.replicas, _SPEC.child("replicas"))
    errors += not_negative(spec.min_ready_seconds, _SPEC.child("minReadySeconds"))
    errors += not_negative(spec.revision_history_limit, _SPEC.child("revisionHistoryLimit"))
    if spec.ordinals is not None:
        errors += not_negative(spec.ordinals.start, _SPEC.child("ordinals").child("start"))
    template = codec.deepcopy(spec.template)
    # The claims become volumes of the pods; the template's containers mount them under their names.
    claims = {claim.metadata.name for claim in spec.volume_claim_templates or ()}
    template.spec.volumes = [v for v in template.spec.volumes or () if v.name not in claims] + [
        core_v1.Volume(
            name=name or "", persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name=name or "")
        )
        for name in claims
    ]
    errors += _selected_template(spec.selector, template, _SPEC, "StatefulSet")
    for index, claim in enumerate(spec.volume_claim_templates or ()):
        errors += validate_claim_spec(claim.spec, _SPEC.child("volumeClaimTemplates").index(index).child("spec"))
    return errors


def _stateful_strategy(strategy: apps_v1.StatefulSetUpdateStrategy, path: Path) -> list[FieldError]:
    rolling = strategy.rolling_update
    match strategy.type:
        case None | "":
            return [FieldError.required(path)]
        case "OnDelete":
            if rolling is not None:
                detail = "only allowed for updateStrategy 'RollingUpdate'"
                return [FieldError.invalid(path.child("rollingUpdate"), rolling, detail)]
            return []
        case "RollingUpdate":
            if rolling is None:
                return []
            at = path.child("rollingUpdate")
            errors = not_negative(rolling.partition, at.child("partition"))
            if rolling.max_unavailable is not None:
                where = at.child("maxUnavailable")
                errors += int_or_percent(rolling.max_unavailable, where)
                if _amount(rolling.max_unavailable) == 0:
                    errors.append(FieldError.invalid(where, rolling.max_unavailable, "cannot be 0"))
                errors += not_more_than_100_percent(rolling.max_unavailable, where)
            return errors
        case _:
            return [FieldError.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]


def validate_stateful_set_update(new: apps_v1.StatefulSet, old: apps_v1.StatefulSet) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    errors = validate_stateful_set(new)
    for name in ("selector", "service_name", "volume_claim_templates", "pod_management_policy"):
        if not semantic_equal(getattr(new.spec, name), getattr(old.spec, name)):
            errors.append(FieldError.forbidden(_SPEC, _STATEFUL_SET_UPDATE))
            break
    return errors


def validate_stateful_set_status_update(new: apps_v1.StatefulSet, old: apps_v1.StatefulSet) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    counts = (
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("availableReplicas", status.available_replicas),
    )
    for field, value in (("replicas", status.replicas), *counts, ("observedGeneration", status.observed_generation)):
        errors += not_negative(value, _STATUS.child(field))
    for field, value in counts:
        if (value or 0) > status.replicas:
            errors.append(FieldError.invalid(_STATUS.child(field), value, _ABOVE_REPLICAS))
    if (status.available_replicas or 0) > (status.ready_replicas or 0):
        detail = "cannot be greater than status.readyReplicas"
        errors.append(FieldError.invalid(_STATUS.child("availableReplicas"), status.available_replicas, detail))
    return errors + _collisions(status.collision_count, old.status.collision_count)


# -- daemon sets ------------------------------------------------------------------------------------------------------


def validate_daemon_set(daemon_set: apps_v1.DaemonSet) -> list[FieldError]:
    spec = daemon_set.spec
    errors = _selected_template(spec.selector, spec.template, _SPEC, "DaemonSet")
    errors += not_negative(spec.min_ready_seconds, _SPEC.child("minReadySeconds"))
    errors += _daemon_strategy(spec.update_strategy, _SPEC.child("updateStrategy"))
    return errors + not_negative(spec.revision_history_limit, _SPEC.child("revisionHistoryLimit"))


def _daemon_strategy(strategy: apps_v1.DaemonSetUpdateStrategy, path: Path) -> list[FieldError]:
    if strategy.type == "OnDelete":
        return []
    if strategy.type != "RollingUpdate":
        return [FieldError.not_supported(path, strategy, ("RollingUpdate", "OnDelete"))]
    rolling = strategy.rolling_update
    path = path.child("rollingUpdate")
    if rolling is None:
        return [FieldError.required(path)]
    unavailable, surge = rolling.max_unavailable, rolling.max_surge
    errors = int_or_percent(unavailable, path.child("maxUnavailable")) + int_or_percent(surge, path.child("maxSurge"))
    errors += not_more_than_100_percent(unavailable, path.child("maxUnavailable"))
    errors += not_more_than_100_percent(surge, path.child("maxSurge"))
    if _amount(unavailable) and _amount(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        errors.append(FieldError.invalid(path.child("maxSurge"), surge, detail))
    elif not errors and not _amount(unavailable) and not _amount(surge):
        errors.append(FieldError.required(path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
    return errors


def validate_daemon_set_update(new: apps_v1.DaemonSet, old: apps_v1.DaemonSet) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    return validate_daemon_set(new) + immutable(new.spec.selector, old.spec.selector, _SPEC.child("selector"))


def validate_daemon_set_status_update(new: apps_v1.DaemonSet, old: apps_v1.DaemonSet) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    for field, value in (
        ("currentNumberScheduled", status.current_number_scheduled),
        ("numberMisscheduled", status.number_misscheduled),
        ("desiredNumberScheduled", status.desired_number_scheduled),
        ("numberReady", status.number_ready),
        ("observedGeneration", status.observed_generation),
        ("updatedNumberScheduled", status.updated_number_scheduled),
        ("numberAvailable", status.number_available),
        ("numberUnavailable", status.number_unavailable),
    ):
        errors += not_negative(value, _STATUS.child(field))
    return errors + _collisions(status.collision_count, old.status.collision_count)


# -- controller revisions ---------------------------------------------------------------------------------------------


def validate_controller_revision(revision: apps_v1.ControllerRevision) -> list[FieldError]:
    errors: list[FieldError] = []
    if revision.data is None:
        errors.append(FieldError.required("data", "data is mandatory"))
    return errors + not_negative(revision.revision, Path("revision"))


def validate_controller_revision_update(
    new: apps_v1.ControllerRevision, old: apps_v1.ControllerRevision
) -> list[FieldError]:
    return validate_controller_revision(new) + immutable(new.data, old.data, Path("data"))
