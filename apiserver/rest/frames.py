"""What the events of a watch look like: JSON lines, or protobuf messages behind their length.

An event that is the same for all watchers is encoded once in each form and kept with it (`Item`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from api import codec, errors
from apiserver.endpoint import Endpoint
from apiserver.failures import status_error
from apiserver.rest import tables
from apiserver.rest.negotiate import ACCEPTED, Media
from apiserver.watching import Item

_STREAMED = tuple(media_type for media_type in ACCEPTED if media_type != "application/yaml")


class Frames(Protocol):
    """One form of a watch's events."""

    content_type: str
    binary: bool
    """Whether a WebSocket carries them as binary messages."""

    def event(self, item: Item) -> bytes:
        """A message."""
        ...

    def error(self, error: Exception) -> bytes:
        """The message that says why the watch ends."""
        ...

    def framed(self, message: bytes) -> bytes:
        """A message in a stream of them."""
        ...


def frames(endpoint: Endpoint, media: Media, include: str) -> Frames:
    """The form that a client gets. Raises StatusError 400 or 406."""
    if media.yaml:
        raise errors.not_acceptable(_STREAMED)
    return Messages(endpoint, media) if media.protobuf else Lines(endpoint, media, include)


class Lines:
    """JSON, a line for each event."""

    content_type = "application/json"
    binary = False

    def __init__(self, endpoint: Endpoint, media: Media, include: str) -> None:
        self.event = _lines(endpoint, media, include)

    def error(self, error: Exception) -> bytes:
        return b'{"type":"ERROR","object":%b}\n' % codec.encode(status_error(error).status)

    def framed(self, message: bytes) -> bytes:
        return message


class Messages:
    """Protobuf: a meta.v1.WatchEvent for each event."""

    content_type = "application/vnd.kubernetes.protobuf;stream=watch"
    binary = True

    def __init__(self, endpoint: Endpoint, media: Media) -> None:
        from api.protobuf import envelope
        from apiserver.rest import messages

        self._wire = envelope
        self._kind = messages.kind_of(endpoint, media)
        self._encode = messages.encoder(endpoint, media)
        self._shared = media.form == "object" and endpoint.conversion is None

    def event(self, item: Item) -> bytes:
        if not self._shared:
            return self._made(item)
        if item.message is None:
            item.message = self._made(item)
        return item.message

    def _made(self, item: Item) -> bytes:
        return self._wire.event(item.type, *self._kind, self._encode(item.entry, item.json))

    def error(self, error: Exception) -> bytes:
        status = self._wire.message(codec.encode(status_error(error).status), "v1", "Status")
        return self._wire.event("ERROR", "v1", "Status", status)

    def framed(self, message: bytes) -> bytes:
        return self._wire.framed(message)


def _lines(endpoint: Endpoint, media: Media, include: str) -> Callable[[Item], bytes]:
    if media.form == "object":
        if endpoint.conversion is None:
            return lambda item: item.frame
        return lambda item: item.frame if item.entry is None else _line(item, endpoint.render(item.json))
    if media.form != "Table":
        version = media.version
        return lambda item: _line(item, tables.partial(item.json, version))
    include = tables.check_include(include)
    definitions = [tables.columns(endpoint)]

    def as_table(item: Item) -> bytes:
        columns = definitions.pop() if definitions else b"null"
        metadata = b'{"resourceVersion":"%d"}' % item.revision
        rows = tables.row(endpoint, item.json, include, media.version) if item.entry is not None else b""
        return _line(item, tables.head(metadata, columns, media.version) + rows + b"]}")

    return as_table


def _line(item: Item, json: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (item.type.encode(), json)
