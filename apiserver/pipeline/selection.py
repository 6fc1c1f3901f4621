"""Label and field selectors of a LIST, a WATCH or a deletecollection, checked against what a resource can select by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api import errors
from api.selectors import FieldSelector, Selector, parse_field_selector, parse_label_selector
from apiserver.endpoint import Endpoint
from apiserver.entries import Entry
from apiserver.watching import Match


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a request is about."""

    namespace: str
    labels: Selector
    fields: FieldSelector

    @property
    def all(self) -> bool:
        """Whether there is no selector (a namespace is none)."""
        return self.labels.empty and self.fields.empty

    def matches(self, entry: Entry) -> bool:
        return self.labels.matches(entry.labels) and self.fields.matches(entry.fields)

    def match(self) -> Match | None:
        """As a watcher wants it: with the namespace; None if it is everything."""
        namespace = self.namespace
        if self.all:
            if not namespace:
                return None
            return lambda entry: entry.namespace == namespace
        if not namespace:
            return self.matches
        return lambda entry: entry.namespace == namespace and self.matches(entry)

    def entries(self, endpoint: Endpoint, *, after: str = "") -> Iterator[Entry]:
        """The cached entries it selects, in key order from key `after` on."""
        cache = endpoint.cache
        if not self.fields.empty:
            found = self._few(endpoint)
            if found is not None:
                return (e for e in found if e.key >= after and self._in(e) and self.matches(e))
        candidates = cache.range(endpoint.range_prefix(self.namespace), after=after)
        return candidates if self.all else filter(self.matches, candidates)

    def _in(self, entry: Entry) -> bool:
        return not self.namespace or entry.namespace == self.namespace

    def _few(self, endpoint: Endpoint) -> Iterator[Entry] | None:
        name = self.fields.required("metadata.name")
        if name is not None and (self.namespace or not endpoint.resource.namespaced):
            entry = endpoint.cache.get(endpoint.key(self.namespace, name))
            return iter([entry] if entry else [])
        for requirement in self.fields.requirements:
            if requirement.equal:
                found = endpoint.cache.indexed(requirement.field, requirement.value)
                if found is not None:
                    return found
        return None


def selection(endpoint: Endpoint, namespace: str, label_selector: str, field_selector: str) -> Selection:
    """Parse and check. Raises StatusError 400 in upstream's words."""
    try:
        labels = parse_label_selector(label_selector)
        fields = parse_field_selector(field_selector)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    known = endpoint.strategy.selectable_fields
    for requirement in fields.requirements:
        field = requirement.field
        if field in ("metadata.name", "metadata.namespace") or field in known:
            continue
        if known:
            raise errors.bad_request(f"field label not supported: {field}")
        raise errors.bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    return Selection(namespace if endpoint.resource.namespaced else "", labels, fields)
