"""Policy rules: what one allows, and whether a set of them covers another.

Source: k8s.io/kubernetes/pkg/apis/rbac/v1 and k8s.io/component-helpers/auth/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from api.types.rbac_v1 import PolicyRule
from apiserver.auth import Attributes


def allows(rule: PolicyRule, attributes: Attributes) -> bool:
    """Whether a rule allows a request."""
    if not attributes.is_resource:
        return _has(rule.verbs, attributes.verb) and path_matches(rule, attributes.path)
    if not resource_matches(rule, attributes):
        return False
    return not rule.resource_names or attributes.name in rule.resource_names


def resource_matches(rule: PolicyRule, attributes: Attributes) -> bool:
    """Whether a rule is about a request's verb, group and resource, whatever the name."""
    if not (_has(rule.verbs, attributes.verb) and _has(rule.api_groups, attributes.group)):
        return False
    resources = rule.resources or ()
    if "*" in resources:
        return True
    if not attributes.subresource:
        return attributes.resource in resources
    return f"{attributes.resource}/{attributes.subresource}" in resources or f"*/{attributes.subresource}" in resources


def path_matches(rule: PolicyRule, path: str) -> bool:
    """Whether a rule is about a path: `*` is all, a trailing `*` any ending."""
    for pattern in rule.non_resource_urls or ():
        if pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*"))):
            return True
    return False


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and (value in values or "*" in values)


def uncovered(owned: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The parts of `wanted`, each of one verb on one thing, that `owned` doesn't allow."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: PolicyRule) -> Iterator[PolicyRule]:
    for verb in rule.verbs:
        for group in rule.api_groups or ():
            for resource in rule.resources or ():
                if rule.resource_names:
                    for name in rule.resource_names:
                        yield PolicyRule(verbs=[verb], api_groups=[group], resources=[resource], resource_names=[name])
                else:
                    yield PolicyRule(verbs=[verb], api_groups=[group], resources=[resource])
        for url in rule.non_resource_urls or ():
            yield PolicyRule(verbs=[verb], non_resource_urls=[url])


def _covers(own: PolicyRule, part: PolicyRule) -> bool:
    if not _has(own.verbs, part.verbs[0]):
        return False
    if part.non_resource_urls:
        return path_matches(own, part.non_resource_urls[0])
    if not part.resources or not _has(own.api_groups, (part.api_groups or [""])[0]):
        return False
    wanted, resources = part.resources[0], own.resources or ()
    _, slash, subresource = wanted.partition("/")
    if not ("*" in resources or wanted in resources or (slash and f"*/{subresource}" in resources)):
        return False
    if not own.resource_names:
        return True
    return part.resource_names is not None and part.resource_names[0] in own.resource_names


def describe(rule: PolicyRule) -> str:
    """A rule as upstream's messages show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`."""
    shown = []
    for label, values in (
        ("APIGroups", rule.api_groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.non_resource_urls),
        ("ResourceNames", rule.resource_names),
        ("Verbs", rule.verbs),
    ):
        if values:
            quoted = ", ".join(f'"{value}"' for value in values)
            shown.append(f"{label}:[{quoted}]")
    return "{" + ", ".join(shown) + "}"


def compact(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Rules on one resource of one group each, their verbs united: for messages."""
    merged: dict[tuple[str, ...], PolicyRule] = {}
    for rule in rules:
        simple = len(rule.api_groups or ()) == 1 == len(rule.resources or ()) and not rule.non_resource_urls
        if not simple:
            merged[("", str(len(merged)))] = rule
            continue
        assert rule.api_groups and rule.resources
        key = (rule.api_groups[0], rule.resources[0], *(rule.resource_names or ()))
        known = merged.get(key)
        if known is None:
            merged[key] = PolicyRule(
                verbs=list(rule.verbs),
                api_groups=rule.api_groups,
                resources=rule.resources,
                resource_names=rule.resource_names,
            )
        else:
            known.verbs += [verb for verb in rule.verbs if verb not in known.verbs]
    return list(merged.values())
