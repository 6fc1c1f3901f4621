"""One object on its way through the layers, with every name it has had: patches and references may use any of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cli.errors import CliError, Object


class KustomizeError(CliError):
    """A kustomization that cannot be built, in kustomize's words."""


@dataclass
class Resource:
    obj: Object
    names: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    hashed: bool = False

    def __post_init__(self) -> None:
        self.names = [self.name]
        self.namespaces = [self.namespace]

    @property
    def kind(self) -> str:
        return str(self.obj.get("kind") or "")

    @property
    def api_version(self) -> str:
        return str(self.obj.get("apiVersion") or "")

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    @property
    def metadata(self) -> Object:
        found: Any = self.obj.setdefault("metadata", {})
        return dict(found) if not isinstance(found, dict) else found

    @property
    def name(self) -> str:
        return str((self.obj.get("metadata") or {}).get("name") or "")

    @property
    def namespace(self) -> str:
        return str((self.obj.get("metadata") or {}).get("namespace") or "")

    @property
    def namespaced(self) -> bool:
        """As the built-in kinds have it; a kind that nobody knows is taken to live in a namespace."""
        from api.resources import find_kind

        known = find_kind(self.api_version, self.kind)
        if known is None:
            return self.kind not in ("CustomResourceDefinition", "APIService")
        return known.namespaced

    def rename(self, name: str) -> None:
        self.metadata["name"] = name
        self.names.append(name)

    def move(self, namespace: str) -> None:
        self.metadata["namespace"] = namespace
        self.namespaces.append(namespace)

    def same_kind(self, other: Resource) -> bool:
        return (self.group, self.kind) == (other.group, other.kind)

    def shown(self) -> str:
        """kustomize's way to name an object: `Deployment.v1.apps/web.[noNs]`."""
        return object_id(self.group, self.version, self.kind, self.name, self.namespace)


def object_id(group: str, version: str, kind: str, name: str, namespace: str) -> str:
    return f"{kind}.{version}.{group or '[noGrp]'}/{name}.{namespace or '[noNs]'}"
