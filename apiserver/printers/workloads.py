"""Rows of the kinds that run pods: apps, batch, replication controllers, autoscalers and disruption budgets."""

from __future__ import annotations

import time
from typing import Any

from api.quantity import Quantity
from api.types import apps_v1, autoscaling_v2, batch_v1, core_v1, meta_v1, policy_v1
from apiserver.printers import (
    age,
    columns,
    containers_and_images,
    format_labels,
    format_selector,
    human_duration,
    seconds_of,
    yes_no,
)

REPLICAS = columns(
    "Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", "+Containers", "+Images", "+Selector"
)
DEPLOYMENT = columns("Name", "Ready", "Up-to-date", "Available", "Age", "+Containers", "+Images", "+Selector")
STATEFUL_SET = columns("Name", "Ready", "Age", "+Containers", "+Images")
DAEMON_SET = columns(
    "Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer", "Available:integer",
    "Node Selector", "Age", "+Containers", "+Images", "+Selector",
)  # fmt: skip
CONTROLLER_REVISION = columns("Name", "Controller", "Revision", "Age")
JOB = columns("Name", "Status", "Completions", "Duration", "Age", "+Containers", "+Images", "+Selector")
CRON_JOB = columns(
    "Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age",
    "+Containers", "+Images", "+Selector",
)  # fmt: skip
AUTOSCALER = columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age")
DISRUPTION_BUDGET = columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age")


def replication_controller_cells(controller: core_v1.ReplicationController) -> list[Any]:
    spec, status, metadata = controller.spec, controller.status, controller.metadata
    containers = spec.template.spec.containers if spec.template is not None else []
    return [
        metadata.name,
        spec.replicas or 0,
        status.replicas,
        status.ready_replicas or 0,
        age(metadata.creation_timestamp),
        *containers_and_images(containers),
        format_labels(spec.selector),
    ]


def replica_set_cells(replica_set: apps_v1.ReplicaSet) -> list[Any]:
    spec, status, metadata = replica_set.spec, replica_set.status, replica_set.metadata
    return [
        metadata.name,
        spec.replicas or 0,
        status.replicas,
        status.ready_replicas or 0,
        age(metadata.creation_timestamp),
        *containers_and_images(spec.template.spec.containers),
        format_selector(spec.selector),
    ]


def deployment_cells(deployment: apps_v1.Deployment) -> list[Any]:
    spec, status, metadata = deployment.spec, deployment.status, deployment.metadata
    return [
        metadata.name,
        f"{status.ready_replicas or 0}/{spec.replicas or 0}",
        status.updated_replicas or 0,
        status.available_replicas or 0,
        age(metadata.creation_timestamp),
        *containers_and_images(spec.template.spec.containers),
        format_selector(spec.selector),
    ]


def stateful_set_cells(stateful_set: apps_v1.StatefulSet) -> list[Any]:
    spec, status, metadata = stateful_set.spec, stateful_set.status, stateful_set.metadata
    return [
        metadata.name,
        f"{status.ready_replicas or 0}/{spec.replicas or 0}",
        age(metadata.creation_timestamp),
        *containers_and_images(spec.template.spec.containers),
    ]


def daemon_set_cells(daemon_set: apps_v1.DaemonSet) -> list[Any]:
    spec, status, metadata = daemon_set.spec, daemon_set.status, daemon_set.metadata
    return [
        metadata.name,
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled or 0,
        status.number_available or 0,
        format_labels(spec.template.spec.node_selector),
        age(metadata.creation_timestamp),
        *containers_and_images(spec.template.spec.containers),
        format_selector(spec.selector),
    ]


def controller_revision_cells(revision: apps_v1.ControllerRevision) -> list[Any]:
    metadata: meta_v1.ObjectMeta = revision.metadata
    controller = "<none>"
    for owner in metadata.owner_references or ():
        if owner.controller:
            group = owner.api_version.rpartition("/")[0]
            kind = f"{owner.kind}.{group}" if group else owner.kind
            controller = f"{kind.lower()}/{owner.name}"
    return [metadata.name, controller, revision.revision, age(metadata.creation_timestamp)]


def job_cells(job: batch_v1.Job) -> list[Any]:
    spec, status, metadata = job.spec, job.status, job.metadata
    succeeded = status.succeeded or 0
    if spec.completions is not None:
        completions = f"{succeeded}/{spec.completions}"
    elif (spec.parallelism or 0) > 1:
        completions = f"{succeeded}/1 of {spec.parallelism}"
    else:
        completions = f"{succeeded}/1"
    duration = ""
    if status.start_time:
        end = seconds_of(status.completion_time) if status.completion_time else time.time()
        duration = human_duration(end - seconds_of(status.start_time))
    return [
        metadata.name,
        _job_status(job),
        completions,
        duration,
        age(metadata.creation_timestamp),
        *containers_and_images(spec.template.spec.containers),
        format_selector(spec.selector),
    ]


def _job_status(job: batch_v1.Job) -> str:
    true = {c.type for c in job.status.conditions or () if c.status == "True"}
    if "Complete" in true:
        return "Complete"
    if "Failed" in true:
        return "Failed"
    if job.metadata.deletion_timestamp:
        return "Terminating"
    if "Suspended" in true:
        return "Suspended"
    return "FailureTarget" if "FailureTarget" in true else "Running"


def cron_job_cells(cron_job: batch_v1.CronJob) -> list[Any]:
    spec, status, metadata = cron_job.spec, cron_job.status, cron_job.metadata
    template = spec.job_template.spec
    return [
        metadata.name,
        spec.schedule,
        spec.time_zone if spec.time_zone is not None else "<none>",
        yes_no(spec.suspend),
        len(status.active or ()),
        age(status.last_schedule_time) if status.last_schedule_time else "<none>",
        age(metadata.creation_timestamp),
        *containers_and_images(template.template.spec.containers),
        format_selector(template.selector),
    ]


def disruption_budget_cells(budget: policy_v1.PodDisruptionBudget) -> list[Any]:
    spec, metadata = budget.spec, budget.metadata
    return [
        metadata.name,
        "N/A" if spec.min_available is None else str(spec.min_available),
        "N/A" if spec.max_unavailable is None else str(spec.max_unavailable),
        budget.status.disruptions_allowed or 0,
        age(metadata.creation_timestamp),
    ]


def autoscaler_cells(autoscaler: autoscaling_v2.HorizontalPodAutoscaler) -> list[Any]:
    spec, status, metadata = autoscaler.spec, autoscaler.status, autoscaler.metadata
    return [
        metadata.name,
        f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}",
        _metrics(spec.metrics or [], status.current_metrics or []),
        "<unset>" if spec.min_replicas is None else str(spec.min_replicas),
        spec.max_replicas,
        status.current_replicas or 0,
        age(metadata.creation_timestamp),
    ]


_UNKNOWN = "<unknown>"


def _metrics(specs: list[autoscaling_v2.MetricSpec], statuses: list[autoscaling_v2.MetricStatus]) -> str:
    if not specs:
        return "<none>"
    shown = [_metric(spec, statuses[index] if index < len(statuses) else None) for index, spec in enumerate(specs)]
    if len(shown) > 2:
        return f"{', '.join(shown[:2])} + {len(shown) - 2} more..."
    return ", ".join(shown)


def _metric(spec: autoscaling_v2.MetricSpec, status: autoscaling_v2.MetricStatus | None) -> str:
    if spec.type in ("External", "Object"):
        source = spec.external if spec.type == "External" else spec.object
        reported: Any = None if status is None else status.external if spec.type == "External" else status.object
        if source is None:
            return "<unknown type>"
        if source.target.average_value is not None:
            return f"{_average(reported)}/{_quantity(source.target.average_value)} (avg)"
        current = _UNKNOWN if reported is None else _quantity(reported.current.value)
        return f"{current}/{_quantity(source.target.value)}"
    if spec.type == "Pods" and spec.pods is not None:
        current = _average(None if status is None else status.pods)
        return f"{current}/{_quantity(spec.pods.target.average_value)}"
    if spec.type in ("Resource", "ContainerResource"):
        resource = spec.resource if spec.type == "Resource" else spec.container_resource
        if resource is None:
            return "<unknown type>"
        reported = None
        if status is not None:
            reported = status.resource if spec.type == "Resource" else status.container_resource
        if resource.target.average_value is not None:
            return f"{resource.name}: {_average(reported)}/{_quantity(resource.target.average_value)}"
        current = _UNKNOWN
        if reported is not None and reported.current.average_utilization is not None:
            current = f"{reported.current.average_utilization}%"
        wanted = resource.target.average_utilization
        return f"{resource.name}: {current}/{'<auto>' if wanted is None else f'{wanted}%'}"
    return "<unknown type>"


def _average(reported: Any) -> str:
    if reported is None or reported.current.average_value is None:
        return _UNKNOWN
    return _quantity(reported.current.average_value)


def _quantity(value: str | int | float | None) -> str:
    return "0" if value is None else str(Quantity(value))
