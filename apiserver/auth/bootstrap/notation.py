"""A short notation for RBAC objects, so that the bootstrap policy reads as a table."""

from __future__ import annotations

from api.types.meta_v1 import LabelSelector, ObjectMeta
from api.types.rbac_v1 import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
ALL = "create delete deletecollection get list patch update watch"


def rule(verbs: str, groups: str, resources: str, *, names: str = "") -> PolicyRule:
    """A rule on resources. Lists are separated by blanks; the core group is `core`."""
    return PolicyRule(
        verbs=verbs.split(),
        api_groups=["" if group == "core" else group for group in groups.split()],
        resources=sorted(resources.split()),
        resource_names=names.split() or None,
    )


def urls(verbs: str, paths: str) -> PolicyRule:
    """A rule on paths that are not resources."""
    return PolicyRule(verbs=verbs.split(), non_resource_urls=paths.split())


EVENTS = rule("create patch update", "core events.k8s.io", "events")


def _meta(name: str, namespace: str | None = None, labels: dict[str, str] | None = None) -> ObjectMeta:
    return ObjectMeta(
        name=name, namespace=namespace, labels={**LABELS, **(labels or {})}, annotations={AUTOUPDATE: "true"}
    )


def _aggregates(target: str) -> dict[str, str]:
    return {f"{GROUP}/aggregate-to-{target}": "true"} if target else {}


def cluster_role(name: str, *rules: PolicyRule, into: str = "") -> ClusterRole:
    """A ClusterRole; `into` names the aggregated role that takes up its rules."""
    return ClusterRole(metadata=_meta(name, labels=_aggregates(into)), rules=list(rules) or None)


def aggregated(name: str, *, into: str = "") -> ClusterRole:
    """A ClusterRole whose rules the aggregation controller fills."""
    selector = LabelSelector(match_labels=_aggregates(name))
    return ClusterRole(
        metadata=_meta(name, labels=_aggregates(into)),
        aggregation_rule=AggregationRule(cluster_role_selectors=[selector]),
    )


def role(namespace: str, name: str, *rules: PolicyRule) -> Role:
    """A Role."""
    return Role(metadata=_meta(name, namespace), rules=list(rules))


def user(name: str) -> Subject:
    """A subject by user name."""
    return Subject(kind="User", name=name, api_group=GROUP)


def group(name: str) -> Subject:
    """A subject by group."""
    return Subject(kind="Group", name=name, api_group=GROUP)


def service_account(name: str, namespace: str = "kube-system") -> Subject:
    """A service account as subject."""
    return Subject(kind="ServiceAccount", name=name, namespace=namespace)


def cluster_binding(name: str, *subjects: Subject) -> ClusterRoleBinding:
    """A binding to the ClusterRole of the same name."""
    return ClusterRoleBinding(
        metadata=_meta(name),
        role_ref=RoleRef(api_group=GROUP, kind="ClusterRole", name=name),
        subjects=list(subjects) or None,
    )


def binding(namespace: str, name: str, *subjects: Subject, to: str = "") -> RoleBinding:
    """A binding to a Role of the namespace, by default the one of the same name."""
    return RoleBinding(
        metadata=_meta(name, namespace),
        role_ref=RoleRef(api_group=GROUP, kind="Role", name=to or name),
        subjects=list(subjects),
    )
