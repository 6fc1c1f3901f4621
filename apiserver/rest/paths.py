"""What a URL means: upstream's RequestInfo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class Target:
    """A path below /api or /apis that names a resource. `rest` is what follows a subresource (proxy paths)."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False  # the old /watch/ prefix

    def verb(self, method: str) -> str:
        """The verb of a request with this method; whether a list is a watch the query says."""
        verb = _VERBS.get(method, method.lower())
        if self.watch:
            return "watch"
        if not self.name:
            if verb == "get":
                return "list"
            if verb == "delete":
                return "deletecollection"
        return verb


@lru_cache(maxsize=16_384)
def parse(path: str) -> Target | None:
    """The resource a (still quoted) path names, or None if it names none (discovery, health, nonsense)."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = False
    if parts[0] == "watch" and len(parts) > 1:
        watch, parts = True, parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    rest = "/".join(parts[3:])
    if path.endswith("/") and len(parts) > 3:
        rest += "/"
    return Target(group, version, resource, namespace, name, subresource, rest, watch)
