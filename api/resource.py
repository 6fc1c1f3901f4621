"""What the API knows of one resource: its names, its kind, its verbs and its type."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

# `Resource` has an attribute named `type`.
TypeOf = type[Any]


@dataclass(frozen=True)
class Subresource:
    """`pods/eviction` takes a policy/v1 Eviction: group, version and kind are those of the body."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class Resource:
    """One resource of one version of one group (or, with a class as `type_ref`, one made at run time)."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = ()
    subresource_table: tuple[Subresource, ...] = ()
    categories: tuple[str, ...] = ()
    list_kind: str = ""
    type_ref: str | TypeOf = field(default="", repr=False)

    @cached_property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def group_resource(self) -> str:
        """`deployments.apps`, or `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def subresources(self) -> tuple[str, ...]:
        """The names of the subresources."""
        return tuple(entry.name for entry in self.subresource_table)

    def subresource(self, name: str) -> Subresource | None:
        """What is known of one subresource."""
        return next((entry for entry in self.subresource_table if entry.name == name), None)

    @cached_property
    def type(self) -> TypeOf:
        """The struct of the kind; its module is imported at first use."""
        return self._load(self.type_ref)

    @cached_property
    def list_type(self) -> TypeOf:
        """The struct of the list kind (`PodList`)."""
        if not isinstance(self.type_ref, str) or not self.list_kind:
            raise LookupError(f"{self.group_resource} has no list type")
        return self._load(self.type_ref.rsplit(":", 1)[0] + ":" + self.list_kind)

    @staticmethod
    def _load(reference: str | TypeOf) -> TypeOf:
        if not isinstance(reference, str):
            return reference
        module, _, name = reference.partition(":")
        loaded: TypeOf = getattr(import_module(module), name)
        return loaded
