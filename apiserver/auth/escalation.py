"""No one gives what they don't have: the checks on writes of roles and bindings.

A role may hold, and a binding give, only permissions that the writer has in the same scope; the verbs `escalate` (on
roles) and `bind` (on the role that a binding names) let their holders past.
Source: the "Privilege escalation prevention and bootstrapping" section of the RBAC documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from api import errors
from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from apiserver.auth import Attributes, Authorizer, Decision, User
from apiserver.auth.authorizers import MASTERS
from apiserver.auth.rbac import RbacAuthorizer
from apiserver.auth.rules import compact, describe, uncovered

_GROUP = "rbac.authorization.k8s.io"
_PLURALS = {Role: "roles", ClusterRole: "clusterroles", RoleBinding: "rolebindings"}
_PLURALS |= {ClusterRoleBinding: "clusterrolebindings"}
_EVERYTHING = [
    PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
    PolicyRule(verbs=["*"], non_resource_urls=["*"]),
]


class EscalationCheck:
    """Asks `authorizer` for the two verbs and `rbac` for what the writer has."""

    def __init__(self, authorizer: Authorizer, rbac: RbacAuthorizer) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    def check(
        self,
        user: User,
        new: Role | ClusterRole | RoleBinding | ClusterRoleBinding,
        old: Role | ClusterRole | RoleBinding | ClusterRoleBinding | None = None,
    ) -> None:
        """Whether the user may write an object (`old`: its present version, if there is one).

        Raises StatusError: 403 with what is missing, 404 for a binding to a role that isn't there.
        """
        if MASTERS in user.groups:
            return
        if isinstance(new, Role | ClusterRole):
            self._check_role(user, new, old if isinstance(old, Role | ClusterRole) else None)
        else:
            self._check_binding(user, new, old if isinstance(old, RoleBinding | ClusterRoleBinding) else None)

    def _check_role(self, user: User, new: Role | ClusterRole, old: Role | ClusterRole | None) -> None:
        namespace = new.metadata.namespace or ""
        if self._may(user, "escalate", _PLURALS[type(new)], namespace, new.metadata.name or ""):
            return
        if (
            isinstance(new, ClusterRole)
            and new.aggregation_rule is not None
            and not (isinstance(old, ClusterRole) and old.aggregation_rule == new.aggregation_rule)
            and uncovered(self._rules(user, ""), _EVERYTHING)
        ):
            raise self._forbidden(new, "must have cluster-admin privileges to use an aggregationRule")
        if old is None or (old.rules or []) != (new.rules or []):
            self._confirm(user, new, new.rules or [], namespace)

    def _check_binding(
        self,
        user: User,
        new: RoleBinding | ClusterRoleBinding,
        old: RoleBinding | ClusterRoleBinding | None,
    ) -> None:
        if old is not None and (old.role_ref, old.subjects) == (new.role_ref, new.subjects):
            return
        namespace = new.metadata.namespace or ""
        plural = "clusterroles" if new.role_ref.kind == "ClusterRole" else "roles"
        if self._may(user, "bind", plural, namespace, new.role_ref.name):
            return
        rules = self._rbac.rules_of(new.role_ref, namespace)
        if rules is None:
            raise errors.not_found(f"{plural}.{_GROUP}", new.role_ref.name)
        self._confirm(user, new, rules, namespace)

    def _rules(self, user: User, namespace: str) -> list[PolicyRule]:
        return self._rbac.rules_for(user, namespace)[0]

    def _may(self, user: User, verb: str, resource: str, namespace: str, name: str) -> bool:
        attributes = Attributes(user, verb, _GROUP, "v1", resource, namespace=namespace, name=name)
        return self._authorizer.authorize(attributes)[0] is Decision.ALLOW

    def _confirm(
        self,
        user: User,
        obj: Role | ClusterRole | RoleBinding | ClusterRoleBinding,
        wanted: Sequence[PolicyRule],
        namespace: str,
    ) -> None:
        rules, problem = self._rbac.rules_for(user, namespace)
        missing = uncovered(rules, wanted)
        if not missing:
            return
        shown = "\n".join(sorted(describe(rule) for rule in compact(missing)))
        groups = ", ".join(f'"{group}"' for group in user.groups)
        who = f'user "{user.name}" (groups=[{groups}])'
        why = f"{who} is attempting to grant RBAC permissions not currently held:\n{shown}"
        if problem:
            why += f"; resolution errors: [{problem}]"
        raise self._forbidden(obj, why)

    def _forbidden(self, obj: Role | ClusterRole | RoleBinding | ClusterRoleBinding, why: str) -> errors.StatusError:
        return errors.forbidden(f"{_PLURALS[type(obj)]}.{_GROUP}", obj.metadata.name or "", why)
