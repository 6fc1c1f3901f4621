"""Makes `api/protobuf/_table.py`: which protobuf field is which JSON field, from the tags of Kubernetes' Go structs.

    python -m api.generate_protobuf DIRECTORY...

Each directory holds some of `k8s.io/api`, `k8s.io/apimachinery`, `k8s.io/apiextensions-apiserver` and
`k8s.io/kube-aggregator`. The tags say what the .proto files made from them do not: which struct is embedded in JSON,
which field has no zero value of its own (a pointer), which one JSON leaves out. Only names, numbers and types are read.

A line is a message and its fields, each `number:JSON name:flag and type`. An empty name is an embedded struct, whose
fields are the parent's in JSON. Flags: `=` Go always writes the field, `?` it does too (but for bytes) and JSON leaves
out its zero, `[` list, `{` map by strings. Types: s string, i integer, b bool, f float, y bytes, t Time, u MicroTime,
q Quantity, x IntOrString, r raw JSON, l list of strings in a message of its own, A B P the three unions of
JSON schemas (or an array, a bool, an array of strings), or a message's name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
_PACKAGES = (
    "api/*/v[12]",
    "api/apidiscovery/v2beta1",
    "api/policy/v1beta1",
    "apimachinery/pkg/apis/meta/v1",
    "apimachinery/pkg/apis/meta/v1beta1",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1",
    "kube-aggregator/pkg/apis/apiregistration/v1",
)
_GENERATED = re.compile(r"_test\.go$|^generated\.|^zz_|swagger")
_UNSERVED = ("admission", "imagepolicy")
_TYPE = re.compile(r"^type (\w+) (?:= )?(.+?)(?: \{)?$")
_FIELD = re.compile(r"^\s+(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(.*)`")
_JSON = re.compile(r'json:"([^",]*)((?:,[^",]*)*)"')
_PROTOBUF = re.compile(r'protobuf:"\w+,(\d+)')
_KNOWN = {
    "string": "s",
    "bool": "b",
    "int": "i",
    "int32": "i",
    "int64": "i",
    "uint32": "i",
    "float64": "f",
    "[]byte": "y",
    "meta_v1.Time": "t",
    "meta_v1.MicroTime": "u",
    "meta_v1.FieldsV1": "r",
    "apiextensions_v1.JSON": "r",
    "apiextensions_v1.JSONSchemaPropsOrArray": "A",
    "apiextensions_v1.JSONSchemaPropsOrBool": "B",
    "apiextensions_v1.JSONSchemaPropsOrStringArray": "P",
    "resource.Quantity": "q",
    "intstr.IntOrString": "x",
    "runtime.RawExtension": "r",
    "types.UID": "s",
    "types.NodeName": "s",
}
_IMPORT = re.compile(r'^\s+(\w+) "k8s.io/[\w./-]*?(\w+)/(v\w+)"', re.MULTILINE)


class _Package:
    """The types of one directory: structs with their fields' (name, type, tag), and what other names stand for."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.imports = {match[1]: f"{match[2]}_{match[3]}" for match in _IMPORT.finditer(source)}
        self.named: dict[str, str] = {}
        self.structs: dict[str, list[tuple[str, str, str]]] = {}
        current: list[tuple[str, str, str]] | None = None
        for line in source.split("\n"):
            if line.startswith("}"):
                current = None
            elif match := _TYPE.match(line):
                if match[2] in ("struct", "struct{}"):
                    current = self.structs.setdefault(match[1], [])
                else:
                    self.named[match[1]] = match[2].split(" ")[0]
            elif current is not None and (field := _FIELD.match(line)):
                current.append((field[1] or "", field[2], field[3]))


class _Generator:
    def __init__(self, packages: dict[str, _Package]) -> None:
        self._packages = packages

    def lines(self) -> list[str]:
        found = {}
        for package in self._packages.values():
            for name, fields in package.structs.items():
                if f"{package.name}.{name}" not in _KNOWN:
                    rows = sorted(row for field in fields if (row := self._row(package, *field)))
                    found[f"{package.name}.{name}"] = [f"{number}:{rest}" for number, rest in rows]
        used = {row.rsplit(":", 1)[1].lstrip("=?[{") for rows in found.values() for row in rows}
        return [" ".join([name, *rows]) for name, rows in sorted(found.items()) if rows or name in used]

    def _row(self, package: _Package, name: str, go: str, tag: str) -> tuple[int, str] | None:
        number, json = _PROTOBUF.search(tag), _JSON.search(tag)
        if number is None or json is None or json[1] == "-":
            return None
        code = self._code(package, go)
        flag = ""
        if not go.startswith("*") and code[0] not in "[{ly":
            flag = "?" if "omitempty" in json[2] and code in "sibf" else "="
        elif code == "y" and "omitempty" in json[2]:
            flag = "?"
        embedded = not json[1]
        return int(number[1]), f"{'' if embedded else json[1]}:{flag}{code}"

    def _code(self, package: _Package, go: str) -> str:
        go = go.lstrip("*")
        if go == "[]byte":
            return "y"
        if go.startswith("[]"):
            return "[" + self._code(package, go[2:])
        if go.startswith("map["):
            return "{" + self._code(package, go[go.index("]") + 1 :])
        if "." in go:
            prefix, _, local = go.partition(".")
            full = f"{package.imports.get(prefix, prefix)}.{local}"
            if full in _KNOWN:
                return _KNOWN[full]
            package = self._packages[full.partition(".")[0]]
            go = local
        if (known := _KNOWN.get(go) or _KNOWN.get(f"{package.name}.{go}")) is not None:
            return known
        if go in package.structs:
            return f"{package.name}.{go}"
        underlying = package.named[go]
        # A named list of strings is a message of its own on the wire.
        return "l" if underlying == "[]string" else self._code(package, underlying)


def _sources(roots: Iterable[Path]) -> dict[str, _Package]:
    packages: dict[str, _Package] = {}
    for root in roots:
        for pattern in _PACKAGES:
            for path in sorted(root.glob(pattern)):
                group = path.parent.name
                files = [p for p in sorted(path.glob("*.go")) if not _GENERATED.search(p.name)]
                if files and group not in _UNSERVED:
                    name = f"{group}_{path.name}"
                    packages.setdefault(name, _Package(name, "\n".join(p.read_text() for p in files)))
    return packages


def main(*roots: str) -> None:
    """Write the table."""
    lines = _Generator(_sources(map(Path, roots))).lines()
    (HERE / "protobuf" / "_table.py").write_text(
        "# generated by `python -m api.generate_protobuf` from the Go types of Kubernetes; do not edit\n"
        "# ruff: noqa\n\n"
        'TABLE = """\\\n' + "\n".join(lines) + '\n"""\n'
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
