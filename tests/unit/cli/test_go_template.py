"""Go templates as kubectl renders them; every expectation here was taken from kubectl 1.36 itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.gotemplate import Template, TemplateError
from cli.printers.kyaml import to_kyaml
from tests.unit.cli.conftest import FakeServer, Run

DATA: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"b": "1", "a": "2"}},
    "items": [{"n": 1}, {"n": 2}],
    "big": 1234567,
    "half": 0.5,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.metadata.name}} {{.nope.x}}", "web <no value>"),
        ("{{range .items}}{{.n}},{{end}}", "1,2,"),
        ("{{range $k, $v := .metadata.labels}}{{$k}}={{$v}} {{end}}", "a=2 b=1 "),
        ('{{- range $i, $e := .items -}} {{if $i}}, {{end}}{{$e.n}} {{- end -}} {{"\\n"}}', "1, 2\n"),
        (
            '{{printf "%s-%v %5.2f|%-5s|%q %T" .metadata.name .big .half "a" "b" .big}}',
            'web-1234567  0.50|a    |"b" int64',
        ),
        ('{{printf "%d %f" .half .big}}', "%!d(float64=0.5) %!f(int64=1234567)"),
        ('{{len .items}}{{index .items 1 "n"}}{{eq .metadata.name "x" "web"}}', "22true"),
        ("{{with .nope}}a{{else}}b{{end}}{{if and .half .big}}y{{end}}", "by"),
        ('{{define "t"}}<{{.}}>{{end}}{{template "t" .half}}', "<0.5>"),
        ("{{/* c */}}{{$x := 3}}{{if eq $x 3}}{{$x = 4}}{{end}}{{$x}}", "4"),
        ("{{range $i := 3}}{{if eq $i 1}}{{continue}}{{end}}{{$i}}{{end}}", "02"),
        ("{{if false}}{{else if true}}E{{else}}F{{end}}{{range .nope}}{{else}}none{{end}}", "Enone"),
        ('{{print 1 2 "a" 3}}|{{html "<a&\\"x"}}|{{urlquery "a b&"}}', "1 2a3|&lt;a&amp;&#34;x|a+b%26"),
        ('{{exists . "metadata" "name"}}{{exists . "x"}}{{"aGk=" | base64decode}}', "truefalsehi"),
        ('{{(index .items 0).n}}{{.items | len | printf "%03d"}}{{slice "abc" 1 2}}', "1002b"),
        ("{{.metadata.labels}}{{.items}}", "map[a:2 b:1][map[n:1] map[n:2]]"),
    ],
)
def test_renders(source: str, text: str) -> None:
    assert Template(source).render(DATA) == text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "{{.metadata.name.x}}",
            'output:1:11: executing "output" at <.metadata.name.x>: can\'t evaluate field x in type interface {}',
        ),
        ("{{foo}}", 'output:1: function "foo" not defined'),
        ("{{if}}", "output:1: missing value for if"),
        ("{{.x", "output:1: unclosed action"),
        ("{{end}}", "output:1: unexpected {{end}}"),
        ("{{if .x}}", "output:1: unexpected EOF"),
        ("{{$x}}", 'output:1: undefined variable "$x"'),
        ("{{if $x := 1}}{{end}}{{$x}}", 'output:1: undefined variable "$x"'),
        ("{{len 1 2}}", 'output:1:2: executing "output" at <len>: wrong number of args for len: want 1 got 2'),
        (
            "{{index .metadata 5}}",
            'output:1:2: executing "output" at <index .metadata 5>: error calling index: '
            "value has type int; should be string",
        ),
        ('{{eq .big "a"}}', 'at <eq .big "a">: error calling eq: incompatible types for comparison'),
    ],
)
def test_refuses_in_gos_words(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as problem:
        Template(source).render(DATA)
    assert words in str(problem.value)


def test_a_missing_key_can_be_an_error() -> None:
    with pytest.raises(TemplateError, match='map has no entry for key "nope"'):
        Template("{{.nope}}", allow_missing=False).render(DATA)


def test_get_prints_by_templates_of_every_kind(run: Run, server: FakeServer, home: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [{"manager": "m"}]}}
    server.on("GET /api/v1/namespaces/default/pods/a", pod)
    (home / "t").write_text("{{.metadata.name}}!")
    (home / "j").write_text("{.metadata.name}?")
    (home / "c").write_text("NAME\n.metadata.name\n")
    for words, text in (
        (["-o", "go-template={{.kind}}"], "Pod"),
        (["-o", "template", "--template={{.kind}}"], "Pod"),
        (["--template={{.kind}}"], "Pod"),
        (["-o", "go-template-file=t"], "a!"),
        (["-o", "jsonpath", "--template={.kind}"], "Pod"),
        (["-o", "jsonpath-file=j"], "a?"),
        (["-o", "jsonpath-as-json={.kind}"], '[\n    "Pod"\n]\n'),
        (["-o", "custom-columns-file=c"], "NAME\na\n"),
        (["-o", "go-template={{range .metadata.managedFields}}{{.manager}}{{end}}"], "m"),
        (["-o", "kyaml"], '---\n{\n  apiVersion: "v1",\n  kind: "Pod",\n  metadata: {\n    name: "a",\n  },\n}\n'),
    ):
        result = run("get", "pod", "a", *words)
        assert (result.code, result.out, result.err) == (0, text, ""), words


def test_a_template_that_fails_shows_what_it_was_given(run: Run, server: FakeServer) -> None:
    server.on("GET /api/v1/namespaces/default/pods/a", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    result = run("get", "pod", "a", "-o", "go-template={{.kind.x}}")
    assert result.code == 1
    assert result.out.startswith("Error executing template: template: output:1:7: executing")
    assert "\traw data was:\n\t\t{" in result.out
    assert "map[apiVersion:v1 kind:Pod metadata:map[name:a]]" in result.out
    assert result.err.startswith('error: error executing template "{{.kind.x}}": template: output:1:7')
    assert run("get", "pod", "a", "-o", "go-template-file=gone").err == (
        "error: error reading --template gone, open gone: no such file or directory\n"
    )
    assert run("get", "pod", "a", "-o", "jsonpath").err == "error: template format specified but no template given\n"


KYAML = {
    "plain": {"a.b/c-d": "x", "1a": "x", "true": "x", "12": "x", "no": "x", "a b": "x", "a-": "x", "1e3": "x"},
    "text": {"many": "a\n  b\n\tc\n", "open": "a\nb", "quoted": 'a"\\\tü', "empty": ""},
    "lists": [[1, 2], [], [{"a": 1}, {"b": True}], {}],
    "mixed": [1, {"a": None}],
}


def test_kyaml() -> None:
    assert to_kyaml(KYAML) == (Path(__file__).parent / "kyaml.txt").read_text()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="compares with the real kubectl")
def test_templates_are_kubectls(server: FakeServer, home: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}, "spec": DATA}
    server.on("GET /api/v1/namespaces/default/pods/a", pod)
    for source in ('{{printf "%v %6.2f %x" .spec.big .spec.half .metadata.name}}', "{{.spec.items}}{{.nope}}{{.a.b}}"):
        done = subprocess.run(
            ["kubectl", "--server", server.url, "get", "pod", "a", "-o", f"go-template={source}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (Template(source).render(pod), "")
