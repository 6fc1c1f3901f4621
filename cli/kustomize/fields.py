"""Where in an object labels, annotations, images and selectors stand, by kind: kustomize's default field specs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.errors import Object
from cli.kustomize.resource import Resource

_TEMPLATE = ("spec", "template")
_TEMPLATES = {
    "ReplicationController": (_TEMPLATE,),
    "Deployment": (_TEMPLATE,),
    "ReplicaSet": (_TEMPLATE,),
    "DaemonSet": (_TEMPLATE,),
    "StatefulSet": (_TEMPLATE,),
    "Job": (_TEMPLATE,),
    "CronJob": (("spec", "jobTemplate"), ("spec", "jobTemplate", "spec", "template")),
}
_PLAIN_SELECTORS = ("Service", "ReplicationController")
_LABEL_SELECTORS = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")


def walk(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """What stands at a path; lists on the way are gone through."""
    if isinstance(value, list):
        for item in value:
            yield from walk(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from walk(value[path[0]], path[1:])


def ensure(obj: Object, path: tuple[str, ...]) -> Object:
    """The object at a path, made where it is missing."""
    for step in path:
        inner = obj.get(step)
        if not isinstance(inner, dict):
            inner = obj[step] = {}
        obj = inner
    return obj


def template_metadata(resource: Resource) -> list[Object]:
    """The metadata of an object's templates."""
    found = []
    for path in _TEMPLATES.get(resource.kind, ()):
        if resource.kind in ("Job", "CronJob") or resource.obj.get("spec") is not None:
            found.append(ensure(resource.obj, (*path, "metadata")))
    if resource.kind == "StatefulSet":
        for claim in walk(resource.obj, ("spec", "volumeClaimTemplates")):
            found.append(ensure(claim, ("metadata",)))
    return found


def selectors(resource: Resource) -> list[Object]:
    """Every selector that must follow when labels of pods change."""
    obj = resource.obj
    found: list[Object] = []
    if resource.kind in _PLAIN_SELECTORS and not resource.group:
        found.append(ensure(obj, ("spec", "selector")))
    if resource.kind in _LABEL_SELECTORS:
        found.append(ensure(obj, ("spec", "selector", "matchLabels")))
    if resource.kind in ("Job", "PodDisruptionBudget"):
        found += walk(obj, ("spec", "selector", "matchLabels"))
    if resource.kind == "CronJob":
        found += walk(obj, ("spec", "jobTemplate", "spec", "selector", "matchLabels"))
    if resource.kind == "NetworkPolicy":
        for path in (
            ("spec", "podSelector"),
            ("spec", "ingress", "from", "podSelector"),
            ("spec", "egress", "to", "podSelector"),
        ):
            found += walk(obj, (*path, "matchLabels"))
    if resource.kind in ("Deployment", "StatefulSet"):
        spec = ("spec", "template", "spec")
        for affinity in ("podAffinity", "podAntiAffinity"):
            for rule, term in (
                ("requiredDuringSchedulingIgnoredDuringExecution", ()),
                ("preferredDuringSchedulingIgnoredDuringExecution", ("podAffinityTerm",)),
            ):
                found += walk(obj, (*spec, "affinity", affinity, rule, *term, "labelSelector", "matchLabels"))
        found += walk(obj, (*spec, "topologySpreadConstraints", "labelSelector", "matchLabels"))
    return [one for one in found if isinstance(one, dict)]


def containers(value: Any) -> Iterator[Object]:
    """Every container in an object, wherever a pod's spec stands in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("containers", "initContainers", "ephemeralContainers") and isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, dict))
            else:
                yield from containers(inner)
    elif isinstance(value, list):
        for item in value:
            yield from containers(item)
