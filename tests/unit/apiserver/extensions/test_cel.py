"""CEL with Kubernetes' functions."""

from __future__ import annotations

from typing import Any, cast

import pytest

from api.resources import RESOURCES
from apiserver.admission.policies import as_maps
from apiserver.auth import Attributes, Decision, User
from apiserver.cel import CompileError, EvaluationError, compile_
from apiserver.cel.authorizer import ASKING, authorizer
from apiserver.cel.typed import complaint, type_of

_VARIABLES = (("self", "dyn"),)


@pytest.mark.parametrize(
    "expression",
    [
        "quantity('5Gi').isGreaterThan(quantity('3Gi'))",
        "quantity('1').add(quantity('500m')).compareTo(quantity('1500m')) == 0",
        "quantity('50k').asInteger() == 50000 && !isQuantity('x')",
        "url('https://a.b:80/x?y=1').getHost() == 'a.b:80' && url('https://a/x?y=1').getQuery()['y'] == ['1']",
        "isURL('https://a') && !isURL('not a url')",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1') && ip('::1').isLoopback() && ip('127.0.0.1').family() == 4",
        "semver('1.2.3').isLessThan(semver('1.3.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1]) && !sets.intersects([1], [2])",
        "[1, 2, 3].sum() == 6 && ['a', 'b'].isSorted() && [3, 1].min() == 1 && [1, 2].indexOf(2) == 1",
        "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'ABC'.lowerAscii() == 'abc'",
        "'%s has %d of %.1f'.format(['x', 2, 1.5]) == 'x has 2 of 1.5'",
        "self.?missing.orValue(3) == 3 && has(self.here) && self.items.exists(x, x.v > 1)",
        "self.items.filter(x, x.v > 1).map(x, x.v) == [2] && self.items.all(x, x.v > 0)",
        "duration('1h') > duration('59m') && timestamp('2020-01-01T00:00:00Z').getFullYear() == 2020",
    ],
)
def test_holds(expression: str) -> None:
    given: dict[str, Any] = {"here": 1, "items": [{"v": 1}, {"v": 2}]}
    assert compile_(expression, _VARIABLES, result="bool").run({"self": given}) is True


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("self.nope == 1", "no such key: nope"),
        ("self.items[7].v == 1", "index out of bounds: 7"),
        ("self.here / 0 == 1", "division by zero"),
        ("self.here + 'x' == ''", "no such overload"),
    ],
)
def test_fails_in_the_words_of_cel_go(expression: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        compile_(expression, _VARIABLES).run({"self": {"here": 1, "items": []}})


@pytest.mark.parametrize("expression", ["nope == 1", "1 +", "1 + 'a'", "'a'"])
def test_is_checked_before_it_runs(expression: str) -> None:
    with pytest.raises(CompileError):
        compile_(expression, _VARIABLES, result="bool")


def test_typed_objects_are_maps() -> None:
    text = 'Object{metadata: Object.metadata{labels: {"a": "b"}}, spec: Object.spec{names: ["x: y", object.name]}}'
    expected = '{"metadata": {"labels": {"a": "b"}}, "spec": {"names": ["x: y", object.name]}}'
    assert as_maps(text) == expected


def test_the_authorizer_knows_what_the_request_is_for() -> None:
    asked: list[tuple[str, ...]] = []

    class Rules:
        def authorize(self, wanted: Attributes) -> tuple[Decision, str]:
            asked.append(
                (wanted.verb, wanted.group, wanted.resource, wanted.subresource, wanted.namespace, wanted.name)
            )
            return (Decision.ALLOW if wanted.name == "web" else Decision.DENY), "said so"

    ASKING.set((cast(Any, Rules()), User("ann")))
    declared = (("authorizer", "kubernetes.Authorizer"),)
    program = compile_("authorizer.requestResource.check('use').allowed()", declared, result="bool")
    for name, allowed in (("web", True), ("db", False)):
        given = authorizer("apps", "deployments", "scale", "default", name)
        assert program.run({"authorizer": given}) is allowed
    assert asked == [("use", "apps", "deployments", "scale", "default", name) for name in ("web", "db")]


def test_every_kind_has_a_type_to_check_expressions_with() -> None:
    for resource in RESOURCES:
        declared = (("object", type_of(resource.type)),)
        if hasattr(resource.type, "metadata"):
            assert complaint("object.metadata.name == 'a' && object.metadata.labels['a'] != ''", declared) == ""
            assert "undefined field 'nope'" in complaint("object.metadata.nope == 'a'", declared)
