"""What `debug`'s profiles give a container (KEP-1441): how much of a pod or of a node it may see."""

from __future__ import annotations

from typing import Any

from cli.errors import CliError, Object

EPHEMERAL, COPY, NODE = "ephemeral", "copy", "node"
PROFILES = ("general", "baseline", "restricted", "netadmin", "sysadmin")


def apply(profile: str, style: str, pod: Object, container: Object) -> None:
    """Changes a pod's spec and its debugging container in place. `style` is one of the three above."""
    if profile not in PROFILES:
        raise CliError(f"unknown profile: {profile}")
    spec = pod.setdefault("spec", {})
    security = _security(profile, style)
    if security:
        container["securityContext"] = security
    if style == COPY:
        spec["shareProcessNamespace"] = True
    if style != NODE:
        return
    if profile in ("general", "netadmin", "sysadmin"):
        spec.update(hostNetwork=True, hostPID=True, hostIPC=True)
    if profile in ("general", "sysadmin"):
        spec["volumes"] = [{"name": "host-root", "hostPath": {"path": "/"}}]
        container["volumeMounts"] = [{"name": "host-root", "mountPath": "/host"}]


def _security(profile: str, style: str) -> dict[str, Any]:
    if profile == "general" and style != NODE:
        return {"capabilities": {"add": ["SYS_PTRACE"]}}
    if profile == "netadmin":
        return {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}
    if profile == "sysadmin":
        return {"privileged": True}
    if profile == "restricted":
        return {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return {}


def without_probes(pod: Object, *, liveness: bool, readiness: bool, startup: bool) -> None:
    """A copy is looked at, not served: its probes go, but for those to be kept."""
    kept = {"livenessProbe": liveness, "readinessProbe": readiness, "startupProbe": startup}
    for container in pod["spec"].get("containers") or []:
        for key, keep in kept.items():
            if not keep:
                container.pop(key, None)
