"""Deletes pods from nodes with NoExecute taints, when their tolerations run out.

Invariants:
- a pod that does not tolerate all NoExecute taints of its node goes at once; one that tolerates them all for a limited
  time goes after the shortest of these times, counted from the taint; one that tolerates them for ever stays;
- when the taints go, so does the plan to delete;
- a pod that goes first gets the condition DisruptionTarget, so that Jobs can tell eviction from failure.
"""

from __future__ import annotations

from datetime import UTC, datetime

from api import codec, errors
from api import time as api_time
from api.types.core_v1 import Node, Pod, PodCondition, Taint
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import conditions
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.nodes import taints
from controller_manager.nodes.lifecycle import BY_NODE, pods_by_node

MESSAGE = "Taint manager: deleting due to NoExecute taint"


class TaintEvictionController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("taint-eviction-controller")
        self._nodes = context.informers.informer(Node)
        self._pods = context.informers.informer(Pod)
        self._planned: dict[Key, datetime] = {}
        self.controller: Controller[Key] = Controller("taint-eviction-controller", self.reconcile, workers=8)
        self._pods.add_index(BY_NODE, pods_by_node)
        self._pods.add_handler(on_add=self._pod_seen, on_update=self._pod_updated, on_delete=self._pod_gone)
        self._nodes.add_handler(on_add=self._node_seen, on_update=self._node_updated)

    async def run(self) -> None:
        await self.controller.run()

    def _pod_seen(self, pod: Pod) -> None:
        node = self._nodes.get("", pod.spec.node_name) if pod.spec.node_name else None
        if node is not None and _evicting(node):
            self.controller.enqueue(key_of(pod))

    def _pod_updated(self, old: Pod, new: Pod) -> None:
        if old.spec.node_name != new.spec.node_name or old.spec.tolerations != new.spec.tolerations:
            self._pod_seen(new)

    def _pod_gone(self, pod: Pod) -> None:
        self._planned.pop(key_of(pod), None)

    def _node_seen(self, node: Node) -> None:
        if _evicting(node):
            self._wake(node)

    def _node_updated(self, old: Node, new: Node) -> None:
        if _evicting(old) != _evicting(new):
            self._wake(new)

    def _wake(self, node: Node) -> None:
        for pod in self._pods.by_index(BY_NODE, node.metadata.name):
            self.controller.enqueue(key_of(pod))

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or pod.metadata.deletion_timestamp or pod_facts.is_terminal(pod):
            self._planned.pop(key, None)
            return None
        node = self._nodes.get("", pod.spec.node_name) if pod.spec.node_name else None
        found = _evicting(node) if node is not None else []
        if not found:
            self._cancel(key, pod)
            return None
        if not taints.tolerated(found, pod.spec.tolerations):
            await self._evict(pod)
            return None
        patience = _patience(pod, found)
        if patience is None:
            self._cancel(key, pod)
            return None
        started = max((api_time.parse(t.time_added) for t in found if t.time_added), default=datetime.now(UTC))
        due = self._planned.setdefault(key, started)
        left = patience - (datetime.now(UTC) - due).total_seconds()
        if left > 0:
            return left
        await self._evict(pod)
        return None

    def _cancel(self, key: Key, pod: Pod) -> None:
        if self._planned.pop(key, None) is not None:
            message = f"Cancelling deletion of Pod {key[0]}/{key[1]}"
            self._recorder.event(pod, "Normal", "TaintManagerEviction", message)

    async def _evict(self, pod: Pod) -> None:
        key = key_of(pod)
        message = f"Marking for deletion Pod {key[0]}/{key[1]}"
        self._recorder.event(pod, "Normal", "TaintManagerEviction", message)
        await mark_disrupted(self._api, pod, "DeletionByTaintManager", MESSAGE)
        try:
            await self._api.delete(Pod, key[1], namespace=key[0], uid=pod.metadata.uid)
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise
        self._planned.pop(key, None)


async def mark_disrupted(api: object, pod: Pod, reason: str, message: str, *, failed: bool = False) -> None:
    """Set the condition DisruptionTarget (and, for a pod that nobody runs any more, phase Failed)."""
    changed = codec.deepcopy(pod)
    old = conditions.find(changed.status.conditions, "DisruptionTarget")
    if old is None or (old.status, old.reason) != ("True", reason):
        condition = PodCondition(type="DisruptionTarget", status="True", reason=reason, message=message)
        changed.status.conditions = conditions.replaced(changed.status.conditions, condition)
    if failed:
        changed.status.phase = "Failed"
    if changed.status == pod.status:
        return
    try:
        await api.update_status(changed)  # type: ignore[attr-defined]
    except errors.StatusError as error:
        if not errors.is_not_found(error):
            raise


def _evicting(node: Node) -> list[Taint]:
    return [t for t in node.spec.taints or () if t.effect == "NoExecute"]


def _patience(pod: Pod, found: list[Taint]) -> float | None:
    """Seconds that the pod may stay; None: for ever."""
    used = [t for t in pod.spec.tolerations or () if any(taints.tolerates(t, taint) for taint in found)]
    limited = [t.toleration_seconds for t in used if t.toleration_seconds is not None]
    return max(0, min(limited)) if limited else None
