"""Makes `table.py`: which protobuf field number is which JSON field, from the Go sources of k8s.io/api.

`python -m apiserver.rest.protobuf.generate <k8s.io/api> <k8s.io/apimachinery> > table.py`. The numbers are the wire
format's facts; OpenAPI does not have them. Only struct tags and types are read.

A row is (number, JSON name, type); an empty name is an embedded struct whose fields belong to the parent. A type is a
letter (s string, i integer, b bool, f float, y bytes, t Time, u MicroTime, q Quantity, x IntOrString, r raw JSON,
v FieldsV1, d Duration, l list of strings in a message) or `m:<struct>`, after `[` for a list, `{` for a map, `?` for
a value that JSON leaves out when it is zero.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_TYPE = re.compile(r"^type (\w+) (?:= )?(.+?)(?: \{)?$")
_FIELD = re.compile(r"^\s+(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(.*)`")
_JSON = re.compile(r'json:"([^",]*)(,[^"]*)?"')
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
    "metav1.Time": "t",
    "meta_v1.Time": "t",
    "meta_v1.MicroTime": "u",
    "meta_v1.Duration": "d",
    "meta_v1.FieldsV1": "v",
    "resource.Quantity": "q",
    "intstr.IntOrString": "x",
    "runtime.RawExtension": "r",
    "types.UID": "s",
    "types.NodeName": "s",
}
_PACKAGES = {
    "metav1": "meta_v1",
    "v1": "core_v1",
    "corev1": "core_v1",
    "apiv1": "core_v1",
    "core": "core_v1",
    "rbacv1": "rbac_v1",
}


class _Package:
    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.named: dict[str, str] = {}
        self.structs: dict[str, list[tuple[str, str, str]]] = {}
        current: list[tuple[str, str, str]] | None = None
        for line in source.split("\n"):
            if line.startswith("}"):
                current = None
            elif match := _TYPE.match(line):
                if match[2] == "struct":
                    current = self.structs.setdefault(match[1], [])
                else:
                    self.named[match[1]] = match[2].split(" ")[0]
            elif current is not None and (field := _FIELD.match(line)):
                current.append((field[1] or "", field[2], field[3]))


class _Generator:
    def __init__(self, packages: dict[str, _Package]) -> None:
        self._packages = packages

    def rows(self) -> dict[str, list[tuple[int, str, str]]]:
        found = {}
        for package in self._packages.values():
            for name, fields in package.structs.items():
                rows = [row for field in fields if (row := self._row(package, *field))]
                if rows:
                    found[f"{package.name}.{name}"] = sorted(rows)
        return found

    def _row(self, package: _Package, name: str, go: str, tag: str) -> tuple[int, str, str] | None:
        number, json = _PROTOBUF.search(tag), _JSON.search(tag)
        if number is None or json is None:
            return None
        inline = ",inline" in (json[2] or "") or not json[1]
        optional = "omitempty" in (json[2] or "") and not go.startswith(("*", "[", "map"))
        code = self._code(package, go)
        return int(number[1]), "" if inline else json[1], ("?" if optional and code[0] in "sibf" else "") + code

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
            full = f"{_PACKAGES.get(prefix, prefix)}.{local}"
            if full in _KNOWN:
                return _KNOWN[full]
            package = self._packages[full.partition(".")[0]]
            go = local
        if go in _KNOWN:
            return _KNOWN[go]
        if f"{package.name}.{go}" in _KNOWN:
            return _KNOWN[f"{package.name}.{go}"]
        if go in package.structs:
            return f"m:{package.name}.{go}"
        underlying = package.named[go]
        # A named list is a message of its own on the wire.
        return "l" if underlying == "[]string" else self._code(package, underlying)


def main(api: str, machinery: str) -> None:
    """Print the table."""
    packages = {}
    for path in sorted(Path(api).glob("*/v[12]/")):
        sources = [p for p in path.glob("*.go") if p.name in ("types.go", "well_known_labels.go")]
        if sources and path.parent.name not in ("admission", "apidiscovery", "imagepolicy"):
            name = f"{path.parent.name}_{path.name}"
            packages[name] = _Package(name, "\n".join(p.read_text() for p in sources))
    meta = Path(machinery) / "pkg" / "apis" / "meta" / "v1" / "types.go"
    packages["meta_v1"] = _Package("meta_v1", meta.read_text())
    print("# generated by `python -m apiserver.rest.protobuf.generate` from k8s.io/api; do not edit")
    print("# ruff: noqa\n")
    print("TABLE: dict[str, tuple[tuple[int, str, str], ...]] = {")
    for struct, rows in sorted(_Generator(packages).rows().items()):
        print(f"    {struct!r}: ({', '.join(map(repr, rows))},),")
    print("}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
