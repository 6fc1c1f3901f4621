"""Server-side Tables and metadata-only views of objects and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from api import codec, errors
from api.types.autoscaling_v1 import Scale
from apiserver.endpoint import Endpoint
from apiserver.printers import age

#: How the JSON of a Scale begins: the one subresource with columns of its own.
SCALE = b'{"apiVersion":"autoscaling/v1","kind":"Scale"'
_SCALE_COLUMNS = codec.encode(
    [
        {"name": name, "type": kind, "format": "name" if name == "Name" else "", "description": "", "priority": 0}
        for name, kind in (("Name", "string"), ("Desired", "integer"), ("Available", "integer"), ("Age", "string"))
    ]
)


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw


_metadata = msgspec.json.Decoder(_Metadata)


def check_include(include: str) -> str:
    """The `includeObject` parameter. Raises StatusError 400."""
    if include not in ("", "Metadata", "None", "Object"):
        raise errors.bad_request(f"unrecognized includeObject value: {include!r}".replace("'", '"'))
    return include or "Metadata"


def partial(json: bytes, version: str) -> bytes:
    """PartialObjectMetadata of an object."""
    metadata = bytes(_metadata.decode(json).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        version.encode(),
        metadata,
    )


def columns(endpoint: Endpoint) -> bytes:
    """JSON of the column definitions."""
    described = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in endpoint.strategy.columns
    ]
    return codec.encode(described)


def row(endpoint: Endpoint, json: bytes, include: str, version: str) -> bytes:
    """JSON of one row; `json` is the object as stored, with its resourceVersion."""
    obj: Any = endpoint.row_object(json)
    cells = codec.encode(endpoint.strategy.cells(obj))
    conditions = endpoint.strategy.row_conditions(obj)
    if conditions:
        cells += b',"conditions":' + codec.encode(conditions)
    if include == "None":
        return b'{"cells":%b}' % cells
    shown = partial(json, version) if include == "Metadata" else endpoint.render(json)
    return b'{"cells":%b,"object":%b}' % (cells, shown)


def head(metadata: bytes, column_definitions: bytes, version: str) -> bytes:
    """A Table up to its rows."""
    return b'{"kind":"Table","apiVersion":"meta.k8s.io/%b","metadata":%b,"columnDefinitions":%b,"rows":[' % (
        version.encode(),
        metadata,
        column_definitions,
    )


def table(endpoint: Endpoint, jsons: Iterable[bytes], metadata: bytes, include: str, version: str) -> Iterator[bytes]:
    """The pieces of a Table of these objects."""
    yield head(metadata, columns(endpoint), version)
    first = True
    for json in jsons:
        yield row(endpoint, json, include, version) if first else b"," + row(endpoint, json, include, version)
        first = False
    yield b"]}"


def scale_table(json: bytes, version: str) -> bytes:
    """The Table of one Scale."""
    scale = codec.decode(json, Scale)
    meta = scale.metadata
    cells = [meta.name, scale.spec.replicas or 0, scale.status.replicas, age(meta.creation_timestamp)]
    row = b'{"cells":%b,"object":%b}' % (codec.encode(cells), partial(json, version))
    return head(object_metadata(json), _SCALE_COLUMNS, version) + row + b"]}"


def object_metadata(json: bytes) -> bytes:
    """What a Table of one object has as its own metadata."""
    revision = msgspec.json.decode(bytes(_metadata.decode(json).metadata)).get("resourceVersion", "")
    return codec.encode({"resourceVersion": revision}) if revision else b"{}"
