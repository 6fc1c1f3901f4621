"""Events about nodes, in the namespace `default` as those of everything that has none."""

from __future__ import annotations

from api.types.core_v1 import Node, ObjectReference
from client.events import EventRecorder


def record(recorder: EventRecorder, node: Node, reason: str, message: str, type: str = "Normal") -> None:
    ref = ObjectReference(api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, namespace=None)
    recorder.event(ref, type, reason, message)
