"""Whom autoscalers mean: the resource behind a kind that a reference names, and which autoscalers share pods.

Invariants:
- only group and kind of a reference decide, as upstream's mapper has it: an old version in it does no harm;
- kinds that CustomResourceDefinitions bring are found like built-in ones;
- two autoscalers whose selectors match one pod both stand still: each would undo what the other does.
"""

from __future__ import annotations

from collections.abc import Iterable

from api.resource import Resource
from api.resources import RESOURCES, find_kind
from api.selectors import Selector
from api.types.apiextensions_v1 import CustomResourceDefinition
from api.types.core_v1 import Pod
from client.informer import Informer
from client.store import Key
from controller_manager.discovery import of_definition


class Kinds:
    """Resources by group and kind."""

    def __init__(self, definitions: Informer[CustomResourceDefinition]) -> None:
        self._definitions = definitions

    def find(self, api_version: str | None, kind: str) -> Resource | None:
        """The resource of a kind: at the version named if that is served, else at another."""
        exact = find_kind(api_version or "v1", kind)
        if exact is not None:
            return exact
        group = (api_version or "").rpartition("/")[0]
        known = next((r for r in RESOURCES if (r.group, r.kind) == (group, kind)), None)
        if known is not None:
            return known
        for definition in self._definitions.list():
            if (definition.spec.group, definition.spec.names.kind) == (group, kind):
                return of_definition(definition)
        return None


class Selectors:
    """Which pods each autoscaler looks at: what it last learnt from its target."""

    def __init__(self) -> None:
        self._known: dict[Key, Selector] = {}

    def learn(self, key: Key, selector: Selector) -> None:
        self._known[key] = selector

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)

    def sharing(self, namespace: str, pods: Iterable[Pod]) -> list[Key]:
        """The autoscalers of a namespace that look at any of these pods, by name."""
        mine = [(key, selector) for key, selector in self._known.items() if key[0] == namespace]
        if len(mine) < 2:
            return [key for key, _ in mine]
        labels = [pod.metadata.labels for pod in pods]
        return sorted(key for key, selector in mine if any(map(selector.matches, labels)))
