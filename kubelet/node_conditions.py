"""The conditions of a node that the kubelet owns, and the events that tell of their turns, in upstream's words.

A turn is measured by what the API server has, not by what this process said last: a node controller that lost patience
has called the node unknown meanwhile, or this process is younger than the condition.
"""

from __future__ import annotations

from collections.abc import Sequence

from api import time as api_time
from api.types.core_v1 import NodeCondition

READY = "Ready"
#: condition -> (reason, message, event) while it does not hold, and the same while it does
_WORDS = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"),
    ),
    READY: (
        ("KubeletNotReady", "", "NodeNotReady"),
        ("KubeletReady", "kubelet is posting ready status", "NodeReady"),
    ),
}
PRESSURES = tuple(kind for kind in _WORDS if kind != READY)
OWN = frozenset(_WORDS)


def pressure(kind: str, holds: bool, known: Sequence[NodeCondition]) -> NodeCondition:
    """One of `PRESSURES`; `known` are the conditions that the API server has."""
    return _condition(kind, holds, "", known)


def ready(problems: Sequence[str], known: Sequence[NodeCondition]) -> NodeCondition:
    """Ready, unless there are problems."""
    message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return _condition(READY, not problems, message if problems else "", known)


def network_problem(cause: str) -> str:
    """What a runtime whose network isn't ready yet is reported as."""
    return (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        f"message:Network plugin returns error: {cause.rpartition(': ')[2]}"
    )


def turned(condition: NodeCondition, before: Sequence[NodeCondition]) -> bool:
    """Is this worth an event? A new node's readiness is none: it was not there before."""
    old = next((c for c in before if c.type == condition.type), None)
    return condition.type != READY if old is None else old.status != condition.status


def event_of(condition: NodeCondition) -> str:
    """The reason of the event that tells of the turn."""
    return _WORDS[condition.type][condition.status == "True"][2]


def _condition(kind: str, holds: bool, message: str, known: Sequence[NodeCondition]) -> NodeCondition:
    reason, usual, _ = _WORDS[kind][holds]
    status = "True" if holds else "False"
    old = next((c for c in known if c.type == kind and c.status == status), None)
    now = api_time.now()
    return NodeCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message or usual,
        last_heartbeat_time=now,
        last_transition_time=old.last_transition_time if old else now,
    )
