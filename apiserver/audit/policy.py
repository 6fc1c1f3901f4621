"""How much is recorded of which request: an `audit.k8s.io/v1` Policy file. The first rule that matches decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apiserver.auth import Attributes

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")

_FIELDS = {
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
}


@dataclass(frozen=True)
class Audited:
    """What the policy says about one request. Levels compare by their place in LEVELS."""

    level: int
    omit_stages: frozenset[str]
    omit_managed_fields: bool = False


NOTHING = Audited(0, frozenset(STAGES))


@dataclass(frozen=True)
class _Resources:
    group: str
    resources: frozenset[str]
    names: frozenset[str]

    def match(self, attributes: Attributes) -> bool:
        if self.group != attributes.group:
            return False
        if not self.resources:
            return True
        plain, sub = attributes.resource, attributes.subresource
        combined = f"{plain}/{sub}" if sub else plain
        wanted = {"*", combined, *((f"{plain}/*", f"*/{sub}") if sub else ())}
        if not wanted & self.resources:
            return False
        return not self.names or attributes.name in self.names


@dataclass(frozen=True)
class _Rule:
    audited: Audited
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    resources: Sequence[_Resources]
    namespaces: frozenset[str]
    paths: Sequence[str]

    def match(self, attributes: Attributes) -> bool:
        user = attributes.user
        if self.users and user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(user.groups):
            return False
        if self.verbs and attributes.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            if not attributes.is_resource:
                return False
            # The empty name stands for what has no namespace.
            if self.namespaces and attributes.namespace not in self.namespaces:
                return False
            return not self.resources or any(resources.match(attributes) for resources in self.resources)
        if self.paths:
            return not attributes.is_resource and any(_path_matches(path, attributes.path) for path in self.paths)
        return True


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*":
        return True
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


class Policy:
    """Ordered rules; a request that none matches is not recorded."""

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self._rules = rules

    def of(self, attributes: Attributes) -> Audited:
        """What is recorded of a request with these attributes."""
        for rule in self._rules:
            if rule.match(attributes):
                return rule.audited
        return NOTHING


def load(path: str | Path) -> Policy:
    """Raises ValueError or OSError for a file that cannot be used."""
    try:
        document = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"failed decoding: {error}: from file {path}") from None
    return parse(document)


def parse(document: Any) -> Policy:
    """Raises ValueError for a policy that makes no sense, naming the field."""
    if not isinstance(document, dict) or document.get("kind") != "Policy":
        raise ValueError("an audit policy is a document of kind Policy")
    if document.get("apiVersion") != "audit.k8s.io/v1":
        raise ValueError(f"unknown group version {document.get('apiVersion')!r} of an audit policy")
    listed = document.get("rules")
    if not isinstance(listed, list) or not listed:
        raise ValueError("loaded illegal policy with 0 rules")
    omitted = _stages("omitStages", document)
    without_fields = document.get("omitManagedFields") is True
    return Policy([_rule(f"rules[{i}]", rule, omitted, without_fields) for i, rule in enumerate(listed)])


def _rule(path: str, rule: Any, omitted: frozenset[str], without_fields: bool) -> _Rule:
    if not isinstance(rule, dict):
        raise ValueError(f"{path}: Invalid value: must be an object")
    if unknown := sorted(set(rule) - _FIELDS):
        raise ValueError(f'{path}: unknown field "{unknown[0]}"')
    level = rule.get("level")
    if level not in LEVELS:
        supported = ", ".join(f'"{name}"' for name in LEVELS)
        raise ValueError(f'{path}.level: Unsupported value: "{level or ""}": supported values: {supported}')
    paths = sorted(_texts(f"{path}.nonResourceURLs", rule.get("nonResourceURLs")))
    for url in paths:
        if url != "*" and not url.startswith("/"):
            raise ValueError(
                f'{path}.nonResourceURLs: Invalid value: "{url}": non-resource URL rules must begin with a "/"'
            )
        if "*" in url[:-1]:
            detail = "non-resource URL wildcards '*' must be the final character of the rule"
            raise ValueError(f'{path}.nonResourceURLs: Invalid value: "{url}": {detail}')
    resources = [_resources(f"{path}.resources[{i}]", entry) for i, entry in enumerate(rule.get("resources") or ())]
    namespaces = _texts(f"{path}.namespaces", rule.get("namespaces"))
    if paths and (resources or namespaces):
        raise ValueError(
            f"{path}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"
        )
    managed = rule.get("omitManagedFields")
    audited = Audited(
        LEVELS.index(level),
        omitted | _stages(f"{path}.omitStages", rule),
        without_fields if managed is None else managed is True,
    )
    return _Rule(
        audited,
        _texts(f"{path}.users", rule.get("users")),
        _texts(f"{path}.userGroups", rule.get("userGroups")),
        _texts(f"{path}.verbs", rule.get("verbs")),
        resources,
        namespaces,
        paths,
    )


def _resources(path: str, entry: Any) -> _Resources:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: Invalid value: must be an object")
    group = entry.get("group") or ""
    if group.startswith(("/", "*")) or "/" in group:
        detail = "group should not include version or wildcard"
        raise ValueError(f'{path}.group: Invalid value: "{group}": {detail}')
    resources = _texts(f"{path}.resources", entry.get("resources"))
    names = _texts(f"{path}.resourceNames", entry.get("resourceNames"))
    if names and not resources:
        raise ValueError(f"{path}.resourceNames: Invalid value: using resourceNames requires at least one resource")
    return _Resources(group, resources, names)


def _stages(path: str, holder: Any) -> frozenset[str]:
    found = _texts(path, holder.get("omitStages"))
    for stage in found:
        if stage not in STAGES:
            raise ValueError(f'{path}: Invalid value: "{stage}": allowed stages are {", ".join(STAGES)}')
    return found


def _texts(path: str, value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{path}: Invalid value: must be a list of strings")
    return frozenset(value)
