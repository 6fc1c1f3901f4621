"""The JSONPath dialect of kubectl: each case is what a user types, and what kubectl prints for it."""

from __future__ import annotations

import pytest

from cli.errors import CliError
from cli.jsonpath import Template, relaxed

DATA = {
    "kind": "List",
    "items": [
        {
            "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web", "tier": "x"}},
            "spec": {"replicas": 3, "containers": [{"name": "c1", "image": "i1"}, {"name": "c2", "image": "i2"}]},
            "status": {"ready": True, "addresses": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]},
        },
        {
            "kind": "Node",
            "metadata": {"name": "b", "labels": {}},
            "status": {"capacity": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
        },
    ],
}


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{.kind}", "List"),
        ("kind is {.kind}", "kind is List"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[*]['metadata.name','status.capacity']}", ""),
        ("{.items[0].metadata['name','labels']}", 'a {"app.kubernetes.io/name":"web","tier":"x"}'),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[0].status.addresses[0:2]}", "10.0.0.1 10.0.0.2"),
        ("{.items[0].status.addresses[1:]}", "10.0.0.2 10.0.0.3"),
        ("{.items[0].status.addresses[::2]}", "10.0.0.1 10.0.0.3"),
        ("{.items[0].status.addresses[0,2]}", "10.0.0.1 10.0.0.3"),
        ("{range .items[*]}{.metadata.name}{'\\t'}{.kind}{\"\\n\"}{end}", "a\tPod\nb\tNode\n"),
        ("{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}", '[a, ] [b, {"cpu":"4"}] '),
        (
            "{range .items[*]}{range .spec.containers[*]}{.name},{end};{end}",
            "c1,c2,;;",
        ),
        ('{.items[?(@.kind=="Node")].metadata.name}', "b"),
        ("{.items[?(@.kind!='Node')].metadata.name}", "a"),
        ("{.items[?(@.spec.replicas>2)].metadata.name}", "a"),
        ("{.items[?(@.spec.replicas<=2)].metadata.name}", ""),
        ("{.items[?(@.status.capacity)].metadata.name}", "b"),
        ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
        ('{.items[*].status.conditions[?(@.type=="Ready")].status}', "True"),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", "web"),
        ("{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}", ""),
        ('{.items[0].metadata.labels["app.kubernetes.io/name"]}', "web"),
        ("{..name}", "a c1 c2 b"),
        ("{.items[0].status.ready}", "true"),
        ("{.items[0].spec.replicas}", "3"),
        ("{.items[0].metadata.labels.*}", "web x"),
        ("{.nope}", ""),
        ("{.items[7].kind}", ""),
        ("{@.kind}", "List"),
        ("{$.kind}", "List"),
        ("{range .items[*]}{$.kind}{end}", "ListList"),
        ("{'text'}", "text"),
        ('{"say \\"hi\\""}', 'say "hi"'),
        ("{.kind} {.kind}", "List List"),
        ("{.items[1].status}", '{"capacity":{"cpu":"4"},"conditions":[{"status":"True","type":"Ready"}]}'),
    ],
)
def test_template(template: str, shown: str) -> None:
    assert Template(template).render(DATA) == shown


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{.kind", "unclosed action"),
        ("{range .items[*]}{.kind}", "unterminated range"),
        ("{end}", "not in range, nothing to end"),
        ('{"x}', "unterminated quoted string"),
        ("{.items[x y]}", "invalid array index"),
        ("{.items[?(@.kind}", "unterminated filter"),
        ("{kind}", "unrecognized identifier kind"),
    ],
)
def test_malformed(template: str, why: str) -> None:
    with pytest.raises(CliError, match=why.replace("(", "\\(")):
        Template(template)


def test_missing_can_be_an_error() -> None:
    with pytest.raises(CliError, match="nope is not found"):
        Template("{.items[0].nope}", allow_missing=False).render(DATA)
    assert Template('{.items[?(@.nope=="x")].kind}', allow_missing=False).render(DATA) == ""


@pytest.mark.parametrize("text", ["metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"])
def test_relaxed_forms_mean_the_same(text: str) -> None:
    assert Template(relaxed(text)).render(DATA["items"][0]) == "a"  # type: ignore[index]
