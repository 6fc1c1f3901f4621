"""Impersonation: a user who may, acts as another (the Impersonate-* headers).

Each part of the other identity is authorized by itself, with the verb `impersonate`.
Source: the "User impersonation" section of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from api import errors
from apiserver.auth import Attributes, Authorizer, User
from apiserver.auth.authorizers import require
from apiserver.auth.service_accounts import groups_of, split_user_name
from apiserver.auth.union import AUTHENTICATED, UNAUTHENTICATED

_EXTRA = "impersonate-extra-"


def impersonate(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """Who a request acts as: the user itself without such headers.

    `headers` are all header fields of the request, in order. Raises StatusError 403 where a part is not allowed, 500
    (as upstream) if there is a group, uid or extra without a user.
    """
    name, uid = "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for field, value in headers:
        key = field.lower()
        if not key.startswith("impersonate-"):
            continue
        if key == "impersonate-user":
            name = value
        elif key == "impersonate-uid":
            uid = value
        elif key == "impersonate-group":
            groups.append(value)
        elif key.startswith(_EXTRA):
            extra.setdefault(unquote(key.removeprefix(_EXTRA)), []).append(value)
    if not name:
        if uid or groups or extra:
            raise errors.internal("requested impersonation of groups, uid or extra without impersonating a user")
        return user
    account = split_user_name(name)
    if account:
        namespace, account_name = account
        _require(user, authorizer, resource="serviceaccounts", namespace=namespace, name=account_name)
    else:
        _require(user, authorizer, resource="users", name=name)
    for group in groups:
        _require(user, authorizer, resource="groups", name=group)
    for key, values in extra.items():
        for value in values:
            _require(
                user, authorizer, group="authentication.k8s.io", resource="userextras", subresource=key, name=value
            )
    if uid:
        _require(user, authorizer, group="authentication.k8s.io", resource="uids", name=uid)
    if account and not groups:
        groups = list(groups_of(account[0]))
    return User(
        name,
        uid=uid,
        groups=_with_general_group(name, groups),
        extra={key: tuple(values) for key, values in extra.items()},
    )


def _with_general_group(name: str, groups: list[str]) -> tuple[str, ...]:
    general = UNAUTHENTICATED if name == "system:anonymous" else AUTHENTICATED
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return tuple(groups)
    return (*groups, general)


def _require(
    user: User,
    authorizer: Authorizer,
    *,
    resource: str,
    name: str,
    group: str = "",
    subresource: str = "",
    namespace: str = "",
) -> None:
    require(
        authorizer,
        Attributes(
            user=user,
            verb="impersonate",
            group=group,
            version="v1",
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        ),
    )
