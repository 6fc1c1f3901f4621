"""Taints and tolerations: how they match, and how a node's taints are changed without losing anybody else's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from api import codec, errors
from api import time as api_time
from api.types.core_v1 import Node, Taint, Toleration
from client.api import Api
from client.batch import Batcher
from client.writes import Patch

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint (ToleratesTaint)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in (None, "", "Equal"):
        return bool(toleration.key) and (toleration.value or "") == (taint.value or "")
    if toleration.operator in ("Lt", "Gt"):
        try:
            wanted, found = int(toleration.value or ""), int(taint.value or "")
        except ValueError:
            return False
        return found < wanted if toleration.operator == "Lt" else found > wanted
    return toleration.operator == "Exists"


def tolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration] | None) -> bool:
    given = list(tolerations or ())
    return all(any(tolerates(t, taint) for t in given) for taint in taints)


def find(node: Node, key: str, effect: str) -> Taint | None:
    return next((t for t in node.spec.taints or () if (t.key, t.effect) == (key, effect)), None)


async def swap(
    api: Api,
    batcher: Batcher,
    node: Node,
    add: Sequence[tuple[str, str]],
    remove: Sequence[tuple[str, str]],
) -> bool:
    """Add and remove taints given as (key, effect). False if there was nothing to do. Raises StatusError.

    A conflict is tried again on a live read: what is added and removed does not depend on what else is there.
    """
    for attempt in range(3):
        change = _change(node, add, remove)
        if change is None:
            return False
        try:
            await batcher.write(Patch(Node, node.metadata.name or "", change))
            return True
        except errors.StatusError as error:
            if not errors.is_conflict(error) or attempt == 2:
                raise
            node = await api.get(Node, node.metadata.name or "")
    raise AssertionError("the last attempt either succeeds or raises")


def _change(node: Node, add: Sequence[tuple[str, str]], remove: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    taints = list(node.spec.taints or ())
    kept = [t for t in taints if (t.key, t.effect) not in remove]
    present = {(t.key, t.effect) for t in kept}
    fresh = [Taint(key=k, effect=e, time_added=api_time.now()) for k, e in add if (k, e) not in present]
    if len(kept) == len(taints) and not fresh:
        return None
    listed = [codec.to_dict(t) for t in [*kept, *fresh]]
    # the version makes the whole list safe to replace: whoever changed it meanwhile makes this a conflict
    return {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": listed or None}}
