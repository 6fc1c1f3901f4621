"""The changes that a kustomization makes to all of its resources, in kustomize's order."""

from __future__ import annotations

import re
from typing import Any

from cli.errors import Object
from cli.kustomize.fields import containers, selectors, template_metadata
from cli.kustomize.files import Kustomization
from cli.kustomize.references import Renamed
from cli.kustomize.resource import KustomizeError, Resource

# Names that mean something to the server are never given a prefix or a suffix.
_FIXED = ("CustomResourceDefinition", "APIService", "Namespace")
_REPLICAS = ("Deployment", "ReplicationController", "ReplicaSet", "StatefulSet")


def namespace(where: Kustomization, resources: list[Resource]) -> None:
    wanted = where.text("namespace")
    if not wanted:
        return
    for one in resources:
        if one.kind == "Namespace" and not one.group:
            one.rename(wanted)
        elif one.namespaced:
            one.move(wanted)
        if one.kind in ("RoleBinding", "ClusterRoleBinding"):
            for subject in one.obj.get("subjects") or []:
                if subject.get("kind") == "ServiceAccount" and subject.get("name") == "default":
                    subject["namespace"] = wanted


def names(where: Kustomization, resources: list[Resource]) -> None:
    prefix, suffix = where.text("namePrefix"), where.text("nameSuffix")
    if not prefix and not suffix:
        return
    for one in resources:
        if one.kind not in _FIXED:
            one.rename(f"{prefix}{one.name}{suffix}")


def labels(where: Kustomization, resources: list[Resource]) -> None:
    common = where.content.get("commonLabels")
    rules = [{"pairs": common, "includeSelectors": True}] if common else []
    for rule in [*where.rows("labels"), *rules]:
        pairs = _texts(rule.get("pairs"), "labels")
        for one in resources:
            _add(one.metadata, "labels", pairs)
            if rule.get("includeSelectors") or rule.get("includeTemplates"):
                for metadata in template_metadata(one):
                    _add(metadata, "labels", pairs)
            if rule.get("includeSelectors"):
                for selector in selectors(one):
                    selector.update(pairs)


def notes(where: Kustomization, resources: list[Resource]) -> None:
    pairs = _texts(where.content.get("commonAnnotations"), "commonAnnotations")
    if not pairs:
        return
    for one in resources:
        _add(one.metadata, "annotations", pairs)
        for metadata in template_metadata(one):
            if metadata is not None and not _is_claim(one, metadata):
                _add(metadata, "annotations", pairs)


def _is_claim(one: Resource, metadata: Object) -> bool:
    """Annotations, unlike labels, stay off a StatefulSet's claims."""
    claims = (one.obj.get("spec") or {}).get("volumeClaimTemplates") or []
    return any(claim.get("metadata") is metadata for claim in claims)


def replicas(where: Kustomization, resources: list[Resource]) -> None:
    for rule in where.rows("replicas"):
        found = [one for one in resources if one.kind in _REPLICAS and rule.get("name") in one.names]
        if not found:
            raise KustomizeError(
                f"resource with name {rule.get('name')} does not match a config with the following GVK "
                "[Deployment.[noVer].[noGrp] ReplicationController.[noVer].[noGrp] ReplicaSet.[noVer].[noGrp] "
                "StatefulSet.[noVer].[noGrp]]"
            )
        for one in found:
            one.obj.setdefault("spec", {})["replicas"] = rule.get("count", 0)


def images(where: Kustomization, resources: list[Resource]) -> None:
    for rule in where.rows("images"):
        pattern = re.compile(
            re.escape(str(rule.get("name") or "")) + r"(?P<rest>(?::[\w.{}-]*)?(?:@sha256:[\w.{}-]*)?)"
        )
        for one in resources:
            if one.kind == "CustomResourceDefinition":
                continue
            for container in containers(one.obj):
                found = pattern.fullmatch(str(container.get("image") or ""))
                if found:
                    container["image"] = _image(rule, found.group("rest"))


def _image(rule: Object, rest: str) -> str:
    name = str(rule.get("newName") or rule["name"])
    tag, digest = rule.get("newTag"), rule.get("digest")
    if tag and digest:
        return f"{name}:{tag}@{digest}"
    if digest:
        return f"{name}@{digest}"
    if tag:
        return f"{name}:{tag}{rule.get('tagSuffix') or ''}"
    return f"{name}{rest}{rule.get('tagSuffix') or ''}"


def _add(metadata: Object, section: str, pairs: dict[str, str]) -> None:
    have = metadata.get(section)
    metadata[section] = {**(have if isinstance(have, dict) else {}), **pairs}


def _texts(value: Any, what: str) -> dict[str, str]:
    if not value:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, (str, int, float)) for item in value.values()):
        raise KustomizeError(f"invalid Kustomization: '{what}' must be a map of strings")
    return {key: str(item).lower() if isinstance(item, bool) else str(item) for key, item in value.items()}


def apply(where: Kustomization, resources: list[Resource]) -> None:
    """Everything between a kustomization's patches and its end."""
    before = Renamed.remember(resources)
    namespace(where, resources)
    names(where, resources)
    labels(where, resources)
    notes(where, resources)
    replicas(where, resources)
    images(where, resources)
    before.follow(resources)
