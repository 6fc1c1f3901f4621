"""Bytes that Go wrote.

`golden.json` was made with the protobuf serializer of client-go 1.20 (Kubernetes 1.20.2), one object a time, by
`scheme.Codecs.UniversalDeserializer().Decode` of the JSON and `protobuf.NewSerializer(...).Encode`. The one change to
its generated code: it does not write ObjectMeta.clusterName, which is gone since 1.25.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from api.protobuf import envelope

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
# These have got fields since that Go always writes.
GROWN = ("Pod", "Deployment", "CustomResourceDefinition")
EVENT = "0a054144444544122b0a296b3873000a0c0a027631120653746174757312110a060a0012001a0012001a002200309a031a002200"


def _ids(golden: dict[str, Any]) -> str:
    return str(golden["object"]["kind"])


@pytest.mark.parametrize("golden", GOLDEN, ids=_ids)
def test_what_go_wrote_is_read(golden: dict[str, Any]) -> None:
    found = json.loads(envelope.to_json(base64.b64decode(golden["protobuf"])))
    assert _told(found) == _told(golden["object"])


@pytest.mark.parametrize("golden", [g for g in GOLDEN if _ids(g) not in GROWN], ids=_ids)
def test_the_bytes_are_those_of_go(golden: dict[str, Any]) -> None:
    assert envelope.from_json(json.dumps(golden["object"]).encode()) == base64.b64decode(golden["protobuf"])


def test_a_list_put_together_is_what_go_wrote() -> None:
    golden = next(g for g in GOLDEN if _ids(g) == "ConfigMapList")
    given = golden["object"]
    items = [envelope.message(json.dumps(item).encode(), "v1", "ConfigMap") for item in given["items"]]
    pieces = envelope.list_pieces("v1", "ConfigMapList", json.dumps(given["metadata"]).encode(), items)
    assert b"".join(pieces) == base64.b64decode(golden["protobuf"])


def test_an_event_is_what_go_wrote() -> None:
    """Made with `protobuf.NewRawSerializer(...).Encode` of a WatchEvent, as a watch's stream holds them."""
    status = envelope.message(b'{"metadata":{},"code":410}', "v1", "Status")
    event = envelope.event("ADDED", "v1", "Status", status)
    assert event.hex() == EVENT
    assert envelope.framed(event) == len(event).to_bytes(4, "big") + event


def _told(value: Any) -> Any:
    """Without nulls and empty lists, which neither form tells apart from what is absent."""
    if isinstance(value, dict):
        return {k: _told(v) for k, v in value.items() if v is not None and v != []}
    return [_told(item) for item in value] if isinstance(value, list) else value
