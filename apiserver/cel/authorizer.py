"""The `authorizer` of admission expressions: `authorizer.group("apps").resource("deployments").check("get").allowed()`.

A check is carried as JSON in a message; only `check` asks, the authorizer and user of the request in hand.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from cel_expr_python import cel

from apiserver.auth import Attributes, Authorizer, Decision, User
from apiserver.cel.messages import ANYTHING, TYPES, message

T = cel.Type
_AUTHORIZER, _PATH, _GROUP, _RESOURCE, _DECISION = (
    TYPES[name] for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
)

#: Who is asked, and about whom, while an expression is evaluated.
ASKING: ContextVar[tuple[Authorizer | None, User]] = ContextVar("ASKING")


def authorizer(group: str, resource: str, subresource: str, namespace: str, name: str) -> Any:
    """The variable `authorizer`, about whoever makes the request; its `requestResource` is what the request is for."""
    given = {"group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    text = json.dumps({key: value for key, value in given.items() if value})
    return message("Authorizer", "{}", requestResource=message("ResourceCheck", text))


def _with(kind: str, field: str) -> Any:
    def extend(check: Any, value: str) -> Any:
        return message(kind, json.dumps({**json.loads(check.text), field: value}))

    return extend


def _service_account(check: Any, namespace: str, name: str) -> Any:
    return message("Authorizer", json.dumps({**json.loads(check.text), "account": [namespace, name]}))


def _decide(check: Any, verb: str) -> Any:
    wanted = json.loads(check.text)
    asked, user = ASKING.get()
    if account := wanted.get("account"):
        namespace, name = account
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = User(f"system:serviceaccount:{namespace}:{name}", groups=groups)
    attributes = Attributes(
        user=user,
        verb=verb,
        group=wanted.get("group", ""),
        version="*",
        resource=wanted.get("resource", ""),
        subresource=wanted.get("subresource", ""),
        namespace=wanted.get("namespace", ""),
        name=wanted.get("name", ""),
        path=wanted.get("path", ""),
        field_selector=wanted.get("fieldSelector", ""),
        label_selector=wanted.get("labelSelector", ""),
    )
    if asked is None:
        return message("Decision", json.dumps({"allowed": True}))
    decision, reason = asked.authorize(attributes)
    return message("Decision", json.dumps({"allowed": decision is Decision.ALLOW, "reason": reason}))


ROWS: tuple[Any, ...] = (
    ("path", True, _PATH, (_AUTHORIZER, T.STRING), _with("PathCheck", "path")),
    ("group", True, _GROUP, (_AUTHORIZER, T.STRING), _with("GroupCheck", "group")),
    ("serviceAccount", True, _AUTHORIZER, (_AUTHORIZER, T.STRING, T.STRING), _service_account),
    ("resource", True, _RESOURCE, (_GROUP, T.STRING), _with("ResourceCheck", "resource")),
    ("subresource", True, _RESOURCE, (_RESOURCE, T.STRING), _with("ResourceCheck", "subresource")),
    ("namespace", True, _RESOURCE, (_RESOURCE, T.STRING), _with("ResourceCheck", "namespace")),
    ("name", True, _RESOURCE, (_RESOURCE, T.STRING), _with("ResourceCheck", "name")),
    ("fieldSelector", True, _RESOURCE, (_RESOURCE, T.STRING), _with("ResourceCheck", "fieldSelector")),
    ("labelSelector", True, _RESOURCE, (_RESOURCE, T.STRING), _with("ResourceCheck", "labelSelector")),
    ("check", True, _DECISION, (ANYTHING, T.STRING), _decide),
    ("allowed", True, T.BOOL, (_DECISION,), lambda decision: json.loads(decision.text)["allowed"]),
    ("reason", True, T.STRING, (_DECISION,), lambda decision: json.loads(decision.text).get("reason", "")),
    ("errored", True, T.BOOL, (_DECISION,), lambda decision: False),
    ("error", True, T.STRING, (_DECISION,), lambda decision: ""),
)
