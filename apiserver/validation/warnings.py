"""Warnings for objects that are accepted and probably not meant (upstream's api/pod and api/service warnings)."""

from __future__ import annotations

from typing import Any

from api.errors import Path
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.remembered import if_unseen

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "seccomp.security.alpha.kubernetes.io/pod": ('non-functional in v1.27+; use the "seccompProfile" field instead'),
}


def pod_warnings(pod: core_v1.Pod, old: core_v1.Pod | None) -> list[str]:
    if old is not None and old.spec == pod.spec:
        return []
    annotations = pod.metadata.annotations or {}
    if _ANNOTATIONS.keys().isdisjoint(annotations):
        found = _bare_spec_warnings(pod.spec)
    else:
        found = _spec_warnings(pod.spec, annotations, Path("spec"), Path("metadata"))
    if old is None and pod.metadata.name and (messages := names.dns1123_label(pod.metadata.name)):
        shown = " ".join(messages)
        found.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            f"a DNS label is recommended: [{shown}]"
        )
    return found


@if_unseen
def _bare_spec_warnings(spec: core_v1.PodSpec) -> list[str]:
    return _spec_warnings(spec, {}, Path("spec"), Path("metadata"))


def template_warnings(
    template: core_v1.PodTemplateSpec, old: core_v1.PodTemplateSpec | None, where: str = "spec.template"
) -> list[str]:
    if old is not None and old == template:
        return []
    path = Path(where)
    annotations = template.metadata.annotations or {}
    return _spec_warnings(template.spec, annotations, path.child("spec"), path.child("metadata"))


def _spec_warnings(spec: core_v1.PodSpec, annotations: dict[str, str], path: Path, metadata: Path) -> list[str]:
    found: list[str] = []
    for key in spec.node_selector or ():
        if key in _NODE_LABELS:
            found.append(f"{path.child('nodeSelector').key(key)}: {_NODE_LABELS[key]}")
    for key, message in _ANNOTATIONS.items():
        if key in annotations:
            found.append(f"{metadata.child('annotations').key(key)}: {message}")
    grace = spec.termination_grace_period_seconds
    if grace is not None and grace < 0:
        at = path.child("terminationGracePeriodSeconds")
        found.append(f"{at}: must be >= 0; negative values are invalid and will be treated as 1")
    found += _duplicates(spec.image_pull_secrets, "name", path.child("imagePullSecrets"), empty=True)
    for index, alias in enumerate(spec.host_aliases or ()):
        for position in range(index):
            if (spec.host_aliases or [])[position].ip == alias.ip:
                at = path.child("hostAliases").index(index).child("ip")
                found.append(f"{at}: duplicate ip {alias.ip}")
                break
    ports: dict[tuple[Any, ...], str] = {}
    for field, group in (("initContainers", spec.init_containers or ()), ("containers", spec.containers)):
        for index, container in enumerate(group):
            at = path.child(field).index(index)
            if container.env and len(container.env) > 1:
                found += _environment(container.env, at.child("env"))
            if field == "containers" and container.ports:
                found += _ports(container, at.child("ports"), ports)
    return found


def _duplicates(items: list[Any] | None, attribute: str, path: Path, *, empty: bool) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(items or ()):
        value = getattr(item, attribute) or ""
        if not value and empty:
            found.append(f"{path.index(index)}: invalid empty name {value!r}".replace("'", '"'))
        elif value in seen:
            found.append(f'{path.index(index).child(attribute)}: duplicate name "{value}"')
        seen.add(value)
    return found


def _environment(variables: list[core_v1.EnvVar], path: Path) -> list[str]:
    found: list[str] = []
    seen: dict[str, core_v1.EnvVar] = {}
    for index, variable in enumerate(variables):
        earlier = seen.get(variable.name)
        # A value that refers to the earlier definition extends it, which is a known trick.
        if earlier is not None and f"$({variable.name})" not in (variable.value or ""):
            found.append(
                f'{path.index(index)}: hides previous definition of "{variable.name}", '
                "which may be dropped when using apply"
            )
        seen[variable.name] = variable
    return found


def _ports(container: core_v1.Container, path: Path, seen: dict[tuple[Any, ...], str]) -> list[str]:
    found: list[str] = []
    own: dict[tuple[Any, ...], str] = {}
    for index, port in enumerate(container.ports or ()):
        key = (port.container_port, port.protocol, port.host_ip or "", port.host_port or 0)
        at = str(path.index(index))
        if key in own:
            found.append(f"{at}: duplicate port definition with {own[key]}")
        elif key in seen:
            found.append(f"{at}: duplicate port definition with {seen[key]}")
        own.setdefault(key, at)
    for key, at in own.items():
        seen.setdefault(key, at)
    return found


def service_warnings(service: core_v1.Service) -> list[str]:
    found: list[str] = []
    spec = service.spec
    if spec.type == "ExternalName" and spec.external_ips:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if spec.type != "LoadBalancer" and spec.load_balancer_ip:
        found.append('spec.loadBalancerIP is ignored when spec.type is not "LoadBalancer"')
    if spec.type == "ExternalName" and spec.session_affinity == "ClientIP":
        found.append('spec.sessionAffinity is ignored when spec.type is "ExternalName"')
    if spec.cluster_ip == "None" and spec.session_affinity == "ClientIP":
        found.append("spec.SessionAffinity is ignored for headless services")
    return found
