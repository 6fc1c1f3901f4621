"""`-o json|yaml|name|jsonpath=...|custom-columns=...`: printers of whole objects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cli.discovery import Mapping
from cli.errors import CliError, Object
from cli.objects import name_of, without_managed_fields

FORMATS = "json, yaml, name, jsonpath, jsonpath-as-json, jsonpath-file, custom-columns, custom-columns-file, wide"


def split_format(output: str) -> tuple[str, str]:
    """`jsonpath={.x}` -> (`jsonpath`, `{.x}`)."""
    name, _, argument = output.partition("=")
    return name, argument


def check(output: str, *, allowed: Sequence[str]) -> None:
    name, _ = split_format(output)
    if name and name not in allowed:
        raise CliError(
            f'unable to match a printer suitable for the output format "{name}", allowed formats are: '
            f"{','.join(sorted(allowed))}"
        )


STRUCTURED = ("json", "yaml", "name", "jsonpath", "jsonpath-as-json", "jsonpath-file")


def print_object(obj: Object, output: str, **options: Any) -> None:
    """One object to standard output, in any structured format; the options are those of `render`."""
    sys.stdout.write(render(obj, output, **options))


def render(
    obj: Object,
    output: str,
    *,
    display: str,
    show_managed_fields: bool = False,
    first: bool = True,
    allow_missing: bool = True,
) -> str:
    name, argument = split_format(output)
    if not show_managed_fields:
        obj = without_managed_fields(obj)
    if name == "json":
        from cli.printers.json import to_json

        return to_json(obj)
    if name == "yaml":
        from cli.printers.yaml import to_yaml

        return ("" if first else "---\n") + to_yaml(obj)
    if name == "name":
        return f"{display}/{name_of(obj)}\n"
    if name in ("jsonpath", "jsonpath-as-json", "jsonpath-file"):
        return _jsonpath(name, argument, obj, allow_missing)
    raise CliError(f'unable to match a printer suitable for the output format "{name}", allowed formats are: {FORMATS}')


def _jsonpath(name: str, argument: str, obj: Object, allow_missing: bool) -> str:
    from cli.jsonpath import Template

    if not argument:
        raise CliError("template format specified but no template given")
    if name == "jsonpath-file":
        try:
            argument = Path(argument).read_text()
        except OSError as problem:
            raise CliError(f"error reading --template {argument}, {problem.strerror}") from problem
    template = Template(argument, allow_missing=allow_missing)
    if name == "jsonpath-as-json":
        from cli.printers.json import to_json

        return to_json([value for result in template.find(obj) for value in result])
    return template.render(obj)


def as_list(objects: list[Object]) -> Object:
    return {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}


Display = Callable[[Mapping], str]
