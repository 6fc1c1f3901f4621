"""Reviews: questions about identities and permissions, asked as objects that are answered instead of stored.

`Reviews.review` takes any of the seven kinds and gives it back with its status.
Source: k8s.io/kubernetes/pkg/registry/{authentication,authorization}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api import codec, errors
from api.errors import FieldError, Path, StatusError
from api.types.authentication_v1 import (
    SelfSubjectReview,
    SelfSubjectReviewStatus,
    TokenReview,
    TokenReviewStatus,
    UserInfo,
)
from api.types.authorization_v1 import (
    LocalSubjectAccessReview,
    NonResourceRule,
    ResourceAttributes,
    ResourceRule,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
)
from api.types.meta_v1 import FieldSelectorRequirement
from apiserver.auth import Attributes, Authenticator, Authorizer, Credentials, Decision, User
from apiserver.auth.node import node_name
from apiserver.auth.rbac import RbacAuthorizer

_AUTHORIZATION = "authorization.k8s.io"

Review = (
    SubjectAccessReview
    | LocalSubjectAccessReview
    | SelfSubjectAccessReview
    | SelfSubjectRulesReview
    | SelfSubjectReview
    | TokenReview
)


class Reviews:
    """`tokens` knows bearer tokens only; `rbac` may be None where another authorizer decides alone."""

    def __init__(
        self, authorizer: Authorizer, rbac: RbacAuthorizer | None, tokens: Authenticator, audiences: Sequence[str]
    ) -> None:
        self._authorizer = authorizer
        self._rbac = rbac
        self._tokens = tokens
        self._audiences = tuple(audiences)

    async def review(self, review: Any, user: User, namespace: str = "") -> Any:
        """The answer. `namespace` is that of the request's path. Raises StatusError 400 or 422 for a bad question."""
        review = codec.deepcopy(review)
        match review:
            case TokenReview():
                await self._token(review)
            case SelfSubjectReview():
                review.status = SelfSubjectReviewStatus(user_info=user_info(user))
            case SelfSubjectRulesReview():
                self._rules(review, user)
            case SelfSubjectAccessReview():
                _check_question(type(review), review.spec)
                review.status = self._decide(review.spec, user)
            case LocalSubjectAccessReview():
                _check_local(review, namespace)
                review.status = self._decide(review.spec, _subject(review.spec))
            case SubjectAccessReview():
                _check_subject(type(review), review.spec)
                review.status = self._decide(review.spec, _subject(review.spec))
            case _:
                raise TypeError(f"{type(review).__name__} is not a review")
        return review

    def _decide(self, spec: Any, subject: User) -> SubjectAccessReviewStatus:
        decision, reason = self._authorizer.authorize(_attributes(spec, subject))
        return SubjectAccessReviewStatus(
            allowed=decision is Decision.ALLOW,
            denied=True if decision is Decision.DENY else None,
            reason=reason or None,
        )

    def _rules(self, review: SelfSubjectRulesReview, user: User) -> None:
        namespace = review.spec.namespace
        if not namespace:
            raise errors.bad_request("no namespace on request")
        status = SubjectRulesReviewStatus()
        rules, problem = self._rbac.rules_for(user, namespace) if self._rbac else ([], "")
        for rule in rules:
            if rule.non_resource_urls:
                status.non_resource_rules.append(
                    NonResourceRule(verbs=rule.verbs, non_resource_urls=rule.non_resource_urls)
                )
            if rule.resources:
                status.resource_rules.append(
                    ResourceRule(
                        verbs=rule.verbs,
                        api_groups=rule.api_groups,
                        resources=rule.resources,
                        resource_names=rule.resource_names,
                    )
                )
        if node_name(user):
            problem = ", ".join(filter(None, (problem, "node authorizer does not support user rule resolution")))
        status.incomplete = bool(problem)
        status.evaluation_error = problem or None
        review.status = status

    async def _token(self, review: TokenReview) -> None:
        if not review.spec.token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = tuple(review.spec.audiences or ()) or self._audiences
        status = review.status = TokenReviewStatus()
        try:
            user = await self._tokens.authenticate(Credentials(token=review.spec.token), audiences)
        except StatusError:
            status.error = "[invalid bearer token]"
            return
        if user is not None:
            status.authenticated = True
            status.user = user_info(user)
            status.audiences = list(audiences) or None


def user_info(user: User) -> UserInfo:
    """An identity as objects carry it."""
    return UserInfo(
        username=user.name,
        uid=user.uid or None,
        groups=list(user.groups) or None,
        extra={key: list(values) for key, values in user.extra.items()} or None,
    )


def _subject(spec: Any) -> User:
    extra: Mapping[str, Sequence[str]] = spec.extra or {}
    return User(
        spec.user or "",
        uid=spec.uid or "",
        groups=tuple(spec.groups or ()),
        extra={key: tuple(values) for key, values in extra.items()},
    )


def _attributes(spec: Any, subject: User) -> Attributes:
    if spec.non_resource_attributes is not None:
        other = spec.non_resource_attributes
        return Attributes(subject, other.verb or "", path=other.path or "/")
    resource: ResourceAttributes = spec.resource_attributes
    fields = resource.field_selector
    labels = resource.label_selector
    return Attributes(
        subject,
        resource.verb or "",
        group=resource.group or "",
        version=resource.version or "",
        resource=resource.resource or "",
        subresource=resource.subresource or "",
        namespace=resource.namespace or "",
        name=resource.name or "",
        field_selector=(fields.raw_selector or _requirements(fields.requirements)) if fields else "",
        label_selector=(labels.raw_selector or "") if labels else "",
    )


def _requirements(requirements: Sequence[FieldSelectorRequirement] | None) -> str:
    """Requirements with exactly one value as a field selector; what can't be written so, restricts nothing."""
    terms = []
    for requirement in requirements or ():
        operator = {"In": "=", "NotIn": "!="}.get(requirement.operator)
        if operator and len(requirement.values or ()) == 1:
            terms.append(f"{requirement.key}{operator}{(requirement.values or [''])[0]}")
    return ",".join(terms)


def _question_errors(spec: Any) -> list[FieldError]:
    path = Path("spec")
    if spec.resource_attributes is not None and spec.non_resource_attributes is not None:
        return [
            FieldError.invalid(
                path.child("nonResourceAttributes"),
                codec.to_dict(spec.non_resource_attributes),
                "cannot be specified in combination with resourceAttributes",
            )
        ]
    if spec.resource_attributes is None and spec.non_resource_attributes is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [FieldError.invalid(path.child("resourceAttributes"), None, detail)]
    return []


def _subject_errors(spec: Any) -> list[FieldError]:
    found = _question_errors(spec)
    if not spec.user and not spec.groups:
        detail = "at least one of user or group must be specified"
        found.append(FieldError.invalid("spec.user", spec.user or "", detail))
    return found


def _refuse(kind: type[Any], found: list[FieldError]) -> None:
    if found:
        raise errors.invalid(f"{kind.__name__}.{_AUTHORIZATION}", "", found)


def _check_question(kind: type[Any], spec: Any) -> None:
    _refuse(kind, _question_errors(spec))


def _check_subject(kind: type[Any], spec: Any) -> None:
    _refuse(kind, _subject_errors(spec))


def _check_local(review: LocalSubjectAccessReview, namespace: str) -> None:
    found = _subject_errors(review.spec)
    resource = review.spec.resource_attributes
    if review.metadata.namespace and review.metadata.namespace != namespace:
        raise errors.bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request: "
            f"{review.metadata.namespace} vs {namespace}"
        )
    if resource is not None and resource.namespace != namespace:
        detail = "must match metadata.namespace"
        found.append(FieldError.invalid("spec.resourceAttributes.namespace", resource.namespace or "", detail))
    if review.spec.non_resource_attributes is not None:
        value = codec.to_dict(review.spec.non_resource_attributes)
        found.append(FieldError.invalid("spec.nonResourceAttributes", value, "disallowed on this kind of request"))
    _refuse(type(review), found)
