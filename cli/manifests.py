"""Reads objects from `-f`: files, directories, standard input and URLs, YAML or JSON, several documents per file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CliError, Object

SUFFIXES = (".json", ".yaml", ".yml")


@dataclass
class Document:
    """One object and where it was read (the name kubectl uses in messages; `STDIN` for `-`)."""

    object: Object
    source: str


class Kustomization(str):
    """The folder of a `-k`, where files of `-f` are listed."""


def read_all(filenames: Sequence[str], *, recursive: bool = False) -> list[Document]:
    """Every object in the order kubectl visits them. Lists are taken apart. Raises `CliError` in kubectl's words."""
    found: list[Document] = []
    for name in filenames:
        if isinstance(name, Kustomization):
            from cli.kustomize import build

            objects = build(name, lambda words: print(f"# Warning: {words}", file=sys.stderr))
            found.extend(document for obj in objects for document in _expand(obj, name))
            continue
        for source, text in _texts(name, recursive):
            found.extend(parse(text, source))
    return found


def _texts(name: str, recursive: bool) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "STDIN", sys.stdin.read()
        return
    if name.startswith(("http://", "https://")):
        yield name, _download(name)
        return
    paths = sorted(Path().glob(name)) if any(char in name for char in "*?[") and not Path(name).exists() else []
    for path in paths or [Path(name)]:
        if not path.exists():
            raise CliError(f'the path "{name}" does not exist')
        if path.is_file() or not path.is_dir():
            yield str(path), _read(path)
            continue
        members = [p for p in _walk(path, recursive) if p.suffix in SUFFIXES]
        if not members:
            raise CliError(f"error reading [{name}]: recognized file extensions are [.json .yaml .yml]")
        for member in members:
            yield str(member), _read(member)


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if recursive:
                yield from _walk(entry, recursive)
        else:
            yield entry


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as problem:
        raise CliError(
            f"error parsing {path}: error converting YAML to JSON: yaml: invalid Unicode character"
        ) from problem
    except OSError as problem:
        raise CliError(f"open {path}: {(problem.strerror or '').lower()}") from problem


def _download(url: str) -> str:
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as answer:
            data: bytes = answer.read()
    except URLError as problem:
        raise CliError(f'unable to read URL "{url}": {problem.reason}') from problem
    return data.decode()


def parse(text: str, source: str) -> list[Document]:
    out: list[Document] = []
    for value in load_yaml(text, source):
        out.extend(_expand(value, source))
    return out


def _expand(value: Any, source: str) -> list[Document]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise CliError(
            f"error parsing {source}: json: cannot unmarshal {_go_type(value)} into Go value of type "
            "map[string]interface {}"
        )
    if not value.get("kind"):
        from cli.printers.json import compact

        raise CliError(f"unable to decode \"{source}\": Object 'Kind' is missing in '{compact(value)}'")
    if not value.get("apiVersion"):
        raise CliError(f'error validating "{source}": error validating data: apiVersion not set')
    if str(value["kind"]).endswith("List") and isinstance(value.get("items"), list):
        return [doc for item in value["items"] for doc in _expand(item, source)]
    return [Document(value, source)]


def _go_type(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "bool" if isinstance(value, bool) else "number"


def load_yaml(text: str, source: str) -> Iterator[Any]:
    """The documents of a YAML (or JSON) stream as JSON values: keys are strings, and no value becomes a date."""
    import yaml

    try:
        yield from yaml.load_all(text, Loader=_loader())
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        words = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        raise CliError(f"error parsing {source}: error converting YAML to JSON: yaml: {where}{words}") from problem


_LOADER: list[Any] = []


def _loader() -> Any:
    """A loader with the types JSON has. YAML 1.1 dates stay text, and `!!binary` stays base64, as in Go's."""
    if _LOADER:
        return _LOADER[0]
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        char: [(tag, pattern) for tag, pattern in pairs if tag not in (_DATE, _INT, _FLOAT)]
        for char, pairs in base.yaml_implicit_resolvers.items()
    }
    import re

    # Go's YAML reads 0o17, 1e3 and .5 as numbers and 1:30 as text; PyYAML's YAML 1.1 rules differ there.
    integer = r"^(?:[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"
    number = r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    Loader.add_implicit_resolver(_INT, re.compile(integer), list("-+0123456789"))
    Loader.add_implicit_resolver(_FLOAT, re.compile(number), list("-+0123456789."))
    # Go's YAML 1.1 has these four as booleans too.
    Loader.add_implicit_resolver(_BOOL, re.compile(r"^[yYnN]$"), list("yYnN"))
    Loader.add_constructor(_BOOL, lambda loader, node: str(node.value).lower() in ("y", "yes", "true", "on"))
    Loader.add_constructor(_INT, _construct_int)
    Loader.add_constructor(_FLOAT, _construct_float)
    for tag in ("value", "merge"):
        # `=` and `<<` as values are text.
        Loader.add_constructor(f"tag:yaml.org,2002:{tag}", lambda loader, node: str(node.value))
    Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
    _LOADER.append(Loader)
    return Loader


_DATE, _INT, _FLOAT, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("timestamp", "int", "float", "bool"))


def _construct_int(loader: Any, node: Any) -> int:
    text = str(node.value).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-").lower()
    if body.startswith(("0x", "0b", "0o")):
        return sign * int(body, 0)
    return sign * int(body, 8 if len(body) > 1 and body.startswith("0") else 10)


def _construct_float(loader: Any, node: Any) -> float | int:
    text = str(node.value).lower()
    if "inf" in text or "nan" in text:
        return float(text.replace(".", ""))
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _construct_map(loader: Any, node: Any) -> Object:
    import yaml

    loader.flatten_mapping(node)
    out: Object = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise yaml.constructor.ConstructorError(None, None, "invalid map key", key_node.start_mark)
        if isinstance(key, bool):
            key = "true" if key else "false"
        key = "null" if key is None else str(key)
        if key in out:
            raise yaml.constructor.ConstructorError(None, None, f'key "{key}" already set in map', key_node.start_mark)
        out[key] = loader.construct_object(value_node, deep=True)
    return out
