"""`-o json|yaml|kyaml|name|jsonpath=...|go-template=...`: printers of whole objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cli.discovery import Mapping
from cli.errors import CliError, Object
from cli.objects import name_of, without_managed_fields


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


TEMPLATES = (
    "go-template",
    "go-template-file",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "template",
    "templatefile",
)
STRUCTURED = ("json", "kyaml", "name", "yaml", *TEMPLATES)


class Output(str):
    """`-o` with its companions: `--template`, `--show-managed-fields` and `--allow-missing-template-keys`."""

    show_managed_fields = False
    allow_missing = True

    @classmethod
    def of(cls, output: str, template: str, *, show_managed_fields: bool, allow_missing: bool) -> Output:
        """`--template` alone means a Go template, and never changes `-o json`."""
        name, argument = split_format(output)
        if template and (not name or (name in TEMPLATES and not argument)):
            output = f"{name or 'go-template'}={template}"
        made = cls(output)
        made.show_managed_fields = show_managed_fields
        made.allow_missing = allow_missing
        return made


def print_object(obj: Object, output: str, **options: Any) -> None:
    """One object to standard output, in any structured format; the options are those of `render`."""
    sys.stdout.write(render(obj, output, **options))


def render(
    obj: Object,
    output: str,
    *,
    display: str,
    first: bool = True,
) -> str:
    name, argument = split_format(output)
    allow_missing = getattr(output, "allow_missing", True)
    if name not in TEMPLATES and not getattr(output, "show_managed_fields", False):
        obj = without_managed_fields(obj)
    if name == "json":
        from cli.printers.json import to_json

        return to_json(obj)
    if name == "yaml":
        from cli.printers.yaml import to_yaml

        return ("" if first else "---\n") + to_yaml(obj)
    if name == "name":
        return f"{display}/{name_of(obj)}\n"
    if name == "kyaml":
        from cli.printers.kyaml import to_kyaml

        return to_kyaml(obj)
    check(output, allowed=STRUCTURED)
    if not argument:
        raise CliError("template format specified but no template given")
    if name.endswith("file"):
        try:
            argument = Path(argument).read_text()
        except OSError as problem:
            words = (problem.strerror or "").lower()
            raise CliError(f"error reading --template {argument}, open {argument}: {words}") from problem
    if name.startswith("jsonpath"):
        return _jsonpath(name, argument, obj, allow_missing)
    return _go_template(argument, obj, allow_missing)


def _jsonpath(name: str, argument: str, obj: Object, allow_missing: bool) -> str:
    from cli.jsonpath import Template

    template = Template(argument, allow_missing=allow_missing)
    if name == "jsonpath-as-json":
        from cli.printers.json import to_json

        return to_json([value for result in template.find(obj) for value in result])
    return template.render(obj)


def _go_template(source: str, obj: Object, allow_missing: bool) -> str:
    """Raises `CliError`; what was being printed is shown first, as at kubectl, for whoever debugs the template."""
    from cli.gotemplate import Template, TemplateError
    from cli.gotemplate.fmt import show
    from cli.printers.json import compact

    try:
        template = Template(source, allow_missing=allow_missing)
    except TemplateError as problem:
        raise CliError(f"error parsing template {source}, {problem}") from problem
    try:
        return template.render(obj)
    except TemplateError as problem:
        sys.stdout.write(
            f"Error executing template: {problem}. Printing more information for debugging the template:\n"
            f"\ttemplate was:\n\t\t{source}\n\traw data was:\n\t\t{compact(obj)}\n"
            f"\tobject given to template engine was:\n\t\t{show(obj)}\n\n"
        )
        quoted = json.dumps(source, ensure_ascii=False)
        raise CliError(f"error executing template {quoted}: {problem}") from problem


def as_list(objects: list[Object], metadata: Object | None = None) -> Object:
    shown = {"resourceVersion": ""} if metadata is None else metadata
    return {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": shown}


Display = Callable[[Mapping], str]
