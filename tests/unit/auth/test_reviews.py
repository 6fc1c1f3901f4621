"""Reviews and impersonation."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import StatusError
from api.types import authentication_v1 as authentication
from api.types import authorization_v1 as authorization
from api.types.meta_v1 import ObjectMeta
from api.types.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from apiserver.auth import User
from apiserver.auth.authorizers import PrivilegedGroups, UnionAuthorizer
from apiserver.auth.impersonation import impersonate
from apiserver.auth.rbac import RbacAuthorizer
from apiserver.auth.reviews import Reviews
from apiserver.auth.tokenfile import TokenFileAuthenticator
from apiserver.auth.union import TokenAuthenticators
from tests.unit.auth.support import bootstrapped

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
ALICE = User("alice", uid="1", groups=("system:authenticated",), extra={"k": ("v",)})


def bound(name: str, user: str, *rules: PolicyRule) -> list[Any]:
    return [
        ClusterRole(metadata=ObjectMeta(name=name), rules=list(rules)),
        ClusterRoleBinding(
            metadata=ObjectMeta(name=name),
            role_ref=RoleRef(kind="ClusterRole", name=name),
            subjects=[Subject(kind="User", name=user)],
        ),
    ]


@pytest.fixture
def reviews(tmp_path: Any) -> Reviews:
    file = tmp_path / "tokens"
    file.write_text('good,alice,1,"devs"\n')
    source = bootstrapped()
    for obj in bound("pods", "alice", PolicyRule(verbs=["get"], api_groups=[""], resources=["pods"])):
        source.put(obj)
    rbac = RbacAuthorizer(source)
    tokens = TokenAuthenticators([TokenFileAuthenticator(file)])
    return Reviews(UnionAuthorizer([PrivilegedGroups("system:masters"), rbac]), rbac, tokens, ["https://issuer"])


def resource(verb: str = "get", namespace: str | None = None) -> authorization.ResourceAttributes:
    return authorization.ResourceAttributes(verb=verb, resource="pods", namespace=namespace)


async def test_subject_access_reviews(reviews: Reviews) -> None:
    spec = authorization.SubjectAccessReviewSpec(user="alice", resource_attributes=resource(namespace="x"))
    asked = authorization.SubjectAccessReview(spec=spec)
    answer = await reviews.review(asked, ADMIN)
    assert answer.status.allowed and 'ClusterRoleBinding "pods"' in answer.status.reason
    assert not asked.status.allowed
    spec.user = "bob"
    assert not (await reviews.review(asked, ADMIN)).status.allowed
    spec = authorization.SubjectAccessReviewSpec(
        groups=["system:authenticated"],
        non_resource_attributes=authorization.NonResourceAttributes(path="/api", verb="get"),
    )
    assert (await reviews.review(authorization.SubjectAccessReview(spec=spec), ADMIN)).status.allowed


async def test_self_reviews(reviews: Reviews) -> None:
    spec = authorization.SelfSubjectAccessReviewSpec(resource_attributes=resource("delete"))
    asked = authorization.SelfSubjectAccessReview(spec=spec)
    assert not (await reviews.review(asked, ALICE)).status.allowed
    assert (await reviews.review(asked, ADMIN)).status.allowed
    info = (await reviews.review(authentication.SelfSubjectReview(), ALICE)).status.user_info
    assert (info.username, info.uid, info.groups, info.extra) == ("alice", "1", ["system:authenticated"], {"k": ["v"]})
    rules = authorization.SelfSubjectRulesReview(spec=authorization.SelfSubjectRulesReviewSpec(namespace="x"))
    status = (await reviews.review(rules, ALICE)).status
    assert ["pods"] in [rule.resources for rule in status.resource_rules]
    assert any("/api/*" in rule.non_resource_urls for rule in status.non_resource_rules)
    assert not status.incomplete


async def test_questions_that_are_refused(reviews: Reviews) -> None:
    async def code(asked: Any, namespace: str = "") -> int:
        with pytest.raises(StatusError) as caught:
            await reviews.review(asked, ADMIN, namespace)
        return caught.value.code

    assert await code(authorization.SubjectAccessReview()) == 422
    spec = authorization.SubjectAccessReviewSpec(resource_attributes=resource())
    assert await code(authorization.SubjectAccessReview(spec=spec)) == 422
    assert await code(authorization.SelfSubjectAccessReview()) == 422
    assert await code(authorization.SelfSubjectRulesReview()) == 400
    assert await code(authentication.TokenReview()) == 400
    spec = authorization.SubjectAccessReviewSpec(user="alice", resource_attributes=resource(namespace="other"))
    assert await code(authorization.LocalSubjectAccessReview(spec=spec), "x") == 422


async def test_local_reviews_are_about_their_namespace(reviews: Reviews) -> None:
    spec = authorization.SubjectAccessReviewSpec(user="alice", resource_attributes=resource(namespace="x"))
    answer = await reviews.review(authorization.LocalSubjectAccessReview(spec=spec), ADMIN, "x")
    assert answer.status.allowed


async def test_token_reviews(reviews: Reviews) -> None:
    def asked(token: str) -> authentication.TokenReview:
        return authentication.TokenReview(spec=authentication.TokenReviewSpec(token=token))

    status = (await reviews.review(asked("good"), ADMIN)).status
    assert status.authenticated and status.user.username == "alice"
    assert status.user.groups == ["devs", "system:authenticated"] and status.audiences == ["https://issuer"]
    status = (await reviews.review(asked("bad"), ADMIN)).status
    assert not status.authenticated and not status.user


def test_impersonation() -> None:
    source = bootstrapped()
    rules = [
        PolicyRule(verbs=["impersonate"], api_groups=[""], resources=["users"], resource_names=["bob"]),
        PolicyRule(verbs=["impersonate"], api_groups=[""], resources=["groups"], resource_names=["devs"]),
        PolicyRule(verbs=["impersonate"], api_groups=[""], resources=["serviceaccounts"]),
        PolicyRule(verbs=["impersonate"], api_groups=["authentication.k8s.io"], resources=["userextras/scopes"]),
    ]
    for obj in bound("impersonator", "alice", *rules):
        source.put(obj)
    rbac = RbacAuthorizer(source)
    assert impersonate(ALICE, [("Accept", "x")], rbac) == ALICE
    headers = [("Impersonate-User", "bob"), ("impersonate-group", "devs"), ("Impersonate-Extra-Scopes", "a%2Fb")]
    assert impersonate(ALICE, headers, rbac) == User(
        "bob", groups=("devs", "system:authenticated"), extra={"scopes": ("a%2Fb",)}
    )
    account = impersonate(ALICE, [("Impersonate-User", "system:serviceaccount:default:builder")], rbac)
    assert account.groups == ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated")
    for refused in (
        [("Impersonate-User", "carol")],
        [("Impersonate-User", "bob"), ("Impersonate-Group", "system:masters")],
        [("Impersonate-User", "bob"), ("Impersonate-Uid", "7")],
        [("Impersonate-User", "bob"), ("Impersonate-Extra-Other", "x")],
    ):
        with pytest.raises(StatusError, match="cannot impersonate resource"):
            impersonate(ALICE, refused, rbac)
    with pytest.raises(StatusError) as caught:
        impersonate(ALICE, [("Impersonate-Group", "devs")], rbac)
    assert caught.value.code == 500
