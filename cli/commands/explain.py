"""`explain`: documentation of kinds and fields, from the server's own OpenAPI v3."""

from __future__ import annotations

import textwrap
from typing import Any

from cli.discovery import Mapping
from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError
from cli.framework import command as declare
from cli.framework import flag, option

WIDTH = 80


@declare(
    "explain",
    usage="TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext]",
    help="""
    Describe fields and structure of various resources.

    This command describes the fields associated with each supported API resource. Fields are identified via a simple
    JSONPath identifier: <type>.<fieldName>[.<fieldName>]
    """,
    examples="""
    # Get the documentation of the resource and its fields
    kubectl explain pods

    # Get all the fields in the resource
    kubectl explain pods --recursive

    # Get the documentation of a specific field of a resource
    kubectl explain pods.spec.containers
    """,
)
@option("--api-version", help="Use given api-version (group/version) of the resource.")
@option("--output", default="plaintext", help="Format in which to render the schema. Valid values are: (plaintext).")
@flag("--recursive", help="When true, print the name of all the fields recursively.")
async def command(env: Env, args: tuple[str, ...], api_version: str, output: str, recursive: bool) -> None:
    if len(args) != 1:
        raise UsageError(
            'You must specify the type of resource to explain. Use "pykubectl api-resources" for a complete '
            "list of supported resources."
            if not args
            else "We accept only this format: explain RESOURCE"
        )
    if output not in ("plaintext", ""):
        raise CliError(f"template does not exist: {output}")
    mapping, path = await _mapping(env, args[0].rstrip("."), api_version)
    document = await _document(env, mapping)
    schema = _find_kind(document, mapping)
    trail = _Trail(document, schema)
    for step in path:
        trail.enter(step)
    env.out("\n".join(_render(mapping, trail, recursive)))


async def _mapping(env: Env, text: str, api_version: str) -> tuple[Mapping, list[str]]:
    """The longest beginning of the text that is a resource, and the field path behind it."""
    parts = text.split(".")
    for count in range(len(parts), 0, -1):
        try:
            mapping = await env.discovery.find(".".join(parts[:count]))
        except CliError:
            continue
        if count > 1 and not _is_group(mapping, parts[1:count]):
            continue
        if api_version and mapping.api_version != api_version:
            found = await env.discovery.find_kind(api_version, mapping.kind)
            if found is None:
                raise CliError(f'couldn\'t find resource for "{api_version}, Kind={mapping.kind}"')
            mapping = found
        return mapping, parts[count:]
    raise CliError(f'the server doesn\'t have a resource type "{parts[0]}"')


def _is_group(mapping: Mapping, words: list[str]) -> bool:
    """`deployments.apps` names a group, `pods.spec` a field."""
    text = ".".join(words)
    return bool(mapping.group) and text in (mapping.group, f"{mapping.version}.{mapping.group}")


async def _document(env: Env, mapping: Mapping) -> Object:
    where = f"apis/{mapping.group}/{mapping.version}" if mapping.group else f"api/{mapping.version}"
    try:
        index = await env.client.get("/openapi/v3")
        url = ((index.get("paths") or {}).get(where) or {}).get("serverRelativeURL")
        if not url:
            raise CliError(f'couldn\'t find resource for "{mapping.api_version}, Kind={mapping.kind}"')
        return await env.client.get(url)
    except ApiError as problem:
        if problem.is_not_found:
            raise CliError("the server does not publish OpenAPI v3 documents, which explain needs") from problem
        raise


def _find_kind(document: Object, mapping: Mapping) -> Object:
    for schema in ((document.get("components") or {}).get("schemas") or {}).values():
        for one in schema.get("x-kubernetes-group-version-kind") or []:
            if (one.get("group", ""), one.get("version"), one.get("kind")) == (
                mapping.group,
                mapping.version,
                mapping.kind,
            ):
                return dict(schema)
    raise CliError(f'couldn\'t find resource for "{mapping.api_version}, Kind={mapping.kind}"')


class _Trail:
    """Where in the schema we are."""

    def __init__(self, document: Object, schema: Object) -> None:
        self.document = document
        self.schema = schema
        self.field = ""
        self.field_schema: Object | None = None

    def enter(self, name: str) -> None:
        properties = self.object_of(self.schema).get("properties") or {}
        if name not in properties:
            raise CliError(f'field "{name}" does not exist')
        self.field, self.field_schema = name, properties[name]
        self.schema = properties[name]

    def resolve(self, schema: Object) -> Object:
        """Follows references; a description beside the reference wins."""
        inner = schema
        while True:
            ref = inner.get("$ref") or next(
                (one.get("$ref") for one in inner.get("allOf") or [] if one.get("$ref")), None
            )
            if not ref:
                return inner
            inner = self.document["components"]["schemas"][ref.rsplit("/", 1)[-1]]

    def object_of(self, schema: Object) -> Object:
        """The object schema below lists and maps."""
        inner = self.resolve(schema)
        while True:
            if inner.get("type") == "array" and inner.get("items"):
                inner = self.resolve(inner["items"])
            elif isinstance(inner.get("additionalProperties"), dict):
                inner = self.resolve(inner["additionalProperties"])
            else:
                return inner

    def type_name(self, schema: Object) -> str:
        inner = self.resolve(schema)
        if inner.get("type") == "array":
            return f"[]{self.type_name(inner.get('items') or {})}"
        if isinstance(inner.get("additionalProperties"), dict):
            return f"map[string]{self.type_name(inner['additionalProperties'])}"
        ref = schema.get("$ref") or next((one.get("$ref") for one in schema.get("allOf") or [] if one.get("$ref")), "")
        if ref and (inner.get("properties") or inner.get("type", "object") == "object"):
            return str(ref.rsplit(".", 1)[-1])
        kind = inner.get("type") or "Object"
        return "Object" if kind == "object" else str(kind)


def _render(mapping: Mapping, trail: _Trail, recursive: bool) -> list[str]:
    out = [f"GROUP:      {mapping.group}"] if mapping.group else []
    out += [f"KIND:       {mapping.kind}", f"VERSION:    {mapping.version}", ""]
    inner = trail.object_of(trail.schema)
    if trail.field:
        out += [f"FIELD: {trail.field} <{trail.type_name(trail.field_schema or {})}>", *_enum(trail.schema, ""), "", ""]
    out.append("DESCRIPTION:")
    words = (trail.field_schema or {}).get("description") or ""
    own = inner.get("description") or ""
    text = "\n".join(dict.fromkeys(part for part in (words, own) if part)) or "<empty>"
    out += _wrap(text, "    ")
    if inner.get("properties"):
        out += ["    ", "FIELDS:"]
        out += _fields(trail, inner, 1, recursive, set())
    out.append("")
    return out


def _fields(trail: _Trail, schema: Object, level: int, recursive: bool, seen: set[int]) -> list[str]:
    indent = "  " * level
    required = set(schema.get("required") or [])
    out: list[str] = []
    for name, field in sorted((schema.get("properties") or {}).items()):
        mark = " -required-" if name in required else ""
        out.append(f"{indent}{name}\t<{trail.type_name(field)}>{mark}")
        out += _enum(field, indent)
        if recursive:
            inner = trail.object_of(field)
            if id(inner) not in seen and inner.get("properties"):
                out += _fields(trail, inner, level + 1, recursive, seen | {id(inner)})
        else:
            text = field.get("description") or "<no description>"
            out += _wrap(text, indent + "  ")
            out.append("")
    return out


def _enum(field: Object, indent: str) -> list[str]:
    values: list[Any] = field.get("enum") or []
    return [f"{indent}enum: {', '.join(str(value) for value in values)}"] if values else []


def _wrap(text: str, indent: str) -> list[str]:
    out: list[str] = []
    for line in text.split("\n"):
        out += textwrap.wrap(
            line,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [indent]
    return out
