"""Objects as bare protobuf messages, to stand in lists and in the events of watches.

Like its JSON, the message of an object's version is made once and shared by every list and every watcher.
"""

from __future__ import annotations

from collections.abc import Callable

from api.protobuf import envelope
from apiserver.endpoint import Endpoint
from apiserver.entries import Entry
from apiserver.rest import tables
from apiserver.rest.negotiate import Media

Encode = Callable[[Entry | None, bytes], bytes]


def encoder(endpoint: Endpoint, media: Media) -> Encode:
    """From an entry (None: there is none behind the event) and the JSON of the stored type to a message."""
    api_version, kind = kind_of(endpoint, media)
    if media.form != "object":
        return lambda _, json: envelope.message(tables.partial(json, media.version), api_version, kind)
    if endpoint.conversion is not None:
        return lambda entry, json: envelope.message(endpoint.render(json) if entry else json, api_version, kind)

    def encode(entry: Entry | None, json: bytes) -> bytes:
        if entry is None or entry.json is not json:
            return envelope.message(json, api_version, kind)
        if entry.message is None:
            entry.message = envelope.message(json, api_version, kind)
        return entry.message

    return encode


def kind_of(endpoint: Endpoint, media: Media) -> tuple[str, str]:
    """apiVersion and kind of what clients get of an object."""
    if media.form != "object":
        return f"meta.k8s.io/{media.version}", "PartialObjectMetadata"
    return endpoint.resource.api_version, endpoint.resource.kind
