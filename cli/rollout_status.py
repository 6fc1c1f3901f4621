"""How far a rollout is, in kubectl's words, from the object alone."""

from __future__ import annotations

from cli.errors import CliError, Object
from cli.objects import dig, name_of
from cli.revisions import REVISION

Progress = tuple[str, bool]


def progress(obj: Object, kind: str, revision: int = 0) -> Progress:
    """What to print now, and whether the rollout is over. Raises `CliError` when it has failed."""
    if kind == "Deployment":
        return _deployment(obj, revision)
    if kind == "DaemonSet":
        return _daemon_set(obj)
    if kind == "StatefulSet":
        return _stateful_set(obj)
    raise CliError(f"no status viewer has been implemented for {kind}")


def _observed(obj: Object) -> bool:
    return int(dig(obj, "status", "observedGeneration", default=0)) >= int(
        dig(obj, "metadata", "generation", default=0)
    )


def _deployment(obj: Object, revision: int) -> Progress:
    name = name_of(obj)
    if revision:
        have = int(dig(obj, "metadata", "annotations", REVISION, default=0))
        if have != revision:
            raise CliError(f"desired revision ({revision}) is different from the running revision ({have})")
    if not _observed(obj):
        return "Waiting for deployment spec update to be observed...\n", False
    for condition in dig(obj, "status", "conditions", default=[]):
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise CliError(f'deployment "{name}" exceeded its progress deadline')
    wanted = dig(obj, "spec", "replicas", default=1)
    status = obj.get("status") or {}
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    start = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{start}{updated} out of {wanted} new replicas have been updated...\n", False
    if total > updated:
        return f"{start}{total - updated} old replicas are pending termination...\n", False
    if available < updated:
        return f"{start}{available} of {updated} updated replicas are available...\n", False
    return f'deployment "{name}" successfully rolled out\n', True


def _daemon_set(obj: Object) -> Progress:
    name = name_of(obj)
    if dig(obj, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        raise CliError("rollout status is only available for RollingUpdate strategy type")
    if not _observed(obj):
        return "Waiting for daemon set spec update to be observed...\n", False
    status = obj.get("status") or {}
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    start = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return f"{start}{updated} out of {wanted} new pods have been updated...\n", False
    if available < wanted:
        return f"{start}{available} of {wanted} updated pods are available...\n", False
    return f'daemon set "{name}" successfully rolled out\n', True


def _stateful_set(obj: Object) -> Progress:
    if dig(obj, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        raise CliError("rollout status is only available for RollingUpdate strategy type")
    if not _observed(obj):
        return "Waiting for statefulset spec update to be observed...\n", False
    status = obj.get("status") or {}
    wanted = dig(obj, "spec", "replicas", default=1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...\n", False
    partition = dig(obj, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
    if partition:
        if updated < wanted - partition:
            text = (
                f"Waiting for partitioned roll out to finish: {updated} out of {wanted - partition} new pods have been"
            )
            return f"{text} updated...\n", False
        return f"partitioned roll out complete: {updated} new pods have been updated...\n", True
    if status.get("updateRevision") != status.get("currentRevision"):
        at = status.get("updateRevision", "")
        return f"waiting for statefulset rolling update to complete {updated} pods at revision {at}...\n", False
    total, at = status.get("currentReplicas", 0), status.get("currentRevision", "")
    return f"statefulset rolling update complete {total} pods at revision {at}...\n", True
