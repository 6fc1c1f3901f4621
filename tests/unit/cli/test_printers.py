"""Output formats, byte for byte as kubectl writes them."""

from __future__ import annotations

import pytest

from cli.describe.generic import label_for
from cli.human import go_duration, human_duration, parse_duration
from cli.manifests import parse
from cli.printers.columns import Columns
from cli.printers.json import to_json
from cli.printers.table import TableOptions, TablePrinter
from cli.printers.tabwriter import align
from cli.printers.yaml import to_yaml

# What kubectl 1.32 printed for these values in a ConfigMap.
YAML = """\
a: "yes"
b: <a & b>
c: a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n
  o p q r s t u v w x y z
d: |
  x
  y
e: 'it: has # stuff'
f: it's
g: "1.20"
h: ' x'
i: é
j: "0x1F"
k: "1e3"
l: "2020-01-01"
m: "12:30"
"n": '-'
o: '{}'
p: '%x'
q: ""
r: "a\\tb"
s: "x \\ny\\n"
t: "y"
u: "Off"
v: "1_000"
w: =
x: <<
z: ".5"
"""


def test_yaml_quotes_as_go_does() -> None:
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    value = {
        "a": "yes",
        "b": "<a & b>",
        "c": f"{letters} {letters}",
        "d": "x\ny\n",
        "e": "it: has # stuff",
        "f": "it's",
        "g": "1.20",
        "h": " x",
        "i": "é",
        "j": "0x1F",
        "k": "1e3",
        "l": "2020-01-01",
        "m": "12:30",
        "n": "-",
        "o": "{}",
        "p": "%x",
        "q": "",
        "r": "a\tb",
        "s": "x \ny\n",
        "t": "y",
        "u": "Off",
        "v": "1_000",
        "w": "=",
        "x": "<<",
        "z": ".5",
    }
    assert to_yaml(value) == YAML
    assert parse(f"apiVersion: v1\nkind: X\ndata:\n{''.join('  ' + line for line in YAML.splitlines(True))}", "x")[
        0
    ].object["data"] == {**value, "d": "x\ny\n"}


def test_yaml_lists_are_not_indented() -> None:
    assert to_yaml({"a": [{"b": 1, "c": [1.5, True, None]}], "e": {}, "f": []}) == (
        "a:\n- b: 1\n  c:\n  - 1.5\n  - true\n  - null\ne: {}\nf: []\n"
    )


def test_json_escapes_html_and_sorts() -> None:
    assert to_json({"b": "<none> & é", "a": []}) == ('{\n    "a": [],\n    "b": "\\u003cnone\\u003e \\u0026 é"\n}\n')


def test_yaml_input_has_the_types_of_go() -> None:
    data = parse("apiVersion: v1\nkind: X\ndate: 2020-01-01\ntime: 1:30\nnum: 010\nf: 1e3\nyes: y\n1: {}\n", "x")[
        0
    ].object
    assert (data["date"], data["time"], data["num"], data["f"]) == ("2020-01-01", "1:30", 8, 1000)
    assert data["1"] == {} and data["true"] is True


def test_align_is_by_runs_of_lines() -> None:
    assert align("a:\tx\nlonger:\ty\nno cell\nb:\tz\n") == "a:       x\nlonger:  y\nno cell\nb:  z\n"


def table(*rows: list[object]) -> dict[str, object]:
    return {
        "kind": "Table",
        "columnDefinitions": [
            {"name": "Name"},
            {"name": "Ready"},
            {"name": "IP", "priority": 1},
        ],
        "rows": [
            {
                "cells": row,
                "object": {"metadata": {"name": row[0], "namespace": "ns", "labels": {"app": "w", "b": "2"}}},
            }
            for row in rows
        ],
    }


def test_table_hides_wide_columns_and_pads() -> None:
    printer = TablePrinter(TableOptions())
    assert printer.lines(table(["web", "1/1", "10.0.0.1"], ["longer-name", "0/1", None])) == [
        "NAME          READY",
        "web           1/1",
        "longer-name   0/1",
    ]
    # Later rows of a watch keep the widths, and no second header.
    assert printer.lines(table(["x", "1/1", ""])) == ["x             1/1"]


def test_table_with_everything() -> None:
    options = TableOptions(
        wide=True, namespace_column=True, kind_prefix="pod", show_labels=True, label_columns=["app"], headers=True
    )
    assert TablePrinter(options).lines(table(["web", "1/1", "10.0.0.1"])) == [
        "NAMESPACE   NAME      READY   IP         APP   LABELS",
        "ns          pod/web   1/1     10.0.0.1   w     app=w,b=2",
    ]


def test_cell_shows_its_first_line() -> None:
    assert TablePrinter(TableOptions(headers=False)).lines(table(["a", "two\nlines", ""])) == ["a     two..."]


def test_custom_columns() -> None:
    columns = Columns("N:.metadata.name,L:.metadata.labels,I:.spec.c[*].image,X:.nope")
    objects = [
        {"metadata": {"name": "a", "labels": {"z": "1", "b": "2"}}, "spec": {"c": [{"image": "i"}, {"image": "j"}]}},
        {"metadata": {"name": "b"}},
    ]
    assert columns.text(objects) == (
        "N     L              I        X\na     map[b:2 z:1]   i,j      <none>\nb     <none>         <none>   <none>\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (12000, "3h20m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_human_duration(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


@pytest.mark.parametrize(("text", "seconds"), [("1h30m", 5400), ("500ms", 0.5), ("-2s", -2), ("0", 0), ("1.5h", 5400)])
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_go_duration() -> None:
    assert [go_duration(v) for v in (0, 0.5, 90, 3600)] == ["0s", "500ms", "1m30s", "1h0m0s"]


@pytest.mark.parametrize(
    ("field", "shown"),
    [("lastTransitionTime", "Last Transition Time"), ("apiVersion", "API Version"), ("uid", "UID"), ("kind", "Kind")],
)
def test_generic_labels(field: str, shown: str) -> None:
    assert label_for(field) == shown
