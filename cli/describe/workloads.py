"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers, HPAs and PDBs."""

from __future__ import annotations

from typing import Any

from cli.describe.inspector import Inspector
from cli.describe.pod import describe_template
from cli.describe.text import Text, conditions_table, created
from cli.errors import Object
from cli.human import go_duration, parse_time, rfc1123
from cli.objects import (
    annotations_of,
    dig,
    join,
    label_selector_text,
    labels_of,
    name_of,
    namespace_of,
    owner_of,
    selector_text,
)


def _number(value: Any, missing: str = "<unset>") -> str:
    return missing if value is None else str(value)


async def deployment(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    created(text, obj)
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.field("Selector", label_selector_text(spec.get("selector")))
    text.field(
        "Replicas",
        f"{spec.get('replicas', 1)} desired | {status.get('updatedReplicas', 0)} updated | "
        f"{status.get('replicas', 0)} total | "
        f"{status.get('availableReplicas', 0)} available | {status.get('unavailableReplicas', 0)} unavailable",
    )
    text.field("StrategyType", dig(spec, "strategy", "type", default=""))
    text.field("MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = dig(spec, "strategy", "rollingUpdate")
    if rolling:
        shown = f"{rolling.get('maxUnavailable')} max unavailable, {rolling.get('maxSurge')} max surge"
        text.field("RollingUpdateStrategy", shown)
    describe_template(text, spec.get("template"))
    conditions_table(text, obj)
    old, new = await _replica_sets(obj, inspector)
    if old or new:
        text.field("OldReplicaSets", join(old).replace(",", ", "))
        text.field("NewReplicaSet", new or "<none>")
    text.events(await inspector.events(obj))


async def _replica_sets(obj: Object, inspector: Inspector) -> tuple[list[str], str]:
    selector = label_selector_text(dig(obj, "spec", "selector", default={}))
    path = f"/apis/apps/v1/namespaces/{namespace_of(obj)}/replicasets"
    uid = dig(obj, "metadata", "uid")
    owned = [
        one
        for one in await inspector.items(path, labelSelector=selector)
        if any(ref.get("uid") == uid for ref in dig(one, "metadata", "ownerReferences", default=[]))
    ]
    wanted = annotations_of(obj).get("deployment.kubernetes.io/revision")

    def shown(one: Object) -> str:
        have, wanted_size = dig(one, "status", "replicas", default=0), dig(one, "spec", "replicas", default=0)
        return f"{name_of(one)} ({have}/{wanted_size} replicas created)"

    def revision(one: Object) -> str | None:
        return annotations_of(one).get("deployment.kubernetes.io/revision")

    new = next((shown(one) for one in owned if wanted and revision(one) == wanted), "")
    return [shown(one) for one in owned if revision(one) != wanted or not wanted], new


async def replica_set(text: Text, obj: Object, inspector: Inspector) -> None:
    spec = obj.get("spec") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    selector = spec.get("selector")
    plain = inspector.mapping.kind == "ReplicationController"
    text.field("Selector", (selector_text(selector) or "<none>") if plain else label_selector_text(selector))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    owner = owner_of(obj)
    if owner:
        text.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    text.field("Replicas", f"{dig(obj, 'status', 'replicas', default=0)} current / {spec.get('replicas', 1)} desired")
    matched = {"spec": {"selector": {"matchLabels": selector}}, "metadata": obj["metadata"]} if plain else obj
    text.field("Pods Status", await inspector.pod_phases(matched))
    describe_template(text, spec.get("template"))
    conditions_table(text, obj)
    text.events(await inspector.events(obj))


async def stateful_set(text: Text, obj: Object, inspector: Inspector) -> None:
    spec = obj.get("spec") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    created(text, obj)
    text.field("Selector", label_selector_text(spec.get("selector")))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.field("Replicas", f"{spec.get('replicas', 1)} desired | {dig(obj, 'status', 'replicas', default=0)} total")
    text.field("Update Strategy", dig(spec, "updateStrategy", "type", default=""))
    partition = dig(spec, "updateStrategy", "rollingUpdate", "partition")
    if partition is not None:
        text.field("Partition", partition, 1)
    text.field("Pods Status", await inspector.pod_phases(obj))
    describe_template(text, spec.get("template"))
    _claims(text, spec.get("volumeClaimTemplates") or [])
    text.events(await inspector.events(obj))


def _claims(text: Text, claims: list[Object]) -> None:
    if not claims:
        text.field("Volume Claims", "<none>")
        return
    text.line(0, "Volume Claims:")
    for one in claims:
        text.field("Name", name_of(one), 1)
        text.field("StorageClass", dig(one, "spec", "storageClassName", default=""), 1)
        text.field("Labels", selector_text(labels_of(one)) or "<none>", 1)
        text.field("Annotations", selector_text(annotations_of(one)) or "<none>", 1)
        text.field("Capacity", dig(one, "spec", "resources", "requests", "storage", default="<default>"), 1)
        text.field("Access Modes", f"[{' '.join(dig(one, 'spec', 'accessModes', default=[]))}]", 1)


async def daemon_set(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    text.field("Selector", label_selector_text(spec.get("selector")))
    text.field("Node-Selector", selector_text(dig(spec, "template", "spec", "nodeSelector")) or "<none>")
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    text.line(0, f"Desired Number of Nodes Scheduled: {status.get('desiredNumberScheduled', 0)}")
    text.line(0, f"Current Number of Nodes Scheduled: {status.get('currentNumberScheduled', 0)}")
    text.line(0, f"Number of Nodes Scheduled with Up-to-date Pods: {status.get('updatedNumberScheduled', 0)}")
    text.line(0, f"Number of Nodes Scheduled with Available Pods: {status.get('numberAvailable', 0)}")
    text.line(0, f"Number of Nodes Misscheduled: {status.get('numberMisscheduled', 0)}")
    text.field("Pods Status", await inspector.pod_phases(obj))
    describe_template(text, spec.get("template"))
    text.events(await inspector.events(obj))


async def job(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    if spec.get("selector"):
        text.field("Selector", label_selector_text(spec["selector"]))
    text.labels("Labels", labels_of(obj))
    text.annotations("Annotations", annotations_of(obj))
    owner = owner_of(obj)
    if owner:
        text.field("Controlled By", f"{owner['kind']}/{owner['name']}")
    text.field("Parallelism", _number(spec.get("parallelism")))
    text.field("Completions", _number(spec.get("completions")))
    if spec.get("completionMode"):
        text.field("Completion Mode", spec["completionMode"])
    if spec.get("suspend") is not None:
        text.field("Suspend", "true" if spec["suspend"] else "false")
    text.field("Backoff Limit", _number(spec.get("backoffLimit")))
    if spec.get("ttlSecondsAfterFinished") is not None:
        text.field("TTL Seconds After Finished", spec["ttlSecondsAfterFinished"])
    if status.get("startTime"):
        text.field("Start Time", rfc1123(status["startTime"]))
    if status.get("completionTime"):
        text.field("Completed At", rfc1123(status["completionTime"]))
    if status.get("startTime") and status.get("completionTime"):
        took = (parse_time(status["completionTime"]) - parse_time(status["startTime"])).total_seconds()
        text.field("Duration", go_duration(took) if took < 120 else _short(took))
    if spec.get("activeDeadlineSeconds") is not None:
        text.field("Active Deadline Seconds", f"{spec['activeDeadlineSeconds']}s")
    ready = f" ({status['ready']} Ready)" if status.get("ready") is not None else ""
    text.field(
        "Pods Statuses",
        f"{status.get('active', 0)} Active{ready} / {status.get('succeeded', 0)} Succeeded / "
        f"{status.get('failed', 0)} Failed",
    )
    if status.get("completedIndexes") or spec.get("completionMode") == "Indexed":
        text.field("Completed Indexes", status.get("completedIndexes") or "<none>")
    describe_template(text, spec.get("template"))
    text.events(await inspector.events(obj))


def _short(seconds: float) -> str:
    from cli.human import human_duration

    return human_duration(seconds)


async def cron_job(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.head(obj)
    text.field("Schedule", spec.get("schedule", ""))
    text.field("Concurrency Policy", spec.get("concurrencyPolicy", ""))
    text.field("Suspend", str(spec["suspend"]) if "suspend" in spec else "<unset>")
    text.field("Successful Job History Limit", _number(spec.get("successfulJobsHistoryLimit")))
    text.field("Failed Job History Limit", _number(spec.get("failedJobsHistoryLimit")))
    deadline = spec.get("startingDeadlineSeconds")
    text.field("Starting Deadline Seconds", "<unset>" if deadline is None else f"{deadline}s")
    inner = dig(spec, "jobTemplate", "spec", default={})
    text.field("Selector", label_selector_text(inner["selector"]) if inner.get("selector") else "<unset>")
    text.field("Parallelism", _number(inner.get("parallelism")))
    text.field("Completions", _number(inner.get("completions")))
    describe_template(text, inner.get("template"))
    last = status.get("lastScheduleTime")
    text.field("Last Schedule Time", rfc1123(last) if last else "<unset>")
    active = [f"{one.get('name')}" for one in status.get("active") or []]
    text.field("Active Jobs", join(active).replace(",", ", "))
    text.events(await inspector.events(obj))


async def autoscaler(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.head(obj)
    created(text, obj)
    target = spec.get("scaleTargetRef") or {}
    text.field("Reference", f"{target.get('kind')}/{target.get('name')}")
    text.line(0, "Metrics:\t( current / target )")
    current = status.get("currentMetrics") or []
    for index, metric in enumerate(spec.get("metrics") or []):
        have = current[index] if index < len(current) else {}
        text.line(1, _metric(metric, have))
    if spec.get("targetCPUUtilizationPercentage") is not None:
        have_cpu = status.get("currentCPUUtilizationPercentage")
        shown = "<unknown>" if have_cpu is None else f"{have_cpu}%"
        text.line(
            1,
            f"resource cpu on pods  (as a percentage of request):\t{shown} / {spec['targetCPUUtilizationPercentage']}%",
        )
    text.field("Min replicas", _number(spec.get("minReplicas")))
    text.field("Max replicas", spec.get("maxReplicas", 0))
    text.field(
        f"{target.get('kind')} pods",
        f"{status.get('currentReplicas', 0)} current / {status.get('desiredReplicas', 0)} desired",
    )
    conditions_table(text, obj, ("Status", "Reason", "Message"))
    text.events(await inspector.events(obj))


def _metric(metric: Object, have: Object) -> str:
    kind = metric.get("type", "")
    key = kind[:1].lower() + kind[1:]
    source, now_source = metric.get(key) or {}, have.get(key) or {}
    target, value = source.get("target") or {}, now_source.get("current") or {}
    name = source.get("name") or dig(source, "metric", "name", default="")
    if target.get("averageUtilization") is not None:
        shown = "<unknown>"
        if value.get("averageUtilization") is not None:
            shown = f"{value['averageUtilization']}% ({value.get('averageValue', '')})"
        return f"resource {name} on pods  (as a percentage of request):\t{shown} / {target['averageUtilization']}%"
    amount = target.get("averageValue") or target.get("value")
    return f'"{name}" ({kind.lower()}):\t{value.get("averageValue") or value.get("value") or "<unknown>"} / {amount}'


async def disruption_budget(text: Text, obj: Object, inspector: Inspector) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    text.field("Name", name_of(obj))
    text.field("Namespace", namespace_of(obj))
    if spec.get("minAvailable") is not None:
        text.field("Min available", spec["minAvailable"])
    elif spec.get("maxUnavailable") is not None:
        text.field("Max unavailable", spec["maxUnavailable"])
    text.field("Selector", label_selector_text(spec.get("selector")) or "<unset>")
    text.line(0, "Status:")
    text.field("Allowed disruptions", status.get("disruptionsAllowed", 0), 2)
    text.field("Current", status.get("currentHealthy", 0), 2)
    text.field("Desired", status.get("desiredHealthy", 0), 2)
    text.field("Total", status.get("expectedPods", 0), 2)
    text.events(await inspector.events(obj))
