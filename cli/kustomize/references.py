"""Where objects name each other, so that what is renamed is still found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cli.errors import Object
from cli.kustomize.resource import Resource

_VOLUME = "volumes"
# (kind that is named, the steps from some object on the way down to the field that names it). The first step may stand
# anywhere: a pod's spec is in pods, in templates, in templates of templates.
_ANYWHERE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ConfigMap", (_VOLUME, "configMap", "name")),
    ("ConfigMap", (_VOLUME, "projected", "sources", "configMap", "name")),
    ("ConfigMap", ("env", "valueFrom", "configMapKeyRef", "name")),
    ("ConfigMap", ("envFrom", "configMapRef", "name")),
    ("Secret", (_VOLUME, "secret", "secretName")),
    ("Secret", (_VOLUME, "projected", "sources", "secret", "name")),
    ("Secret", (_VOLUME, "csi", "nodePublishSecretRef", "name")),
    ("Secret", ("env", "valueFrom", "secretKeyRef", "name")),
    ("Secret", ("envFrom", "secretRef", "name")),
    ("Secret", ("imagePullSecrets", "name")),
    ("PersistentVolumeClaim", (_VOLUME, "persistentVolumeClaim", "claimName")),
    ("ServiceAccount", ("serviceAccountName",)),
    ("PriorityClass", ("priorityClassName",)),
)
# (kind that is named, kind that names it, path from its root).
_FIXED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Secret", ("Ingress",), ("spec", "tls", "secretName")),
    ("Secret", ("ServiceAccount",), ("secrets", "name")),
    ("Service", ("StatefulSet",), ("spec", "serviceName")),
    ("Service", ("Ingress",), ("spec", "rules", "http", "paths", "backend", "service", "name")),
    ("Service", ("Ingress",), ("spec", "defaultBackend", "service", "name")),
    ("Service", ("APIService",), ("spec", "service", "name")),
    (
        "Service",
        ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
        ("webhooks", "clientConfig", "service", "name"),
    ),
    ("PersistentVolume", ("PersistentVolumeClaim",), ("spec", "volumeName")),
    ("StorageClass", ("PersistentVolume", "PersistentVolumeClaim"), ("spec", "storageClassName")),
    ("StorageClass", ("StatefulSet",), ("spec", "volumeClaimTemplates", "spec", "storageClassName")),
    ("IngressClass", ("Ingress",), ("spec", "ingressClassName")),
)
_SCALABLE = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


@dataclass
class Renamed:
    """The names at the beginning of a layer: within it, a reference means the object that had that name then."""

    before: dict[int, tuple[str, str]]

    @classmethod
    def remember(cls, resources: list[Resource]) -> Renamed:
        return cls({id(one): (one.name, one.namespace) for one in resources})

    def follow(self, resources: list[Resource]) -> None:
        """Changes every reference to what its object is called now."""
        for one in resources:
            _Referrer(one, resources, self.before).rewrite()


class _Referrer:
    def __init__(self, resource: Resource, resources: list[Resource], before: dict[int, tuple[str, str]]) -> None:
        self.resource = resource
        self.resources = resources
        self.before = before

    def rewrite(self) -> None:
        obj, kind = self.resource.obj, self.resource.kind
        self._anywhere(obj)
        for named, kinds, path in _FIXED:
            if kind in kinds:
                _change(obj, path, partial(self._name, named))
        if kind == "HorizontalPodAutoscaler":
            reference = (obj.get("spec") or {}).get("scaleTargetRef") or {}
            if reference.get("kind") in _SCALABLE:
                _change(reference, ("name",), partial(self._name, str(reference["kind"])))
        if kind in ("RoleBinding", "ClusterRoleBinding"):
            reference = obj.get("roleRef") or {}
            _change(reference, ("name",), partial(self._name, str(reference.get("kind"))))
            for subject in obj.get("subjects") or []:
                self._subject(subject)

    def _anywhere(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._anywhere(item)
        elif isinstance(value, dict):
            for named, path in _ANYWHERE:
                if path[0] in value:
                    _change(value, path, partial(self._name, named))
            for item in value.values():
                self._anywhere(item)

    def _subject(self, subject: Object) -> None:
        if subject.get("kind") != "ServiceAccount":
            return
        asked = str(subject.get("namespace") or "")
        for one in self.resources:
            name, space = self.before.get(id(one), (one.name, one.namespace))
            known = subject.get("name") in (name, *one.names[:-1])
            if one.kind == "ServiceAccount" and known and asked in (space, *one.namespaces):
                subject["name"] = one.name
                if one.namespace:
                    subject["namespace"] = one.namespace
                return

    def _name(self, kind: str, text: str) -> str:
        found = [one for one in self.resources if one.kind == kind and one is not self.resource]
        exact = [one for one in found if self.before.get(id(one), (one.name, ""))[0] == text]
        earlier = [one for one in found if text in one.names]
        for candidates in (exact, earlier):
            near = [one for one in candidates if one.namespace == self.resource.namespace] or candidates
            if near:
                return near[0].name
        return text


def _change(value: Any, path: tuple[str, ...], rename: Callable[[str], str]) -> None:
    if isinstance(value, list):
        for item in value:
            _change(item, path, rename)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) > 1:
            _change(value[path[0]], path[1:], rename)
        elif isinstance(value[path[0]], str):
            value[path[0]] = rename(value[path[0]])
