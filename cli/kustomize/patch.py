"""Patches: strategic merge by the types' own merge keys, and JSON patches (RFC 6902), on one target or on many.

Unlike the server's strategic merge, kustomize puts the patch's elements before those that were there.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from cli.errors import Object
from cli.kustomize.files import Kustomization, parse
from cli.kustomize.resource import KustomizeError, Resource, object_id
from cli.strategic import field_of, schema_for

if TYPE_CHECKING:
    from api.schema import Node

DIRECTIVE = "$patch"


def run(where: Kustomization, resources: list[Resource]) -> None:
    """All patches of a kustomization, in kustomize's order."""
    for entry in where.rows("patchesStrategicMerge"):
        text = entry if "\n" in str(entry) else where.file(str(entry)).read_text()
        _apply(parse(str(text), str(entry)), None, {}, resources)
    for rule in where.rows("patches"):
        if not isinstance(rule, dict) or bool(rule.get("path")) == bool(rule.get("patch")):
            raise KustomizeError("must specify exactly one of patch and path in " + str(rule))
        text = str(rule["patch"]) if rule.get("patch") else where.file(str(rule["path"])).read_text()
        _apply(parse(text, str(rule.get("path") or "patch")), rule.get("target"), rule.get("options") or {}, resources)
    for rule in where.rows("patchesJson6902"):
        text = str(rule["patch"]) if rule.get("patch") else where.file(str(rule.get("path"))).read_text()
        _apply(parse(text, str(rule.get("path") or "patch")), rule.get("target"), {}, resources)


def _apply(documents: list[Any], target: Object | None, options: Object, resources: list[Resource]) -> None:
    if len(documents) == 1 and isinstance(documents[0], list):
        if not target:
            raise KustomizeError("must specify a target for JSON patch " + str(documents[0]))
        for one in _selected(target, resources):
            _json_patch(one, documents[0])
        return
    for document in documents:
        if not isinstance(document, dict):
            raise KustomizeError(f"unable to parse SM or JSON patch from {document!r}")
        chosen = _selected(target, resources) if target else [_named(document, resources)]
        for one in chosen:
            _strategic(one, document, options, resources)


def _named(document: Object, resources: list[Resource]) -> Resource:
    wanted = Resource(document)
    found = [
        one
        for one in resources
        if one.same_kind(wanted)
        and wanted.name in one.names
        and (not wanted.namespace or wanted.namespace in (one.namespace, *one.namespaces))
    ]
    if len(found) == 1:
        return found[0]
    shown = object_id(wanted.group, wanted.version, wanted.kind, wanted.name, wanted.namespace)
    if not found:
        raise KustomizeError(
            f'no resource matches strategic merge patch "{shown}": no matches for Id {shown}; '
            f"failed to find unique target for patch {shown}"
        )
    raise KustomizeError(f"multiple matches for Id {shown}; failed to find unique target for patch {shown}")


def _selected(target: Object, resources: list[Resource]) -> list[Resource]:
    from api.selectors import parse_label_selector

    def fits(key: str, values: list[str]) -> bool:
        wanted = target.get(key)
        return not wanted or any(re.fullmatch(str(wanted), value) for value in values)

    def labelled(key: str, have: Any) -> bool:
        return not target.get(key) or parse_label_selector(str(target[key])).matches(have or {})

    return [
        one
        for one in resources
        if fits("group", [one.group])
        and fits("version", [one.version])
        and fits("kind", [one.kind])
        and fits("name", [one.name, *one.names])
        and fits("namespace", [one.namespace, *one.namespaces])
        and labelled("labelSelector", one.metadata.get("labels"))
        and labelled("annotationSelector", one.metadata.get("annotations"))
    ]


def _json_patch(one: Resource, operations: list[Any]) -> None:
    import jsonpatch
    import jsonpointer

    try:
        patched = jsonpatch.JsonPatch(operations).apply(copy.deepcopy(one.obj))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as problem:
        raise KustomizeError(f"{problem} (patch of {one.shown()})") from problem
    name = one.name
    one.obj.clear()
    one.obj.update(patched)
    if one.name != name:
        one.names.append(one.name)


def _strategic(one: Resource, document: Object, options: Object, resources: list[Resource]) -> None:
    if document.get(DIRECTIVE) == "delete":
        resources.remove(one)
        return
    name, kind, version = one.name, one.kind, one.api_version
    schema = schema_for(version, kind)
    merged = merge(one.obj, document, schema)
    if not options.get("allowKindChange"):
        merged["kind"], merged["apiVersion"] = kind, version
    if not options.get("allowNameChange"):
        merged.setdefault("metadata", {})["name"] = name
    if (document.get("metadata") or {}).get("namespace"):
        merged["metadata"]["namespace"] = one.namespace or document["metadata"]["namespace"]
    one.obj.clear()
    one.obj.update(merged)
    if one.name != name:
        one.names.append(one.name)


def merge(base: Object, patch: Object, node: Node | None) -> Object:
    """`patch` over `base`. Without a schema (custom resources) maps merge and all else replaces."""
    if patch.get(DIRECTIVE) == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    out = dict(base)
    for key, value in patch.items():
        if key == DIRECTIVE or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            out[field] = [item for item in out.get(field) or [] if item not in value]
            continue
        child, strategies, merge_key = field_of(node, key)
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            if value.get(DIRECTIVE) == "delete":
                out.pop(key, None)
                continue
            before = out.get(key)
            out[key] = merge(before if isinstance(before, dict) else {}, value, child)
        elif isinstance(value, list) and isinstance(out.get(key), list) and "merge" in strategies:
            out[key] = _lists(out[key], value, child.element if child else None, merge_key)
        else:
            out[key] = _plain(value)
    return out


def _lists(base: list[Any], patch: list[Any], element: Node | None, key: str) -> list[Any]:
    if any(isinstance(item, dict) and item.get(DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get(DIRECTIVE) == "replace")]
    if not key:
        return [*patch, *(item for item in base if item not in patch)]
    gone = [item.get(key) for item in patch if item.get(DIRECTIVE) == "delete"]
    out: list[Any] = []
    for item in patch:
        if item.get(DIRECTIVE) == "delete":
            continue
        before = next((one for one in base if one.get(key) == item.get(key)), None)
        out.append(_plain(item) if before is None else merge(before, item, element))
    named = [item.get(key) for item in patch]
    return [*out, *(one for one in base if one.get(key) not in gone and one.get(key) not in named)]


def _plain(value: Any) -> Any:
    """What a patch adds, without its nulls and directives."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None and key != DIRECTIVE}
    return [_plain(item) for item in value] if isinstance(value, list) else value
