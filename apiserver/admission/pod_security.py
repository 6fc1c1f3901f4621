"""PodSecurity: holds the pods of a namespace to the level that the namespace's labels name.

`enforce` refuses pods; `warn` warns about pods and about what makes pods; `audit` is for the audit log.
Source: k8s.io/pod-security-admission (KEP-2579). Without labels everything is allowed, as upstream by default.
"""

from __future__ import annotations

import re
from typing import Any

from api import errors
from api.errors import FieldError, Path
from api.types.core_v1 import Namespace, Pod, PodSpec
from apiserver.admission import Operation
from apiserver.admission.pod_security_standards import LEVELS, violations
from apiserver.strategy import Context

_PREFIX = "pod-security.kubernetes.io/"
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"^(latest|v1\.(0|[1-9][0-9]*))$")
_LISTED_PODS = 3000
_WORKLOADS = frozenset({
    "PodTemplate", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob",
})  # fmt: skip


class PodSecurity:
    name = "PodSecurity"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if operation not in ("CREATE", "UPDATE"):
            return False
        kind = ctx.resource.kind
        if kind == "Pod":
            return ctx.subresource in ("", "ephemeralcontainers")
        return not ctx.subresource and (kind == "Namespace" or kind in _WORKLOADS)

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403 for a pod that the enforced level forbids, 422 for labels that say nothing."""
        if isinstance(new, Namespace):
            await self._namespace(ctx, new, old)
            return
        namespace = ctx.registry.cached(Namespace, ctx.namespace)
        labels = (namespace.metadata.labels if namespace is not None else None) or {}
        if not any(key.startswith(_PREFIX) for key in labels):
            return
        if isinstance(new, Pod):
            if old is None or _significant(new, old):
                self._pod(ctx, new, labels)
        else:
            self._workload(ctx, new, labels)

    @staticmethod
    def _pod(ctx: Context, pod: Pod, labels: dict[str, str]) -> None:
        annotations = pod.metadata.annotations or {}
        enforced, version = _policy(labels, "enforce")
        if found := violations(enforced, pod.spec, annotations):
            detail = f'violates PodSecurity "{enforced}:{version}": {found}'
            raise errors.forbidden("pods", pod.metadata.name or "", detail)
        _warn(ctx, pod.spec, annotations, labels)

    @staticmethod
    def _workload(ctx: Context, workload: Any, labels: dict[str, str]) -> None:
        template = _template(workload)
        if template is not None:
            _warn(ctx, template.spec, template.metadata.annotations or {}, labels)

    async def _namespace(self, ctx: Context, new: Namespace, old: Namespace | None) -> None:
        labels = new.metadata.labels or {}
        before = (old.metadata.labels or {}) if old is not None else {}
        problems = [] if old is not None and _settings(before) == _settings(labels) else _label_errors(labels)
        if problems:
            raise errors.invalid("Namespace", new.metadata.name or "", problems)
        if old is None:
            return
        level, version = _policy(labels, "enforce")
        was, _ = _policy(before, "enforce")
        if LEVELS.index(level) > LEVELS.index(was):
            self._warn_of_existing(ctx, new, level, version)

    @staticmethod
    def _warn_of_existing(ctx: Context, namespace: Namespace, level: str, version: str) -> None:
        found: dict[str, list[str]] = {}
        for pod in ctx.registry.cached_list(Pod, namespace.metadata.name)[:_LISTED_PODS]:
            if text := violations(level, pod.spec, pod.metadata.annotations or {}):
                reasons = re.sub(r" \([^()]*(\([^()]*\)[^()]*)*\)", "", text)
                found.setdefault(reasons, []).append(pod.metadata.name or "")
        if not found:
            return
        head = f'existing pods in namespace "{namespace.metadata.name}" violate the new PodSecurity enforce level'
        ctx.warn(f'{head} "{level}:{version}"')
        for reasons, pods in sorted(found.items(), key=lambda item: item[1][0]):
            others = len(pods) - 1
            more = f" (and {others} other {'pod' if others == 1 else 'pods'})" if others else ""
            ctx.warn(f"{pods[0]}{more}: {reasons}")


def _policy(labels: dict[str, str], mode: str) -> tuple[str, str]:
    """Level and version of a mode. A level nobody knows is taken for the strictest one."""
    level = labels.get(f"{_PREFIX}{mode}", "privileged")
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return (level if level in LEVELS else "restricted"), (version if _VERSION.match(version) else "latest")


def _settings(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key.startswith(_PREFIX)}


def _label_errors(labels: dict[str, str]) -> list[FieldError]:
    path = Path("metadata", "labels")
    found = []
    for mode in _MODES:
        level, version = labels.get(f"{_PREFIX}{mode}"), labels.get(f"{_PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            detail = f"must be one of {', '.join(LEVELS)}"
            found.append(FieldError.invalid(path.key(f"{_PREFIX}{mode}"), level, detail))
        if version is not None and not _VERSION.match(version):
            detail = 'must be "latest" or "v1.x"'
            found.append(FieldError.invalid(path.key(f"{_PREFIX}{mode}-version"), version, detail))
    return found


def _warn(ctx: Context, spec: PodSpec, annotations: dict[str, str], labels: dict[str, str]) -> None:
    level, version = _policy(labels, "warn")
    if found := violations(level, spec, annotations):
        ctx.warn(f'would violate PodSecurity "{level}:{version}": {found}')


def _significant(new: Pod, old: Pod) -> bool:
    """Updates that change nothing a level looks at are let through, so that finalizers can go."""
    return new.spec != old.spec or (new.metadata.annotations or {}) != (old.metadata.annotations or {})


def _template(workload: Any) -> Any:
    if workload.kind == "PodTemplate":
        return workload.template
    if workload.kind == "CronJob":
        return workload.spec.job_template.spec.template
    return workload.spec.template
