"""`auth reconcile`: RBAC objects brought to what a file says by what they permit, not by what is written in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cli.env import Env
from cli.errors import ApiError, Object
from cli.objects import annotations_of, dig
from cli.resources import Target
from cli.writing import Writer

ROLES, BINDINGS = ("Role", "ClusterRole"), ("RoleBinding", "ClusterRoleBinding")
PROTECTED = "rbac.authorization.kubernetes.io/autoupdate"
_LISTS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")


@dataclass
class Outcome:
    """`operation` is create, update, recreate, or empty where nothing had to be done."""

    object: Object
    operation: str = ""
    protected: bool = False
    missing: list[Object] = field(default_factory=list)
    extra: list[Object] = field(default_factory=list)


async def reconcile(env: Env, writer: Writer, target: Target, *, remove_extra: bool) -> Outcome:
    """Brings one object to what its file says. Its namespace is made if it is missing."""
    expected = target.object or {}
    key = "rules" if target.mapping.kind in ROLES else "subjects"
    try:
        existing = await env.client.get(target.path)
    except ApiError as problem:
        if not problem.is_not_found:
            raise
        if target.namespace and not writer.client_only:
            await _namespace(env, writer, target.namespace)
        made = await writer.create(target, expected)
        return Outcome(made, "create", missing=list(expected.get(key) or []))
    outcome = _compare(existing, expected, key, remove_extra=remove_extra)
    outcome.protected = annotations_of(existing).get(PROTECTED) == "false"
    if not outcome.operation or outcome.protected or writer.client_only:
        return outcome
    if outcome.operation == "recreate":
        if not writer.dry_run:
            body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
            body["preconditions"] = {"uid": dig(existing, "metadata", "uid")}
            await env.client.request("DELETE", target.path, body=body)
            outcome.object = await writer.create(target, expected)
        return outcome
    outcome.object = await writer.replace(target, outcome.object)
    return outcome


async def _namespace(env: Env, writer: Writer, name: str) -> None:
    try:
        await env.client.request(
            "POST",
            "/api/v1/namespaces",
            body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            query=writer.query(),
        )
    except ApiError as problem:
        if not problem.is_already_exists:
            raise


def _compare(existing: Object, expected: Object, key: str, *, remove_extra: bool) -> Outcome:
    if key == "subjects" and existing.get("roleRef") != expected.get("roleRef"):
        return Outcome(expected, "recreate")
    result = {**existing, "metadata": dict(existing["metadata"])}
    changed = False
    for section in ("labels", "annotations"):
        have = dig(existing, "metadata", section, default={})
        added = {**have, **dig(expected, "metadata", section, default={})}
        if added != have:
            result["metadata"][section] = added
            changed = True
    old, new = list(existing.get(key) or []), list(expected.get(key) or [])
    if key == "rules":
        missing, extra = uncovered(old, new), uncovered(new, old)
        if expected.get("aggregationRule") and existing.get("aggregationRule"):
            # The controller writes an aggregated role's rules; what is there beyond the file is its own.
            missing, extra = [], []
    else:
        missing = [one for one in new if _subject(one) not in [_subject(other) for other in old]]
        extra = [one for one in old if _subject(one) not in [_subject(other) for other in new]]
    if remove_extra and (missing or extra):
        result[key] = new
        changed = True
    elif missing:
        result[key] = [*old, *missing]
        changed = True
    return Outcome(result, "update" if changed else "", missing=missing, extra=extra if remove_extra else [])


def _subject(one: Object) -> tuple[str, str, str, str]:
    return (one.get("apiGroup") or "", one.get("kind") or "", one.get("namespace") or "", one.get("name") or "")


def uncovered(owner: list[Object], wanted: list[Object]) -> list[Object]:
    """The parts of the wanted rules that no rule of the owner allows, each as small as a rule can be."""
    return [part for rule in wanted for part in parts(rule) if not any(_covers(one, part) for one in owner)]


def parts(rule: Object) -> Iterator[Object]:
    """A rule as rules of one verb on one resource (and name), or on one URL."""
    verbs = rule.get("verbs") or []
    for group in rule.get("apiGroups") or []:
        for resource in rule.get("resources") or []:
            for verb in verbs:
                part: Object = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or []
                for name in names:
                    yield {**part, "resourceNames": [name]}
                if not names:
                    yield part
    for url in rule.get("nonResourceURLs") or []:
        for verb in verbs:
            yield {"verbs": [verb], "nonResourceURLs": [url]}


def _covers(owner: Object, part: Object) -> bool:
    if not _has(owner, "verbs", part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        (url,) = part["nonResourceURLs"]
        urls = owner.get("nonResourceURLs") or []
        return any(one == url or (one.endswith("*") and url.startswith(one[:-1])) for one in urls)
    (resource,) = part["resources"]
    named = owner.get("resources") or []
    known = "*" in named or resource in named
    known = known or ("/" in resource and f"*/{resource.partition('/')[2]}" in named)
    names = owner.get("resourceNames") or []
    allowed = not names or (part.get("resourceNames") or [None])[0] in names
    return known and allowed and _has(owner, "apiGroups", part["apiGroups"][0])


def _has(owner: Object, key: str, value: str) -> bool:
    found = owner.get(key) or []
    return "*" in found or value in found


def shown_rule(rule: Object) -> str:
    """A rule as Go prints the struct."""
    names = {"verbs": "Verbs", "apiGroups": "APIGroups", "resources": "Resources"}
    names |= {"resourceNames": "ResourceNames", "nonResourceURLs": "NonResourceURLs"}
    return "{" + " ".join(f"{names[key]}:[{' '.join(rule.get(key) or [])}]" for key in _LISTS) + "}"


def shown_subject(subject: Object) -> str:
    rows: list[tuple[str, Any]] = [
        ("Kind", "kind"),
        ("APIGroup", "apiGroup"),
        ("Name", "name"),
        ("Namespace", "namespace"),
    ]
    return "{" + " ".join(f"{title}:{subject.get(key) or ''}" for title, key in rows) + "}"
