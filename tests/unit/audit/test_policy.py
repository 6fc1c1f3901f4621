"""Which rule of a policy decides about a request."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.audit.policy import LEVELS, parse
from apiserver.auth import Attributes, User

ALICE = User("alice", groups=("dev", "system:authenticated"))


def policy(*rules: dict[str, Any], **more: Any) -> Any:
    return parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


def pods(verb: str = "get", **more: Any) -> Attributes:
    wanted: dict[str, Any] = {"user": ALICE, "verb": verb, "resource": "pods", "namespace": "default", **more}
    return Attributes(**wanted)


def path(text: str) -> Attributes:
    return Attributes(user=ALICE, verb="get", path=text)


@pytest.mark.parametrize(
    ("rule", "attributes", "matches"),
    [
        ({}, pods(), True),
        ({}, path("/healthz"), True),
        ({"users": ["alice"]}, pods(), True),
        ({"users": ["bob"]}, pods(), False),
        ({"userGroups": ["dev"]}, pods(), True),
        ({"userGroups": ["ops"]}, pods(), False),
        ({"verbs": ["list", "get"]}, pods(), True),
        ({"verbs": ["list"]}, pods(), False),
        ({"namespaces": ["default"]}, pods(), True),
        ({"namespaces": [""]}, pods(), False),
        ({"namespaces": [""]}, Attributes(user=ALICE, verb="get", resource="nodes"), True),
        ({"namespaces": ["default"]}, path("/api"), False),
        ({"resources": [{"group": ""}]}, pods(), True),
        ({"resources": [{"group": "apps"}]}, pods(), False),
        ({"resources": [{"resources": ["pods"]}]}, pods(), True),
        ({"resources": [{"resources": ["pods"]}]}, pods(subresource="log"), False),
        ({"resources": [{"resources": ["pods/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods/*"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods/*"]}]}, pods(), False),
        ({"resources": [{"resources": ["*/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["*"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, pods(name="a"), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, pods(name="b"), False),
        ({"resources": [{"resources": ["pods"]}]}, path("/api"), False),
        ({"nonResourceURLs": ["/healthz*"]}, path("/healthz/ping"), True),
        ({"nonResourceURLs": ["/healthz"]}, path("/healthz/ping"), False),
        ({"nonResourceURLs": ["*"]}, path("/version"), True),
        ({"nonResourceURLs": ["*"]}, pods(), False),
    ],
)
def test_a_rule_matches(rule: dict[str, Any], attributes: Attributes, matches: bool) -> None:
    level = policy({"level": "Request", **rule}).of(attributes).level
    assert LEVELS[level] == ("Request" if matches else "None")


def test_the_first_rule_decides_and_stages_add_up() -> None:
    made = policy(
        {"level": "None", "users": ["bob"]},
        {"level": "Metadata", "verbs": ["get"], "omitStages": ["ResponseStarted"]},
        {"level": "RequestResponse", "omitManagedFields": True},
        omitStages=["RequestReceived"],
    )
    assert made.of(pods()).omit_stages == {"RequestReceived", "ResponseStarted"}
    assert LEVELS[made.of(pods()).level] == "Metadata"
    other = made.of(pods("create"))
    assert (LEVELS[other.level], other.omit_stages, other.omit_managed_fields) == (
        "RequestResponse",
        {"RequestReceived"},
        True,
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"level": "All"}, r'rules\[0\].level: Unsupported value: "All": supported values: "None", "Metadata"'),
        ({}, r'rules\[0\].level: Unsupported value: ""'),
        ({"level": "None", "nonResourceURLs": ["healthz"]}, 'must begin with a "/"'),
        ({"level": "None", "nonResourceURLs": ["/a*/b"]}, "must be the final character of the rule"),
        ({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["b"]}, "both regular resources and non-resource"),
        ({"level": "None", "resources": [{"resourceNames": ["a"]}]}, "requires at least one resource"),
        ({"level": "None", "resources": [{"group": "apps/v1"}]}, "group should not include version or wildcard"),
        ({"level": "None", "omitStages": ["Never"]}, "allowed stages are RequestReceived, ResponseStarted"),
        ({"level": "None", "verb": ["get"]}, 'unknown field "verb"'),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy(rule)


def test_a_policy_without_rules_is_refused() -> None:
    with pytest.raises(ValueError, match="loaded illegal policy with 0 rules"):
        policy()
