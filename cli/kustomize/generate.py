"""ConfigMaps and Secrets from files and literals, and the hash of their content that names each version."""

from __future__ import annotations

import base64
import hashlib
import re

from cli.errors import Object
from cli.kustomize.files import Kustomization
from cli.kustomize.resource import KustomizeError, Resource, object_id
from cli.printers.json import compact


def content_hash(content: Object) -> str:
    """Ten digits of SHA-256, with those that could spell words or look alike replaced."""
    digest = hashlib.sha256(compact(content).encode()).hexdigest()[:10]
    return digest.translate(str.maketrans("013ae", "ghkmt"))


def hashed_name(resource: Resource) -> str:
    """The hash covers what is in the object, not what it is called: layers may rename it."""
    obj = resource.obj
    content: Object = {"kind": resource.kind, "name": "", "data": obj.get("data") or ""}
    if resource.kind == "Secret":
        content["type"] = obj.get("type") or ""
        if obj.get("stringData"):
            content["stringData"] = obj["stringData"]
    elif obj.get("binaryData"):
        content["binaryData"] = obj["binaryData"]
    return f"{resource.name}-{content_hash(content)}"


def run(where: Kustomization, resources: list[Resource]) -> None:
    """Adds what the generators make, or lays it over what a base has made."""
    shared = where.content.get("generatorOptions") or {}
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for rule in where.rows(key):
            made = _make(where, rule, kind, shared)
            _place(made, str(rule.get("behavior") or "create"), resources)


def _place(made: Resource, behavior: str, resources: list[Resource]) -> None:
    same = [
        one
        for one in resources
        if one.same_kind(made) and made.name in one.names and made.namespace in (one.namespace, *one.namespaces)
    ]
    if behavior in ("create", "unspecified"):
        if same:
            raise KustomizeError(f"may not add resource with an already registered id: {made.shown()}")
        resources.append(made)
        return
    if behavior not in ("merge", "replace"):
        raise KustomizeError(f"unknown behavior '{behavior}': must be one of: create, replace, or merge")
    if len(same) != 1:
        raise KustomizeError(
            f"id {object_id('', 'v1', made.kind, made.name, made.namespace)} does not exist; cannot merge or replace"
        )
    old = same[0]
    for section in ("data", "binaryData"):
        fresh = made.obj.get(section) or {}
        kept = (old.obj.get(section) or {}) if behavior == "merge" else {}
        combined = {**kept, **fresh}
        old.obj.pop(section, None)
        if combined:
            old.obj[section] = combined
    for section in ("labels", "annotations"):
        fresh = made.metadata.get(section) or {}
        if fresh:
            old.metadata[section] = {**(old.metadata.get(section) or {}), **fresh}
    if made.kind == "Secret" and behavior == "replace":
        old.obj["type"] = made.obj.get("type", "Opaque")
    old.hashed = old.hashed or made.hashed


def _make(where: Kustomization, rule: Object, kind: str, shared: Object) -> Resource:
    name = str(rule.get("name") or "")
    if not name:
        raise KustomizeError("a generator needs a name")
    own = rule.get("options") or {}
    metadata: Object = {"name": name}
    if rule.get("namespace"):
        metadata["namespace"] = rule["namespace"]
    for section in ("labels", "annotations"):
        pairs = {**(shared.get(section) or {}), **(own.get(section) or {})}
        if pairs:
            metadata[section] = pairs
    obj: Object = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in _pairs(where, rule):
        if key in data or key in binary:
            raise KustomizeError(f"configmap illegally repeats the key `{key}`")
        if kind == "Secret":
            data[key] = base64.b64encode(value).decode()
            continue
        try:
            data[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    if data:
        obj["data"] = data
    if binary:
        obj["binaryData"] = binary
    if kind == "Secret":
        obj["type"] = rule.get("type") or "Opaque"
    if own.get("immutable", shared.get("immutable")):
        obj["immutable"] = True
    made = Resource(obj)
    made.hashed = not own.get("disableNameSuffixHash", shared.get("disableNameSuffixHash"))
    return made


def _pairs(where: Kustomization, rule: Object) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    environments = [*(rule.get("envs") or []), *([rule["env"]] if rule.get("env") else [])]
    try:
        for name in environments:
            found += _environment(where.file(str(name)).read_text())
    except KustomizeError as problem:
        raise KustomizeError(f"loading KV pairs: env source files: [{' '.join(environments)}]: {problem}") from problem
    for literal in rule.get("literals") or []:
        key, equals, value = str(literal).partition("=")
        if not key or not equals:
            raise KustomizeError(
                f"loading KV pairs: literal sources: invalid literal source {literal}, expected key=value"
            )
        found.append((key, _unquoted(value).encode()))
    files = [str(one) for one in rule.get("files") or []]
    try:
        for source in files:
            key, equals, path = source.partition("=")
            if not equals:
                key, path = source.rsplit("/", 1)[-1], source
            found.append((key, where.file(path).read_bytes()))
    except KustomizeError as problem:
        raise KustomizeError(f"loading KV pairs: file sources: [{' '.join(files)}]: {problem}") from problem
    return found


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _environment(text: str) -> list[tuple[str, bytes]]:
    import os

    out: list[tuple[str, bytes]] = []
    for line in text.splitlines():
        stripped = line.lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", key):
            raise KustomizeError(f"{key!r} is not a valid key name")
        out.append((key, (value if equals else os.environ.get(key, "")).encode()))
    return out


def hash_names(resources: list[Resource]) -> None:
    """Done once, when all layers are through: the hash covers what patches made of the content."""
    for one in resources:
        if one.hashed:
            one.rename(hashed_name(one))


__all__ = ["content_hash", "hash_names", "run"]
