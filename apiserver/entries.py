"""One version of one object as the caches, LISTs and watches share it: its bytes, and the little that selects it.

An object is stored without its resourceVersion, which is the revision of the write. Adding it is a splice right after
`"metadata":{`: the types encode apiVersion, kind and metadata first, so the place is known without looking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_METADATA = b'"metadata":{'


class Entry:
    """Immutable. `json` has the resourceVersion in it; `fields` are the values that field selectors may ask for."""

    __slots__ = ("_obj", "fields", "json", "key", "labels", "message", "name", "namespace", "revision")

    def __init__(
        self,
        key: str,
        revision: int,
        json: bytes,
        name: str,
        namespace: str,
        labels: Mapping[str, str] | None,
        fields: Mapping[str, str],
    ) -> None:
        self.key = key
        self.revision = revision
        self.json = json
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.fields = fields
        self.message: bytes | None = None  # the same in protobuf, once a client has asked for that
        self._obj: Any = None

    def remember(self, obj: Any) -> None:
        """Keep a decoded form at hand, or (None) let it go."""
        self._obj = obj

    def decoded(self, decoder: msgspec.json.Decoder[Any]) -> Any:
        """The typed object, decoded once and shared: never mutate it."""
        if self._obj is None:
            self._obj = decoder.decode(self.json)
        return self._obj


def with_revision(value: bytes, revision: int) -> bytes:
    """A stored value as clients see it."""
    at = value.index(_METADATA) + len(_METADATA)
    if value[at : at + 1] == b"}":
        return b'%b"resourceVersion":"%d"%b' % (value[:at], revision, value[at:])
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def without_revision(json: bytes, revision: int) -> bytes:
    """The stored value of a version."""
    return json.replace(b'"resourceVersion":"%d",' % revision, b"", 1)
