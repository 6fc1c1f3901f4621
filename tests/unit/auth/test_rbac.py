"""RBAC: rules, bindings, the bootstrap policy, and what a refused caller reads."""

from __future__ import annotations

import pytest

from api.errors import StatusError
from api.types.meta_v1 import ObjectMeta
from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from apiserver.auth import ANONYMOUS, Attributes, Decision, User
from apiserver.auth.authorizers import PrivilegedGroups, UnionAuthorizer, forbidden, require
from apiserver.auth.bootstrap import bindings, controllers, roles
from apiserver.auth.escalation import EscalationCheck
from apiserver.auth.rbac import RbacAuthorizer
from apiserver.auth.source import MemorySource
from tests.unit.auth.support import bootstrapped, may, may_path

ALICE = User("alice", groups=("devs", "system:authenticated"))
MANAGER = User("system:kube-controller-manager", groups=("system:authenticated",))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))
ADMIN = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))


def role(name: str, *rules: PolicyRule, namespace: str = "default") -> Role:
    return Role(metadata=ObjectMeta(name=name, namespace=namespace), rules=list(rules))


def bind(kind: str, name: str, *subjects: Subject, namespace: str | None = "default") -> RoleBinding:
    return RoleBinding(
        metadata=ObjectMeta(name=f"{name}-binding", namespace=namespace),
        role_ref=RoleRef(api_group="rbac.authorization.k8s.io", kind=kind, name=name),
        subjects=list(subjects),
    )


def rule(verbs: str, resources: str, *, group: str = "", names: str = "") -> PolicyRule:
    return PolicyRule(
        verbs=verbs.split(), api_groups=[group], resources=resources.split(), resource_names=names.split() or None
    )


def test_bindings_give_in_their_namespace_only() -> None:
    source = MemorySource(
        role("reader", rule("get list", "pods")), bind("Role", "reader", Subject(kind="User", name="alice"))
    )
    rbac = RbacAuthorizer(source)
    assert may(rbac, ALICE, "list", "pods", namespace="default")
    assert not may(rbac, ALICE, "list", "pods", namespace="other")
    assert not may(rbac, ALICE, "list", "pods")
    assert not may(rbac, ALICE, "delete", "pods", namespace="default")
    assert not may(rbac, User("bob"), "list", "pods", namespace="default")


def test_a_decision_changes_with_roles_and_bindings() -> None:
    source = MemorySource()
    rbac = RbacAuthorizer(source)
    assert not may(rbac, ALICE, "get", "pods", namespace="default", name="x")
    binding = bind("Role", "reader", Subject(kind="Group", name="devs"))
    source.put(binding)
    assert not may(rbac, ALICE, "get", "pods", namespace="default", name="x")
    source.put(role("reader", rule("get", "pods")))
    assert may(rbac, ALICE, "get", "pods", namespace="default", name="x")
    source.put(role("reader", rule("get", "services")))
    assert not may(rbac, ALICE, "get", "pods", namespace="default", name="x")
    source.put(role("reader", rule("get", "pods")))
    source.remove(binding)
    assert not may(rbac, ALICE, "get", "pods", namespace="default", name="x")


def test_service_accounts_are_subjects() -> None:
    subject = Subject(kind="ServiceAccount", name="builder")
    source = MemorySource(role("r", rule("*", "*")), bind("Role", "r", subject))
    rbac = RbacAuthorizer(source)
    assert may(rbac, User("system:serviceaccount:default:builder"), "create", "pods/exec", namespace="default")
    assert not may(rbac, User("system:serviceaccount:other:builder"), "create", "pods", namespace="default")
    assert not may(rbac, User("builder"), "create", "pods", namespace="default")


def test_subresources_names_and_wildcards() -> None:
    source = MemorySource(
        role(
            "r",
            rule("get", "pods/log"),
            rule("update", "*/scale", group="apps"),
            rule("get update", "configmaps", names="one two"),
        ),
        bind("Role", "r", Subject(kind="User", name="alice")),
    )
    rbac = RbacAuthorizer(source)
    assert may(rbac, ALICE, "get", "pods/log", namespace="default", name="x")
    assert not may(rbac, ALICE, "get", "pods", namespace="default", name="x")
    assert may(rbac, ALICE, "update", "deployments.apps/scale", namespace="default", name="x")
    assert not may(rbac, ALICE, "update", "deployments.apps", namespace="default", name="x")
    assert may(rbac, ALICE, "get", "configmaps", namespace="default", name="two")
    assert not may(rbac, ALICE, "get", "configmaps", namespace="default", name="three")
    assert not may(rbac, ALICE, "get", "configmaps", namespace="default")


def test_paths() -> None:
    cluster_role = ClusterRole(
        metadata=ObjectMeta(name="r"),
        rules=[PolicyRule(verbs=["get"], non_resource_urls=["/metrics", "/debug/*"])],
    )
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        role_ref=RoleRef(kind="ClusterRole", name="r"),
        subjects=[Subject(kind="User", name="alice")],
    )
    rbac = RbacAuthorizer(MemorySource(cluster_role, binding))
    assert may_path(rbac, ALICE, "get", "/metrics") and may_path(rbac, ALICE, "get", "/debug/x/y")
    assert not may_path(rbac, ALICE, "get", "/metrics/x") and not may_path(rbac, ALICE, "post", "/metrics")


def test_bootstrap_policy_lets_everyone_do_their_work() -> None:
    rbac = RbacAuthorizer(bootstrapped())
    assert may(rbac, ADMIN, "delete", "anything.example.com", namespace="x")
    assert may_path(rbac, ADMIN, "get", "/anything")
    assert may_path(rbac, ANONYMOUS, "get", "/healthz") and may_path(rbac, ANONYMOUS, "get", "/version")
    assert not may_path(rbac, ANONYMOUS, "get", "/api")
    assert may_path(rbac, ALICE, "get", "/apis/apps/v1")
    assert may(rbac, ALICE, "create", "selfsubjectaccessreviews.authorization.k8s.io")
    assert not may(rbac, ALICE, "list", "pods", namespace="default")
    assert may(rbac, SCHEDULER, "create", "pods/binding", namespace="default", name="x")
    assert may(rbac, SCHEDULER, "patch", "pods/status", namespace="default", name="x")
    assert may(rbac, SCHEDULER, "update", "leases.coordination.k8s.io", namespace="kube-system", name="kube-scheduler")
    assert not may(rbac, SCHEDULER, "delete", "nodes", name="n")
    proxy = User("system:kube-proxy", groups=("system:authenticated",))
    assert may(rbac, proxy, "watch", "endpointslices.discovery.k8s.io") and not may(rbac, proxy, "get", "secrets")
    assert not may(rbac, User("system:node:n", groups=("system:nodes",)), "get", "nodes", name="n")


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "replicasets.apps"),
        ("create", "pods"),
        ("create", "events"),
        ("create", "endpointslices.discovery.k8s.io"),
        ("create", "endpoints"),
        ("create", "serviceaccounts"),
        ("create", "serviceaccounts/token"),
        ("create", "configmaps"),
        ("create", "controllerrevisions.apps"),
        ("create", "jobs.batch"),
        ("create", "persistentvolumeclaims"),
        ("update", "deployments.apps/status"),
        ("patch", "nodes"),
        ("update", "nodes/status"),
        ("delete", "pods"),
        ("patch", "widgets.example.com"),
        ("update", "namespaces/finalize"),
        ("deletecollection", "widgets.example.com"),
        ("update", "leases.coordination.k8s.io"),
    ],
)
def test_the_controller_manager_may_do_what_its_controllers_do(verb: str, resource: str) -> None:
    assert may(RbacAuthorizer(bootstrapped()), MANAGER, verb, resource, namespace="kube-system", name="x")


def test_bootstrap_policy_is_labelled_and_complete() -> None:
    everything = [
        *roles.cluster_roles(),
        *controllers.cluster_roles(),
        *roles.roles(),
        *bindings.cluster_role_bindings(),
        *bindings.role_bindings(),
    ]
    for obj in everything:
        assert (obj.metadata.labels or {})["kubernetes.io/bootstrapping"] == "rbac-defaults"
        assert (obj.metadata.annotations or {})["rbac.authorization.kubernetes.io/autoupdate"] == "true"
    names = {obj.metadata.name for obj in everything if isinstance(obj, ClusterRole)}
    assert {binding.role_ref.name for binding in bindings.cluster_role_bindings()} <= names
    edit = next(r for r in roles.cluster_roles() if r.metadata.name == "edit")
    assert (edit.metadata.labels or {})["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert edit.aggregation_rule is not None and edit.rules is None


def test_messages_of_refusals() -> None:
    def message(**fields: str) -> str:
        return forbidden(Attributes(User("x"), **fields)).message

    assert message(verb="list", resource="pods", namespace="default") == (
        'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert message(verb="get", resource="deployments", group="apps", subresource="scale", name="d", namespace="n") == (
        'deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" '
        'in the namespace "n"'
    )
    assert message(verb="list", resource="nodes") == (
        'nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    assert message(verb="get", path="/foo") == 'forbidden: User "x" cannot get path "/foo"'


def test_a_missing_role_is_named_in_the_refusal() -> None:
    rbac = RbacAuthorizer(MemorySource(bind("ClusterRole", "gone", Subject(kind="User", name="alice"))))
    with pytest.raises(StatusError) as caught:
        require(rbac, Attributes(ALICE, "list", "", "v1", "pods", namespace="default"))
    assert caught.value.code == 403
    assert caught.value.message.endswith(': RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found')


def test_the_reason_of_a_permission_names_the_binding() -> None:
    rbac = RbacAuthorizer(bootstrapped())
    decision, reason = rbac.authorize(Attributes(ADMIN, "get", resource="pods"))
    assert decision is Decision.ALLOW
    assert reason == (
        'RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters"'
    )


def test_masters_need_no_roles() -> None:
    union = UnionAuthorizer([PrivilegedGroups("system:masters"), RbacAuthorizer(MemorySource())])
    assert may(union, ADMIN, "create", "clusterroles.rbac.authorization.k8s.io")
    assert not may(union, ALICE, "create", "clusterroles.rbac.authorization.k8s.io")


def escalation(*rules: PolicyRule) -> EscalationCheck:
    source = MemorySource(
        role("mine", *rules),
        bind("Role", "mine", Subject(kind="User", name="alice")),
        role("strong", rule("*", "*")),
    )
    rbac = RbacAuthorizer(source)
    return EscalationCheck(rbac, rbac)


def test_nobody_gives_what_they_do_not_have() -> None:
    check = escalation(rule("get list", "pods pods/log"), rule("get", "secrets", names="mine"))
    check.check(ALICE, role("new", rule("get", "pods"), rule("list", "pods/log"), rule("get", "secrets", names="mine")))
    check.check(ADMIN, role("new", rule("*", "*")))
    with pytest.raises(StatusError) as caught:
        check.check(ALICE, role("new", rule("get delete watch", "pods")))
    assert caught.value.code == 403
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "alice" (groups=["devs", "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete", "watch"]}'
    )
    for rules in (rule("get", "secrets"), rule("get", "secrets", names="other"), rule("get", "pods", group="apps")):
        with pytest.raises(StatusError, match="not currently held"):
            check.check(ALICE, role("new", rules))
    with pytest.raises(StatusError, match="not currently held"):
        check.check(ALICE, role("new", rule("get", "pods"), namespace="other"))


def test_unchanged_rules_may_be_written_by_anyone_who_may_write() -> None:
    check = escalation(rule("get", "pods"))
    strong = role("strong", rule("*", "*"))
    check.check(ALICE, role("strong", rule("*", "*")), strong)
    with pytest.raises(StatusError):
        check.check(ALICE, role("strong", rule("*", "*"), rule("*", "*", group="*")), strong)


def test_escalate_and_bind_let_past() -> None:
    rbac_group = "rbac.authorization.k8s.io"
    check = escalation(rule("escalate", "roles", group=rbac_group, names="new"))
    check.check(ALICE, role("new", rule("*", "*")))
    with pytest.raises(StatusError):
        check.check(ALICE, role("other", rule("*", "*")))
    binding = bind("Role", "strong", Subject(kind="User", name="bob"))
    with pytest.raises(StatusError, match="rolebindings"):
        check.check(ALICE, binding)
    escalation(rule("bind", "roles", group=rbac_group, names="strong")).check(ALICE, binding)
    with pytest.raises(StatusError) as caught:
        check.check(ALICE, bind("Role", "nowhere", Subject(kind="User", name="bob")))
    assert caught.value.code == 404


def test_aggregation_needs_all_permissions() -> None:
    check = escalation(rule("*", "*"))
    edit = next(r for r in roles.cluster_roles() if r.metadata.name == "edit")
    with pytest.raises(StatusError, match="must have cluster-admin privileges to use an aggregationRule"):
        check.check(ALICE, edit)
