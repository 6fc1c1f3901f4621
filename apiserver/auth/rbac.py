"""The RBAC authorizer: rules that roles hold and bindings give to subjects.

It only ever allows or has no opinion. Bindings are indexed by subject, and what a subject may do with a resource is
remembered until a role or binding changes, so that a decision is one look-up.

Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac and pkg/registry/rbac/validation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from apiserver.auth import Attributes, Decision, User
from apiserver.auth.rules import path_matches, resource_matches
from apiserver.auth.source import Source

_REMEMBERED = 50_000
_RBAC_GROUP = "rbac.authorization.k8s.io"

Binding = RoleBinding | ClusterRoleBinding
SubjectKey = tuple[str, str]


@dataclass(slots=True)
class _Grant:
    """What is known of one subject, verb and resource: allowed whatever the name, or for some names."""

    reason: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    problems: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A rule that a user has through a binding; `problem` says why a binding's role gives none."""

    rule: PolicyRule | None
    reason: str = ""
    problem: str = ""


def subject_key(subject: Subject, binding_namespace: str) -> SubjectKey | None:
    """How a subject is looked up: by user name or by group."""
    if subject.kind == "User":
        return "u", subject.name
    if subject.kind == "Group":
        return "g", subject.name
    namespace = subject.namespace or binding_namespace
    if subject.kind == "ServiceAccount" and namespace:
        return "u", f"system:serviceaccount:{namespace}:{subject.name}"
    return None


def _subject_text(subject: Subject, namespace: str) -> str:
    if subject.kind == "ServiceAccount":
        return f'ServiceAccount "{subject.name}/{subject.namespace or namespace}"'
    return f'{subject.kind} "{subject.name}"'


class RbacAuthorizer:
    """Fed by `source` from the moment it is made."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._index: dict[str, dict[SubjectKey, list[tuple[Binding, Subject]]]] | None = None
        self._grants: dict[tuple[Any, ...], _Grant] = {}
        for kind in (Role, ClusterRole):
            source.subscribe(kind, self._role_changed, self._reset)
        for binding_kind in (RoleBinding, ClusterRoleBinding):
            source.subscribe(binding_kind, self._binding_changed, self._reset)

    def _role_changed(self, old: Any, new: Any) -> None:
        self._grants.clear()

    def _binding_changed(self, old: Any, new: Any) -> None:
        self._reset()

    def _reset(self) -> None:
        self._index = None
        self._grants.clear()

    def _bindings(self) -> dict[str, dict[SubjectKey, list[tuple[Binding, Subject]]]]:
        """By namespace ("" for ClusterRoleBindings) and subject. Made anew after a change: those are rare."""
        if self._index is None:
            index: dict[str, dict[SubjectKey, list[tuple[Binding, Subject]]]] = defaultdict(lambda: defaultdict(list))
            bindings: list[Binding] = [*self._source.list(ClusterRoleBinding), *self._source.list(RoleBinding)]
            for binding in bindings:
                namespace = binding.metadata.namespace or ""
                for subject in binding.subjects or ():
                    if key := subject_key(subject, namespace):
                        index[namespace][key].append((binding, subject))
            self._index = index
        return self._index

    def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """ALLOW with the binding that does, or NO_OPINION with what could not be resolved."""
        user = attributes.user
        key: tuple[Any, ...]
        if attributes.is_resource:
            key = (
                user.name, user.groups, attributes.verb, attributes.group, attributes.resource, attributes.subresource,
                attributes.namespace,
            )  # fmt: skip
        else:
            key = (user.name, user.groups, attributes.verb, attributes.path)
        grant = self._grants.get(key)
        if grant is None:
            if len(self._grants) >= _REMEMBERED:
                self._grants.clear()
            grant = self._grants[key] = self._grant(attributes)
        if grant.reason is not None:
            return Decision.ALLOW, grant.reason
        if attributes.name and (reason := grant.names.get(attributes.name)):
            return Decision.ALLOW, reason
        return Decision.NO_OPINION, grant.problems

    def _grant(self, attributes: Attributes) -> _Grant:
        grant = _Grant()
        problems: list[str] = []
        for held in self.held(attributes.user, attributes.namespace):
            if held.rule is None:
                problems.append(held.problem)
            elif not attributes.is_resource:
                verbs = held.rule.verbs
                if (attributes.verb in verbs or "*" in verbs) and path_matches(held.rule, attributes.path):
                    return _Grant(held.reason)
            elif resource_matches(held.rule, attributes):
                if not held.rule.resource_names:
                    return _Grant(held.reason)
                for name in held.rule.resource_names:
                    grant.names.setdefault(name, held.reason)
        if problems:
            unique = list(dict.fromkeys(problems))
            grant.problems = "RBAC: " + (unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
        return grant

    def held(self, user: User, namespace: str) -> Iterator[Held]:
        """Every rule that a user has in a namespace ("": in the whole cluster), and every role that is missing."""
        index = self._bindings()
        keys: list[SubjectKey] = [("u", user.name), *(("g", group) for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            by_subject = index.get(scope)
            if not by_subject:
                continue
            seen: set[int] = set()
            for key in keys:
                for binding, subject in by_subject.get(key, ()):
                    if id(binding) not in seen:
                        seen.add(id(binding))
                        yield from self._held(binding, subject, scope)

    def _held(self, binding: Binding, subject: Subject, namespace: str) -> Iterator[Held]:
        reference = binding.role_ref
        rules = self.rules_of(reference, namespace)
        if rules is None:
            resource = f"{reference.kind.lower()}.{_RBAC_GROUP}"
            yield Held(None, problem=f'{resource} "{reference.name}" not found')
            return
        where = f"{binding.kind} " + (
            f'"{binding.metadata.name}/{namespace}"' if namespace else f'"{binding.metadata.name}"'
        )
        who = _subject_text(subject, namespace)
        reason = f'RBAC: allowed by {where} of {reference.kind} "{reference.name}" to {who}'
        for rule in rules:
            yield Held(rule, reason)

    def rules_of(self, reference: RoleRef, namespace: str) -> Sequence[PolicyRule] | None:
        """The rules of a role that a binding names, or None if there is no such role."""
        role: Role | ClusterRole | None
        if reference.kind == "ClusterRole":
            role = self._source.get(ClusterRole, reference.name)
        else:
            role = self._source.get(Role, reference.name, namespace)
        return None if role is None else role.rules or ()

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], str]:
        """All rules of a user in a namespace, and what could not be resolved."""
        rules: list[PolicyRule] = []
        problems: list[str] = []
        for held in self.held(user, namespace):
            if held.rule is not None:
                rules.append(held.rule)
            else:
                problems.append(held.problem)
        return rules, ", ".join(dict.fromkeys(problems))
